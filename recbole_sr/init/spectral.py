"""The spectral initialisation: tables that already know the training data, from linear algebra."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from recbole_sr.init.als import refine
from recbole_sr.init.autoencoder import fill_chain
from recbole_sr.init.convolution import fill_convolution
from recbole_sr.init.layers import LARGEST_RANK
from recbole_sr.init.svd import factorize, normalized_graph, row_norm
from recbole_sr.init.tables import Chain, Convolution, Interactions, Tables, Towers
from recbole_sr.init.towers import fill_towers

__all__ = ["spectral", "spectral_table"]

_OF_LAYERS: dict[type, Callable[..., None]] = {
    Chain: fill_chain,
    Towers: fill_towers,
    Convolution: fill_convolution,
}
_FILLING = 0.1  # of the weakest singular direction's size: enough to break the tie of zeros
_ROUNDS = 8  # leave less than 2 % of error in what LightGCN scores on ml-100k and LastFM


@torch.no_grad()
def spectral(
    tables: Tables,
    interactions: Interactions,
    seed: int,
    *,
    degree_power: float,
    als_iterations: int,
    power: float,
    margin: float,
) -> None:
    """Overwrite tables by the singular vectors of the training interactions.

    Where a model propagates its tables through linear layers they become those whose propagation
    is the singular vectors, so that its first scores are those of a model that scores its tables.
    Linear layers between the tables and the score pass on what enters. Layers in place of tables
    become those that score as the tables would (:mod:`recbole_sr.init.autoencoder`,
    :mod:`recbole_sr.init.towers`, :mod:`recbole_sr.init.convolution`). No global random state is
    read or written.

    Args:
        tables: to fill, in place.
        interactions: of the training part.
        seed: of the factorisation.
        degree_power: the power of the degrees by which interactions are divided.
        als_iterations: ALS iterations that refine the singular vectors.
        power: of the singular values, by which the vectors are weighted.
        margin: by how much a pair scores above its user with a random item, on average.

    Raises:
        InputError: the training data tell no item of a user from the others.

    """
    sides = {"user": tables.user, "item": tables.item}
    widths = {table.shape[1] for found in sides.values() for table in found}
    graph = normalized_graph(*interactions, degree_power)
    factors = factorize(graph, LARGEST_RANK if tables.layered else max(widths), seed)
    if als_iterations:
        factors = refine(factors, graph, als_iterations)
    if tables.layered:
        _OF_LAYERS[type(tables.layered)](
            tables.layered, factors, graph, degree_power, power, margin
        )
        return
    norms = {width: row_norm(factors, graph, width, power, margin) for width in widths}
    values = torch.from_numpy(factors.values)
    for side, found in sides.items():
        vectors = torch.from_numpy(getattr(factors, side))
        for table in found:
            norm = norms[table.shape[1]]
            table.copy_(spectral_table(table.cpu(), vectors, values, power, norm))
    for layer in tables.layers:
        _set_identity(layer, tables.user[0].shape[1])
    if tables.propagated is not None:
        _undo_propagation(tables.propagated, {side: found[0] for side, found in sides.items()})


def _set_identity(layer: Tensor, width: int) -> None:
    """Let a layer ``(1, M)`` add up its first columns, one ``(M, M)`` change nothing."""
    passing = torch.ones(1, width) if len(layer) == 1 else torch.eye(width)
    layer[:, :width].copy_(passing)


def _undo_propagation(
    propagated: Callable[[], Mapping[str, Tensor]], tables: Mapping[str, Tensor]
) -> None:
    """Overwrite tables by those whose propagation they are, by Richardson's iteration.

    The mean over the powers of an adjacency matrix of norm 1 has no eigenvalue above 1, nor one
    below 0, so that no error grows; those of the smooth directions, of which the singular vectors
    are made, shrink fastest.
    """
    wanted = {side: table.clone() for side, table in tables.items()}
    for _ in range(_ROUNDS):
        for side, found in propagated().items():
            tables[side].add_(wanted[side] - found)


def spectral_table(
    own: Tensor, vectors: Tensor, values: Tensor, power: float, norm: float
) -> Tensor:
    """Singular vectors times a power of their singular values, at a given norm of the rows.

    The norm is that of rows, not of entries, as a score is the inner product of two rows: the same
    norm gives tables of every width the same scores.

    Args:
        own: ``(N, D)``, as the model initialised it.
        vectors: ``(N, K)``, singular vectors; rows of zeros are those without training data.
        values: ``(K,)``, singular values, descending and positive.
        power: 0 weighs all directions alike, 1 as the data do.
        norm: root mean square norm of the rows, positive.

    Returns:
        ``(N, D)``. Rows without training data are the model's own. Columns beyond ``K`` are the
        model's own at a tenth of the size of the weakest singular direction.

    Example:
        >>> own = torch.tensor([[0.1, 0.1], [0.1, -0.1]])
        >>> spectral_table(own, torch.eye(2), torch.tensor([1.0, 0.25]), power=0.5, norm=1.0)
        tensor([[1.2649, 0.0000],
                [0.0000, 0.6325]])

    """
    seen = vectors.any(1, keepdim=True)
    known = (vectors * values**power)[:, : own.shape[1]].to(own.dtype)
    filling = own[:, known.shape[1] :] * (_FILLING * _size(known[:, -1:]) / _size(own))
    table = torch.cat((known, filling), dim=1)
    own_norm = _size(table[seen[:, 0]]) * math.sqrt(own.shape[1])
    return torch.where(seen, table / own_norm * norm, own)


def _size(x: Tensor) -> Tensor:
    """Root mean square of the entries, never zero."""
    return x.square().mean().sqrt().clamp_min(torch.finfo(x.dtype).tiny)
