"""The models of the registry, with settings that train in a blink.

A row says what a test cannot know by itself: how to compute the representations of some ids by the
model's own means, without this package, and which parameters the penalty must move. A model whose
entry in the registry says as much, as most do, needs none.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender.diffrec import timestep_embedding
from recbole.utils import ModelType, get_model
from torch.nn.functional import normalize

from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.inject import RegularizedModel
from recbole_sr.models.registry import SUPPORTED
from recbole_sr.models.sources import (
    Encoded,
    Field,
    Missing,
    Propagated,
    Source,
    Sum,
    Table,
)
from recbole_sr.objectives.peers import NO_PEERS
from recbole_sr.objectives.phase import Phase

GRAPH_FILES = {"kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
SEQUENCES = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]},
    "MAX_ITEM_LIST_LENGTH": 8,
    "train_neg_sample_args": None,
    "hidden_size": 8,
    "inner_size": 8,
}
FAMILIES: dict[ModelType, dict[str, Any]] = {
    ModelType.GENERAL: {},
    ModelType.KNOWLEDGE: {
        "load_col": {
            "inter": ["user_id", "item_id"],
            **GRAPH_FILES,
        },
    },
    ModelType.SEQUENTIAL: SEQUENCES,
    ModelType.CONTEXT: {
        "load_col": {
            "inter": ["user_id", "item_id", "rating"],
            "user": ["user_id", "gender"],
            "item": ["item_id", "class"],
        },
        "threshold": {"rating": 2},
    },
}
PAIRS = {"distribution": "uniform", "sample_num": 1}


def without_and_with(start, name, tiny, experiment):
    """A model as it is by itself, and by an initialisation, which draws no random numbers."""
    settings = settings_of(name, tiny)
    plain = experiment(name, "tiny", **settings, sr_init="model")
    state = torch.get_rng_state()
    made = experiment(name, "tiny", **settings, **start)
    assert torch.equal(torch.get_rng_state(), state)
    return plain, made


def all_scores(made):
    """What a general model scores, for each user and item without padding."""
    made.model.eval()
    users = Interaction({"user_id": torch.arange(1, made.dataset.user_num)})
    with torch.no_grad():
        return made.model.full_sort_predict(users).view(made.dataset.user_num - 1, -1)[:, 1:]


def rank_of_test_items(made):
    """The share of all items that an item of the test part scores above."""
    scores, test = all_scores(made), made.test_data._dataset.inter_feat
    user, item = (test[field] - 1 for field in ("user_id", "item_id"))
    return (scores[user, item].unsqueeze(1) > scores[user]).float().mean().item()


def uninjected(model):
    """The class of a model below what this package adds to it."""
    ancestors = type(model).__mro__
    return ancestors[ancestors.index(RegularizedModel) + 1]


def first_batch(made: Any) -> Any:
    """Of an experiment's training data, where its model computes."""
    return next(iter(made.train_data)).to(made.config["device"])


@dataclass(frozen=True)
class Row:
    """What the contract needs to know of a model.

    Attributes:
        rows: ``(model, batch, side, ids)`` to the matrices of these ids, in evaluation mode.
        claims: parameters that the penalty must move.
        settings: beside those of the family.

    """

    rows: Callable[..., list[torch.Tensor]]
    claims: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording(Phase):
    """Notes the rows that each penalty is of."""

    given: list[dict[str, list[torch.Tensor]]] = field(default_factory=list)

    def penalty(self, rows, peers=NO_PEERS):
        self.given.append(rows)
        return super().penalty(rows, peers)

    @property
    def rows(self):
        """Those of the first batch; none where it had none."""
        return self.given[0] if self.given else {}


def settings_of(name: str, tiny: dict[str, Any]) -> dict[str, Any]:
    return {**tiny, **FAMILIES[get_model(name).type], **CONTRACT[name].settings}


