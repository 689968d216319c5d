"""Two towers of layers that begin as tables of singular vectors."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from contract import all_scores, rank_of_test_items, settings_of, without_and_with

from recbole_sr.errors import InputError
from recbole_sr.init.svd import factorize, normalized_graph
from recbole_sr.init.tables import Towers
from recbole_sr.init.towers import fill_towers

USERS, ITEMS = 30, 20
SPECTRAL = {"sr_init": "spectral"}


def filled(widths, power, degree_power=0.25):
    """The towers' outputs after filling, and what they stand for by definition."""
    draw = np.random.default_rng(0)
    graph = normalized_graph(
        draw.integers(USERS, size=200), draw.integers(ITEMS, size=200), (USERS, ITEMS), degree_power
    )
    noise = torch.Generator().manual_seed(0)
    towers = [
        [0.1 * torch.randn(b, a, generator=noise) for a, b in pairwise([size + 1, *widths])]
        for size in (ITEMS, USERS)
    ]
    before = [[layer.clone() for layer in tower] for tower in towers]
    places = slice(1, USERS + 1), slice(1, ITEMS + 1)
    factors = factorize(graph, ITEMS, seed=0)
    fill_towers(Towers(*towers, *places), factors, graph, degree_power, power, margin=2.0)
    matrix = graph.toarray().astype(float)
    pairs = (matrix > 0).astype(float)
    rank = min(min(widths) // 2, int((factors.values > 0).sum()))
    for own, layer in zip(chain(*before), chain(*towers), strict=True):
        assert torch.equal(layer[2 * rank :], own[2 * rank :])  # units beyond keep their weights
    found = []
    for rows, tower in zip((pairs, pairs.T), towers, strict=True):
        x = torch.from_numpy(np.pad(rows, ((0, 0), (1, 0)))).float()  # column 0 is padding
        for layer in tower:
            x = (x @ layer.T).relu()
        found.append(x[:, : 2 * rank].double().numpy())
    user, values, item = np.linalg.svd(matrix, full_matrices=False)
    weights = values[:rank] ** (power - 1)
    degrees = [pairs.sum(axis).clip(1)[:, None] ** degree_power for axis in (0, 1)]
    wanted = [
        pairs @ (item[:rank].T * weights / degrees[0]),
        pairs.T @ (user[:, :rank] * weights / degrees[1]),
    ]
    return found, wanted, pairs


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("widths", [[8], [8, 12], [32, 8, 24]])
def test_towers_return_both_signs_of_the_singular_directions(widths, power):
    found, wanted, pairs = filled(widths, power)
    scores = sum(  # pairs of one sign in a direction, one direction after the other
        np.outer(np.clip(sign * x, 0, None), np.clip(sign * y, 0, None))
        for x, y in zip(*(side.T for side in wanted), strict=True)
        for sign in (1, -1)
    )
    leads = (scores - scores.mean(1, keepdims=True))[pairs > 0].mean()
    assert np.allclose(found[0] @ found[1].T, scores * 2 / leads, rtol=1e-3, atol=1e-4)
    norms = [np.linalg.norm(side) for side in found]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_dmf_ranks_before_any_training(tiny, experiment):
    plain, made = without_and_with(SPECTRAL, "DMF", tiny, experiment)
    assert rank_of_test_items(made) > max(0.6, rank_of_test_items(plain))  # 0.5 is chance
    training = made.train_data._dataset.inter_feat
    scores = all_scores(made).double().logit()  # the model returns probabilities
    user, item = (training[field] - 1 for field in ("user_id", "item_id"))
    leads = scores[user, item] - scores[user].mean(1)
    assert leads.mean().item() == pytest.approx(made.config.options.sr_init_margin, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"inter_matrix_type": "rating"}, "inter_matrix_type: expected '01' with sr_init: spec"),
        ({"user_embedding_size": 1}, "hidden layers of 2 units or more.*got 1;"),
        ({"item_hidden_size_list": [1], "user_hidden_size_list": [1]}, "of 2 units.*got 1;"),
    ],
)
def test_towers_that_cannot_hold_a_direction_are_refused(settings, sentence, tiny, experiment):
    given = {**settings_of("DMF", tiny), "load_col": None, **settings, **SPECTRAL}
    with pytest.raises(InputError, match=sentence):
        experiment("DMF", "tiny", **given)
