"""Regularisers of a batch's representations: pure functions, one entry each in a dictionary.

A regulariser takes rows ``(N, D)`` and returns a scalar to be *minimised*. Adding one is a function
here plus its entry in :data:`REGULARIZERS`; its name is then valid in ``sr_warm_regularizers`` and
``sr_main_regularizers``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from recbole_sr.spectral import unit_stable_rank

__all__ = ["REGULARIZERS", "Regularizer", "negative_stable_rank"]

Regularizer = Callable[[Tensor], Tensor]


def negative_stable_rank(x: Tensor) -> Tensor:
    r"""Stable rank of the unit rows as a penalty, :math:`-\operatorname{srank}(\hat X) / D`.

    With unit rows :math:`\|\hat X\|_F^2 = N`, so only the largest singular value matters: the
    penalty spreads the rows over more directions.

    Args:
        x: ``(N, D)``, floating point. Rows of length zero stay zero.

    Returns:
        ``()``, in ``[-1, -1 / D]``; 0 for an empty batch.

    Raises:
        ValueError: ``x`` is not a matrix.
        TypeError: ``x`` is not floating point.

    Source: Loveland et al., WWW 2025, the stable-rank regulariser of their warm start.

    Example:
        >>> import torch
        >>> round(negative_stable_rank(torch.eye(4)).item(), 4)
        -1.0
        >>> round(negative_stable_rank(torch.ones(6, 4)).item(), 4)
        -0.25

    """
    return -unit_stable_rank(x) / x.shape[-1]


REGULARIZERS: dict[str, Regularizer] = {
    "stable_rank": negative_stable_rank,
}
