"""Data that RecBole has pickled: never read, as a pickle can run code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Any

from recbole_sr.errors import InputError

__all__ = ["unread_pickles"]

_KEYS = ("dataset_save_path", "dataloaders_save_path")
_NO_FILE = "\0"  # no file can have this name


@contextmanager
def unread_pickles(config: Any) -> Iterator[None]:
    """Let RecBole build data from atomic files, whatever pickles are in ``checkpoint_dir``.

    RecBole looks there for the data set and the loaders that ``save_dataset`` and
    ``save_dataloaders`` write, so that whoever wrote one could have it run code.

    Args:
        config: RecBole's configuration, the same again afterwards.

    Raises:
        InputError: a key asks for such a file.

    """
    for key in _KEYS:
        if config[key]:
            raise InputError(
                f"{key}: expected none, as reading a pickle can run code, got {config[key]!r}; "
                "drop the key, and the data are built from their files"
            )
    _name_unread(config)
    for key in _KEYS:
        config[key] = _NO_FILE
    try:
        yield
    finally:
        for key in _KEYS:
            config[key] = None


def _name_unread(config: Any) -> None:
    folder, dataset = config["checkpoint_dir"], config["dataset"]
    loaders = f"{dataset}-for-{config['model']}-dataloader.pth"
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name == loaders or (name.startswith(f"{dataset}-") and name.endswith("Dataset.pth")):
            getLogger().warning(
                f"{os.path.join(folder, name)}: not read, as reading a pickle can run code; the "
                "data are built from their files"
            )
