"""Auto-encoders that begin as a truncated singular value decomposition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from contract import all_scores, rank_of_test_items, settings_of, without_and_with
from recbole.data.interaction import Interaction

from recbole_sr.errors import InputError
from recbole_sr.init.autoencoder import fill_chain
from recbole_sr.init.svd import factorize, normalized_graph
from recbole_sr.init.tables import Chain
from recbole_sr.models.entry import LayerPath
from recbole_sr.models.registry import SUPPORTED

SPECTRAL = {"sr_init": "spectral"}
AUTO_ENCODERS = sorted(  # models with two towers are in test_towers.py
    name
    for name, where in SUPPORTED.items()
    if isinstance(where.layer_path, LayerPath) and not where.layer_path.item_modules
)
USERS, ITEMS = 30, 20


def pairs(seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(USERS, size=200), draw.integers(ITEMS, size=200)


def cosine(one, two):
    return float((one * two).sum() / np.linalg.norm(one) / np.linalg.norm(two))


def mean_margin(scores, graph):
    """By how much a pair leads its user's mean score, averaged one by one."""
    users, items = graph.nonzero()
    return np.mean([scores[u, i] - scores[u].mean() for u, i in zip(users, items, strict=True)])


ACTIVATIONS = {
    "none": lambda x: x,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leakyrelu": torch.nn.functional.leaky_relu,
    "swish": torch.nn.functional.silu,
}
PAIRED = ("relu", "leakyrelu", "swish")  # f(x) - f(-x) is a multiple of x


def scored(name, widths, power=1.0, degree_power=0.25):
    """The scores of a chain that was filled, and those by the definition, up to a scale."""
    graph = normalized_graph(*pairs(), (USERS, ITEMS), degree_power)
    histories = torch.from_numpy(graph.sign().toarray())
    sizes = [ITEMS + 1, *widths, ITEMS + 1]  # column and row 0 are padding
    draw = torch.Generator().manual_seed(0)
    layers = [0.1 * torch.randn(wide, narrow, generator=draw) for narrow, wide in pairwise(sizes)]

    def entering():
        x = torch.cat((torch.zeros(USERS, 1), histories), dim=1)
        for layer in layers[:-1]:
            x = ACTIVATIONS[name](x @ layer.T)
        return x

    factors = factorize(graph, min(ITEMS, 64), seed=0)
    chain = Chain(layers, slice(1, ITEMS + 1), name, entering)
    fill_chain(chain, factors, graph, degree_power, power, margin=2.0)
    found = (entering() @ layers[-1].T)[:, 1:].numpy()
    rank = min(widths) // (2 if name in PAIRED else 1)
    rank = min(rank, len(factors.values))
    matrix = graph.toarray().astype(float)
    _, values, item = np.linalg.svd(matrix, full_matrices=False)
    item, values = item[:rank].T, values[:rank]
    degrees = histories.numpy().sum(0).clip(1)
    rows = histories.numpy() / degrees**degree_power
    wanted = rows @ item * values ** (2 * power - 1) @ item.T
    return found, wanted, graph.sign()


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("widths", [[8], [32, 8], [32, 8, 24]])
def test_linear_layers_score_as_the_singular_vectors_do(widths, power):
    found, wanted, graph = scored("none", widths, power)
    assert cosine(found, wanted) == pytest.approx(1, abs=1e-4)
    assert mean_margin(found, graph) == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize("name", PAIRED)
def test_pairs_of_opposite_units_score_as_the_singular_vectors_do(name):
    found, wanted, _ = scored(name, [12])
    assert cosine(found, wanted) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("widths", [[8], [32, 8, 24]])
def test_tanh_changes_the_scores_little(widths):
    found, wanted, graph = scored("tanh", widths)
    assert cosine(found, wanted) > 0.99
    assert mean_margin(found, graph) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("name", AUTO_ENCODERS)
def test_every_auto_encoder_has_the_margin_and_ranks_before_any_training(name, tiny, experiment):
    plain, made = without_and_with(SPECTRAL, name, tiny, experiment)
    assert made.model.training == plain.model.training
    scores = all_scores(made)
    training = made.train_data._dataset.inter_feat
    user, item = (training[field] - 1 for field in ("user_id", "item_id"))
    leads = scores[user, item] - scores[user].mean(1)
    # DiffRec's scores come after further steps, CDAE's through a sigmoid.
    if name in ("MultiDAE", "MultiVAE"):
        margin = made.config.options.sr_init_margin  # that of its recipe
        assert leads.mean().item() == pytest.approx(margin, rel=1e-3)
    assert leads.mean() > 0
    # 0.5 is chance; 0.75 is all that the two taste groups tell.
    assert rank_of_test_items(made) > 0.65


