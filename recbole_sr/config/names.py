"""Names of keys, read without the settings, which take seconds to import."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole_sr.config.shipped import properties_folder
from recbole_sr.distributed.launch import KEYS
from recbole_sr.errors import InputError, nearest

__all__ = ["REMOVED", "RENAMED", "method_keys", "refuse_unknown", "refuse_unread"]

# Keys of earlier versions, with the value at which they changed nothing.
REMOVED = {"sr_similarity": "dot", "sr_switch_rank": None, "sr_rank_tolerance": 0.01}
# Keys by the names that they had in earlier versions.
RENAMED = {"sr_init_sweeps": "sr_init_als_iterations"}
# Of the command line, where RecBole has no such key.
_OURS = {"config_files", *KEYS}


def method_keys() -> list[str]:
    """The keys of the method, as ``properties/stable_rank.yaml`` lists them.

    Example:
        >>> method_keys()[0]
        'sr_warm_epochs'

    """
    text = (properties_folder() / "stable_rank.yaml").read_text(encoding="utf-8")
    return re.findall(r"^(sr_\w+):", text, re.MULTILINE)


def refuse_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that begins with ``sr_`` and is no key.

    Raises:
        InputError: names the key that may be meant.

    Example:
        >>> refuse_unknown(["sr_warm_epoch", "epochs"], ["sr_warm_epochs"])
        Traceback (most recent call last):
        recbole_sr.errors.InputError: unknown key 'sr_warm_epoch'; did you mean 'sr_warm_epochs'?

    """
    known = list(known)
    for name in names:
        if name.startswith("sr_") and name not in known:
            meant = RENAMED.get(name) or nearest(name, known)
            raise InputError(f"unknown key {name!r}; did you mean {meant!r}?")


def refuse_unread(names: Iterable[str]) -> None:
    """Refuse a name that stands nowhere in RecBole: nothing can read it, whatever the model.

    What stands somewhere may still be no key, or have no effect; the settings tell that later.

    Raises:
        InputError: names the key that may be meant.

    Example:
        >>> refuse_unread(["learning_rat"])
        Traceback (most recent call last):
        recbole_sr.errors.InputError: unknown key 'learning_rat': neither RecBole nor one of its \
models reads it; did you mean 'learning_rate'?

    """
    recbole: Any = find_spec("recbole")  # is there, or this package refuses to be imported
    folder = Path(recbole.origin).parent
    files = (folder / "properties").rglob("*.yaml")
    keys = (file for file in files if not file.stem.endswith("url"))  # those name data sets
    defaults = _named(r"^([\w-]+):", keys)
    unread = set(names) - defaults - _OURS
    unread = {name for name in unread if not name.startswith("sr_")}
    if unread:  # which hardly ever is
        unread -= _named(r"""["']([\w-]+)["']|\bconfig\.(\w+)""", folder.rglob("*.py"))
    for name in sorted(unread):
        raise InputError(
            f"unknown key {name!r}: neither RecBole nor one of its models reads it; did you mean "
            f"{nearest(name, defaults | _OURS)!r}?"
        )


def _named(pattern: str, files: Iterable[Path]) -> set[str]:
    """What stands in a pattern's groups, in some files."""
    texts = (file.read_text("utf-8") for file in files)
    found = (match.groups() for text in texts for match in re.finditer(pattern, text, re.M))
    return {name for groups in found for name in groups if name}
