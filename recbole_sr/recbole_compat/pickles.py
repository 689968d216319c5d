"""Data that RecBole has pickled: not read for a checkpoint, as a pickle can run code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["pickled_loaders", "unread_pickles"]

_NO_FILE = "\0"  # no file can have this name


def pickled_loaders(config: Any) -> str:
    """The file of data loaders that RecBole would read, were it there."""
    name = f"{config['dataset']}-for-{config['model']}-dataloader.pth"
    return config["dataloaders_save_path"] or os.path.join(config["checkpoint_dir"], name)


@contextmanager
def unread_pickles(config: Any) -> Iterator[None]:
    """Let RecBole build data anew from atomic files, whatever pickles the settings lead to.

    The settings of a checkpoint say where RecBole looks for a pickled data set and for pickled
    loaders, so that whoever wrote one could have it run code from a file beside it.

    Args:
        config: RecBole's configuration, the same again afterwards.

    """
    given = {key: config[key] for key in ("dataset_save_path", "dataloaders_save_path")}
    config["dataset_save_path"] = _NO_FILE
    # Only where there are any, as the key alone has the loaders be RecBole's.
    if os.path.exists(pickled_loaders(config)):
        config["dataloaders_save_path"] = _NO_FILE
    try:
        yield
    finally:
        for key, path in given.items():
            config[key] = path
