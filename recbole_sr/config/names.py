"""The names of keys, for whom the settings themselves would take seconds to import."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from recbole_sr.config.shipped import properties_folder
from recbole_sr.errors import InputError, nearest

__all__ = [
    "OF_QUICK_START",
    "REMOVED",
    "RENAMED",
    "look_ups",
    "method_keys",
    "recboles_look_ups",
    "refuse_unknown",
    "refuse_unread",
]

# Said by the command line of RecBole's quick start, or derived by its Config.
OF_QUICK_START = {"model", "dataset", "config_files", "nproc"}

# Keys of earlier versions, with the value at which they changed nothing.
REMOVED = {"sr_similarity": "dot", "sr_switch_rank": None, "sr_rank_tolerance": 0.01}
# Keys by the names that they had in earlier versions.
RENAMED = {"sr_init_sweeps": "sr_init_als_iterations"}


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
    """Refuse a name that no part of RecBole reads, whatever the model.

    Raises:
        InputError: names the key that may be meant.

    Example:
        >>> refuse_unread(["learning_rat"])
        Traceback (most recent call last):
        recbole_sr.errors.InputError: unknown key 'learning_rat': neither RecBole nor one of its \
models reads it; did you mean 'learning_rate'?

    """
    defaults = _recboles_defaults()
    read = recboles_look_ups() | recboles_look_ups(of_models=True) | OF_QUICK_START
    for name in names:
        if not name.startswith("sr_") and name not in defaults and name not in read:
            raise InputError(
                f"unknown key {name!r}: neither RecBole nor one of its models reads it; did you "
                f"mean {nearest(name, defaults)!r}?"
            )


@cache
def recboles_look_ups(of_models: bool = False) -> frozenset[str]:
    """The keys that single models of RecBole read, or that everything else of it reads."""
    files = [
        file
        for file in _recbole().rglob("*.py")
        if file.parent.name.endswith("_recommender") is of_models
    ]
    return frozenset().union(*(look_ups(file.read_text("utf-8")) for file in files))


def look_ups(source: str) -> frozenset[str]:
    """The keys that a source looks up in a configuration.

    Example:
        >>> look_ups('self.width = config["embedding_size"]')
        frozenset({'embedding_size'})

    """
    found = re.findall(r"""config(?:\[|\.get\()\s*["'](\w+)["']|\bconfig\.(\w+)""", source)
    return frozenset(name for pair in found for name in pair if name)


def _recboles_defaults() -> frozenset[str]:
    """The keys that have a default in RecBole, or in one of its models."""
    files = (_recbole() / "properties").rglob("*.yaml")
    texts = (file.read_text("utf-8") for file in files)
    return frozenset(name for text in texts for name in re.findall(r"^([\w-]+):", text, re.M))


def _recbole() -> Path:
    """The folder of RecBole, which is not imported."""
    found = find_spec("recbole")
    if not found or not found.origin:
        raise ModuleNotFoundError("No module named 'recbole'", name="recbole")
    return Path(found.origin).parent
