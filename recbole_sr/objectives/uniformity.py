r"""The uniformity of unit rows, exactly, by blocks of the pairwise kernel.

.. math:: U(X) = \log \operatorname{mean}_{i<j} \exp(-2 \|x_i - x_j\|^2)

The ``N x N`` kernel is never kept: value and gradient come from one pass over blocks of rows, in
:math:`O(N^2 D)` time and :math:`O(N)` memory beside the rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["log_mean_kernel"]

_BLOCK = 512  # rows of the kernel alive at a time


def log_mean_kernel(x: Tensor) -> Tensor:
    r"""Logarithm of the mean Gaussian kernel over all pairs of rows, differentiable.

    Args:
        x: ``(N, D)``, float32 or float64, of moderate length (unit rows, in this package), so that
            the kernel does not underflow.

    Returns:
        ``()``; 0 where there is no pair.

    Example:
        >>> import torch
        >>> round(log_mean_kernel(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item(), 4)
        -8.0

    """
    return _LogMeanKernel.apply(x)


class _LogMeanKernel(torch.autograd.Function):
    r"""Forward and backward in one pass.

    With the kernel :math:`K_{ij} = \exp(-2 \|x_i - x_j\|^2)` of zero diagonal and its sum :math:`s`
    over :math:`i < j`,

    .. math:: \partial U / \partial x_i = \tfrac{4}{s} \sum_j K_{ij} (x_j - x_i)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        pairs = len(x) * (len(x) - 1) / 2
        if not pairs:
            ctx.save_for_backward(torch.zeros_like(x))
            return x.new_zeros(())
        total, pull = _sum_kernel(x, with_pull=ctx.needs_input_grad[0])
        ctx.save_for_backward(pull.mul_(4 / total))
        return (total / pairs).log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gradient,) = ctx.saved_tensors
        return grad * gradient


def _sum_kernel(x: Tensor, with_pull: bool) -> tuple[Tensor, Tensor]:
    r"""Sum of the kernel over :math:`i < j`, and :math:`\sum_j K_{ij} (x_j - x_i)`, ``(N, D)``.

    Each block of rows meets itself and, once for both sides, the rows that come after it.
    """
    squares = x.square().sum(-1, keepdim=True)
    total, pull = x.new_zeros(()), torch.zeros_like(x)
    for start in range(0, len(x), _BLOCK):
        block, after = slice(start, start + _BLOCK), slice(start + _BLOCK, None)
        kernel = _kernel(x[block], squares[block], x[block], squares[block]).fill_diagonal_(0)
        total += kernel.sum() / 2
        if with_pull:
            pull[block] += _pull(kernel, x[block], x[block])
        if start + _BLOCK < len(x):
            kernel = _kernel(x[block], squares[block], x[after], squares[after])
            total += kernel.sum()
            if with_pull:
                pull[block] += _pull(kernel, x[block], x[after])
                pull[after] += _pull(kernel.mT, x[after], x[block])
    return total, pull


def _kernel(x: Tensor, x_squares: Tensor, y: Tensor, y_squares: Tensor) -> Tensor:
    """Of each row of ``x`` with each of ``y``; the squared lengths are columns."""
    exponents = torch.addmm(y_squares.mT, x, y.mT, beta=-2, alpha=4)
    return exponents.sub_(2 * x_squares).exp_()


def _pull(kernel: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return kernel @ y - kernel.sum(1, keepdim=True) * x
