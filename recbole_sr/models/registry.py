"""The registry: one entry for each RecBole model, with all that is known of it.

A new model is one entry in :data:`MODELS`, and a property file in ``properties/model/`` where it
has a recipe. A model that is not listed is refused: there is no guessing what to regularise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from recbole_sr.errors import InputError, first_line, nearest
from recbole_sr.models.entry import GraphPath, LayerPath, ModelEntry
from recbole_sr.models.sources import (
    Call,
    Encoded,
    Field,
    Missing,
    Propagated,
    Step,
    Sum,
    Table,
)
from recbole_sr.recbole_compat.classes import is_recboles
from recbole_sr.recbole_compat.models import (
    CountsInteractions,
    FewerClusters,
    FewerSamples,
    ForgetsOnLoad,
    NamesItsFile,
    WithoutDGL,
    WithoutTorchScatter,
)

__all__ = ["MODELS", "NON_GRADIENT", "SUPPORTED", "entry_of", "named", "replaceable_loss"]


@cache
def entry_of(model_class: type) -> ModelEntry:
    """What is known of a model class.

    The class method ``sr_representations`` is asked where there is one; a model of RecBole is
    looked up in the registry, and a subclass of one inherits its entry.

    Raises:
        InputError: neither, the method does not return such an entry, or the model is refused; it
            says why, and what to do.

    Example:
        >>> from recbole.model.general_recommender import LightGCN
        >>> entry_of(LightGCN).item.about
        'propagated'
        >>> entry_of(type("MyLightGCN", (LightGCN,), {})).item.about
        'propagated'

    """
    own = getattr(model_class, "sr_representations", None)
    if own is not None:
        return _declared(model_class.__name__, own)
    if is_recboles(model_class):
        return named(model_class.__name__)
    for parent in model_class.__mro__:
        if is_recboles(parent) and parent.__name__ in MODELS:
            # A subclass may calculate more than the model that it extends.
            return replace(named(parent.__name__), sole_loss=False, propagation=None)
    raise InputError(
        f"model: expected {model_class.__name__} to say where its representations are, got a class "
        "without sr_representations; add to it, with your own attribute names: @classmethod "
        "def sr_representations(cls): return recbole_sr.Representations("
        'user=recbole_sr.Table("user_embedding"), item=recbole_sr.Table("item_embedding"))'
    )


def _declared(name: str, sr_representations: Callable[[], Any]) -> ModelEntry:
    """What a model of one's own says of itself."""
    expected = (
        f"model: expected {name}.sr_representations to be a class method that returns "
        "recbole_sr.Representations(user=..., item=...), got"
    )
    try:
        declared = sr_representations()
    except TypeError as error:  # it takes arguments, or fails itself
        raise InputError(f"{expected} an error ({first_line(error)}); correct it") from error
    if not isinstance(declared, ModelEntry):
        raise InputError(f"{expected} a {type(declared).__name__}; correct it")
    return declared


def named(model_name: str) -> ModelEntry:
    """The registry's entry for a model of RecBole.

    Raises:
        InputError: the model is refused or not listed.

    Example:
        >>> named("CKE").item.about
        'rows of item_embedding + entity_embedding'

    """
    entry = MODELS.get(model_name)
    if isinstance(entry, ModelEntry):
        return entry
    if entry is not None:
        raise InputError(f"model: {model_name} cannot be regularised: {entry}")
    raise InputError(
        f"model: expected one of those that `recbole-sr models` lists, got {model_name!r}; "
        f"did you mean {nearest(model_name, SUPPORTED)!r}?"
    )


def replaceable_loss(model_class: type, expected: str = "sr_loss: expected 'model'") -> str:
    """Path of the module whose recommendation loss ``sr_loss`` can replace.

    Args:
        model_class: a model of the registry.
        expected: what a message says was expected for a model that has none.

    Raises:
        InputError: the model is not listed, or its loss cannot be told from others.

    Example:
        >>> from recbole.model.general_recommender import LightGCN
        >>> replaceable_loss(LightGCN)
        'mf_loss'

    """
    path = entry_of(model_class).loss
    if path is None:
        able = [name for name, entry in SUPPORTED.items() if entry.loss is not None]
        raise InputError(
            f"{expected} for {model_class.__name__}, whose recommendation loss is no function of "
            "dot products alone or cannot be told from its other losses; drop it, or use one of "
            + ", ".join(able)
        )
    return path


