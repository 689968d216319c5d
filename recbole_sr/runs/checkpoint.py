"""Checkpoint files: written whole or not at all, read without running code from them."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from torch import Tensor, nn
from typing_extensions import TypedDict

from recbole_sr.errors import InputError, check_file, first_line
from recbole_sr.runs.epochs import EpochRecord
from recbole_sr.runs.files import replacing

__all__ = [
    "FORMAT",
    "SavedModel",
    "SavedRun",
    "checksum",
    "load_weights",
    "read",
    "read_model",
    "read_run",
    "restoring",
    "write",
]


# Raised when an older file could no longer be understood: 3 since a run and its data have names.
FORMAT = 3

Natural = Annotated[int, Field(ge=0)]


def _record(entries: Any) -> EpochRecord:
    try:
        return EpochRecord(**entries)
    except TypeError as error:
        raise ValueError(f"the entries of an epoch ({first_line(error)})") from None


class _Saved(BaseModel):
    """What both kinds of file hold."""

    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True, extra="forbid")

    format: int = 1
    run: str = ""
    data: dict[str, str] | None = None
    config: dict[str, Any]
    cur_step: Natural
    best_valid_score: float
    state_dict: dict[str, Tensor]


class _Schedule(TypedDict):
    """See :meth:`~recbole_sr.objectives.schedule.Schedule.state_dict`."""

    warming: bool
    switch_epoch: Natural | None
    best_score: float | None
    misses: Natural
    rank_weights: dict[str, float] | None


class SavedModel(_Saved):
    """A model's checkpoint.

    Attributes:
        run: names the run that it is of.
        data: see :func:`~recbole_sr.runs.identity.data_identity`; None in formats below 3.

    """

    epoch: Annotated[int, Field(ge=-1)]
    other_parameter: dict[str, Any] | None
    optimizer: dict[str, Any]
    schedule: dict[str, Any]


class SavedRun(_Saved):
    """A saved run, of which training can go on: see :class:`~recbole_sr.runs.state.RunState`."""

    schedule: _Schedule
    epoch: Natural
    finished: bool
    saved_model_file: str
    initial_stable_rank: dict[str, float] | None
    initial_valid_score: float | None = None
    train_loss_dict: dict[int, float]
    memory: dict[str, Any]
    optimizers: dict[str, dict[str, Any]]
    epoch_records: list[Annotated[EpochRecord, BeforeValidator(_record)]]
    best_valid_result: dict[str, float] | None
    random_states: dict[str, Any]
    loader: str

    @model_validator(mode="after")
    def _has_its_epochs(self) -> SavedRun:
        epochs = len(self.epoch_records)
        untrained = self.finished and epochs == self.epoch == 0
        if not (untrained or (epochs if self.finished else epochs == self.epoch)):
            raise ValueError(f"records of {epochs} epochs at epoch {self.epoch}")
        return self


def write(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Replace ``path`` by ``state``; a full disk or a kill leaves the old file as it was.

    Args:
        state: tensors and plain data, so that :func:`read` can read it.
        path: where to; its folder exists.

    Raises:
        OSError: the file could not be written; nothing has changed.
    """
    state = {**state, "format": FORMAT}
    with replacing(path) as file:
        torch.save({**state, "checksum": checksum(state)}, file)


