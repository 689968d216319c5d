"""A graph convolution that begins as tables of singular vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contract import rank_of_test_items, settings_of, without_and_with

from recbole_sr.errors import InputError
from recbole_sr.init.convolution import fill_convolution
from recbole_sr.init.svd import factorize, normalized_graph
from recbole_sr.init.tables import Convolution

USERS, ITEMS = 30, 20
SPECTRAL = {"sr_init": "spectral", "sr_init_margin": 0.5}


def random_graph(degree_power):
    draw = np.random.default_rng(0)
    places = draw.integers(USERS, size=200), draw.integers(ITEMS, size=200)
    return normalized_graph(*places, (USERS, ITEMS), degree_power)


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("degree_power", [0.25, 0.5])
@pytest.mark.parametrize(("width", "size"), [(8, 4), (9, 6), (60, 20), (100, 3)])
def test_a_convolution_scores_as_the_singular_vectors(width, size, degree_power, power):
    graph = random_graph(degree_power)
    noise = torch.Generator().manual_seed(0)
    shapes = (USERS + ITEMS + 2, width), (size, width), (size, size), (2, 3)
    table, layer, bilinear, logits = (torch.randn(each, generator=noise) for each in shapes)
    before = table.clone(), layer.clone()
    places = slice(1, USERS + 1), slice(USERS + 2, USERS + ITEMS + 2)
    convolution = Convolution(table, *places, layer, bilinear, logits)
    factors = factorize(graph, ITEMS, seed=0)
    fill_convolution(convolution, factors, graph, degree_power, power, margin=2.0)

    rank = min(width // 2, size, int((factors.values > 0).sum()))
    used = 2 * rank
    assert torch.equal(table[:, used:], before[0][:, used:])
    assert torch.equal(layer[:, used:], before[1][:, used:])
    assert torch.equal(table[[0, USERS + 1]], before[0][[0, USERS + 1]])  # padding

    matrix = graph.toarray().astype(float)
    pairs = (matrix > 0).astype(float)
    degrees = [pairs.sum(axis).clip(1) for axis in (1, 0)]
    averaging = torch.from_numpy(pairs / np.sqrt(np.outer(*degrees))).float()
    user, item = (
        (rows @ table[place, :used]).relu() @ layer[:, :used].T @ matrix_between
        for rows, place, matrix_between in (
            (averaging, places[1], bilinear),
            (averaging.T, places[0], torch.eye(size)),
        )
    )
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    scores = left[:, :rank] * values[:rank] ** (2 * power) @ right[:rank]
    scores *= np.outer(*(each ** (degree_power - 0.5) for each in degrees))
    leads = (scores - scores.mean(1, keepdims=True))[pairs > 0].mean()
    no, yes = (logits[:, 0].view(2, 1, 1) * (user @ item.T)).numpy()
    assert np.allclose(yes - no, scores * 2 / leads, rtol=1e-3, atol=1e-3)
    assert not logits[:, 1:].any()  # what other matrices say
    norms = [torch.linalg.norm(side).item() for side in (user, item)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


@pytest.mark.parametrize("accum", ["stack", "sum"])
def test_gcmc_ranks_before_any_training(accum, tiny, experiment):
    plain, made = without_and_with({**SPECTRAL, "accum": accum}, "GCMC", tiny, experiment)
    assert rank_of_test_items(made) > max(0.6, rank_of_test_items(plain))  # 0.5 is chance


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"class_num": 3}, "class_num: expected 2 with sr_init: spectral, got 3"),
        ({"gcn_output_dim": 1}, "hidden layers of 2 units or more.*got 1;"),
    ],
)
def test_a_convolution_that_cannot_hold_a_direction_is_refused(
    settings, sentence, tiny, experiment
):
    with pytest.raises(InputError, match=sentence):
        experiment("GCMC", "tiny", **{**settings_of("GCMC", tiny), **settings, **SPECTRAL})
