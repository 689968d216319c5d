"""The names of the ``sr_`` keys, for whom the settings themselves would take seconds to import."""

from __future__ import annotations

import re
from collections.abc import Iterable

from recbole_sr.config.shipped import properties_folder
from recbole_sr.errors import InputError, nearest

__all__ = ["REMOVED", "RENAMED", "method_keys", "refuse_unknown"]

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
