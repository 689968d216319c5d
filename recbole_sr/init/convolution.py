"""A graph convolution with ReLU that begins as the tables of singular vectors it stands for."""

from __future__ import annotations

from typing import Any

import torch

from recbole_sr.init.layers import (
    both_signs,
    divided,
    rank_of_layers,
    scale_and_balance,
    set_identity,
)
from recbole_sr.init.svd import Factors
from recbole_sr.init.tables import Convolution

__all__ = ["fill_convolution"]


@torch.no_grad()
def fill_convolution(
    convolution: Convolution,
    factors: Factors,
    graph: Any,
    degree_power: float,
    power: float,
    margin: float,
) -> None:
    r"""Let users and items be what tables of singular vectors would hold.

    A user's vector is the sum of its items' rows, each divided by the root of the product of both
    degrees, through ReLU and a layer. With the items' rows :math:`D_i^{1/2 - a} V S^{p - 1}` that
    sum is :math:`D_u^{a - 1/2} U S^p`, and with the users' rows :math:`D_u^{1/2 - a} U S^{p - 1}`
    an item's is :math:`D_i^{a - 1/2} V S^p`: the tables themselves where ``a`` is 1/2. ReLU drops
    negative values, so each direction takes two units, one for each sign, which the layer subtracts
    from each other. The logit of yes is half the dot product, that of no its negative. Units and
    vectors beyond those keep their own weights, and change the scores a little.

    Args:
        convolution: to fill, in place.
        factors: of the graph.
        graph: sparse ``(N, M)``; its positive entries are the pairs.
        degree_power: ``a``, of the degrees by which the graph's pairs are divided.
        power: ``p``, of the singular values.
        margin: by how much the logits of a pair are further apart than those of its user with a
            random item, on average.

    Raises:
        InputError: a table without two columns for a direction.

    Example:
        >>> from recbole_sr.init.svd import factorize, normalized_graph
        >>> graph = normalized_graph([0, 1], [0, 1], (2, 2))
        >>> table, layer = torch.zeros(4, 4), torch.zeros(2, 4)
        >>> places, rest = (slice(0, 2), slice(2, 4)), (torch.zeros(2, 2), torch.zeros(2, 1))
        >>> convolution = Convolution(table, *places, layer, *rest)
        >>> fill_convolution(convolution, factorize(graph, 2, seed=0), graph, 0.5, 1.0, margin=2.0)
        >>> item, user = (x.relu() @ layer.T for x in table.split(2))  # each has one neighbour
        >>> (user @ item.T).round(decimals=4)
        tensor([[4., 0.],
                [0., 4.]])

    """
    pairs = graph.sign()
    of_users, of_items = pairs.sum(1), pairs.sum(0)
    size, width = convolution.layer.shape
    rank = rank_of_layers(min(width, 2 * size), factors, paired=True)
    weights = factors.values[:rank] ** (power - 1)
    to_item = divided(factors.user[:, :rank] * weights, of_users, degree_power - 0.5)
    to_user = divided(factors.item[:, :rank] * weights, of_items, degree_power - 0.5)
    user = divided(pairs @ divided(to_user, of_items, 0.5), of_users, 0.5)
    item = divided(pairs.T @ divided(to_item, of_users, 0.5), of_items, 0.5)
    scale, balance = scale_and_balance(user, item, graph, margin)
    table, layer = convolution.table, convolution.layer
    for place, rows in (
        (convolution.users, to_item * scale / balance),
        (convolution.items, to_user * scale * balance),
    ):
        table[place, : 2 * rank] = torch.from_numpy(both_signs(rows, paired=True)).to(table)
    layer[:, : 2 * rank] = 0
    identity = torch.eye(rank)
    layer[:rank, : 2 * rank] = torch.cat((identity, -identity), dim=1)
    set_identity([convolution.bilinear], size)
    convolution.logits[:] = 0
    convolution.logits[:, 0] = torch.tensor([-0.5, 0.5])
