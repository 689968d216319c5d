"""Regularisers of a batch's representations: pure functions, one entry each in a dictionary.

A regulariser takes rows ``(N, D)`` and returns a scalar to be *minimised*. Adding one is a function
here plus its entry in :data:`REGULARIZERS`; its name is then valid in ``sr_warm_regularizers`` and
``sr_main_regularizers``. Beside these ``alignment`` is valid there, of the batch's pairs, which is
a loss: :func:`recbole_sr.losses.alignment`.

All of them look at directions only: rows are scaled to unit length, and rows of length zero count
for nothing. Half precision is computed in float32, also inside autocast, and an empty batch is
worth 0. They raise ``ValueError`` for what is not a matrix and ``TypeError`` for what is not
floating point.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from recbole_sr.rows import as_matrix, unit_rows
from recbole_sr.spectral import unit_stable_rank
from recbole_sr.uniformity import log_mean_kernel

__all__ = [
    "REGULARIZERS",
    "Regularizer",
    "coding_rate",
    "effective_rank",
    "log_stable_rank",
    "negative_stable_rank",
    "uniformity",
]

Regularizer = Callable[[Tensor], Tensor]

# The squared distortion of the coding rate, as in the experiments of Yu et al.
_DISTORTION = 0.5


def _of_unit_rows(function: Regularizer) -> Regularizer:
    """Hand ``function`` unit rows, in float32 or wider, outside autocast."""

    @wraps(function)
    def of_rows(x: Tensor) -> Tensor:
        x = as_matrix(x)
        with torch.autocast(x.device.type, enabled=False):
            return function(unit_rows(x.float() if x.dtype.itemsize < 4 else x))

    return of_rows


def _gram(x: Tensor) -> tuple[Tensor, Tensor]:
    """``D x D`` Gram matrix of unit rows and their number, zero rows not counted, at least 1."""
    gram = x.mT @ x
    return gram, gram.trace().clamp_min(1)


def negative_stable_rank(x: Tensor) -> Tensor:
    r"""Stable rank of the unit rows as a penalty, :math:`-\operatorname{srank}(\hat X) / D`.

    With unit rows :math:`\|\hat X\|_F^2 = N`, so only the largest singular value matters: the
    penalty spreads the rows over more directions.

    Args:
        x: ``(N, D)``, floating point.

    Returns:
        ``()``, in ``[-1, -1 / D]``.

    Source: Loveland et al., WWW 2025, the stable-rank regulariser of their warm start.

    Example:
        >>> import torch
        >>> round(negative_stable_rank(torch.eye(4)).item(), 4)
        -1.0
        >>> round(negative_stable_rank(torch.ones(6, 4)).item(), 4)
        -0.25

    """
    return -unit_stable_rank(x) / x.shape[-1]


def log_stable_rank(x: Tensor) -> Tensor:
    r"""Logarithm of the stable rank as a penalty, :math:`-\log \operatorname{srank}(\hat X)`.

    Its pull does not fade near rank one, where that of :func:`negative_stable_rank` is weakest.

    Args:
        x: ``(N, D)``, floating point.

    Returns:
        ``()``, in ``[-log min(N, D), 0]``.

    Source: the logarithm of the stable rank of Loveland et al., WWW 2025.

    Example:
        >>> import torch
        >>> round(log_stable_rank(torch.eye(4)).item(), 4)
        -1.3863

    """
    return -unit_stable_rank(x).clamp_min(1).log()


@_of_unit_rows
def effective_rank(x: Tensor) -> Tensor:
    r"""Logarithm of the mean squared inner product of the unit rows.

    .. math:: \log \frac{1}{N^2} \sum_{i,j} \langle \hat x_i, \hat x_j \rangle^2
              = \log \big( \|\hat X^\top \hat X\|_F^2 / N^2 \big)

    Minus it is the logarithm of the participation ratio
    :math:`(\sum_i \sigma_i^2)^2 / \sum_i \sigma_i^4`, a rank in which every singular value has a
    say, at :math:`O(N D^2)` and without eigenvectors.

    Args:
        x: ``(N, D)``, floating point.

    Returns:
        ``()``, in ``[-log min(N, D), 0]``.

    Source: the participation ratio of Bell and Dean, Discuss. Faraday Soc. 50, 1970, on squared
    singular values; minimising it is minimising the frame potential of Benedetto and Fickus,
    Adv. Comput. Math. 18, 2003.

    Example:
        >>> import torch
        >>> round(effective_rank(torch.eye(4)).item(), 4)
        -1.3863
        >>> round(effective_rank(torch.ones(6, 4)).item(), 4)
        0.0

    """
    gram, rows = _gram(x)
    return gram.square().sum().clamp_min(1).log() - 2 * rows.log()


@_of_unit_rows
def coding_rate(x: Tensor) -> Tensor:
    r"""Rate of coding the unit rows up to a distortion, in nats, as a penalty.

    .. math:: -\frac{1}{2} \log\det\Big( I + \frac{D}{N \varepsilon^2} \hat X^\top \hat X \Big),
              \qquad \varepsilon^2 = 0.5

    Args:
        x: ``(N, D)``, floating point.

    Returns:
        ``()``, in ``[-D log(3) / 2, -log(1 + 2 D) / 2]``: the first for isotropic rows, the second
        for rows along one line. It grows with the width, so its weight is not that of others.

    Source: Yu et al., "Learning Diverse and Discriminative Representations via the Principle of
    Maximal Coding Rate Reduction", NeurIPS 2020, equation 1 and the distortion of its experiments.

    Example:
        >>> import torch
        >>> round(coding_rate(torch.eye(4)).item(), 4)
        -2.1972

    """
    gram, rows = _gram(x)
    width = x.shape[-1]
    scatter = torch.eye(width, dtype=x.dtype, device=x.device) + gram * (
        width / (rows * _DISTORTION)
    )
    # cholesky_ex gives NaN where the rows are not finite, for the trainer to find, and asks
    # nothing back from a GPU.
    return -torch.linalg.cholesky_ex(scatter).L.diagonal().log().sum()


@_of_unit_rows
def uniformity(x: Tensor) -> Tensor:
    r"""How uniformly the unit rows cover the sphere.

    .. math:: \log \operatorname{mean}_{i<j} \exp(-2 \|\hat x_i - \hat x_j\|^2)

    Exact, at :math:`O(N^2 D)` time and :math:`O(N)` memory.

    Args:
        x: ``(N, D)``, floating point.

    Returns:
        ``()``, in ``[-4 N / (N - 1), 0]``.

    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere", ICML 2020, with their t = 2.

    Example:
        >>> import torch
        >>> round(uniformity(torch.eye(4)).item(), 4)
        -4.0
        >>> round(uniformity(torch.ones(6, 4)).item(), 4)
        0.0

    """
    return log_mean_kernel(x)


REGULARIZERS: dict[str, Regularizer] = {
    "stable_rank": negative_stable_rank,
    "log_stable_rank": log_stable_rank,
    "effective_rank": effective_rank,
    "coding_rate": coding_rate,
    "uniformity": uniformity,
}
