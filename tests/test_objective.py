from __future__ import annotations

import math

import pytest
import torch

from recbole_sr.losses import bpr
from recbole_sr.objective import Phase
from recbole_sr.rank_control import RankControl
from recbole_sr.regularizers import effective_rank, negative_stable_rank, uniformity


def test_penalty_is_the_weighted_mean_over_the_sides():
    users, items = torch.randn(9, 4), torch.randn(5, 4)
    phase = Phase("warm", {"stable_rank": 0.6})
    expected = 0.6 * (negative_stable_rank(users) + negative_stable_rank(items)) / 2
    torch.testing.assert_close(phase.penalty({"user": [users], "item": [items]}), expected)
    one_side = phase.penalty({"item": [items]})
    torch.testing.assert_close(one_side, 0.6 * negative_stable_rank(items))


def test_penalties_add_up():
    x = torch.randn(9, 4)
    control = RankControl({"item": 3.0}, step=1.0)
    control.load_state_dict({"item": 0.5})
    phase = Phase("main", {"effective_rank": 0.2, "uniformity": 0.3}, control=control)
    log_rank = (-4 * negative_stable_rank(x)).log()
    expected = 0.2 * effective_rank(x) + 0.3 * uniformity(x)
    expected -= (0.5 + math.log(3) - log_rank).clamp_min(0) * log_rank
    torch.testing.assert_close(phase.penalty({"item": [x]}), expected)


def test_a_phase_without_weights_loss_or_control_is_not_active():
    assert not Phase("main").active
    assert not Phase("main", {"stable_rank": 0.0}).active
    assert Phase("main", {"stable_rank": 1e-9}).active
    assert not Phase("main", {"alignment": 0.0}).active
    assert Phase("main", {"alignment": 1e-9}).active
    assert not Phase("main", {"alignment": 1e-9}).regularizes  # it reads pairs, no side's rows
    assert Phase("main", loss=bpr).active
    assert not Phase("main", loss=bpr).regularizes
    assert Phase("main", control=RankControl({"user": 2.0})).regularizes


def test_uniformity_of_some_rows_is_that_of_rows_drawn_by_torch():
    x = torch.randn(50, 4)
    phase = Phase("main", {"uniformity": 1.0}, uniformity_rows=10)
    torch.manual_seed(0)
    value = phase.penalty({"user": [x]})
    torch.manual_seed(0)
    torch.testing.assert_close(value, uniformity(x[torch.randperm(50)[:10]]))
    assert not torch.equal(phase.penalty({"user": [x]}), value)  # others the next time


def test_rows_drawn_before_or_after_they_are_looked_up_are_the_same():
    table, ids = torch.randn(50, 4), torch.randperm(50)[:30]
    phase = Phase("main", {"uniformity": 1.0}, uniformity_rows=10)
    torch.manual_seed(0)
    after = phase.penalty({"user": [table[ids]]})
    torch.manual_seed(0)
    drawn = phase.sample(ids)
    assert len(drawn) == 10
    assert torch.equal(phase.penalty({"user": [table[drawn]]}), after)


def test_alignment_leaves_rows_and_penalty_to_uniformity():
    x, ids = torch.randn(50, 4), torch.arange(50)
    both = Phase("main", {"alignment": 0.5, "uniformity": 1.0}, uniformity_rows=10)
    alone = Phase("main", {"uniformity": 1.0}, uniformity_rows=10)
    drawn, penalties = [], []
    for phase in (both, alone):
        torch.manual_seed(0)
        drawn.append(phase.sample(ids))
        penalties.append(phase.penalty({"user": [x]}))
    assert both.alignment == 0.5
    assert len(drawn[0]) == 10
    assert torch.equal(*drawn)
    assert torch.equal(*penalties)


@pytest.mark.parametrize(
    "phase",
    [
        Phase("main", {"uniformity": 1.0}),
        Phase("main", {"uniformity": 1.0, "stable_rank": 0.1}, uniformity_rows=10),
        Phase("main", control=RankControl({"user": 2.0}), uniformity_rows=10),
        Phase("main", {"uniformity": 1.0}, uniformity_rows=30),
    ],
)
def test_no_rows_are_drawn_where_a_penalty_wants_all(phase):
    ids, before = torch.arange(30), torch.get_rng_state()
    assert torch.equal(phase.sample(ids), ids)
    assert torch.equal(torch.get_rng_state(), before)


def test_uniformity_of_some_rows_comes_near_that_of_all():
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    phase = Phase("main", {"uniformity": 1.0}, uniformity_rows=1000)
    assert phase.penalty({"user": [x]}).item() == pytest.approx(uniformity(x).item(), abs=0.05)


@pytest.mark.parametrize(
    "phase",
    [
        Phase("main", {"uniformity": 1.0}),
        Phase("main", {"uniformity": 1.0}, uniformity_rows=50),
        Phase("main", {"stable_rank": 1.0}, uniformity_rows=10),
    ],
    ids=["all rows", "no more than there are", "no uniformity"],
)
def test_no_random_number_is_drawn_without_need(phase):
    before = torch.get_rng_state()
    phase.penalty({"user": [torch.ones(50, 4)]})
    assert torch.equal(torch.get_rng_state(), before)
