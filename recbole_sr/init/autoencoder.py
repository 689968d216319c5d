"""Auto-encoders that begin as the truncated singular value decomposition that tables would hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recbole_sr.init.layers import both_signs, divided, rank_of_layers, set_identity
from recbole_sr.init.svd import Factors, scale_to_margin
from recbole_sr.init.tables import Chain

__all__ = ["fill_chain"]

# Root mean square of what leaves an activation. tanh changes small numbers little and keeps them in
# bounds. Pairs of opposite units pass ReLU and swish at any size, as f(x) - f(-x) = x, and Adam's
# steps are the smaller beside larger numbers; but layer norms, which follow swish, bend those.
_SIZES = {"none": 1.0, "tanh": 0.1, "relu": 1.0, "leakyrelu": 1.0, "swish": 3.0}
_PAIRED = ("relu", "leakyrelu", "swish")
_SMALL = 1e-3  # where every activation is linear


@torch.no_grad()
def fill_chain(
    chain: Chain, factors: Factors, graph: Any, degree_power: float, power: float, margin: float
) -> None:
    r"""Let linear layers score as tables of singular vectors would.

    A user's items ``r`` lead to the scores

    .. math:: r D_i^{-a} V S^{2p - 1} V^\top

    but for activations and a scale of each user: tables :math:`U S^p` and :math:`V S^p` have those
    of :math:`U = D_u^{-a} R D_i^{-a} V S^{-1}`. The first layer's leading units are the singular
    directions, the layers between pass them on, and the last one reads them. Units beyond those
    keep their own weights up to the last layer, which does not read them to begin with. What else
    would change the scores begins at zero.

    Args:
        chain: to fill, in place.
        factors: of the graph.
        graph: sparse ``(N, M)``; its positive entries are the pairs.
        degree_power: ``a``, of the degrees by which the graph's pairs are divided.
        power: ``p``, of the singular values.
        margin: by how much a pair scores above its user with a random item, on average.

    Raises:
        InputError: no layer between the items, or one without a unit for a direction.

    """
    narrowest = min((layer.shape[1] for layer in chain.layers[1:]), default=0)
    paired = chain.activation in _PAIRED
    rank = rank_of_layers(narrowest, factors, paired)
    first, *between, last = chain.layers
    weights = factors.values[:rank] ** (power - 0.5)
    directions = factors.item[:, :rank] * weights
    weighted = divided(directions, graph.sign().sum(0), degree_power)
    encoder = both_signs(weighted, paired)
    decoder = both_signs(directions, paired)
    units = encoder.shape[1]

    for other in chain.zeroed:
        other.zero_()
    first[:units] = 0
    columns = first[:units, chain.items]
    columns.copy_(torch.from_numpy(encoder.T) * _SMALL / np.abs(encoder).max())
    set_identity(between, units)
    small = chain.entering()[:, :units].square().mean().sqrt()
    columns *= _SIZES[chain.activation] / small
    entering = chain.entering()[:, :units].cpu().numpy()
    scale = scale_to_margin(entering, decoder, graph, margin)
    last[:, units:] = 0
    rows = last[chain.items, :units]
    rows.copy_(torch.from_numpy(decoder * np.float32(scale)))
    if chain.activation == "none":  # a step of Adam then changes both layers alike
        balance = (rows.norm() / columns.norm()).sqrt()
        columns *= balance
        rows /= balance