def _input(call: Call, step: Step) -> Any:
    return call.inputs[0]


def _output(call: Call, step: Step) -> Any:
    return call.output


def _pretrains(model: Any) -> bool:
    return model.train_stage == "pretrain"


def _last_of_each_sequence(call: Call, step: Step) -> Any:
    model: Any = step.model
    if _pretrains(model):  # of masked sequences
        return []
    return model.gather_indexes(call.output, step.batch[model.ITEM_SEQ_LEN] - 1)


def _output_layer(
    path: str, each: bool = False, read: str | None = None, **more: Any
) -> ModelEntry:
    """Models that score by a linear layer: what enters it against its row for the item.

    Items are read from another table where ``read`` names one.
    """
    user = Encoded(_input, f"what enters {path}", path, each)
    return ModelEntry(user, Table(path, read=read), **more)


def _sequences(item: str, read: str | None = None) -> ModelEntry:
    """Models whose ``forward`` returns one vector a sequence, scored against an item table.

    Items are read from another table where ``read`` names one.
    """
    user = Encoded(_output, "output for each sequence", each=True)
    return ModelEntry(user, Table(item, read=read))


def _graph(items: str, **how: Any) -> ModelEntry:
    """Models that propagate a table of users and one of items."""
    user, item = (
        Propagated(itemgetter(place), initialized=(path,), **how)
        for place, path in enumerate(("user_embedding", items))
    )
    # torch multiplies, or differentiates, sparse matrices of coordinates in single precision alone
    return ModelEntry(user, item, loss="mf_loss", mixed_precision="no")


def _gcmc(model: Any) -> Any:
    return model.GcEncoder(model.user_features, model.item_features)


def _sgl(model: Any) -> Any:
    return model.forward(model.train_graph)


def _mcclk_users(out: Any) -> Tensor:
    return torch.cat((out[3], out[1]), dim=-1)


def _mcclk_items(out: Any) -> Tensor:
    return torch.cat((out[4], out[0] + out[2]), dim=-1)


_RUN_STOCK = "run it with RecBole's run_recbole"
_NO_GRADIENT = (
    f"it learns no representations by gradients; {_RUN_STOCK}, compare others with it by "
    "recbole-sr compare, or choose BPR"
)
_TABLES = ModelEntry(Table("user_embedding"), Table("item_embedding"))
_ENTITIES = ModelEntry(Table("user_embedding"), Table("entity_embedding"))
_GRAPH = _graph("item_embedding")
_LINEAR_GRAPH = _graph("item_embedding", linear=True)
_ENTITY_GRAPH = _graph("entity_embedding")
_FIELDS = ModelEntry(Field("user field's rows"), Field("item field's rows"))


def _item_based(*length_powers: str, **more: Any) -> ModelEntry:
    """Models that score an item's row against the sum of those of the history, of another table."""
    tables = "item_src_embedding", "item_dst_embedding"
    path = LayerPath(
        (), input_table=tables[0], output_table=tables[1], length_powers=length_powers, **more
    )
    return ModelEntry(
        Missing("a user is the items of the history"),
        Table(*tables),
        parallel=True,
        layer_path=path,
    )


# Models that a study runs as RecBole has them, and the mixins of what they need to be right.
NON_GRADIENT: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(
        ("ADMMSLIM", "AsymKNN", "EASE", "ItemKNN", "NCEPLRec", "Random", "SLIMElastic"), ()
    ),
    "Pop": (CountsInteractions,),
}

