"""The one exception a user is meant to read, and RecBole's turned into it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb

__all__ = ["InputError", "check_folder", "nearest", "refused_by_recbole"]


_MOST_LINES = 9


class InputError(ValueError):
    """Something the user gave cannot work.

    The message is one sentence: the key or file, what was expected, what was got, what to do.
    The command line prints it and ends with exit code 2.
    """


def check_folder(file: str | os.PathLike[str]) -> None:
    """Refuse an output whose folder is not there, before work is done for it.

    Raises:
        InputError: names the file.
    """
    folder = Path(file).absolute().parent
    if not folder.is_dir():
        raise InputError(f"{file}: expected a file in a folder, got no folder {folder}; make it")


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
    except InputError:
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


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like ``name``, upper case or lower.

    Example:
        >>> nearest("lightgcm", ["BPR", "LightGCN"])
        'LightGCN'
    """
    lower = {one.lower(): one for one in known}
    return lower[difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0)[0]]
