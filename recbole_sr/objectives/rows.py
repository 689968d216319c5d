"""Rows of a matrix, as the losses and the regularisers share them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, autocast
from torch.autograd.function import once_differentiable

__all__ = ["lengths", "of_matrix", "unit_rows", "widened"]


def of_matrix(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Hand ``function`` a floating-point matrix ``(N, D)`` as float32 or wider, outside autocast.

    Its other arguments are passed on as they are. What is made of it raises ``ValueError`` for what
    is no matrix, and ``TypeError`` for what is not floating point.
    """

    @wraps(function)
    def checked(x: Tensor, *others: Any, **named: Any) -> Tensor:
        if x.ndim != 2:
            raise ValueError(f"expected a matrix (N, D), got shape {tuple(x.shape)}")
        if not x.is_floating_point():
            raise TypeError(f"expected a floating-point matrix, got {x.dtype}")
        with autocast(x.device.type, enabled=False):
            return function(widened(x), *others, **named)

    return checked


def widened(x: Tensor) -> Tensor:
    """Half precision as float32, everything else as it is."""
    return x.float() if x.dtype.itemsize < 4 else x


def lengths(x: Tensor) -> Tensor:
    """What vectors are divided by to have length one: their lengths, but 1 for a zero vector.

    Args:
        x: ``(..., D)``, floating point.

    Returns:
        ``(..., 1)``, positive; NaN where ``x`` is.

    Example:
        >>> import torch
        >>> lengths(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[5.0], [1.0]]

    """
    length = x.norm(dim=-1, keepdim=True)
    return length + (length == 0)


def unit_rows(x: Tensor) -> Tensor:
    r"""Vectors scaled to length one; a zero vector stays zero, and its gradient stays small.

    The gradient is in closed form, :math:`(g - \langle g, \hat x \rangle \hat x) / \|x\|`.

    Args:
        x: ``(..., D)``, floating point.

    Returns:
        ``(..., D)``.

    Example:
        >>> import torch
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]

    """
    unit: Tensor = _UnitRows.apply(x)
    return unit


class _UnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        length = lengths(x)
        unit = x / length
        ctx.save_for_backward(unit, length)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        unit, length = ctx.saved_tensors
        along = (grad * unit).sum(-1, keepdim=True)
        return torch.addcmul(grad, unit, along, value=-1).div_(length)