# A model that is refused has the reason in place of an entry.
MODELS: dict[str, ModelEntry | str] = {
    # General
    "BPR": replace(_TABLES, loss="loss", sole_loss=True, parallel=True, columns=True),
    "CDAE": _output_layer(
        "out_layer",
        summed=True,
        layer_path=LayerPath(("h_item", "out_layer"), "hid_activation", ("h_user",)),
    ),
    "ConvNCF": replace(_TABLES, summed=True, pretrained=("train_method", "after_pretrain")),
    "DGCF": replace(_GRAPH, repairs=(FewerSamples,)),
    "DMF": ModelEntry(
        Encoded(_output, "output of user_fc_layers", "user_fc_layers"),
        Encoded(_output, "output of item_fc_layers", "item_fc_layers"),
        layer_path=LayerPath(
            ("user_linear", "user_fc_layers"),
            "relu",
            item_modules=("item_linear", "item_fc_layers"),
            needs={"inter_matrix_type": "01"},
        ),
    ),
    "DiffRec": _output_layer(
        "mlp.mlp_layers.mlp_layers.-1",
        # With mean_type: eps the layers give noise, which is subtracted.
        layer_path=LayerPath(("mlp.mlp_layers",), "mlp_act_func", needs={"mean_type": "x0"}),
    ),
    "ENMF": replace(
        _TABLES, summed=True, layers=("H_i",), parallel=True, of_parameters=("reg_loss",)
    ),
    "FISM": _item_based("alpha"),
    "GCMC": ModelEntry(
        Propagated(itemgetter(0), "GcEncoder", _gcmc),
        Propagated(itemgetter(1), "GcEncoder", _gcmc),
        mixed_precision="no",
        layer_path=GraphPath(
            "GcEncoder.weights_u.0",
            "GcEncoder.dense_layer_u.weight",
            "BiDecoder.weights.0",
            "BiDecoder.dense_layer.weight",
            needs={"class_num": 2},
        ),
    ),
    "LDiffRec": _output_layer(
        "autoencoder.decoder.mlp_layers.-1",
        needs={"n_cate": 1},
        layer_path=LayerPath(
            ("autoencoder.encoder", "mlp.mlp_layers", "autoencoder.decoder"),
            "mlp_act_func",
            needs={"mean_type": "x0"},
        ),
    ),
    "LINE": _TABLES,
    "LightGCN": replace(
        _LINEAR_GRAPH,
        propagation="layer mean",
        mixed_precision="fast path",
        parallel=True,
        columns=True,
    ),
    "MacridVAE": ModelEntry(
        Encoded(lambda call, step: call.output[1], "mean of each latent factor"),
        Table("item_embedding"),
        layer_path=LayerPath(("encoder",), output_table="item_embedding"),
    ),
    **dict.fromkeys(
        ("MultiDAE", "MultiVAE"),
        _output_layer("decoder.-1", layer_path=LayerPath(("encoder", "decoder"))),
    ),
    "NAIS": _item_based(
        "alpha", "beta", zeroed=("weight_layer",), needs={"pretrain_path": None}
    ),
    # Its trainer asks for mixed precision on GPUs alone, where that has not been tried.
    "NCL": replace(_LINEAR_GRAPH, propagation="graph", repairs=(FewerClusters,), extra="ncl"),
    "NGCF": replace(_GRAPH, propagation="graph", mixed_precision="fast path", parallel=True),
    "NNCF": replace(_TABLES, parallel=True),
    "NeuMF": ModelEntry(
        Table("user_mf_embedding", "user_mlp_embedding"),
        Table("item_mf_embedding", "item_mlp_embedding"),
        parallel=True,
        layers=("predict_layer",),
        # Its two pretrained halves could not be joined: neither is trained alone.
        needs={"mf_train": True, "mlp_train": True, "use_pretrain": False},
    ),
    "RaCT": _output_layer(
        "decoder.-1",
        # Later stages begin with what the earlier ones have trained.
        layer_path=LayerPath(("encoder", "decoder"), needs={"train_stage": "actor_pretrain"}),
        note="frozen in `train_stage: critic_pretrain`; begins with `pretrain_epochs: 150`",
        repairs=(NamesItsFile,),
    ),
    "RecVAE": _output_layer(
        "decoder",
        layer_path=LayerPath(
            ("encoder.fc1", "encoder.fc_mu", "decoder"),
            "swish",
            # The layers between add to what the first one returns.
            zeroed=tuple(f"encoder.fc{number}.weight" for number in (2, 3, 4, 5)),
        ),
    ),
    "SGL": replace(
        _graph("item_embedding", run=_sgl, linear=True),
        loss=None,
        summed=True,
        propagation="sampled graphs",
        mixed_precision="fast path",
    ),
    "SimpleX": ModelEntry(
        Table("user_emb"), Table("item_emb"), layers=("UI_map",), parallel=True
    ),
    "SpectralCF": _GRAPH,
    # Knowledge-aware: an item is the entity of the same id
    "CFKG": _ENTITIES,
    "CKE": ModelEntry(
        Table("user_embedding"), Sum("item_embedding", "entity_embedding"), loss="rec_loss"
    ),
    "KGAT": replace(_ENTITY_GRAPH, repairs=(WithoutDGL,)),
    "KGCN": _ENTITIES,
    "KGIN": replace(_ENTITY_GRAPH, repairs=(WithoutTorchScatter, ForgetsOnLoad)),
    "KGNNLS": _ENTITIES,
    "KTUP": ModelEntry(Table("user_embedding"), Sum("item_embedding", "entity_embedding")),
    "MCCLK": ModelEntry(
        Propagated(_mcclk_users, initialized=("user_embedding",)),
        Propagated(_mcclk_items, initialized=("entity_embedding",)),
        repairs=(WithoutTorchScatter, ForgetsOnLoad),
        mixed_precision="no",
    ),
    "MKR": ModelEntry(Table("user_embeddings_lookup"), Table("item_embeddings_lookup")),
    "RippleNet": ModelEntry(
        Missing("a user is the entities of the history"), Table("entity_embedding")
    ),
    # Sequential
    "BERT4Rec": ModelEntry(
        Missing("its outputs stand for masked positions, not for whole sequences"),
        Table("item_embedding"),
    ),
    **dict.fromkeys(
        (
            "CORE", "Caser", "FDSA", "GRU4Rec", "GRU4RecF", "HRM", "LightSANs", "NARM",
            "NextItNet", "SASRec", "SASRecF", "STAMP",
        ),
        replace(_sequences("item_embedding"), parallel=True),
    ),
    **dict.fromkeys(
        ("FEARec", "FOSSIL", "GCSAN", "SHAN", "SINE", "SRGNN", "TransRec"),
        _sequences("item_embedding"),
    ),
    "NPE": replace(_sequences("item_embedding", read="embedding_seq_item"), parallel=True),
    "GRU4RecKG": replace(
        _sequences("item_embedding"),
        note="needs pretrained vectors of the items' entities, a file `*.ent`; ml-100k has none",
    ),
    "FPMC": ModelEntry(
        Table("UI_emb"), Table("IU_emb", "IL_emb", "LI_emb"), parallel=True
    ),
    "HGN": _sequences("item_embedding_for_prediction", read="item_embedding"),
    "RepeatNet": _output_layer(
        "explore_recommendation_decoder.matrix_for_explore",
        each=True,
        read="item_matrix",
        mixed_precision="no",  # scatters numbers of two precisions into one another
    ),
    "S3Rec": ModelEntry(
        Encoded(_last_of_each_sequence, "last output of each sequence", each=True, always=False),
        Table("item_embedding"),
        summed=_pretrains,
        pretrained=("train_stage", "finetune"),
        note="users in `train_stage: finetune` only; begins with `pretrain_epochs: 500`",
    ),
    # Context-aware
    **dict.fromkeys(
        (
            "AFM", "AutoInt", "DeepFM", "FM", "FNN", "FiGNN", "FwFM", "PNN", "WideDeep", "xDeepFM",
        ),
        replace(_FIELDS, parallel=True),
    ),
    **dict.fromkeys(("DCN", "DCNV2", "DSSM", "EulerNet", "NFM"), _FIELDS),
    # Refused
    **dict.fromkeys(sorted(NON_GRADIENT), _NO_GRADIENT),
    **dict.fromkeys(
        ("GRU4RecCPR", "SASRecCPR"),
        "its softmax mixes several facets of all hidden states, so no one vector stands for a user;"
        f" {_RUN_STOCK}, or choose GRU4Rec or SASRec",
    ),
    **dict.fromkeys(
        ("DIEN", "DIN"),
        "it scores an item by attention over the items of the history, so no one vector stands for "
        f"a user; {_RUN_STOCK}, or choose SASRec or DeepFM",
    ),
    "KSR": "its item vectors are a layer over item and pretrained knowledge vectors; "
    f"{_RUN_STOCK}, or choose GRU4RecKG",
    "FFM": f"each of its fields has a table for each other field; {_RUN_STOCK}, or choose FM",
    "KD_DAGFM": "it distils a teacher in three separate runs, the second on frozen vectors; "
    f"{_RUN_STOCK}, or choose DeepFM",
    "LR": f"it learns one number for each id, which has no rank; {_RUN_STOCK}, or choose FM",
    "LightGBM": f"it is made of decision trees; {_RUN_STOCK}, or choose DeepFM",
    "XGBoost": f"it is made of decision trees; {_RUN_STOCK}, or choose DeepFM",
}  # fmt: skip

SUPPORTED: dict[str, ModelEntry] = {
    name: entry for name, entry in MODELS.items() if isinstance(entry, ModelEntry)
}
