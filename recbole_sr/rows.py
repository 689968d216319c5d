"""Rows of unit length, which the losses and the regularisers share."""

from __future__ import annotations

from torch import Tensor

__all__ = ["unit_rows"]


def unit_rows(x: Tensor) -> Tensor:
    """Vectors scaled to length one; a zero vector stays zero, and its gradient stays small.

    Args:
        x: ``(..., D)``, floating point.

    Returns:
        ``(..., D)``.

    Example:
        >>> import torch
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]

    """
    length = x.norm(dim=-1, keepdim=True)
    return x / (length + (length == 0))
