"""The tensors of any RecBole checkpoint, read without running anything found in it."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any, BinaryIO

import torch
from torch import Tensor

from recbole_sr.errors import InputError, check_file, first_line
from recbole_sr.runs.checkpoint import read

__all__ = ["read_tensors"]

# What a tensor is made of. Anything else that a checkpoint names becomes an `_Inert`.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}


class _Inert:
    """Stands in for a class or function that a pickle names: takes anything, does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    __setstate__ = __setitem__ = append = extend = __init__


class _Unpickler(pickle.Unpickler):
    """Looks names up in ``_ALLOWED`` and nowhere else, so nothing is imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        return _ALLOWED.get((module, name), _Inert)


def read_tensors(path: str) -> dict[str, Tensor]:
    """The ``state_dict`` of a checkpoint: tensors by parameter name, on the CPU.

    RecBole's own checkpoints hold its ``Config`` as a pickled object, which ``torch.load`` rightly
    refuses to rebuild; here such objects are left out.

    Raises:
        InputError: there is no such file, it is damaged, or it is not a checkpoint.

    """
    check_file(path, "a checkpoint")
    try:
        with open(path, "rb") as file:
            state = _state(file)
    except Exception as error:  # a damaged or hostile file raises anything
        raise InputError(
            f"{path}: expected a checkpoint saved by RecBole or recbole_sr, got "
            f"{first_line(error)}; give the .pth file of a run"
        ) from None
    if "checksum" in state or "format" in state:  # of this package
        state = read(path)
    weights = state["state_dict"]
    return {name: value for name, value in weights.items() if isinstance(value, Tensor)}


def _state(file: BinaryIO) -> dict[str, Any]:
    archive = zipfile.ZipFile(file) if zipfile.is_zipfile(file) else None
    names = archive.namelist() if archive else []
    files = {name.rpartition("/")[2] for name in names}
    # Formats before zip, and TorchScript, which is code, have readers of their own in torch.
    if "data.pkl" not in files or "constants.pkl" in files:
        raise ValueError("a file of another format")
    if archive and archive.testzip():  # torch itself does not look
        raise ValueError("damaged data")
    file.seek(0)
    module = SimpleNamespace(Unpickler=_Unpickler, load=None, __name__="restricted")
    state = torch.load(file, map_location="cpu", pickle_module=module, weights_only=False)
    if not isinstance(state, dict) or not isinstance(state.get("state_dict"), dict):
        raise ValueError("a file without 'state_dict'")
    return state