def _refuse_news(said: Sequence[warnings.WarningMessage]) -> None:
    """Raise what torch only warned of, where flipped bytes look like news; pass on the others."""
    for warning in said:
        if "torch" in Path(warning.filename).parts:
            raise ValueError(str(warning.message))
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint on the CPU, by ``torch.load(weights_only=True)``: no code in it is run.

    Raises:
        InputError: there is no such file, it is damaged, or it holds more than tensors and plain
            data, as RecBole's own checkpoints do.
    """
    check_file(path, "a checkpoint of recbole_sr")
    try:
        # Only a zip file: else torch would read it as a bare pickle.
        with zipfile.ZipFile(path), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            state = torch.load(path, map_location="cpu", weights_only=True)
        _refuse_news(said)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: expected a checkpoint of recbole_sr, got one that holds more than tensors "
            "and plain data (RecBole's own do) or is damaged; train the model with recbole-sr"
        ) from None
    except zipfile.BadZipFile:
        raise InputError(
            f"{path}: expected a checkpoint of recbole_sr, got another file, or one that was cut "
            "short; check the path, or use an earlier checkpoint"
        ) from None
    except Exception as error:  # flipped bytes raise anything, and torch's warnings
        raise InputError(
            f"{path}: expected a checkpoint of recbole_sr, got {first_line(error)!r}; "
            "check the path, or use an earlier checkpoint"
        ) from None
    if not isinstance(state, dict) or "checksum" not in state:
        raise InputError(f"{path}: expected a checkpoint of recbole_sr, got other data")
    if state.pop("checksum") != checksum(state):
        raise InputError(
            f"{path}: expected a whole checkpoint, got damaged data; use an earlier one"
        )
    if type(number := state.setdefault("format", 1)) is int and number > FORMAT:
        raise InputError(
            f"{path}: expected format {FORMAT} or earlier, got {number}, of a newer recbole_sr; "
            "upgrade the package"
        )
    return state


def read_model(path: str | os.PathLike[str]) -> SavedModel:
    """A model's checkpoint.

    Raises:
        InputError: as :func:`read`, or it is a saved run, of which training can go on, or an entry
            of it is missing or of another type.
    """
    state = read(path)
    if "random_states" in state:
        raise InputError(
            f"{path}: expected a model's checkpoint, got a saved run, *.run.pth; give the .pth "
            "file beside it"
        )
    return _validated(SavedModel, state, path)


def read_run(path: str | os.PathLike[str]) -> SavedRun:
    """A saved run, of which training can go on.

    Raises:
        InputError: as :func:`read`, or it is a model's checkpoint, or of an earlier version, or an
            entry of it is missing or of another type.
    """
    state = read(path)
    if "other_parameter" in state:
        raise InputError(
            f"{path}: expected a saved run, *.run.pth, got a model's checkpoint; give the run's"
        )
    if state["format"] != FORMAT:
        raise InputError(
            f"{path}: expected a run saved in format {FORMAT}, got {state['format']}, of an "
            "earlier recbole_sr; resume it with that version, or train anew"
        )
    return _validated(SavedRun, state, path)


@contextmanager
def restoring(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file where what it holds turns out not to be what a run can be made of.

    Raises:
        InputError: names the file and what is the matter with it.
    """
    try:
        yield
    except InputError as error:
        known = str(error).startswith(str(path))
        raise error if known else InputError(f"{path}: {error}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{path}: expected what recbole_sr saved, got entries that cannot be restored "
            f"({type(error).__name__}: {first_line(error)}); use an earlier file, or train anew"
        ) from error


def load_weights(model: nn.Module, weights: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Give a model the weights of a checkpoint.

    Raises:
        InputError: they are another model's, tables for other data, of another type, or not finite.
    """
    for name, own in model.named_parameters():
        found = weights.get(name, own)
        if found.dtype != own.dtype or not found.isfinite().all():
            raise InputError(
                f"{path}: expected finite {own.dtype} as {name}, got "
                f"{'NaN or infinity' if found.dtype == own.dtype else found.dtype}; use an earlier "
                "file, or train anew"
            )
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{path}: expected weights for this {type(model).__name__} and its data, got others "
            f"({' '.join(str(error).split())}); train anew, or restore the data and settings"
        ) from None


Kind = TypeVar("Kind", bound=_Saved)


def _validated(kind: type[Kind], state: dict[str, Any], path: str | os.PathLike[str]) -> Kind:
    try:
        return kind.model_validate(state)
    except ValidationError as error:
        first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    raise InputError(
        f"{path}: expected what recbole_sr saved, got {where}: {first['msg']}; use an earlier "
        "file, or train anew"
    )


def checksum(value: Any, crc: int = 0) -> int:
    """A checksum of tensors and plain data, however they are nested."""
    if isinstance(value, dict):
        value = [part for item in value.items() for part in item]
    if isinstance(value, list | tuple):
        for part in value:
            crc = checksum(part, crc)
        return crc
    if not isinstance(value, Tensor):
        return zlib.crc32(repr(value).encode(), crc)
    if value.layout is not torch.strided:
        value = value.to_sparse_coo().coalesce()
        return checksum([value.indices(), value.values()], crc)
    entries = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return zlib.crc32(entries.numpy().tobytes(), crc)
