"""Paired comparison of two sets of scores, and whether a series of scores still rises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Paired", "holm", "paired", "rising"]


@dataclass(frozen=True)
class Paired:
    """Two-sided corrected resampled t-test of the mean difference.

    Attributes:
        n: pairs.
        difference: mean of ours minus theirs.
        low: lower end of the 95 % interval of the difference; None with fewer than two pairs, or
            where the sizes of the parts are not known.
        high: its upper end.
        p_value: None where it is not defined: as ``low``, or differences all equal but not zero.
        effect_size: mean over standard deviation of the differences, Cohen's d_z; None with fewer
            than two pairs, or differences all equal but not zero.

    """

    n: int
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    effect_size: float | None


def paired(ours: Sequence[float], theirs: Sequence[float], ratio: float | None) -> Paired:
    r"""Compare scores that belong together pair by pair.

    Where each pair has a random split of the same data, the training parts overlap, so the
    differences are not independent and Student's t-test is too sure. The variance of their mean is
    therefore taken as :math:`(1/n + n_{test}/n_{train}) s^2` in place of :math:`s^2/n`.

    The t-test, not Wilcoxon's: with five pairs the least p-value that Wilcoxon's exact test can
    give is 0.0625.

    Args:
        ours: one score a seed, at least one.
        theirs: as many, in the same order.
        ratio: test interactions for each training interaction, 0 or more; 0 where all pairs have
            one split, which gives Student's test; None where it is not known, which gives no test.

    Source: Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52(3),
    2003; Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, for d_z.

    Example:
        >>> result = paired([3.0, 4.0, 5.5], [2.0, 2.0, 2.5], ratio=0)
        >>> result.difference, round(result.effect_size, 4), round(result.p_value, 4)
        (2.0, 2.0, 0.0742)
        >>> round(paired([3.0, 4.0, 5.5], [2.0, 2.0, 2.5], ratio=1 / 8).p_value, 4)
        0.098

    """
    differences = np.subtract(ours, theirs)
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Paired(n, mean, None, None, None, None)
    deviation = float(differences.std(ddof=1))
    # Equal differences leave rounding noise, on which a t-test would be certain of anything.
    if deviation <= 1e-12 * float(np.abs([ours, theirs]).max()):
        if abs(mean) <= deviation:  # equal scores, but for that noise
            return Paired(n, 0.0, 0.0, 0.0, 1.0, 0.0)
        return Paired(n, mean, mean, mean, None, None)
    if ratio is None:
        return Paired(n, mean, None, None, None, mean / deviation)
    error = deviation * math.sqrt(1 / n + ratio)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return Paired(n, mean, mean - half, mean + half, p_value, mean / deviation)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for making several comparisons at once; None stays and does not count.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6(2), 1979.

    Example:
        >>> holm([0.01, None, 0.03])
        [0.02, None, 0.03]

    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        corrected[index] = highest
    return corrected


def rising(scores: Sequence[float]) -> bool:
    """Whether a line through the scores rises more than their noise explains (one-sided p < 0.01).

    Args:
        scores: in the order of the epochs; fewer than three never rise.

    Example:
        >>> rising([0.1, 0.12, 0.13, 0.15, 0.16]), rising([0.1, 0.09, 0.11, 0.1, 0.1])
        (True, False)

    """
    if len(set(scores)) < 2 or len(scores) < 3:
        return False
    return bool(stats.linregress(range(len(scores)), scores, "greater").pvalue < 0.01)
