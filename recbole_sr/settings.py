"""A run's settings as plain data: what a checkpoint holds instead of a pickled ``Config``."""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from recbole.utils import EvaluatorType, InputType, ModelType

__all__ = ["from_plain", "to_plain"]

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
        TypeError: a value that has no plain form, such as a function.

    Example:
        >>> from recbole.utils import ModelType
        >>> to_plain({"MODEL_TYPE": ModelType.GENERAL, "topk": (10, 20)})
        {'MODEL_TYPE': 'GENERAL', 'topk': [10, 20]}

    """
    if isinstance(settings, dict):
        return {to_plain(key): to_plain(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [to_plain(value) for value in settings]
    if isinstance(settings, Enum):
        return settings.name
    if isinstance(settings, torch.device):
        return str(settings)
    if settings is None or isinstance(settings, str | int | float | bool):
        return settings
    raise TypeError(f"a checkpoint cannot hold the setting {settings!r} as plain data")


def from_plain(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings RecBole works with, from what :func:`to_plain` made of them.

    Example:
        >>> from_plain({"MODEL_TYPE": "GENERAL"})
        {'MODEL_TYPE': <ModelType.GENERAL: 1>}

    """
    return {
        key: _OBJECTS[key](value) if key in _OBJECTS else value for key, value in settings.items()
    }
