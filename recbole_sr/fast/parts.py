"""Evaluation by several processes: each scores some of the users, and all see all results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from recbole.evaluator import Collector

from recbole_sr.distributed.group import Alone
from recbole_sr.fast.ranking import FullSortLoader
from recbole_sr.recbole_compat.classes import subclass

__all__ = ["gathering", "part_of"]

_COLLECTED = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")


def part_of(loader: Any, group: Alone) -> Any:
    """The part of an evaluation's loader that this process scores: contiguous.

    Batches whose negatives are drawn as they are loaded are loaded by all processes, so that their
    generators stay alike.
    """
    kind: Any = type(loader)
    mixin = _PartOfBlocks if isinstance(loader, FullSortLoader) else _PartOfBatches
    made = object.__new__(subclass(mixin, kind))
    vars(made).update(vars(loader))
    made.group = group
    return made


class _Part:
    group: Alone

    def __bool__(self) -> bool:
        return True  # RecBole evaluates nothing by a loader without batches


class _PartOfBatches(_Part):
    def __iter__(self) -> Iterator[Any]:
        base: Any = super()
        first, last = _part(self.group, base.__len__())
        for number, batch in enumerate(base.__iter__()):
            if first <= number < last:
                yield batch


class _PartOfBlocks(_Part):
    """Users are dealt out by RecBole's batches, none of which is then scored by two processes."""

    def __len__(self) -> int:
        return len(range(*self._limits()))

    def __iter__(self) -> Iterator[Any]:
        loader: Any = self
        first, last, block = self._limits()
        for start in range(first, last, block):
            yield loader.batch(start, min(start + block, last))

    def _limits(self) -> tuple[int, int, int]:
        loader: Any = self
        first, last = _part(self.group, -(-loader.sample_size // loader.step))
        return first * loader.step, min(last * loader.step, loader.sample_size), loader.block


def _part(group: Alone, count: int) -> tuple[int, int]:
    return count * group.rank // group.size, count * (group.rank + 1) // group.size


def gathering(collector: Collector, group: Alone) -> Any:
    """The collector, which hands out what all processes have collected, in their order."""
    vars(collector)["group"] = group
    made: Any = collector
    made.__class__ = subclass(_Gathering, made.__class__)
    return made


class _Gathering(Collector):
    group: Alone

    def get_data_struct(self) -> Any:
        struct = super().get_data_struct()
        found = {name: struct.get(name) for name in _COLLECTED if name in struct}
        parts = self.group.gathered(found)
        for name in sorted(set().union(*parts)):
            struct.set(name, torch.cat([part[name] for part in parts if name in part]))
        return struct
