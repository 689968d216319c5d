"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing", "write_whole"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` once the block has ended well.

    A reader, a full disk, a kill or a power cut finds the old content or the new.
    """
    path = Path(path)
    for left in path.parent.glob(f"{escape(path.name)}.*.tmp"):  # by a process that was killed
        left.unlink(missing_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Replace ``path`` by a text in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())
