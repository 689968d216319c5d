from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import stable_rank_reference

from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.rank_target import MAX_WEIGHT, RankTarget, log_stable_rank
from recbole_sr.objectives.stable_rank import stable_rank

LINE = torch.ones(5, 8)  # stable rank 1
AXES = torch.eye(8)  # stable rank 8


def step(target, **rows):
    """The penalty of a batch, after which the multipliers are adapted, as a phase does it."""
    log_ranks = target.log_ranks({side: [x] for side, x in rows.items()})
    penalty = target.penalty(log_ranks)
    target.adapt(log_ranks)
    return penalty


def test_the_logarithm_of_the_stable_rank_is_that_of_the_unit_rows():
    x = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    unit = torch.stack([row / row.norm() for row in x])
    torch.testing.assert_close(log_stable_rank(x), stable_rank_reference(unit).log())
    assert log_stable_rank(LINE).item() == pytest.approx(0, abs=1e-6)
    assert log_stable_rank(AXES).item() == pytest.approx(math.log(8), abs=1e-6)


def test_the_multiplier_is_the_sum_of_steps_by_the_gap_to_the_target():
    target = RankTarget({"user": 4.0}, step=0.1)
    expected = 0.0
    for rank, rows in [(1, LINE), (8, AXES), (1, LINE), (2, AXES[:2])]:
        gap = math.log(4) - math.log(rank)
        penalty = step(target, user=rows)
        assert penalty.item() == pytest.approx(-max(expected + gap, 0) * math.log(rank), abs=1e-6)
        expected = max(expected + 0.1 * gap, 0)
        assert target.weights["user"] == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.sampled_from([LINE, AXES]), max_size=30), st.floats(1e-3, 10))
def test_the_weight_is_bounded(batches, speed):
    target = RankTarget({"user": 3.0}, speed)
    for rows in batches:
        step(target, user=rows)
        assert 0 <= target.weights["user"] <= MAX_WEIGHT


def test_a_target_out_of_reach_stops_the_multiplier_and_the_penalty_at_the_maximum():
    assert MAX_WEIGHT == 10
    target, rows = RankTarget({"user": 7.0}, step=1.0), AXES[:2]
    log_ranks = target.log_ranks({"user": [rows]})
    weights = []
    for _ in range(100):
        target.adapt(log_ranks)
        weights.append(target.weights["user"])
    assert weights == sorted(weights)
    assert weights[-1] == MAX_WEIGHT
    # The gap is added to the multiplier before the maximum is taken.
    assert target.penalty(log_ranks).item() == pytest.approx(-MAX_WEIGHT * math.log(2), rel=1e-5)


def test_the_penalty_and_the_ranks_change_nothing():
    target, rows = RankTarget({"user": 4.0, "item": 3.0}, step=1.0), {"user": [LINE]}
    rows["item"] = [AXES[:2]]
    target.adapt(target.log_ranks(rows))
    weights = target.weights
    penalties = [target.penalty(target.log_ranks(rows)) for _ in range(2)]
    assert torch.equal(*penalties)
    assert penalties[0] < 0
    assert target.weights == weights


def test_a_phase_adapts_the_multipliers_once_a_batch():
    target = RankTarget({"user": 4.0}, step=0.1)
    phase = Phase("main", rank_target=target)
    gap = math.log(4) - math.log(2)
    for batches in range(1, 4):
        phase.penalty({"user": [AXES[:2]], "item": [LINE]})
        assert target.weights["user"] == pytest.approx(0.1 * gap * batches, rel=1e-5)


def test_a_phase_takes_the_penalty_before_it_adapts():
    target, twin = RankTarget({"user": 4.0}, step=1.0), RankTarget({"user": 4.0}, step=1.0)
    expected = twin.penalty(twin.log_ranks({"user": [AXES[:2]]}))
    penalty = Phase("main", rank_target=target).penalty({"user": [AXES[:2]]})
    torch.testing.assert_close(penalty, expected)


def test_of_several_matrices_of_a_side_the_mean_of_the_logarithms_counts():
    log_ranks = RankTarget({"user": 4.0}).log_ranks({"user": [AXES, LINE], "item": [LINE]})
    assert log_ranks.keys() == {"user"}
    assert log_ranks["user"].item() == pytest.approx(math.log(8) / 2, rel=1e-5)


def test_each_side_has_its_own_target_and_weight():
    target = RankTarget({"user": 2.0, "item": 4.0}, step=1.0)
    step(target, user=LINE, item=LINE)
    assert target.weights["user"] == pytest.approx(math.log(2), rel=1e-5)
    assert target.weights["item"] == pytest.approx(math.log(4), rel=1e-5)


def test_a_side_without_a_target_or_without_rows_is_left_alone():
    target = RankTarget({"item": 4.0}, step=1.0)
    assert step(target, user=LINE) == 0
    assert target.weights == {"item": 0.0}
    assert Phase("main", rank_target=target).penalty({"user": [LINE]}).item() == 0


def test_the_weight_is_not_differentiated():
    target = RankTarget({"user": 4.0}, step=1.0)
    step(target, user=LINE)
    x = torch.randn(9, 8, dtype=torch.float64, requires_grad=True)
    multiplier = target.weights["user"]
    step(target, user=x).backward()
    plain = x.detach().clone().requires_grad_()
    log_rank = stable_rank(torch.nn.functional.normalize(plain)).log()
    weight = (multiplier + math.log(4) - log_rank.detach()).clamp_min(0)
    assert weight > 0
    (-weight * log_rank).backward()
    torch.testing.assert_close(x.grad, plain.grad)


def test_continues_from_its_saved_state():
    first, second = RankTarget({"user": 4.0}), RankTarget({"user": 4.0})
    step(first, user=LINE)
    second.load_state_dict(first.state_dict())
    for target in (first, second):
        step(target, user=LINE)
    assert second.state_dict() == pytest.approx(first.state_dict())
    assert all(type(weight) is float for weight in second.state_dict().values())
