"""What an initialisation is given: the training data, and the tables to fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Chain", "Convolution", "Histories", "Interactions", "Tables", "Towers"]


class Interactions(NamedTuple):
    """The training interactions.

    Attributes:
        users: ``(E,)``, integers in ``[0, N)``.
        items: ``(E,)``, integers in ``[0, M)``.
        shape: ``(N, M)``.

    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    shape: tuple[int, int]


class Histories(NamedTuple):
    """What users went on to, each with what they had chosen before.

    Attributes:
        before: ``(E, L)``, integers in ``[0, M)``, the latest first; -1 where there are no more.
        next: ``(E,)``, integers in ``[0, M)``.
        items: ``M``.

    """

    before: NDArray[np.int64]
    next: NDArray[np.int64]
    items: int


class Chain(NamedTuple):
    """Linear layers that lead from a user's items to the scores of all items.

    Attributes:
        layers: weights ``(H, M')``, ``(H', H)``, ..., ``(M', H')``; at least two.
        items: the columns of the first and rows of the last that stand for the ``M`` items.
        activation: between them: ``tanh``, ``relu``, ``leakyrelu``, ``swish``, or ``none``.
        entering: computes what enters the last layer for each user, ``(N, H')``.
        zeroed: other parameters that would change the scores; they are set to zero.

    """

    layers: Sequence[Tensor]
    items: slice
    activation: str
    entering: Callable[[], Tensor]
    zeroed: Sequence[Tensor] = ()


class Towers(NamedTuple):
    """Linear layers, each followed by ReLU, that lead to the vectors of users and of items.

    Attributes:
        user: weights ``(H, M')``, ``(H', H)``, ..., from a user's items.
        item: weights ``(H, N')``, ``(H', H)``, ..., from an item's users.
        users: the columns of the item's first layer that stand for the ``N`` users.
        items: the columns of the user's first layer that stand for the ``M`` items.

    """

    user: Sequence[Tensor]
    item: Sequence[Tensor]
    users: slice
    items: slice


class Convolution(NamedTuple):
    """A table averaged over neighbours, ReLU, a linear layer, and scores of two vectors.

    A row's neighbours are divided by the roots of both degrees.

    Attributes:
        table: ``(N' + M', H)``.
        users: the rows that stand for the ``N`` users.
        items: the rows that stand for the ``M`` items.
        layer: its weight ``(D, H)``.
        bilinear: ``(D, D)``, the first of ``K`` matrices between a user's and an item's vector.
        logits: ``(2, K)``, from the ``K`` products to the logits of no and of yes.

    """

    table: Tensor
    users: slice
    items: slice
    layer: Tensor
    bilinear: Tensor
    logits: Tensor


class Tables(NamedTuple):
    """The parameters to fill, in place.

    Attributes:
        user: tables ``(N, D)``, padding left out; none where a model has no table of users.
        item: tables ``(M, D)``, padding left out.
        layers: weights of the linear layers that stand between the tables and the score.
        propagated: computes what the model scores with from its one user and one item table, where
            that is a mean over linear layers of which the tables are the first; else None.
        layered: of a model without a table of users, the layers or item tables that take its
            place; else None.

    """

    user: Sequence[Tensor]
    item: Sequence[Tensor]
    layers: Sequence[Tensor] = ()
    propagated: Callable[[], Mapping[str, Tensor]] | None = None
    layered: Chain | Towers | Convolution | None = None
