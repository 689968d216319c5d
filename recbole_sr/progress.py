"""A progress bar of our own text around RecBole's batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recbole.utils import set_color
from tqdm import tqdm

__all__ = ["ProgressBar"]


class ProgressBar:
    """A data loader that shows a bar while it is iterated, and otherwise is the loader it wraps.

    RecBole builds its bar inside ``_train_epoch`` where no text can be added, so it is told to
    show none and is given this in place of the loader.
    """

    def __init__(self, loader: Any, title: str):
        self._loader = loader
        self._title = title

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return iter(tqdm(self._loader, desc=set_color(self._title, "pink"), ncols=120))
