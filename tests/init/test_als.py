"""Alternating least squares: its mathematics, and the initialisation that it refines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_sr.init.als import refine, solve_rows
from recbole_sr.init.svd import factorize, normalized_graph

SHAPE, WIDTH = (60, 40), 8


def graph(shape=SHAPE, count=500, seed=0):
    draw = np.random.default_rng(seed)
    return normalized_graph(*(draw.integers(n, size=count) for n in shape), shape, 0.25)


def penalties(pairs, unobserved, shrinkage):
    """Of each user."""
    degrees = np.asarray(pairs.sum(1)).ravel()
    return shrinkage * np.sqrt(degrees + unobserved * pairs.shape[1])


def objective(pairs, user, item, unobserved, shrinkage):
    """The sum of squares by its definition, every pair one by one."""
    scores = user.astype(float) @ item.astype(float).T
    errors = np.where(pairs.toarray() > 0, (1 - scores) ** 2, 0) + unobserved * scores**2
    rows = (
        (penalties(some, unobserved, shrinkage) * np.square(table).sum(1)).sum()
        for some, table in ((pairs, user), (pairs.T, item))
    )
    return errors.sum() + sum(rows)


@pytest.mark.parametrize("alike", [False, True])  # all columns, so that the rank is one
@pytest.mark.parametrize("width", [3, 16, 40])  # above, among and below the degrees
def test_rows_are_those_of_the_normal_equations_one_by_one(width, alike):
    pairs = graph().sign().tocsr()
    others = np.random.default_rng(1).normal(size=(SHAPE[1], width)).astype(np.float32)
    if alike:
        others[:] = others[:, :1]
    found = solve_rows(pairs, others, unobserved=0.1, shrinkage=0.5)
    for user, penalty in enumerate(penalties(pairs, 0.1, 0.5)):
        seen = others[pairs[user].indices].astype(float)
        system = seen.T @ seen + 0.1 * others.T @ others + penalty * np.eye(width)
        np.testing.assert_allclose(found[user], np.linalg.solve(system, seen.sum(0)), atol=1e-5)


def test_many_rows_are_solved_a_few_at_a_time(monkeypatch):
    pairs, draw = graph().sign().tocsr(), np.random.default_rng(1)
    others = draw.normal(size=(SHAPE[1], WIDTH)).astype(np.float32)
    whole = solve_rows(pairs, others, 0.1, 0.5)
    monkeypatch.setattr("recbole_sr.init.als._CHUNK", 1)
    np.testing.assert_allclose(solve_rows(pairs, others, 0.1, 0.5), whole, atol=1e-6)


def test_rows_without_pairs_are_zero():
    pairs = scipy.sparse.csr_matrix(np.array([[1, 0], [0, 0], [1, 1]], dtype=np.float32))
    found = solve_rows(pairs, np.eye(2, dtype=np.float32), 0.1, 0.1)
    assert found.any(1).tolist() == [True, False, True]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 12), st.floats(0.01, 1), st.floats(0.01, 1))
def test_no_other_rows_have_a_smaller_sum_of_squares(seed, width, unobserved, shrinkage):
    pairs, draw = graph(seed=seed).sign().tocsr(), np.random.default_rng(seed)
    item = draw.normal(size=(SHAPE[1], width)).astype(np.float32)
    user = solve_rows(pairs, item, unobserved, shrinkage)
    least = objective(pairs, user, item, unobserved, shrinkage)
    for size in (0.01, 0.3):
        other = user + size * draw.normal(size=user.shape)
        assert objective(pairs, other, item, unobserved, shrinkage) >= least * (1 - 1e-5)


def test_every_sweep_lowers_the_sum_of_squares_that_it_is_of():
    matrix = graph()
    pairs, start = matrix.sign().tocsr(), factorize(matrix, WIDTH, seed=0)
    unobserved = math.sqrt(pairs.nnz / math.prod(SHAPE))
    # The shrinkage, by its definition: of rows of equal size whose pairs score 1 on average.
    scores = (start.user * start.values) @ start.item.T
    share = start.values.sum() / math.sqrt(math.prod(SHAPE)) / scores[pairs.nonzero()].mean()
    fitted = [refine(start, matrix, iterations) for iterations in (1, 2, 3, 10)]
    sums = [
        objective(pairs, one.user * one.values, one.item * one.values, unobserved, 0.15 * share)
        for one in fitted
    ]
    # Of the rows as factors hold them, both sides alike, which moves the penalty a little.
    assert sums[0] > sums[1] > sums[2] > sums[3]


def test_factors_stay_factors():
    matrix = graph((60, 40))
    fitted = refine(factorize(matrix, WIDTH, seed=0), matrix, 2)
    for vectors in (fitted.user, fitted.item):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(WIDTH), atol=1e-5)
    assert (np.diff(fitted.values) <= 0).all()
    assert fitted.values.dtype == np.float32
    assert (fitted.values > 0).all()


def test_users_and_items_without_pairs_keep_rows_of_zeros():
    draw = np.random.default_rng(0)
    matrix = normalized_graph(draw.integers(1, 60, 400), draw.integers(2, 40, 400), SHAPE, 0.25)
    fitted = refine(factorize(matrix, WIDTH, seed=0), matrix, 2)
    assert not fitted.user[:1].any()
    assert not fitted.item[:2].any()
    assert fitted.user[1:].any(1).all()


def test_pairs_score_far_above_the_others_which_score_zero():
    """Two groups of users, each with items of its own: rank two tells all there is."""
    blocks = np.kron(np.eye(2), np.ones((10, 8)))
    matrix = normalized_graph(*blocks.nonzero(), blocks.shape, 0.25)
    fitted = refine(factorize(matrix, 2, seed=0), matrix, 5)
    scores = fitted.user * fitted.values**2 @ fitted.item.T
    assert scores[blocks == 1].min() > 0.4
    assert np.abs(scores[blocks == 0]).max() < 1e-4


@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize(("name", "error"), [("BPR", 1e-4), ("LightGCN", 0.1)])
def test_a_model_begins_with_the_rows_fitted_at_its_margin(
    name, error, iterations, tiny, experiment
):
    made = experiment(name, "tiny", **tiny, sr_init="spectral", sr_init_als_iterations=iterations)
    training = made.train_data._dataset.inter_feat
    users, items = (training[field].numpy() - 1 for field in ("user_id", "item_id"))
    shape = (made.dataset.user_num - 1, made.dataset.item_num - 1)
    matrix = normalized_graph(users, items, shape, 0.25)
    fitted = refine(
        factorize(matrix, made.config["embedding_size"], made.config["seed"]), matrix, iterations
    )
    wanted = torch.from_numpy(fitted.user * fitted.values**2 @ fitted.item.T)
    (user,), (item,) = made.model.sr_tables().values()
    scores = (user @ item.T).detach()
    assert (scores / scores.norm() - wanted / wanted.norm()).norm() < error
    leads = scores[users, items] - scores[users].mean(1)
    assert leads.mean().item() == pytest.approx(2, rel=error)
