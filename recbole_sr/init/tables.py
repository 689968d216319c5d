"""What an initialisation is given: the training interactions, and the tables to fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Interactions", "Tables"]


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


class Tables(NamedTuple):
    """The parameters to fill, in place.

    Attributes:
        user: tables ``(N, D)``, padding left out.
        item: tables ``(M, D)``, padding left out.
        layers: weights of the linear layers that stand between the tables and the score.
        propagated: computes what the model scores with from its one user and one item table, where
            that is a mean over linear layers of which the tables are the first; else None.

    """

    user: Sequence[Tensor]
    item: Sequence[Tensor]
    layers: Sequence[Tensor] = ()
    propagated: Callable[[], Mapping[str, Tensor]] | None = None
