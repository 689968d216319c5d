from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from recbole_sr.study.statistics import holm, paired

scores = st.lists(st.floats(0, 1), min_size=2, max_size=12)


def test_three_pairs_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3), 2 degrees of freedom.
    result = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (result.n, result.difference, result.effect_size) == (3, 2.0, 2.0)
    assert result.p_value == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), 2))
    assert result.low == pytest.approx(2 - 4.302653 / math.sqrt(3), rel=1e-5)
    assert result.high == pytest.approx(2 + 4.302653 / math.sqrt(3), rel=1e-5)


@given(scores, st.randoms(use_true_random=False))
def test_the_interval_leaves_out_zero_just_when_p_is_below_five_per_cent(ours, random):
    theirs = [random.random() for _ in ours]
    result = paired(ours, theirs)
    assume(result.p_value is not None)
    assert 0 <= result.p_value <= 1
    assert result.low <= result.difference <= result.high
    if abs(result.p_value - 0.05) > 1e-6:
        assert (result.low > 0 or result.high < 0) == (result.p_value < 0.05)


@given(scores)
def test_exchanging_the_sides_turns_the_sign(ours):
    theirs = list(np.linspace(0, 1, len(ours)))
    one, other = paired(ours, theirs), paired(theirs, ours)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value


def test_equal_scores_show_nothing():
    result = paired([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert (result.difference, result.p_value, result.effect_size) == (0, 1.0, 0.0)


def test_scores_that_differ_by_rounding_alone_show_nothing():
    result = paired([1e-38, 0.5], [0.0, 0.5])
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1.0)


def test_equal_differences_have_no_test():
    result = paired([0.2, 0.3, 0.4], [0.1, 0.2, 0.3])
    assert result.difference == pytest.approx(0.1)
    assert result.p_value is None
    assert result.effect_size is None


def test_one_pair_has_no_test():
    assert paired([0.2], [0.1]).p_value is None


def test_holm_by_hand():
    # Ordered 0.01, 0.02, 0.03 and 0.04: times 4, 3, 2, 1, never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_only_raises_keeps_the_order_and_never_exceeds_bonferroni(p_values):
    corrected = holm(p_values)
    for p, c in zip(p_values, corrected, strict=True):
        assert p <= c <= min(1, p * len(p_values))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()
