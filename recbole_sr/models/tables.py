"""The whole tables of a model, and where the ids of their rows stand in a batch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from recbole.utils import ModelType
from torch import Tensor, nn

from recbole_sr.models.registry import entry_of
from recbole_sr.models.sources import Column
from recbole_sr.objectives.stable_rank import stable_rank

__all__ = ["columns", "evaluating", "random_state_kept", "stable_ranks", "whole_tables"]


def columns(config: Any, dataset: Any) -> dict[str, Column]:
    """Where the ids of users and items stand in a batch."""
    user, item = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    items = [item, config["NEG_PREFIX"] + item]
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:  # others may have a column of that name
        items.append(item + config["LIST_SUFFIX"])
    return {
        "user": Column((user,), dataset.num(user)),
        "item": Column(tuple(items), dataset.num(item)),
    }


@torch.no_grad()
def whole_tables(model: Any, columns: Mapping[str, Column]) -> dict[str, list[Tensor]]:
    """Each side's whole tables, padding row left out, ``(N, D)``.

    A side that only a batch has, as the users of an auto-encoder, is left out. The random state is
    left as it was. The model may have the method or be RecBole's own.
    """
    kind: Any = type(model)
    entry = entry_of(kind)
    with evaluating(model), random_state_kept(model):
        found = {side: entry.side(side).tables(model, column) for side, column in columns.items()}
    return {side: tables for side, tables in found.items() if tables}


def stable_ranks(tables: Mapping[str, list[Tensor]]) -> dict[str, float]:
    """Stable rank of each side, the mean where it has several tables."""
    return {
        side: torch.stack([stable_rank(x) for x in found]).mean().item()
        for side, found in tables.items()
    }


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """``model.eval()`` and back, without ``train()``, in which SGL draws new graphs."""
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def random_state_kept(model: nn.Module) -> Iterator[None]:
    """Leave every random state as it was: some models draw in evaluation too."""
    states = random.getstate(), np.random.get_state()
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
