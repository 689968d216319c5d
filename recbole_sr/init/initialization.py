"""The initialisations there are: functions that fill tables, each with its specification.

To add one, write the function and its entry in :data:`INITIALIZATIONS`; ``sr_init`` then accepts
its name. It is given :class:`~recbole_sr.init.tables.Tables`, the training interactions and a seed;
its keyword-only arguments are what the user may set: the property key of ``power`` is
``sr_init_power``.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

from recbole_sr.init.spectral import spectral

__all__ = ["INITIALIZATIONS", "parameters"]

INITIALIZATIONS: dict[str, Callable[..., None]] = {"spectral": spectral}


def parameters(name: str) -> list[str]:
    """What the user may set of an initialisation; nothing of a name that is none.

    Example:
        >>> parameters("spectral")
        ['degree_power', 'als_iterations', 'power', 'margin']

    """
    if name not in INITIALIZATIONS:
        return []
    taken = signature(INITIALIZATIONS[name]).parameters.values()
    return [parameter.name for parameter in taken if parameter.kind is parameter.KEYWORD_ONLY]