def seed(value: int = 0) -> None:
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def tables(user="user_embedding", item="item_embedding", **settings):
    paths = {"user": user.split(), "item": item.split()}
    paths = {side: [f"{path}.weight" for path in found] for side, found in paths.items()}

    def rows(model, batch, side, ids):
        return [model.get_parameter(path)[ids] for path in paths[side]]

    return Row(rows, (*paths["user"], *paths["item"]), settings)


def graph(compute=lambda model: model.forward(), item="item_embedding", **settings):
    def rows(model, batch, side, ids):
        return [compute(model)[side == "item"][ids]]

    return Row(rows, ("user_embedding.weight", f"{item}.weight"), settings)


def encoder(hidden, layer, first, **settings):
    """``hidden`` computes what the output layer scores, for all users of a batch."""

    def rows(model, batch, side, ids):
        if side == "item":
            return [model.get_parameter(layer)[ids]]
        users = batch["user_id"]
        matrices = hidden(model, users)
        matrices = matrices if isinstance(matrices, list) else [matrices]
        return [matrix[[users.tolist().index(user) for user in ids]] for matrix in matrices]

    return Row(rows, (layer, first), settings)


def sequences(item="item_embedding", score="full_sort_predict", **settings):
    """The vectors with which the model's own ``full_sort_predict`` scores."""

    def rows(model, batch, side, ids):
        if side == "item":
            return [model.get_parameter(f"{item}.weight")[ids]]
        return [recorded(model, "forward", lambda: getattr(model, score)(batch))]

    return Row(rows, (f"{item}.weight",), settings)


def fields(**settings):
    def rows(model, batch, side, ids):
        position = model.token_field_names.index(f"{side}_id")
        batch = torch.zeros(len(ids), len(model.token_field_names), dtype=torch.long)
        batch[:, position] = ids
        return [model.embed_token_fields(batch)[:, position]]

    return Row(rows, ("token_embedding_table.embedding.weight",), settings)


def recorded(module, name, run):
    """What the first call of a method returns while something else runs."""
    outputs = []
    method = getattr(module, name)

    def record(*args, **kwargs):
        outputs.append(method(*args, **kwargs))
        return outputs[-1]

    setattr(module, name, record)
    try:
        run()
    finally:
        delattr(module, name)
    return outputs[0]


def histories(model, users):
    return normalize(model.get_rating_matrix(users))


def sums(model, batch, side, ids):
    if side == "user":
        return [model.user_embedding(ids)]
    return [model.item_embedding(ids) + model.entity_embedding(ids)]


def derived(entry: ModelEntry) -> Row | None:
    """The row that an entry implies; None where the model's own means are not told by it."""
    user, item = entry.user, entry.item
    if isinstance(user, Field) and isinstance(item, Field):
        return fields()
    if isinstance(item, Table) and len(item.paths) == 1 and _is_each_sequence(user):
        return sequences(*item.paths)
    if isinstance(user, Table | Missing) and isinstance(item, Table | Missing):
        return _tables_and_sums({"user": user, "item": item})
    if _is_forward(user) and _is_forward(item):
        return Row(graph().rows, _weights(*user.initialized, *item.initialized))
    return None


def _is_each_sequence(user: Source) -> bool:
    """Whether the users are what the model's ``forward`` returns for each sequence, always."""
    return isinstance(user, Encoded) and not user.module and user.each and user.always


def _is_forward(source: Source) -> bool:
    """Whether the side is what ``forward`` returns of a graph, users first, by RecBole's custom."""
    if not isinstance(source, Propagated):
        return False
    return not source.module and source.run is Propagated.run


def _weights(*paths: str) -> tuple[str, ...]:
    return tuple(f"{path}.weight" for path in paths)


def _tables_and_sums(sources: dict[str, Any]) -> Row:
    def rows(model, batch, side, ids):
        source = sources[side]
        paths = [] if isinstance(source, Missing) else source.paths
        found = [model.get_parameter(path)[ids] for path in _weights(*paths)]
        return [sum(found)] if isinstance(source, Sum) else found

    tables = [source for source in sources.values() if isinstance(source, Table)]
    return Row(rows, _weights(*(path for source in tables for path in source.paths)))


