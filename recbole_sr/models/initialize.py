"""Filling the tables of a model before training: the registry's entry meets an initialisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_sr.errors import InputError
from recbole_sr.init.initialization import Initialization
from recbole_sr.init.tables import Chain, Convolution, Histories, Interactions, Tables, Towers
from recbole_sr.models.entry import GraphPath, LayerPath, ModelEntry
from recbole_sr.models.sources import PADDING, Column, parameter, resolve
from recbole_sr.models.tables import evaluating, random_state_kept, whole_tables

__all__ = ["histories", "initialize", "reset_embeddings"]

_USERS = 1024  # that are scored at a time


@torch.no_grad()
def initialize(
    model: Any, entry: ModelEntry, dataset: Any, initialization: Initialization, seed: int
) -> None:
    """Fill a model's tables from its training data.

    Padding rows, and rows of a table that stand for no user or item, stay as they are. Layers, and
    the tables of items that take their place, are filled with their padding rows.

    Args:
        model: just built, with the method.
        entry: the model's, with tables on the sides that are filled.
        dataset: RecBole's, of the training interactions.
        initialization: its parameters bound.
        seed: of its random numbers.

    """
    columns: Mapping[str, Column] = model.sr_columns
    user, item = (
        entry.side(side).to_fill(model, columns[side]) if side in initialization.sides else []
        for side in ("user", "item")
    )

    def propagated() -> dict[str, Tensor]:
        return {side: table for side, (table,) in whole_tables(model, columns).items()}

    read = {"interactions": _interactions, "histories": histories}[initialization.reads]
    data: Any = read(dataset, columns)
    layers = [parameter(model, path) for path in entry.layers]
    linear = entry.user.linear and entry.item.linear
    path = entry.layer_path
    layered = _layered(model, path, columns, data) if path else None
    tables = Tables(user, item, layers, propagated if linear else None, layered)
    initialization.fill(tables, data, seed)


def _layered(
    model: Any, path: LayerPath | GraphPath, columns: Mapping[str, Column], data: Interactions
) -> Chain | Towers | Convolution:
    """The linear layers, or the tables, that lead from a user's items to scores."""
    users, items = (slice(PADDING + 1, columns[side].total) for side in ("user", "item"))
    if isinstance(path, GraphPath):
        first = columns["user"].total  # of the items' rows
        behind = (parameter(model, each) for each in (path.layer, path.bilinear, path.logits))
        table = parameter(model, path.table)
        return Convolution(table, users, slice(first + PADDING + 1, len(table)), *behind)
    layers = _linear(model, path.modules)
    weights = [layer.weight for layer in layers]
    if path.item_modules:
        tower = [layer.weight for layer in _linear(model, path.item_modules)]
        return Towers(weights, tower, users, items)
    zeroed = [parameter(model, name) for name in path.zeroed]
    last = [parameter(model, path.output_table)] if path.output_table else []
    if path.input_table:
        table = parameter(model, path.input_table)
        power = sum(getattr(model, name) for name in path.length_powers)

        def summed() -> Tensor:
            return _summed_rows(table[items], data, power)

        return Chain([table.T, *last], items, "none", summed, zeroed)
    activation = getattr(model, path.activation, path.activation)

    def entering() -> Tensor:
        return _activations(model, layers[-1], columns["user"], returned=bool(last))

    return Chain([*weights, *last], items, activation, entering, zeroed)


def _linear(model: Any, paths: Iterable[str]) -> list[nn.Linear]:
    """The linear layers of modules, in order."""
    modules = [part for path in paths for part in resolve(model, path).modules()]
    return [part for part in modules if isinstance(part, nn.Linear)]


def _activations(model: Any, layer: nn.Linear, column: Column, returned: bool) -> Tensor:
    """The input, or the output, of a layer's first call, for every user."""
    found: list[Tensor] = []
    calls: list[Tensor] = []

    def look(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append(output if returned else inputs[0])

    hook = layer.register_forward_hook(look)
    try:
        with evaluating(model), random_state_kept(model):
            for users in torch.arange(PADDING + 1, column.total).split(_USERS):
                calls.clear()
                model.full_sort_predict(Interaction({column.fields[0]: users}).to(model.device))
                found.append(calls[0])
    finally:
        hook.remove()
    return torch.cat(found)


def _summed_rows(rows: Tensor, data: Interactions, power: float) -> Tensor:
    """The sum of the rows of each user's items, divided by a power of their number, ``(N, D)``."""
    users, items = (torch.from_numpy(ids).to(rows.device) for ids in (data.users, data.items))
    total = rows.new_zeros(data.shape[0], rows.shape[1]).index_add_(0, users, rows[items])
    number = torch.bincount(users, minlength=data.shape[0]).clamp(min=1)
    return total / number.unsqueeze(1) ** power


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


def histories(dataset: Any, columns: Mapping[str, Column]) -> Histories:
    """The items that users went on to, and those before them, of a sequential data set."""
    item = columns["item"]
    field = item.fields[0]
    data = dataset.inter_feat
    histories = data[getattr(dataset, f"{field}_list_field")].numpy() - (PADDING + 1)
    lengths = data[dataset.item_list_length_field].numpy()
    # RecBole has the oldest first, and padding behind the latest.
    places = lengths[:, None] - np.arange(1, histories.shape[1] + 1)
    before = np.take_along_axis(histories, places.clip(0), axis=1)
    before[places < 0] = -1
    return Histories(before, data[field].numpy() - (PADDING + 1), item.total - 1)
