"""The spectral start: tables that already know the training data, from linear algebra alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recbole_sr.errors import InputError
from recbole_sr.factorization import Factors, factorize, normalized_graph
from recbole_sr.sources import PADDING, Column, Representations, parameter

__all__ = ["check_start", "start_spectral", "start_table"]

_FILLING = 0.1  # of the weakest singular direction's size: enough to break the tie of zeros


# What makes a model of RecBole begin with the tables of another run's file.
_PRETRAINED = {
    "NeuMF": ("use_pretrain", True),
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
        _check_pretrained(name, config, "sr_init: spectral")
    if options.sr_published:
        _check_pretrained(name, config, "sr_published: True")


def _check_tables(name: str, where: Representations) -> None:
    for side in ("user", "item"):
        if not where.side(side).start:
            raise InputError(
                f"sr_init: expected 'model' for {name}, which has no {side} table of its own "
                f"to start ({where.side(side).about}), got 'spectral'; drop the key"
            )


def _check_pretrained(name: str, config: Any, start: str) -> None:
    key, pretrained = _PRETRAINED.get(name, ("", None))
    if key and config[key] == pretrained:
        raise InputError(
            f"{key}: expected no pretrained tables with {start}, which starts them anew, "
            f"got {pretrained!r}; drop one of the two keys"
        )


@torch.no_grad()
def start_spectral(
    model: nn.Module,
    where: Representations,
    columns: Mapping[str, Column],
    training: Any,
    power: float,
    scale: float | None,
    seed: int,
) -> None:
    """Overwrite a model's user and item tables by the singular vectors of its training data.

    Padding rows, and rows of a table that stand for no user or item, stay as they are. No global
    random state is read or written.

    Args:
        model: just built.
        where: its entry in the registry, checked by :func:`check_start`.
        columns: how many ids each side has.
        training: RecBole's data set of the training interactions.
        power: as :func:`start_table`'s.
        scale: as :func:`start_table`'s.
        seed: of the factorisation.

    """
    tables = {
        side: [
            parameter(model, path)[PADDING + 1 : column.total] for path in where.side(side).start
        ]
        for side, column in columns.items()
    }
    width = max(table.shape[1] for found in tables.values() for table in found)
    factors = _factors(training, columns, width, seed)
    for side, found in tables.items():
        vectors = torch.from_numpy(getattr(factors, side))
        for table in found:
            start = start_table(
                table.cpu(), vectors, torch.from_numpy(factors.values), power, scale
            )
            table.copy_(start)


def start_table(
    own: Tensor, vectors: Tensor, values: Tensor, power: float, scale: float | None = None
) -> Tensor:
    """Singular vectors times a power of their singular values, at the scale of the model's table.

    A model's learning rate, weight decay and loss suit the size at which its tables start: the
    lengths of the steps of Adam, the slope of a logistic loss at its first scores and the balance
    of a graph's layers all depend on it. So the start changes the directions and leaves the size:
    the root mean square of the entries is that of the model's own table.

    Args:
        own: ``(N, D)``, as the model initialised it.
        vectors: ``(N, K)``, singular vectors; rows of zeros are those without training data.
        values: ``(K,)``, singular values, descending and positive.
        power: 0 weighs all directions alike, 1 as the data do.
        scale: root mean square of the entries; None is that of ``own``.

    Returns:
        ``(N, D)``. Rows without training data are the model's own, at that scale. Columns beyond
        ``K`` are the model's own at a tenth of the size of the weakest singular direction.

    Example:
        >>> own = torch.tensor([[0.1, 0.1], [0.1, -0.1]])
        >>> start_table(own, torch.eye(2), torch.tensor([1.0, 0.25]), power=0.5, scale=1.0)
        tensor([[1.7889, 0.0000],
                [0.0000, 0.8944]])

    """
    own_size = _size(own)
    seen = vectors.any(1, keepdim=True)
    known = (vectors * values**power)[:, : own.shape[1]].to(own.dtype)
    filling = own[:, known.shape[1] :] * (_FILLING * _size(known[:, -1:]) / own_size)
    start = torch.cat((known, filling), dim=1)
    size = own_size if scale is None else scale
    return torch.where(seen, start / _size(start[seen[:, 0]]), own / own_size) * size


def _factors(training: Any, columns: Mapping[str, Column], rank: int, seed: int) -> Factors:
    users, items = (
        training.inter_feat[columns[side].fields[0]] - (PADDING + 1) for side in ("user", "item")
    )
    if training.label_field in training.inter_feat:
        liked = training.inter_feat[training.label_field] > 0
        users, items = users[liked], items[liked]
    shape = (columns["user"].total - 1, columns["item"].total - 1)
    return factorize(normalized_graph(users.numpy(), items.numpy(), shape), rank, seed)


def _size(x: Tensor) -> Tensor:
    """Root mean square of the entries, never zero."""
    return x.square().mean().sqrt().clamp_min(torch.finfo(x.dtype).tiny)
