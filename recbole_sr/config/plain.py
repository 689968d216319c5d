"""A run's settings as plain data: what a checkpoint holds instead of a pickled ``Config``."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import torch
from recbole.utils import EvaluatorType, InputType, ModelType
from torch import nn

from recbole_sr.errors import InputError

__all__ = ["from_plain", "plain_state", "to_plain"]

# The settings that RecBole derives as objects, and how their plain form becomes one again.
_OBJECTS: dict[str, Any] = {
    "MODEL_TYPE": ModelType.__getitem__,
    "MODEL_INPUT_TYPE": InputType.__getitem__,
    "eval_type": EvaluatorType.__getitem__,
    "device": torch.device,
}


def to_plain(settings: Any) -> Any:
    """Settings made of dictionaries, lists, strings, numbers, booleans and None alone.

    Raises:
        InputError: names the setting whose value has no plain form, such as a function.
        TypeError: the same of what is no dictionary of settings.

    Example:
        >>> from recbole.utils import ModelType
        >>> to_plain({"MODEL_TYPE": ModelType.GENERAL, "topk": (10, np.int64(20))})
        {'MODEL_TYPE': 'GENERAL', 'topk': [10, 20]}

    """
    if isinstance(settings, dict):
        return {to_plain(key): _plain_value(key, value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [to_plain(value) for value in settings]
    if isinstance(settings, Enum):
        return settings.name
    if isinstance(settings, torch.device):
        return str(settings)
    if isinstance(settings, np.generic):  # some are floats too, but pickle as numpy's own
        return settings.item()
    if settings is None or isinstance(settings, str | int | float | bool):
        return settings
    raise TypeError(f"a checkpoint cannot hold the setting {settings!r} as plain data")


def _plain_value(key: Any, value: Any) -> Any:
    try:
        return to_plain(value)
    except TypeError:
        raise InputError(
            f"{key}: expected texts, numbers, lists and the like, which a checkpoint can hold, got "
            f"{value!r}; give it as one of these, or set it in the model's class"
        ) from None


def from_plain(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings RecBole works with, from what :func:`to_plain` made of them.

    Example:
        >>> from_plain({"MODEL_TYPE": "GENERAL"})
        {'MODEL_TYPE': <ModelType.GENERAL: 1>}

    """
    return {
        key: _OBJECTS[key](value) if key in _OBJECTS else value for key, value in settings.items()
    }


def plain_state(value: Any) -> Any:
    """What a model saves beside its parameters, as tensors and plain data.

    A numpy array becomes a tensor, a dictionary of any kind a plain one; a module is left out, for
    the model's ``state_dict`` has its parameters.

    Raises:
        TypeError: a value that has no such form.

    Example:
        >>> import numpy as np
        >>> plain_state({"neighbours": np.arange(2)})
        {'neighbours': tensor([0, 1])}

    """
    if isinstance(value, dict):
        return {
            plain_state(key): plain_state(part)
            for key, part in value.items()
            if not isinstance(part, nn.Module)
        }
    if isinstance(value, list | tuple):
        kind = list if isinstance(value, list) else tuple  # and no kind of one's own
        return kind(map(plain_state, value))
    if isinstance(value, np.ndarray | np.generic):
        return torch.from_numpy(value) if value.ndim else value.item()
    return value if isinstance(value, torch.Tensor) else to_plain(value)
