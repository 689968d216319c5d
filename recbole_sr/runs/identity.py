"""Checksums of the data that a run was trained on, by which other data are told."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_sr.errors import InputError

__all__ = ["data_identity", "fingerprint", "refuse_other_data"]

_PARTS = ("training", "validation", "test")


def data_identity(loaders: Iterable[Any]) -> dict[str, str]:
    """A checksum of each piece of the data that a model sees, as RecBole has prepared them.

    Args:
        loaders: those of training, validation and test, before any of them was read from.

    Returns:
        By name: the interactions of each part, the features, the knowledge graph, the users' and
        items' own ids in the order of their numbers, and so on.

    """
    parts = [loader._dataset for loader in loaders]
    whole = parts[0]
    pieces = {
        f"{name} interactions": part.inter_feat for name, part in zip(_PARTS, parts, strict=True)
    }
    names = (name for name in whole.feat_name_list if name != "inter_feat")
    pieces |= {name.replace("_feat", " features"): getattr(whole, name) for name in names}
    pieces |= {f"values of {field}": values for field, values in whole.field2id_token.items()}
    pieces["links"] = getattr(whole, "item2entity", None)
    pieces["preloaded vectors"] = whole._preloaded_weight
    return {name: _checksum(piece) for name, piece in pieces.items()}


def fingerprint(dataset: Any) -> int:
    """A checksum of a data set's user and item ids, by which other data are told."""
    ids = [dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field)]
    return zlib.crc32(torch.stack(ids).numpy().tobytes())


def refuse_other_data(file: str, trained_on: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Refuse a model or a run on other data, where its numbers would stand for others.

    Args:
        file: of the model or the run.
        trained_on: the identity of its data.
        found: the identity of today's data.

    Raises:
        InputError: names the file and what differs.

    """
    other = [name for name in {**trained_on, **found} if trained_on.get(name) != found.get(name)]
    if other:
        raise InputError(
            f"{file}: expected the data that it was trained on, got other {', '.join(other)}; "
            "restore the data set, or train anew"
        )


def _checksum(piece: Any) -> str:
    state = blake2b(digest_size=16)
    for part in _bytes(piece):
        state.update(part)
    return state.hexdigest()


def _bytes(piece: Any) -> Iterable[Any]:
    """What is to be told apart, as bytes: each value behind its type and shape."""
    if isinstance(piece, Interaction):
        piece = piece.interaction
    if isinstance(piece, pd.DataFrame):
        piece = {name: piece[name].to_numpy() for name in piece}
    if isinstance(piece, Mapping):
        for name in piece:
            yield f"{name}:".encode()
            yield from _bytes(piece[name])
        return
    array = piece.numpy(force=True) if isinstance(piece, Tensor) else np.asarray(piece)
    yield f"{array.dtype.kind}{array.shape}".encode()
    if array.dtype.kind in "biufc":
        yield np.ascontiguousarray(array).data.cast("B") if array.size else b""
    else:
        yield "\0".join(map(str, array.ravel())).encode("utf-8", "surrogatepass")
