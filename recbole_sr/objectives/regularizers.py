"""Regularisers of a batch's representations: pure functions, each with its specification.

A regulariser returns a scalar to be *minimised*. To add one, write the function and its entry in
:data:`REGULARIZERS`; ``sr_warm_regularizers`` and ``sr_main_regularizers`` then accept its name.

Those that read rows ``(N, D)`` look at directions only: rows are scaled to unit norm. Zero rows
stay zero: the ranks do not count them, and for uniformity they are points at the origin. Half
precision is computed in float32, also inside autocast, and an empty batch is worth 0. They raise
``ValueError`` for what is not a matrix and ``TypeError`` for what is not floating point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from recbole_sr.objectives.losses import alignment
from recbole_sr.objectives.peers import NO_PEERS, Peers
from recbole_sr.objectives.rows import of_matrix, unit_rows
from recbole_sr.objectives.stable_rank import unit_stable_rank
from recbole_sr.objectives.uniformity import log_mean_kernel

__all__ = [
    "REGULARIZERS",
    "Regularizer",
    "effective_rank",
    "negative_stable_rank",
    "uniformity",
]


@dataclass(frozen=True)
class Regularizer:
    """A regulariser and what it reads.

    Attributes:
        function: to a scalar, from what it reads.
        reads: ``rows``: the representations ``(N, D)`` of the batch's distinct ids, of one side
            at a time; ``pairs``: the users' and the items' ``(B, D)`` of its interactions, of
            which ``function`` is a mean.
        weight: the default weight.
        sampled: whether ``sr_uniformity_rows`` limits the rows it reads.
        shared: whether ``function`` takes, after the rows of one process, the others that have
            rows of the same matrix; one that does not is handed the rows of all.

    """

    function: Callable[..., Tensor]
    reads: Literal["rows", "pairs"]
    weight: float
    sampled: bool = False
    shared: bool = False


def negative_stable_rank(x: Tensor, peers: Peers = NO_PEERS) -> Tensor:
    r"""Stable rank of the unit rows as a penalty, :math:`-\operatorname{srank}(\hat X) / D`.

    With unit rows :math:`\|\hat X\|_F^2 = N`, so only the largest singular value matters: the
    penalty spreads the rows over more directions.

    Args:
        x: ``(N, D)``, floating point.
        peers: have the other rows of the matrix.

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
    return -unit_stable_rank(x, peers) / x.shape[-1]


@of_matrix
def effective_rank(x: Tensor, peers: Peers = NO_PEERS) -> Tensor:
    r"""Minus the logarithm of the participation ratio of the unit rows' singular values.

    .. math:: -\log \frac{(\sum_i \sigma_i^2)^2}{\sum_i \sigma_i^4}
              = \log \frac{\|\hat X^\top \hat X\|_F^2}{N^2}
              = \log \frac{1}{N^2} \sum_{i,j} \langle \hat x_i, \hat x_j \rangle^2

    The ratio is a rank in which every singular value has a say, at :math:`O(N D^2)` and without
    eigenvectors.

    Args:
        x: ``(N, D)``, floating point.
        peers: have the other rows of the matrix.

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
    unit = unit_rows(x)
    gram = peers.total(unit.mT @ unit)
    rows = gram.trace().clamp_min(1)  # zero rows not counted
    return gram.square().sum().clamp_min(1).log() - 2 * rows.log()


@of_matrix
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
    return log_mean_kernel(unit_rows(x))


REGULARIZERS: dict[str, Regularizer] = {
    "stable_rank": Regularizer(negative_stable_rank, "rows", 0.03, shared=True),
    "effective_rank": Regularizer(effective_rank, "rows", 0.03, shared=True),
    "uniformity": Regularizer(uniformity, "rows", 0.1, sampled=True),
    "alignment": Regularizer(alignment, "pairs", 1.0),
}
