"""Narrow tables are advised where users are of a few kinds, and nowhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from recbole_sr import prepare
from recbole_sr.serve import width
from recbole_sr.serve.width import narrow_width


def of_kinds(kinds, users=1000, items=240, seed=0):
    """Pairs of users and items of a few kinds, four of five within a kind."""
    draw = np.random.default_rng(seed)
    is_own_kind = np.arange(users)[:, None] % kinds == np.arange(items) % kinds
    return np.argwhere(draw.random((users, items)) < 0.02 + 0.2 * is_own_kind).T


def of_many_directions(users=1000, items=240, seed=0):
    """Pairs by the distance on a circle: each part of it is a direction."""
    draw = np.random.default_rng(seed)
    apart = np.abs(np.arange(users)[:, None] / users - np.arange(items) / items)
    near = np.minimum(apart, 1 - apart) < 0.02
    return np.argwhere(draw.random((users, items)) < 0.7 * near).T


@pytest.mark.parametrize("seed", range(3))
def test_users_of_a_few_kinds_need_narrow_tables(seed):
    assert narrow_width(*of_kinds(8, seed=seed)) == 8


@pytest.mark.parametrize("seed", range(3))
def test_others_do_not(seed):
    assert narrow_width(*of_many_directions(seed=seed)) is None


def test_of_few_interactions_or_items_nothing_is_said():
    users, items = of_kinds(8)
    assert narrow_width(users[:900], items[:900]) is None
    assert narrow_width(users, items % 60) is None


def test_the_score_is_ndcg(monkeypatch):
    monkeypatch.setattr(width, "_TOP", 5)
    draw = np.random.default_rng(0)
    scores, wanted = draw.random((30, 12)), draw.random((30, 12)) < 0.3
    wanted[:, 0] = True
    expected = [ndcg_score([w], [s], k=5) for w, s in zip(wanted, scores, strict=True)]
    np.testing.assert_allclose(width._ndcg(scores, wanted), expected)


def test_prepare_prints_a_command_of_that_width(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(of_kinds(8).T, columns=["who", "what"])
    done = prepare(frame, "shop", user="who", item="what")
    assert done.width == 8
    assert f"{done.command} --embedding_size=8" in str(done).splitlines()[-3]
    frame = pd.DataFrame(of_many_directions().T, columns=["who", "what"])
    assert "--embedding_size" not in str(prepare(frame, "other", user="who", item="what"))
