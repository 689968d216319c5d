"""The tensors of any RecBole checkpoint, read without running anything found in it."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from recbole_sr.errors import InputError

__all__ = ["read_tensors"]

# What a tensor is made of. Anything else that a checkpoint names becomes an `_Inert`.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}

# What unpickling a damaged or hostile file ends in.
_BROKEN = (
    pickle.UnpicklingError,
    RuntimeError,
    TypeError,
    AttributeError,
    EOFError,
    LookupError,
    ValueError,
    AssertionError,
    zipfile.BadZipFile,
)


class _Inert:
    """Stands in for a class or function that a pickle names: takes anything, does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, *_: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        """Take an item of a pickled list."""

    def extend(self, _: Any) -> None:
        """Take the items of a pickled list."""


class _Unpickler(pickle.Unpickler):
    """Looks names up in ``_ALLOWED`` and nowhere else, so nothing is imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        return _ALLOWED.get((module, name), _Inert)


def read_tensors(path: str) -> dict[str, Tensor]:
    """The ``state_dict`` of a checkpoint, on the CPU.

    RecBole's own checkpoints hold its ``Config`` as a pickled object, which ``torch.load`` rightly
    refuses to rebuild; here such objects are left out.

    Args:
        path: of a file that RecBole or this package saved.

    Returns:
        Tensors by parameter name.

    Raises:
        InputError: there is no such file, or it is not a checkpoint.

    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(
            f"{path}: expected a checkpoint, got {error.strerror}; check the path"
        ) from None
    return _tensors(path, _load(path, content))


def _load(path: str, content: bytes) -> Any:
    # Formats before zip, and TorchScript, which is code, have readers of their own in torch.
    if not _is_zip_of_tensors(content):
        raise _unreadable(path, "a file of another format")
    module = SimpleNamespace(Unpickler=_Unpickler, load=None, __name__="restricted")
    try:
        return torch.load(
            io.BytesIO(content),
            map_location="cpu",
            pickle_module=module,
            weights_only=False,
        )
    except _BROKEN as error:
        raise _unreadable(path, str(error).partition("\n")[0]) from None


def _is_zip_of_tensors(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except _BROKEN:
        return False
    return "data.pkl" in names and "constants.pkl" not in names


def _tensors(path: str, checkpoint: Any) -> dict[str, Tensor]:
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise _unreadable(path, "a file without 'state_dict'")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _unreadable(path: str, got: str) -> InputError:
    return InputError(
        f"{path}: expected a checkpoint saved by RecBole or recbole_sr, got {got}; "
        "give the .pth file of a run"
    )
