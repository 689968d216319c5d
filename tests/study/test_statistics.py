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
    result = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], 0)
    assert (result.n, result.difference, result.effect_size) == (3, 2.0, 2.0)
    assert result.p_value == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), 2))
    assert result.low == pytest.approx(2 - 4.302653 / math.sqrt(3), rel=1e-5)
    assert result.high == pytest.approx(2 + 4.302653 / math.sqrt(3), rel=1e-5)


@given(scores, st.randoms(use_true_random=False))
def test_the_interval_leaves_out_zero_just_when_p_is_below_five_per_cent(ours, random):
    theirs = [random.random() for _ in ours]
    result = paired(ours, theirs, ratio=random.random())
    assume(result.p_value is not None)
    assert 0 <= result.p_value <= 1
    assert result.low <= result.difference <= result.high
    if abs(result.p_value - 0.05) > 1e-6:
        assert (result.low > 0 or result.high < 0) == (result.p_value < 0.05)


@given(scores, st.floats(0, 2), st.randoms(use_true_random=False))
def test_the_corrected_test_is_that_of_the_formula(ours, ratio, random):
    """A slow reference: the density of Student's t, summed over a fine grid."""
    theirs = [random.random() for _ in ours]
    result, plain = paired(ours, theirs, ratio), paired(ours, theirs, 0)
    assume(result.p_value is not None and result.effect_size)
    n = len(ours)
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    mean = sum(differences) / n
    variance = sum((one - mean) ** 2 for one in differences) / (n - 1)
    t = abs(mean) / math.sqrt((1 / n + ratio) * variance)
    assume(t < 100)
    x = np.linspace(-t, t, 20_001)
    constant = math.gamma(n / 2) / (math.sqrt((n - 1) * math.pi) * math.gamma((n - 1) / 2))
    inside = np.trapezoid if hasattr(np, "trapezoid") else np.trapz
    assert result.p_value == pytest.approx(
        1 - inside(constant * (1 + x**2 / (n - 1)) ** (-n / 2), x), abs=1e-4
    )
    assert result.effect_size == plain.effect_size
    assert plain.p_value == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert result.p_value >= plain.p_value
    assert result.high - result.low == pytest.approx(
        (plain.high - plain.low) * math.sqrt(1 + n * ratio)
    )


def test_without_the_sizes_of_the_parts_there_is_no_test():
    result = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], None)
    assert (result.difference, result.effect_size) == (2.0, 2.0)
    assert result.low is result.high is result.p_value is None


@given(scores)
def test_exchanging_the_sides_turns_the_sign(ours):
    theirs = list(np.linspace(0, 1, len(ours)))
    one, other = paired(ours, theirs, 0.1), paired(theirs, ours, 0.1)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value


def test_equal_scores_show_nothing():
    result = paired([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], 0)
    assert (result.difference, result.p_value, result.effect_size) == (0, 1.0, 0.0)


def test_scores_that_differ_by_rounding_alone_show_nothing():
    result = paired([1e-38, 0.5], [0.0, 0.5], 0)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1.0)


def test_equal_differences_have_no_test():
    result = paired([0.2, 0.3, 0.4], [0.1, 0.2, 0.3], 0)
    assert result.difference == pytest.approx(0.1)
    assert result.p_value is None
    assert result.effect_size is None


def test_one_pair_has_no_test():
    assert paired([0.2], [0.1], 0).p_value is None


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