def test_macridvaes_table_holds_the_singular_vectors_and_its_encoder_finds_them(tiny, experiment):
    settings = {**settings_of("MacridVAE", tiny), "kfac": 1, "sr_init_power": 1.0}
    made = experiment("MacridVAE", "tiny", **settings, **SPECTRAL)
    training = made.train_data._dataset
    pairs = (training.inter_feat[field].numpy() - 1 for field in ("user_id", "item_id"))
    shape = training.user_num - 1, training.item_num - 1
    power = made.config.options.sr_init_degree_power
    graph = normalized_graph(*pairs, shape, power)
    model = made.model.eval()
    table = model.item_embedding.weight[1:].detach()
    rank = min(table.shape[1], *shape)
    _, values, item = np.linalg.svd(graph.toarray(), full_matrices=False)
    rows = item[:rank].T * values[:rank] ** 0.5
    assert cosine((table @ table.T).numpy(), rows @ rows.T) == pytest.approx(1, abs=1e-4)
    with torch.no_grad():
        histories = model.get_rating_matrix(torch.arange(1, training.user_num))
        _, (found,), _ = model(histories)
    known = histories[:, 1:].numpy()
    wanted = known / known.sum(0).clip(1) ** power @ rows @ rows.T
    scores = (found @ table.T).numpy() * np.linalg.norm(wanted, axis=1, keepdims=True)
    assert cosine(scores, wanted) > 0.98  # but for tanh


def test_recvae_ranks_as_the_singular_vectors_do_through_its_layer_norms(tiny, experiment):
    settings = {**settings_of("RecVAE", tiny), "hidden_dimension": 80, "latent_dimension": 80}
    made = experiment("RecVAE", "tiny", **settings, **SPECTRAL)
    training, options = made.train_data._dataset, made.config.options
    pairs = (training.inter_feat[field].numpy() - 1 for field in ("user_id", "item_id"))
    power = options.sr_init_degree_power
    graph = normalized_graph(*pairs, (training.user_num - 1, training.item_num - 1), power)
    _, values, vectors = np.linalg.svd(graph.toarray().astype(float), full_matrices=False)
    rank = min(40, int((values > 1e-5).sum()))  # a direction takes two units
    weights = values[:rank] ** (2 * options.sr_init_power - 1)
    rows = graph.sign().toarray() / graph.sign().toarray().sum(0).clip(1) ** power
    wanted = rows @ vectors[:rank].T * weights @ vectors[:rank]
    scores = all_scores(made).numpy()
    # The layer norms give each user a scale, which ranks the same.
    assert min(map(cosine, scores, wanted)) > 0.95  # which bend large entries


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.5}])
@pytest.mark.parametrize("name", ["FISM", "NAIS"])
def test_item_based_models_score_as_the_singular_vectors_do(name, settings, tiny, experiment):
    made = experiment(name, "tiny", **{**settings_of(name, tiny), **settings, **SPECTRAL})
    training, options = made.train_data._dataset, made.config.options
    user, item = (training.inter_feat[field] - 1 for field in ("user_id", "item_id"))
    shape = training.user_num - 1, training.item_num - 1
    power = options.sr_init_degree_power
    graph = normalized_graph(user.numpy(), item.numpy(), shape, power)
    _, values, vectors = np.linalg.svd(graph.toarray().astype(float), full_matrices=False)
    rank = min(made.config["embedding_size"], int((values > 1e-5).sum()))
    weights = values[:rank] ** (2 * options.sr_init_power - 1)
    rows = graph.sign().toarray() / graph.sign().toarray().sum(0).clip(1) ** power
    wanted = rows @ vectors[:rank].T * weights @ vectors[:rank]
    shrunk = made.config["alpha"] + (made.config["beta"] or 0)  # FISM has no beta
    wanted /= graph.sign().toarray().sum(1, keepdims=True).clip(1) ** shrunk
    users = Interaction({"user_id": torch.arange(1, training.user_num)})
    model = made.model.eval()
    with torch.no_grad():
        scores = model.full_sort_predict(users).view(shape[0], -1)[:, 1:].double()
    scores = scores.logit() if name == "NAIS" else scores  # which returns probabilities
    assert cosine(scores.numpy(), wanted) == pytest.approx(1, abs=1e-4)
    leads = scores[user, item] - scores[user].mean(1)
    assert leads.mean().item() == pytest.approx(options.sr_init_margin, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("CDAE", {"hid_activation": "sigmoid"}, "hid_activation: expected one of tanh, relu.*got"),
        ("DiffRec", {"mlp_act_func": "dice"}, "mlp_act_func: expected one of tanh, relu.*got"),
        ("DiffRec", {"mlp_act_func": "none"}, "mlp_act_func: expected one of tanh, relu.*got"),
        ("DiffRec", {"mean_type": "eps"}, "mean_type: expected 'x0' with sr_init: spectral, got"),
        ("LDiffRec", {"mean_type": "eps"}, "mean_type: expected 'x0' with sr_init: spectral, got"),
        ("NAIS", {"pretrain_path": "fism.pth"}, "pretrain_path: expected None with sr_init: spec"),
        ("RaCT", {"train_stage": "finetune"}, "train_stage: expected 'actor_pretrain' with"),
        ("CDAE", {"embedding_size": 1}, "hidden layers of 2 units or more.*got 1;"),
        ("DiffRec", {"dims_dnn": []}, "hidden layers of 1 units or more.*got no hidden layer;"),
    ],
)
def test_layers_that_cannot_hold_a_direction_are_refused(
    name, settings, sentence, tiny, experiment
):
    with pytest.raises(InputError, match=sentence):
        experiment(name, "tiny", **{**settings_of(name, tiny), **settings, **SPECTRAL})