def by_cdae(model, users):
    return model.h_act(model.h_user(users) + model.h_item(model.get_rating_matrix(users)))


def by_diffrec(model, users):
    return denoised(model, model.get_rating_matrix(users), model.mlp.mlp_layers.mlp_layers[:-1])


def by_ldiffrec(model, users):
    _, latent, _ = model.autoencoder.Encode(model.get_rating_matrix(users))
    return denoised(model, latent, model.mlp.mlp_layers)


def denoised(model, start, layers):
    seed()
    steps, _ = model.sample_timesteps(len(start), start.device, "importance")
    noisy = model.q_sample(start, steps, torch.randn_like(start))
    time = model.mlp.emb_layer(timestep_embedding(steps, model.mlp.time_emb_dim))
    return layers(torch.cat([noisy, time], dim=-1))


def by_dmf(model, batch, side, ids):
    if side == "item":
        return [model.get_item_embedding()[ids]]
    return [model.user_fc_layers(model.get_user_embedding(ids))]


def by_macridvae(model, users):
    return model.forward(model.get_rating_matrix(users))[1]


def by_mean(model, users):
    mean = model.encoder(histories(model, users))[:, : model.lat_dim // 2]
    return model.decoder[:-1](mean)


def by_ract(model, users):
    history = histories(model, users) * (1 - model.drop_out)
    return model.decoder[:-1](model.encoder(history)[:, : model.lat_dim // 2])


def by_mcclk(model):
    model.restore_user_e = None
    model.full_sort_predict({"user_id": torch.tensor([1])})
    return model.restore_user_e, model.restore_entity_e


def by_repeatnet(model, batch, side, ids):
    layer = model.explore_recommendation_decoder.matrix_for_explore
    if side == "item":
        return [layer.weight[ids]]
    seen = []
    with layer.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs)):
        model.full_sort_predict(batch)
    return seen


VAE = {"mlp_hidden_size": [12], "latent_dimension": 8}
DIFFUSION = {"dims_dnn": [12], "embedding_size": 4}
FIRST = "mlp.mlp_layers.mlp_layers.1.weight"
PRETRAINING = {"pretrain_epochs": 2, "save_step": 1}
ITEM_BASED = tables("", "item_src_embedding item_dst_embedding")
WITH_ENTITIES = tables(item="item_embedding entity_embedding").claims
HEADS = {"n_heads": 2, "n_layers": 1}

EXPLICIT: dict[str, Row] = {
    "BPR": tables(),
    "CDAE": encoder(by_cdae, "out_layer.weight", "h_user.weight"),
    "ConvNCF": tables(cnn_channels=[1, 4, 4], cnn_kernels=[2, 2], cnn_strides=[2, 2]),
    "DGCF": graph(n_factors=2),
    "DMF": Row(by_dmf, ("user_linear.weight", "item_linear.weight")),
    "DiffRec": encoder(by_diffrec, "mlp.mlp_layers.mlp_layers.4.weight", FIRST, **DIFFUSION),
    "ENMF": tables(),
    "FISM": ITEM_BASED,
    "GCMC": Row(
        graph(lambda model: model.GcEncoder(model.user_features, model.item_features)).rows,
        ("GcEncoder.weights_u.0", "GcEncoder.dense_layer_u.weight"),
    ),
    "LDiffRec": encoder(
        by_ldiffrec, "autoencoder.decoder.mlp_layers.1.weight", FIRST, in_dims=[8], **DIFFUSION
    ),
    "LINE": tables(),
    "LightGCN": graph(),
    "MacridVAE": encoder(
        by_macridvae, "item_embedding.weight", "encoder.0.weight", encoder_hidden_size=[12], kfac=3
    ),
    "MultiDAE": encoder(
        lambda model, users: model.decoder[:-1](model.encoder(histories(model, users))),
        "decoder.2.weight", "encoder.mlp_layers.1.weight", **VAE,
    ),
    "MultiVAE": encoder(by_mean, "decoder.2.weight", "encoder.0.weight", **VAE),
    "NAIS": ITEM_BASED,
    "NCL": graph(num_clusters=5, warm_up_step=1),
    "NGCF": graph(hidden_size_list=[8]),
    "NNCF": tables(neigh_num=6, conv_kernel_size=3, pool_kernel_size=2, num_conv_kernel=8),
    "NeuMF": tables(
        "user_mf_embedding user_mlp_embedding", "item_mf_embedding item_mlp_embedding"
    ),
    "RaCT": encoder(
        by_ract, "decoder.2.weight", "encoder.0.weight", metrics_k=5, **VAE, **PRETRAINING
    ),
    "RecVAE": encoder(
        lambda model, users: model.encoder(model.get_rating_matrix(users), 0)[0],
        "decoder.weight", "encoder.fc1.weight", hidden_dimension=12, latent_dimension=8,
    ),
    "SGL": graph(lambda model: model.forward(model.train_graph)),
    "SimpleX": tables("user_emb", "item_emb"),
    "SpectralCF": graph(),
    "CFKG": tables(item="entity_embedding"),
    "CKE": Row(sums, WITH_ENTITIES, {"kg_embedding_size": 8}),
    "KGAT": graph(item="entity_embedding", layers=[8], kg_embedding_size=8),
    "KGCN": tables(item="entity_embedding"),
    "KGIN": graph(item="entity_embedding", node_dropout_rate=0.0),
    "KGNNLS": tables(item="entity_embedding"),
    "KTUP": Row(sums, WITH_ENTITIES),
    "MCCLK": graph(by_mcclk, item="entity_embedding", node_dropout_rate=0.0),
    "MKR": tables("user_embeddings_lookup", "item_embeddings_lookup"),
    "RippleNet": tables("", "entity_embedding", n_memory=4),
    "BERT4Rec": tables("", "item_embedding", **HEADS),
    "CORE": sequences(**HEADS),
    "Caser": sequences(),
    "FDSA": sequences(**HEADS),
    "FEARec": sequences(n_heads=2),
    "FOSSIL": sequences(),
    "FPMC": tables("UI_emb", "IU_emb IL_emb LI_emb", train_neg_sample_args=PAIRS),
    "GCSAN": sequences(**HEADS),
    "GRU4Rec": sequences(),
    "GRU4RecF": sequences(),
    "GRU4RecKG": sequences(
        load_col={**SEQUENCES["load_col"], **GRAPH_FILES, "ent": ["ent_id", "ent_emb"]},
        additional_feat_suffix=["ent"],
        alias_of_item_id=["ent_id"],
        preload_weight={"ent_id": "ent_emb"},
        eval_args={"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    ),
    "HGN": sequences("item_embedding_for_prediction"),
    "HRM": sequences(),
    "LightSANs": sequences(**HEADS, k_interests=2),
    "NARM": sequences(),
    "NPE": sequences(),
    "NextItNet": sequences(),
    "RepeatNet": Row(
        by_repeatnet,
        ("explore_recommendation_decoder.matrix_for_explore.weight", "gru.weight_hh_l0"),
    ),
    "S3Rec": tables("", "item_embedding", **HEADS, **PRETRAINING),
    "SASRec": sequences(**HEADS),
    "SASRecF": sequences(**HEADS),
    "SHAN": sequences(score="predict"),  # RecBole ranks by the sequences the wrong way round
    "SINE": sequences(),
    "SRGNN": sequences(),
    "STAMP": sequences(),
    "TransRec": sequences(train_neg_sample_args=PAIRS),
    **dict.fromkeys(
        (
            "AFM", "AutoInt", "DCN", "DCNV2", "DSSM", "DeepFM", "EulerNet", "FM", "FNN", "FiGNN",
            "FwFM", "NFM", "PNN", "WideDeep", "xDeepFM",
        ),
        fields(),
    ),
}  # fmt: skip

_DERIVED = {name: derived(entry) for name, entry in SUPPORTED.items() if name not in EXPLICIT}
CONTRACT: dict[str, Row] = {
    **EXPLICIT,
    **{name: row for name, row in _DERIVED.items() if row is not None},
}
