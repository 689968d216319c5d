from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_sr.rank_control import MAX_WEIGHT, RankControl
from recbole_sr.spectral import stable_rank

LINE = torch.ones(5, 8)  # stable rank 1
AXES = torch.eye(8)  # stable rank 8


def test_the_multiplier_is_the_sum_of_steps_by_the_gap_to_the_target():
    control = RankControl({"user": 4.0}, step=0.1)
    expected = 0.0
    for rank, rows in [(1, LINE), (8, AXES), (1, LINE), (2, AXES[:2])]:
        gap = math.log(4) - math.log(rank)
        penalty = control.penalty({"user": [rows]})
        assert penalty.item() == pytest.approx(-max(expected + gap, 0) * math.log(rank), abs=1e-6)
        expected = max(expected + 0.1 * gap, 0)
        assert control.weights["user"] == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.sampled_from([LINE, AXES]), max_size=30), st.floats(1e-3, 10))
def test_the_weight_is_bounded(batches, step):
    control = RankControl({"user": 3.0}, step)
    for rows in batches:
        control.penalty({"user": [rows]})
        assert 0 <= control.weights["user"] <= MAX_WEIGHT


def test_each_side_has_its_own_target_and_weight():
    control = RankControl({"user": 2.0, "item": 4.0}, step=1.0)
    control.penalty({"user": [LINE], "item": [LINE]})
    assert control.weights["user"] == pytest.approx(math.log(2), rel=1e-5)
    assert control.weights["item"] == pytest.approx(math.log(4), rel=1e-5)


def test_a_side_without_a_target_or_without_rows_is_left_alone():
    control = RankControl({"item": 4.0}, step=1.0)
    assert control.penalty({"user": [LINE]}).item() == 0
    assert control.weights == {"item": 0.0}


def test_the_weight_is_not_differentiated():
    control = RankControl({"user": 4.0}, step=1.0)
    control.penalty({"user": [LINE]})
    x = torch.randn(9, 8, dtype=torch.float64, requires_grad=True)
    multiplier = control.weights["user"]
    control.penalty({"user": [x]}).backward()
    plain = x.detach().clone().requires_grad_()
    log_rank = stable_rank(torch.nn.functional.normalize(plain)).log()
    weight = (multiplier + math.log(4) - log_rank.detach()).clamp_min(0)
    assert weight > 0
    (-weight * log_rank).backward()
    torch.testing.assert_close(x.grad, plain.grad)


def test_continues_from_its_saved_state():
    first, second = RankControl({"user": 4.0}), RankControl({"user": 4.0})
    first.penalty({"user": [LINE]})
    second.load_state_dict(first.state_dict())
    for control in (first, second):
        control.penalty({"user": [LINE]})
    assert second.state_dict() == pytest.approx(first.state_dict())
    assert all(type(weight) is float for weight in second.state_dict().values())
