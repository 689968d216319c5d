r"""The stable rank of a matrix, with its gradient in closed form.

.. math:: \operatorname{srank}(X) = \|X\|_F^2 / \|X\|_2^2
          = \sum_i \sigma_i^2 / \sigma_1^2

It is a smooth stand-in for the rank: :math:`1 \le \operatorname{srank}(X) \le
\operatorname{rank}(X)`, unchanged by scaling, and not moved by tiny singular values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_sr.objectives.peers import NO_PEERS, Peers
from recbole_sr.objectives.rows import lengths, of_matrix

__all__ = ["stable_rank", "unit_stable_rank"]

# A sum of squares between this and its inverse has lost nothing that matters in float32.
_SAFE = 1e-12


@of_matrix
def stable_rank(x: Tensor) -> Tensor:
    r"""Stable rank :math:`\|X\|_F^2 / \|X\|_2^2` of a matrix, differentiable.

    Works on the ``D x D`` Gram matrix: :math:`O(N D^2)` time, no singular value decomposition of
    ``x``. Half precision is computed in float32, also inside autocast.

    Args:
        x: ``(N, D)``, floating point.

    Returns:
        ``()``, in ``[1, min(N, D)]``; 0 for an empty or all-zero matrix, NaN where ``x`` is not
        finite. float32 for half-precision input, else the dtype of ``x``. Where the largest
        singular value is repeated the gradient is one of the subgradients.

    Raises:
        ValueError: ``x`` is not a matrix.
        TypeError: ``x`` is not floating point.

    Source: Rudelson and Vershynin, "Sampling from large matrices", J. ACM 54(4), 2007; as a
    regulariser of collaborative filtering, Loveland et al., WWW 2025.

    Example:
        >>> import torch
        >>> round(stable_rank(torch.eye(5)).item(), 4)
        5.0
        >>> round(stable_rank(torch.ones(7, 5)).item(), 4)
        1.0

    """
    return _StableRank.apply(x)


@of_matrix
def unit_stable_rank(x: Tensor, peers: Peers = NO_PEERS) -> Tensor:
    r"""Stable rank of the unit rows of a matrix, differentiable with respect to the rows given.

    Normalising is part of the closed form: with :math:`a = \hat X v`,

    .. math:: \partial\operatorname{srank}(\hat X) / \partial x_i = \frac{2
              \operatorname{srank}(\hat X)}{\lambda \|x_i\|} (a_i^2 \hat x_i - a_i v)

    Args:
        x: ``(N, D)``, floating point, of norms whose squares the dtype can hold. Zero rows stay
            zero.
        peers: have the other rows of the matrix; the rank is that of all rows.

    Returns:
        ``()``, as :func:`stable_rank`.

    Raises:
        ValueError: ``x`` is not a matrix.
        TypeError: ``x`` is not floating point.

    Example:
        >>> import torch
        >>> round(unit_stable_rank(torch.diag(torch.tensor([1.0, 2.0, 3.0]))).item(), 4)
        3.0

    """
    return _UnitStableRank.apply(x, peers)


class _StableRank(torch.autograd.Function):
    r"""Forward and backward from the largest eigenpair of the Gram matrix.

    With :math:`\lambda = \sigma_1^2` and its eigenvector :math:`v`,

    .. math:: \partial\operatorname{srank} / \partial X
              = \tfrac{2}{\lambda} (X - \operatorname{srank}(X) \, X v v^\top)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scale = x.new_ones(())
        gram = x.mT @ x
        if not _SAFE < gram.trace() < 1 / _SAFE:
            # Scaling changes nothing in exact arithmetic; here it keeps the squares of tiny or
            # huge entries inside the range of the dtype.
            scale = x.abs().amax() if x.numel() else x.new_zeros(())
            if not 0 < scale < torch.inf:  # empty, all zero, or not finite
                ctx.save_for_backward(x)
                return scale * 0
            x = x / scale
            gram = x.mT @ x
        value, vector = _top_eigenpair(gram)
        # Rounding can put a rank-one matrix a hair below 1.
        rank = (gram.trace() / value).clamp_min(1)
        ctx.save_for_backward(x, vector, rank, value * scale)
        return rank

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, *spectrum = ctx.saved_tensors
        if not spectrum:
            return torch.zeros_like(x)
        v, rank, scaled_top = spectrum
        with torch.autocast(x.device.type, enabled=False):
            return torch.addr(x, x @ v, -rank * v) * (2 * grad / scaled_top)


class _UnitStableRank(torch.autograd.Function):
    """Forward and backward of :func:`unit_stable_rank`, each in few passes over the rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, peers: Peers) -> Tensor:
        length = lengths(x)
        unit = x / length
        gram = peers.total(unit.mT @ unit)
        total = gram.trace()
        if not 0 < total < torch.inf:  # empty, all zero, or not finite
            ctx.save_for_backward(x)
            return total * 1
        value, vector = _top_eigenpair(gram)
        rank = (total / value).clamp_min(1)
        ctx.save_for_backward(unit, length, vector, rank / value)
        return rank

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        unit, *rest = ctx.saved_tensors
        if not rest:
            return torch.zeros_like(unit), None
        length, v, ratio = rest
        with torch.autocast(unit.device.type, enabled=False):
            along = unit @ v
            pull = along * (2 * grad * ratio) / length.squeeze(1)
            return (unit * (pull * along).unsqueeze(1)).addr_(pull, v, alpha=-1), None


def _top_eigenpair(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Largest eigenvalue of a symmetric matrix and its eigenvector.

    All of them are computed: at these widths as fast as one alone by SciPy, whose threads get in
    the way of torch's. In float32 the LAPACK of some processors gives up on matrices with many
    zeros, such as those of rows that went through a ReLU; in float64 it does not.
    """
    try:
        values, vectors = torch.linalg.eigh(gram)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        values, vectors = torch.linalg.eigh(gram.double())
    return values[-1].to(gram.dtype), vectors[:, -1].to(gram.dtype)
