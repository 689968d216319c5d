from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.rank_target import RankTarget
from recbole_sr.objectives.schedule import Schedule


def schedule(warm_epochs=60, **settings):
    return Schedule(Phase("warm"), Phase("main"), warm_epochs=warm_epochs, **settings)


def run(machine, scores):
    names = []
    for epoch, score in enumerate(scores):
        names.append(machine.begin_epoch(epoch).name)
        machine.observe(score)
    return names


@given(st.integers(0, 8), st.integers(1, 12))
def test_epochs_means_exactly_that_many_warm_epochs(warm_epochs, epochs):
    machine = schedule(warm_epochs=warm_epochs)
    names = run(machine, [0.0] * epochs)
    assert names.count("warm") == min(warm_epochs, epochs)
    assert names == sorted(names, reverse=True)  # warm first, then main, never back
    switched = 0 < warm_epochs < epochs
    assert machine.switch_epoch == (warm_epochs if switched else None)


def test_metric_switches_after_that_many_evaluations_without_a_better_score():
    machine = schedule(switch="metric", patience=2)
    names = run(machine, [0.1, 0.3, 0.2, 0.3, 0.9, 0.9])
    assert names == ["warm"] * 4 + ["main"] * 2
    assert machine.switch_epoch == 4


@given(st.integers(1, 8), st.integers(1, 4), st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_metric_ends_the_warm_phase_no_later_than_epochs_do(warm_epochs, patience, scores):
    machine = schedule(switch="metric", warm_epochs=warm_epochs, patience=patience)
    names = run(machine, scores)
    assert names == sorted(names, reverse=True)
    assert names.count("warm") <= warm_epochs


def test_metric_waits_for_the_last_warm_epoch_while_scores_improve():
    names = run(schedule(switch="metric", patience=1, warm_epochs=5), range(8))
    assert names == ["warm"] * 5 + ["main"] * 3


def test_a_better_score_starts_the_patience_anew():
    names = run(schedule(switch="metric", patience=2), [3, 2, 4, 3, 3, 0])
    assert names == ["warm"] * 5 + ["main"]


def test_smaller_can_be_better():
    machine = schedule(switch="metric", patience=1, bigger=False)
    assert run(machine, [3.0, 2.0, 2.5, 0.0]) == ["warm", "warm", "warm", "main"]


def test_nan_is_never_better():
    names = run(schedule(switch="metric", patience=2), [0.1, math.nan, math.nan, 0.0])
    assert names == ["warm"] * 3 + ["main"]
    names = run(schedule(switch="metric", patience=2), [math.nan, 0.1, 0.0, 0.0, 0.0])
    assert names == ["warm"] * 4 + ["main"]


def test_the_weights_that_hold_a_rank_are_part_of_the_state():
    def machine():
        target = RankTarget({"user": 4.0})
        return Schedule(Phase("warm", rank_target=target), Phase("main", rank_target=target))

    first, second = machine(), machine()
    first.warm.penalty({"user": [torch.ones(5, 8)]})
    state = json.loads(json.dumps(first.state_dict()))
    assert state["rank_weights"] == first.main.rank_target.weights
    second.load_state_dict(state)
    assert second.main.rank_target.weights == first.main.rank_target.weights != {"user": 0.0}


def test_without_a_target_there_are_no_weights_in_the_state():
    assert schedule().state_dict()["rank_weights"] is None


@pytest.mark.parametrize("switch", ["epochs", "metric"])
def test_zero_warm_epochs_means_no_warm_phase(switch):
    machine = schedule(switch=switch, warm_epochs=0)
    assert run(machine, [1, 0, 0]) == ["main"] * 3
    assert machine.switch_epoch is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.data())
def test_continues_from_its_saved_state(scores, data):
    cut = data.draw(st.integers(1, len(scores) - 1))
    whole = schedule(switch="metric", patience=2)
    expected = run(whole, scores)
    first = schedule(switch="metric", patience=2)
    names = run(first, scores[:cut])
    second = schedule(switch="metric", patience=2)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for epoch in range(cut, len(scores)):
        names.append(second.begin_epoch(epoch).name)
        second.observe(scores[epoch])
    assert names == expected
    assert second.state_dict() == whole.state_dict()
