"""The one exception a user is meant to read, and RecBole's turned into it."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

__all__ = [
    "InputError",
    "LostProcessError",
    "check_file",
    "check_output",
    "check_place",
    "cut_run",
    "first_line",
    "naming_run",
    "nearest",
    "refused_by_recbole",
]


_MOST_LINES = 9


class InputError(ValueError):
    """Something the user gave cannot work.

    The message is one sentence: the key or file, what was expected, what was got, what to do.
    The command line prints it and ends with exit code 2.
    """


class LostProcessError(RuntimeError):
    """One of the processes of a run has ended, or answers no more, and so the others end.

    The command line prints the message, which is one sentence, and ends with exit code 1.
    """


_HEAD = 1024  # bytes of a file that tell what it is
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_file(path: str | os.PathLike[str], what: str = "a file") -> None:
    """Refuse an input that is no regular file, or that cannot be opened, before it is read.

    A pipe would wait for its writer, and ``/dev/zero`` never ends.

    Args:
        path: of the input; links are followed.
        what: was expected, as the sentence says it.

    Raises:
        InputError: names the file and what it is.

    Example:
        >>> check_file("/dev/null")
        Traceback (most recent call last):
        recbole_sr.errors.InputError: /dev/null: expected a file, got a device; check the path
    """
    if not path or not isinstance(path, str | os.PathLike):
        raise InputError(f"expected the path of {what}, got {path!r}; give one")
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind == stat.S_IFREG:
            with open(path, "rb"):
                return
        found = _KINDS.get(kind, "something else")
    except (OSError, ValueError) as error:  # a NUL byte in a name is a ValueError
        found = _reason(error)
    raise InputError(f"{path}: expected {what}, got {found}; check the path")


def check_place(path: str | os.PathLike[str]) -> Path:
    """Refuse an output in a folder that is not there, or cannot be written to.

    Returns:
        Where to write: the path, or where it leads if it is a link.

    Raises:
        InputError: names the file.

    """
    if not os.fspath(path):
        raise InputError("the output: expected a name, got none; give one")
    place = Path(os.path.realpath(path) if os.path.islink(path) else path)
    folder = place.parent
    if not folder.is_dir():
        raise InputError(f"{path}: expected a file in a folder, got no folder {folder}; make it")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: expected a folder to write to, got one that is read-only")
    return place


def check_output(path: str | os.PathLike[str], replaced: bytes = b"", mark: bytes = b"") -> Path:
    """Refuse an output that cannot be written, before work is done for it.

    It never takes the place of an input, of what a run or a study keeps, or of a pipe or a device:
    only of a file that began as this output does, or has its mark.

    Args:
        path: of the output.
        replaced: how a file begins that may be replaced, upper case or lower; none may if empty.
        mark: what else stands in the first kilobyte of a file that may be; none may if empty.

    Returns:
        Where to write, as :func:`check_place`.

    Raises:
        InputError: names the file.

    """
    place = check_place(path)
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except FileNotFoundError:
        return place
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {_reason(error)}; give another name") from None
    found = _KINDS.get(kind, "a file of another kind" if replaced or mark else "a file")
    if kind == stat.S_IFREG and (replaced or mark):
        with open(path, "rb") as file:
            head = file.read(_HEAD)
        if (replaced and head.lower().startswith(replaced.lower())) or (mark and mark in head):
            return place
    raise InputError(f"{path}: expected a new file, got {found} that is there; give another name")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def refused_by_recbole(
    what: str, at_fault: Callable[[Exception], bool] = lambda error: True
) -> Iterator[None]:
    """Say what RecBole could not use, where RecBole itself only crashes on it.

    Only for calls that read settings and data, where what was given is at fault; the original
    error stays attached for whoever wants the traceback.

    Args:
        what: the key or file, as the sentence begins.
        at_fault: whether what was given can be at fault for an error; another one is raised as it
            is, unless it is lack of memory.
    """
    try:
        yield
    except (InputError, LostProcessError):
        raise
    except Exception as error:
        # An assertion without words is told by its line.
        lines = str(error).strip().splitlines() or [extract_tb(error.__traceback__)[-1].line or ""]
        # The text of many lines is the traceback of a worker process.
        text = lines[-1] if len(lines) > _MOST_LINES else " ".join(lines)
        reason = f"{type(error).__name__}: {' '.join(text.split())}"
        if _out_of_memory(error):
            raise InputError(
                f"{what}: expected to fit into memory, got {reason}; lower train_batch_size, "
                "eval_batch_size or the sizes of the model"
            ) from error
        if not at_fault(error):
            raise
        raise InputError(f"{what}: RecBole cannot use this ({reason}); correct it") from error


def _out_of_memory(error: Exception) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said


def first_line(error: Exception) -> str:
    """What an error says, without torch's explanations."""
    return str(error).partition("\n")[0]


@contextmanager
def naming_run(path: Callable[[], str]) -> Iterator[None]:
    """Have what cuts a run short say which run it was; the outermost block is right.

    Args:
        path: of the run, without suffix; asked when something cuts it.

    """
    try:
        yield
    except BaseException as error:
        error.cut_run = path()  # type: ignore[attr-defined]
        raise


def cut_run(error: BaseException) -> str | None:
    """Path of the run that an exception has cut short, without suffix; None if it was none.

    Example:
        >>> try:
        ...     with naming_run(lambda: "saved/BPR"):
        ...         raise KeyboardInterrupt
        ... except KeyboardInterrupt as error:
        ...     cut_run(error)
        'saved/BPR'
    """
    return getattr(error, "cut_run", None)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like ``name``, upper case or lower.

    Example:
        >>> nearest("lightgcm", ["BPR", "LightGCN"])
        'LightGCN'
    """
    lower = {one.lower(): one for one in known}
    return lower[difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0)[0]]
