"""The vectors of users and items by which a model ranks, from a checkpoint, for other systems."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor

from recbole_sr.errors import InputError, check_place
from recbole_sr.runs.files import replacing, write_whole
from recbole_sr.serve.scores import Scorer

__all__ = ["Embeddings", "check_folder", "embeddings"]

_ALL = "embeddings.safetensors"
_SAYS = "dot_products"  # in its metadata
# What `save` writes, also a part of it that a kill has left.
_WRITTEN = rf"((user|item)(\.\d+)?\.npy|(user|item)_ids\.txt|{re.escape(_ALL)})(\.\w+\.tmp)?"
_CHECKED = 64  # users whose scores are compared with dot products
_ROUNDING = 1e-5  # of the largest score


@dataclass(frozen=True)
class Embeddings:
    """Vectors of users and items, with their ids; padding is left out.

    Attributes:
        vectors: ``(N, D)``, float32, by name: ``user`` and ``item``, or ``user.0``, ``user.1``, ...
            where a side has several tables; a side that has none is left out.
        ids: ``(N,)``, text, by ``user`` and ``item``: the id of each row.
        dot_products: whether the model ranks by the dot products of ``user`` and ``item``, as
            compared with its scores for some users.

    """

    vectors: Mapping[str, np.ndarray[Any, Any]]
    ids: Mapping[str, np.ndarray[Any, Any]]
    dot_products: bool

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write ``NAME.npy`` for each matrix, ``user_ids.txt``, and all in one safetensors file.

        Args:
            folder: a new or an empty one, or one of former vectors, which are replaced.

        Returns:
            The files.

        Raises:
            InputError: there is something else in the folder, or it cannot be made.

        """
        folder = check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / _ALL]  # first, as the folder is known by it should this be interrupted
        with replacing(paths[0]) as file:
            file.write(save(dict(self.vectors), {_SAYS: str(self.dot_products)}))
        for name, own in self.vectors.items():
            paths.append(folder / f"{name}.npy")
            with replacing(paths[-1]) as file:
                np.save(file, own)
        for side, own in self.ids.items():
            paths.append(folder / f"{side}_ids.txt")
            write_whole(paths[-1], "".join(f"{one}\n" for one in own))
        for former in {*folder.iterdir()} - {*paths}:
            former.unlink()
        return [*paths[1:], paths[0]]


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Refuse a folder that holds anything but what :meth:`Embeddings.save` wrote.

    Raises:
        InputError: there is something else in it, or a file of that name.

    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        return folder
    paths = [*folder.iterdir()] if folder.is_dir() else [folder]
    if paths and not (
        folder / _ALL in paths
        and _is_ours(folder / _ALL)
        and all(path.is_file() and re.fullmatch(_WRITTEN, path.name) for path in paths)
    ):
        raise InputError(
            f"{folder}: expected a new or an empty folder, or one of former vectors, got one that "
            "holds something else; give another name"
        )
    check_place(folder / _ALL)
    return folder


def _is_ours(file: Path) -> bool:
    """Whether :meth:`Embeddings.save` wrote a file of that name."""
    with suppress(Exception), safe_open(file, "numpy") as found:  # other data raise anything
        return _SAYS in (found.metadata() or {})
    return False


def embeddings(
    model_file: str, model_class: type | None = None, data_path: str | None = None
) -> Embeddings:
    """The vectors by which a trained model ranks: after propagation where it propagates.

    Users of an auto-encoder or of a sequential model have no table: theirs are what the model
    calculates from all their interactions.

    Args:
        model_file: path of a checkpoint of this package.
        model_class: the model's class where it is none of RecBole's.
        data_path: the folder of the data set's folder, where it is no longer that of training.

    Raises:
        InputError: the checkpoint cannot be used.

    Example:
        >>> embeddings("saved/BPR.pth").save("vectors")  # doctest: +SKIP

    """
    scorer = Scorer(model_file, "all", model_class, data_path)
    tables, rows = _tables(scorer)
    for side, own in tables.items():
        if not own:
            why = scorer.model.sr_entry.side(side).about
            getLogger().warning(f"{model_file}: no vectors of each {side} ({why})")
    vectors = {
        f"{side}.{place}" if len(own) > 1 else side: matrix.cpu().float().numpy()
        for side, own in tables.items()
        for place, matrix in enumerate(own)
    }
    if not vectors:
        raise InputError(f"{model_file}: expected vectors of users or items, got none; see above")
    data = scorer.dataset
    fields = {"user": data.uid_field, "item": data.iid_field}
    ids = {
        side: data.id2token(fields[side], rows[side].numpy()).astype(str)
        for side, own in tables.items()
        if own
    }
    return Embeddings(vectors, ids, _ranks_by_dot_products(scorer, tables, rows["user"]))


def _tables(scorer: Scorer) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
    """The matrices of each side, and the ids of their rows."""
    data = scorer.dataset
    rows = {"user": torch.arange(1, data.user_num), "item": torch.arange(1, data.item_num)}
    with torch.no_grad():
        found = scorer.model.sr_scoring_tables()
    tables = {side: [own.detach() for own in found.get(side, ())] for side in rows}
    if not tables["user"] and scorer.model.sr_entry.user.computed:
        rows["user"] = rows["user"][scorer.served(rows["user"])]
        blocks = [_encoded(scorer, users) for users in rows["user"].split(scorer.block())]
        tables["user"] = [torch.cat(parts) for parts in zip(*blocks, strict=True)]
    return tables, rows


def _encoded(scorer: Scorer, users: Tensor) -> list[Tensor]:
    """What a model without a table of users calculates of each."""
    inputs = scorer.inputs(users)
    return scorer.model.sr_encoded(inputs, lambda _: scorer.scores(users))


def _ranks_by_dot_products(
    scorer: Scorer, tables: Mapping[str, Sequence[Tensor]], users: Tensor
) -> bool:
    """Whether some users' scores fall in the order of the dot products, up to rounding."""
    if any(len(own) != 1 for own in tables.values()) or not len(users):
        return False
    user, item = (own[0][:_CHECKED] if side == "user" else own[0] for side, own in tables.items())
    if user.shape[1] != item.shape[1]:
        return False
    scores = scorer.scores(users[:_CHECKED])[:, 1:]
    order = (user @ item.T).argsort(dim=1, descending=True)
    rises = scores.gather(1, order).diff(dim=1).clamp(min=0)
    return bool((rises <= _ROUNDING * scores.abs().amax(1, keepdim=True)).all())
