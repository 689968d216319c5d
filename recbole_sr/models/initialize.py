"""Filling the tables of a model before training: the registry's entry meets an initialisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recbole_sr.errors import InputError
from recbole_sr.init.tables import Interactions, Tables
from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.sources import PADDING, Column, parameter
from recbole_sr.models.tables import whole_tables

__all__ = ["initialize", "reset_embeddings"]

Fill = Callable[[Tables, Interactions, int], None]


@torch.no_grad()
def initialize(model: Any, entry: ModelEntry, dataset: Any, fill: Fill, seed: int) -> None:
    """Fill a model's user and item tables from its training data.

    Padding rows, and rows of a table that stand for no user or item, stay as they are.

    Args:
        model: just built, with the method.
        entry: the model's, with tables on both sides.
        dataset: RecBole's, of the training interactions.
        fill: an initialisation, its parameters bound.
        seed: of its random numbers.

    """
    columns: Mapping[str, Column] = model.sr_columns
    user, item = (
        [
            parameter(model, path)[PADDING + 1 : columns[side].total]
            for path in entry.side(side).initialized
        ]
        for side in ("user", "item")
    )

    def propagated() -> dict[str, Tensor]:
        return {side: table for side, (table,) in whole_tables(model, columns).items()}

    layers = [parameter(model, path) for path in entry.layers]
    linear = entry.user.linear and entry.item.linear
    tables = Tables(user, item, layers, propagated if linear else None)
    fill(tables, _interactions(dataset, columns), seed)


def reset_embeddings(model: nn.Module) -> None:
    """Draw the entries of all embedding tables from N(0, 1), torch's own default."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.reset_parameters()


def _interactions(dataset: Any, columns: Mapping[str, Column]) -> Interactions:
    """The pairs of the training data, without those whose label says no."""
    users, items = (
        dataset.inter_feat[columns[side].fields[0]] - (PADDING + 1) for side in ("user", "item")
    )
    if dataset.label_field in dataset.inter_feat:
        liked = dataset.inter_feat[dataset.label_field] > 0
        users, items = users[liked], items[liked]
    if not len(users):
        raise InputError(
            f"sr_init: expected training interactions whose {dataset.label_field} is positive, got "
            "none; lower threshold, or set sr_init: model"
        )
    shape = (columns["user"].total - 1, columns["item"].total - 1)
    return Interactions(users.numpy(), items.numpy(), shape)
