"""Files that are written whole or not at all, and folders that belong to one process at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from logging import getLogger
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from filelock import FileLock, Timeout

from recbole_sr.errors import InputError

__all__ = ["claim", "locked", "remove_drafts", "replacing", "write_whole"]

_LOCK = ".lock"
_WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def claim(path: str | os.PathLike[str], again: bool = False) -> Path:
    """Make a folder under a name that nobody has, also beside others who do so at this moment.

    Args:
        path: the name wanted. It is taken where the folder, or a file of that name with a suffix,
            is there.
        again: take the folder of that name, which is nobody else's, where no file begins with it.

    Returns:
        ``path``, or the first of ``path-2``, ``path-3``, ... that is free.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     [claim(Path(folder, "BPR")).name for _ in range(2)]
        ['BPR', 'BPR-2']

    """
    path = Path(path)
    for number in count(1):
        name = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            name.mkdir(exist_ok=again)
        except FileExistsError:
            continue
        if not any(other.name.startswith(f"{name.name}.") for other in name.parent.iterdir()):
            return name
        with suppress(OSError):  # of a folder that was there, and has something in it
            name.rmdir()
    raise AssertionError  # count() does not end


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder for this process alone, until the block ends or the process does.

    Raises:
        InputError: another process holds it.

    """
    lock = FileLock(Path(folder, _LOCK))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{folder}: expected that nothing is writing there, but another process is; wait for "
            "it, or stop it first"
        ) from None
    except (NotImplementedError, OSError) as error:  # some network file systems have no locks
        if getattr(error, "errno", errno.ENOSYS) not in _WITHOUT_LOCKS:
            raise
        getLogger().warning(f"{folder}: no locks there; do not resume it while it is running")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` once the block has ended well.

    A reader, a full disk, a kill or a power cut finds the old content or the new.
    """
    path = Path(path)
    draft = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None  # torch.save hides that the disk is full, say
        raise
    if os.name == "nt":  # has no folders that can be synced
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Replace ``path`` by a text in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


def remove_drafts(folder: Path, prefix: str = "") -> None:
    """Remove what :func:`replacing` left in a folder when its process was killed.

    Args:
        folder: where to look; no other process writes such files there now.
        prefix: how their names begin.

    """
    for draft in folder.iterdir():
        if draft.name.startswith(prefix) and draft.suffix == ".tmp":
            draft.unlink(missing_ok=True)
