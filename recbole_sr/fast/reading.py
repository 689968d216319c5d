"""Reading and splitting a data set: RecBole's frames, tensors and parts, without Python loops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset, SequentialDataset, dataset
from recbole.data.interaction import Interaction

from recbole_sr.fast.sequences import augmented

__all__ = ["quick_reading"]

# Where pandas' two parsers may differ: quotes, line ends other than \n, zero bytes, and in columns
# of numbers whole ones beyond those that a float holds.
_READ_OTHERWISE = re.compile(rb'["\r\0]')
_LARGE = re.compile(rb"\d{16}")


@contextmanager
def quick_reading() -> Iterator[None]:
    """Inside the ``with`` block RecBole reads and splits data sets several times faster.

    Text is read by pandas' C parser where the one in Python, which RecBole asks for, would read the
    same; interactions are grouped by sorting, parts are taken by tensors of positions, and the
    histories of sequential data are filled by them.
    """
    replaced: list[tuple[Any, str, Any]] = [
        (dataset.pd, "read_csv", partial(_read_csv, dataset.pd.read_csv)),
        (Dataset, "_grouped_index", _grouped(Dataset._grouped_index)),
        (Interaction, "__getitem__", _taken(Interaction.__getitem__)),
        (SequentialDataset, "data_augmentation", augmented(SequentialDataset.data_augmentation)),
    ]
    with ExitStack() as afterwards:
        for owner, name, quick in replaced:
            afterwards.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, quick)
        yield


def _read_csv(read: Any, path: Any, *args: Any, **kwargs: Any) -> pd.DataFrame:
    if _reads_alike(path, kwargs):
        quick = {"engine": "c", "low_memory": False}
        with suppress(ValueError):  # the other parser says what is wrong, or reads 1_000
            return read(path, *args, **{**kwargs, **quick})
    return read(path, *args, **kwargs)


def _reads_alike(path: Any, kwargs: dict[str, Any]) -> bool:
    """Whether both of pandas' parsers read the file to the same frame, or the C parser fails."""
    usual = kwargs.get("engine") == "python" and len(kwargs.get("delimiter", "")) == 1
    if not usual or str(kwargs.get("encoding") or "utf-8").lower() not in ("utf-8", "utf8"):
        return False
    text = Path(path).read_bytes()
    has_numbers = np.float64 in kwargs.get("dtype", {}).values()
    return not (_READ_OTHERWISE.search(text) or (has_numbers and _LARGE.search(text)))


def _grouped(theirs: Any) -> Any:
    def grouped_index(self: Any, keys: Any) -> Any:
        """The positions of each key: groups in the order of first occurrence, each ascending."""
        if not (isinstance(keys, np.ndarray) and keys.dtype.kind == "i" and len(keys)):
            return theirs(self, keys)
        order = keys.argsort(kind="stable")
        arranged = keys[order]
        starts = np.flatnonzero(np.append(True, arranged[1:] != arranged[:-1]))
        ends = np.append(starts[1:], len(keys))
        by_occurrence = order[starts].argsort()
        positions = order.tolist()
        bounds = zip(starts[by_occurrence].tolist(), ends[by_occurrence].tolist(), strict=True)
        return [positions[start:end] for start, end in bounds]

    return grouped_index


def _taken(theirs: Any) -> Any:
    def getitem(self: Any, index: Any) -> Any:
        """Rows by a list of positions, which torch would read anew for each column."""
        if isinstance(index, list) and index and type(index[0]) is int:
            index = torch.from_numpy(np.array(index))
            return Interaction({name: values[index] for name, values in self.interaction.items()})
        return theirs(self, index)

    return getitem
