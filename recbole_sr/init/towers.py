"""Two towers of layers that begin as the tables of singular vectors they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from recbole_sr.init.layers import (
    both_signs,
    divided,
    rank_of_layers,
    scale_and_balance,
    set_identity,
)
from recbole_sr.init.svd import Factors
from recbole_sr.init.tables import Towers

__all__ = ["fill_towers"]


@torch.no_grad()
def fill_towers(
    towers: Towers, factors: Factors, graph: Any, degree_power: float, power: float, margin: float
) -> None:
    r"""Let two towers return what tables of singular vectors would hold.

    A user's items ``r`` lead through one, an item's users ``c`` through the other, to

    .. math:: r D_i^{-a} V S^{p - 1} \quad\text{and}\quad c D_u^{-a} U S^{p - 1}

    which are the rows of :math:`U S^p` and :math:`V S^p` but for a scale of each row. ReLU drops
    negative values, so each direction takes two units, one for each sign. A direction in which user
    and item have opposite signs adds 0 to the score. Units beyond those keep their own weights, and
    change the scores a little.

    Args:
        towers: to fill, in place.
        factors: of the graph.
        graph: sparse ``(N, M)``; its positive entries are the pairs.
        degree_power: ``a``, of the degrees by which the graph's pairs are divided.
        power: ``p``, of the singular values.
        margin: by how much a pair scores above its user with a random item, on average.

    Raises:
        InputError: a layer without two units for a direction.

    Example:
        >>> from recbole_sr.init.svd import factorize, normalized_graph
        >>> graph = normalized_graph([0, 1], [0, 1], (2, 2))
        >>> layers = torch.zeros(4, 3), torch.zeros(4, 3)  # the first column is padding
        >>> towers = Towers((layers[0],), (layers[1],), users=slice(1, 3), items=slice(1, 3))
        >>> fill_towers(towers, factorize(graph, 2, seed=0), graph, 0.5, 1.0, margin=2.0)
        >>> user, item = (layer[:, 1:].T.relu() for layer in layers)
        >>> (user @ item.T).round(decimals=4)
        tensor([[4., 0.],
                [0., 4.]])

    """
    pairs = graph.sign()
    widths = [len(layer) for layer in (*towers.user, *towers.item)]
    rank = rank_of_layers(min(widths), factors, paired=True)
    weights = factors.values[:rank] ** (power - 1)
    to_user = divided(factors.item[:, :rank] * weights, pairs.sum(0), degree_power)
    to_item = divided(factors.user[:, :rank] * weights, pairs.sum(1), degree_power)
    user, item = (
        both_signs(rows, paired=True).clip(0) for rows in (pairs @ to_user, pairs.T @ to_item)
    )
    scale, balance = scale_and_balance(user, item, graph, margin)
    _fill(towers.user, to_user * scale * balance, towers.items)
    _fill(towers.item, to_item * scale / balance, towers.users)


def _fill(layers: Sequence[Tensor], encoder: NDArray[Any], columns: slice) -> None:
    """The first layer has the encoder's directions, the others pass them on."""
    first, *others = layers
    units = both_signs(encoder, paired=True).T
    first[: len(units)] = 0
    first[: len(units), columns] = torch.from_numpy(units).to(first)
    set_identity(others, len(units))
