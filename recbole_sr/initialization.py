"""The spectral start: tables that already know the training data, from linear algebra alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from recbole_sr.errors import InputError
from recbole_sr.factorization import Factors, factorize, normalized_graph, row_length
from recbole_sr.least_squares import refine
from recbole_sr.model import whole_tables
from recbole_sr.sources import PADDING, Column, Propagated, Representations, parameter

if TYPE_CHECKING:
    from recbole_sr.options import Options

__all__ = ["check_start", "start_spectral", "start_table"]

_FILLING = 0.1  # of the weakest singular direction's size: enough to break the tie of zeros
_ROUNDS = 8  # leave less than 2 % of error in what LightGCN scores on ml-100k and LastFM
# What makes a model of RecBole begin with the tables of another run's file.
_PRETRAINED = {
    "ConvNCF": ("train_method", "after_pretrain"),
    "S3Rec": ("train_stage", "finetune"),
}


def check_start(config: Any, where: Representations) -> None:
    """Refuse a start of the tables that the model has no tables for, or other plans with them.

    Raises:
        InputError: the side, and what the model has there instead; or the key that says to begin
            with pretrained tables.

    """
    name, options = config["model"], config.options
    if options.sr_init == "spectral":
        _check_tables(name, where)
        _check_pretrained(name, config, "sr_init: spectral", "set sr_init: model")
    if options.sr_published:
        _check_pretrained(name, config, "sr_published: True", "drop that")


def _check_tables(name: str, where: Representations) -> None:
    for side in ("user", "item"):
        if not where.side(side).start:
            raise InputError(
                f"sr_init: expected 'model' for {name}, which has no {side} table of its own "
                f"to start ({where.side(side).about}), got 'spectral'; drop the key"
            )


def _check_pretrained(name: str, config: Any, start: str, change: str) -> None:
    key, pretrained = _PRETRAINED.get(name, ("", None))
    if key and config[key] == pretrained:
        raise InputError(
            f"{key}: expected no pretrained tables with {start}, which starts them anew, "
            f"got {pretrained!r}; {change} or drop {key}"
        )


@torch.no_grad()
def start_spectral(
    model: nn.Module,
    where: Representations,
    columns: Mapping[str, Column],
    training: Any,
    options: Options,
    seed: int,
) -> None:
    """Overwrite a model's user and item tables by the singular vectors of its training data.

    A model that propagates its tables through linear layers gets those whose propagation is the
    start, so that its first scores are those of a model that scores its tables. Linear layers that
    stand between the tables and the score pass on what enters. Padding rows, and rows of a table
    that stand for no user or item, stay as they are. No global random state is read or written.

    Args:
        model: just built.
        where: its entry in the registry, checked by :func:`check_start`.
        columns: how many ids each side has.
        training: RecBole's data set of the training interactions.
        options: its ``sr_init_`` values.
        seed: of the factorisation.

    Raises:
        InputError: the training data tell no item of a user from the others.

    """
    tables = {
        side: [
            parameter(model, path)[PADDING + 1 : column.total] for path in where.side(side).start
        ]
        for side, column in columns.items()
    }
    widths = {table.shape[1] for found in tables.values() for table in found}
    graph = _training_graph(training, columns, options.sr_init_degree_power)
    factors = factorize(graph, max(widths), seed)
    if options.sr_init_sweeps:
        factors = refine(factors, graph, options.sr_init_sweeps)
    lengths = {width: _row_length(factors, graph, width, options) for width in widths}
    values, power = torch.from_numpy(factors.values), options.sr_init_power
    for side, found in tables.items():
        vectors = torch.from_numpy(getattr(factors, side))
        for table in found:
            scale = lengths[table.shape[1]]
            table.copy_(start_table(table.cpu(), vectors, values, power, scale))
    for path in where.layers:
        _pass_on(parameter(model, path), tables["user"][0].shape[1])
    if all(isinstance(source, Propagated) and source.linear for source in (where.user, where.item)):
        _undo_propagation(model, columns, {side: table for side, (table,) in tables.items()})


def _row_length(factors: Factors, graph: Any, width: int, options: Options) -> float:
    length = row_length(factors, graph, width, options.sr_init_power, options.sr_init_margin)
    if math.isinf(length):
        raise InputError(
            "sr_init: expected training data in which users have some items and not others, got "
            "data from which no pair can be told from the others; set sr_init: model"
        )
    return length


def _pass_on(layer: Tensor, width: int) -> None:
    """Let a layer ``(1, M)`` add up its first columns, one ``(M, M)`` change nothing."""
    passing = torch.ones(1, width) if len(layer) == 1 else torch.eye(width)
    layer[:, :width].copy_(passing)


def _undo_propagation(
    model: nn.Module, columns: Mapping[str, Column], tables: Mapping[str, Tensor]
) -> None:
    """Overwrite tables by those whose propagation they are, by Richardson's iteration.

    The mean over the powers of an adjacency matrix of norm 1 has no eigenvalue above 1, nor one
    below 0, so that no error grows; those of the smooth directions, of which the singular vectors
    are made, shrink fastest.
    """
    wanted = {side: table.clone() for side, table in tables.items()}
    for _ in range(_ROUNDS):
        for side, (propagated,) in whole_tables(model, columns).items():
            tables[side].add_(wanted[side] - propagated)


def start_table(own: Tensor, vectors: Tensor, values: Tensor, power: float, scale: float) -> Tensor:
    """Singular vectors times a power of their singular values, at a given length of the rows.

    The length is that of rows, not of entries, as a score is the inner product of two rows: the
    same length starts tables of every width at the same scores.

    Args:
        own: ``(N, D)``, as the model initialised it.
        vectors: ``(N, K)``, singular vectors; rows of zeros are those without training data.
        values: ``(K,)``, singular values, descending and positive.
        power: 0 weighs all directions alike, 1 as the data do.
        scale: root mean square length of the rows, positive.

    Returns:
        ``(N, D)``. Rows without training data are the model's own. Columns beyond ``K`` are the
        model's own at a tenth of the size of the weakest singular direction.

    Example:
        >>> own = torch.tensor([[0.1, 0.1], [0.1, -0.1]])
        >>> start_table(own, torch.eye(2), torch.tensor([1.0, 0.25]), power=0.5, scale=1.0)
        tensor([[1.2649, 0.0000],
                [0.0000, 0.6325]])

    """
    seen = vectors.any(1, keepdim=True)
    known = (vectors * values**power)[:, : own.shape[1]].to(own.dtype)
    filling = own[:, known.shape[1] :] * (_FILLING * _size(known[:, -1:]) / _size(own))
    start = torch.cat((known, filling), dim=1)
    length = _size(start[seen[:, 0]]) * math.sqrt(own.shape[1])
    return torch.where(seen, start / length * scale, own)


def _training_graph(training: Any, columns: Mapping[str, Column], degree_power: float) -> Any:
    users, items = (
        training.inter_feat[columns[side].fields[0]] - (PADDING + 1) for side in ("user", "item")
    )
    if training.label_field in training.inter_feat:
        liked = training.inter_feat[training.label_field] > 0
        users, items = users[liked], items[liked]
    shape = (columns["user"].total - 1, columns["item"].total - 1)
    return normalized_graph(users.numpy(), items.numpy(), shape, degree_power)


def _size(x: Tensor) -> Tensor:
    """Root mean square of the entries, never zero."""
    return x.square().mean().sqrt().clamp_min(torch.finfo(x.dtype).tiny)
