"""What layers need to hold singular vectors, in auto-encoders and in towers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbole_sr.errors import InputError
from recbole_sr.init.svd import Factors, scale_to_margin

__all__ = [
    "LARGEST_RANK",
    "both_signs",
    "divided",
    "rank_of_layers",
    "scale_and_balance",
    "set_identity",
]

# More directions give a user back the very items that the input has.
LARGEST_RANK = 64


def rank_of_layers(narrowest: int, factors: Factors, paired: bool) -> int:
    """How many singular directions layers can hold.

    Args:
        narrowest: the units of the narrowest layer; 0 where there is none.
        factors: the directions there are.
        paired: whether a direction takes two units.

    Raises:
        InputError: the layers cannot hold one.

    Example:
        >>> rank_of_layers(5, Factors(np.eye(9), np.ones(9), np.eye(9)), paired=True)
        2

    """
    units = 2 if paired else 1
    rank = min(LARGEST_RANK, narrowest // units, len(factors.values))
    if not rank:
        raise InputError(
            f"sr_init: expected hidden layers of {units} units or more, which hold a singular "
            f"direction, got {narrowest or 'no hidden layer'}; widen them, or set sr_init: model"
        )
    return rank


def both_signs(rows: NDArray[Any], paired: bool) -> NDArray[Any]:
    """Each direction, and its opposite where a direction takes two units.

    Example:
        >>> both_signs(np.array([[1, 2]]), paired=True)
        array([[ 1,  2, -1, -2]])

    """
    return np.concatenate((rows, -rows), axis=1) if paired else rows


def divided(rows: NDArray[Any], degrees: Any, power: float) -> NDArray[Any]:
    """Divide each row of ``(N, K)`` by a power of its degree, of which there are ``N``.

    Example:
        >>> divided(np.ones((2, 1)), [4, 0], 0.5)  # no degree counts as one
        array([[0.5],
               [1. ]])

    """
    return rows / np.asarray(degrees).reshape(-1, 1).clip(1) ** power


def scale_and_balance(
    user: NDArray[Any], item: NDArray[Any], graph: Any, margin: float
) -> tuple[float, float]:
    """What both sides are multiplied by for the margin, and the user's for one norm of both.

    The item's side is divided by the second. See :func:`~recbole_sr.init.svd.scale_to_margin`.

    Example:
        >>> from recbole_sr.init.svd import normalized_graph
        >>> graph = normalized_graph([0, 1], [0, 1], (2, 2))
        >>> scale_and_balance(np.eye(2), 4 * np.eye(2), graph, margin=2.0)
        (1.0, 2.0)

    """
    scale = scale_to_margin(user, item, graph, margin)
    return math.sqrt(scale), math.sqrt(np.linalg.norm(item) / np.linalg.norm(user))


def set_identity(layers: Iterable[Tensor], units: int) -> None:
    """Let the leading units of each layer be those of the one before, in place.

    Example:
        >>> layer = torch.full((2, 2), 3.0)
        >>> set_identity([layer], 1)
        >>> layer
        tensor([[1., 0.],
                [3., 3.]])

    """
    for layer in layers:
        layer[:units] = torch.eye(*layer[:units].shape)
