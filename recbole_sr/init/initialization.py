"""The initialisations there are: functions that fill tables, each with its specification.

To add one, write the function and its entry in :data:`INITIALIZATIONS`; ``sr_init`` then accepts
its name. It is given :class:`~recbole_sr.init.tables.Tables`, what its entry says of the training
data, and a seed; its keyword-only arguments are what the user may set: the property key of
``power`` is ``sr_init_power``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any, Literal

from recbole_sr.init.spectral import spectral
from recbole_sr.init.transitions import transitions

__all__ = ["INITIALIZATIONS", "Initialization", "parameters"]


@dataclass(frozen=True)
class Initialization:
    """A way to fill tables, and what it needs.

    Attributes:
        fill: the function.
        sides: those whose tables it fills; a model has to have them.
        reads: what it is given of the training data: all
            :class:`~recbole_sr.init.tables.Interactions`, or the
            :class:`~recbole_sr.init.tables.Histories` that sequential models alone have.

    Example:
        >>> INITIALIZATIONS["transitions"].reads
        'histories'

    """

    fill: Callable[..., None]
    sides: tuple[Literal["user", "item"], ...] = ("user", "item")
    reads: Literal["interactions", "histories"] = "interactions"

    def bind(self, **values: Any) -> Initialization:
        """The same with what the user has set."""
        return replace(self, fill=partial(self.fill, **values))


INITIALIZATIONS = {
    "spectral": Initialization(spectral),
    "transitions": Initialization(transitions, sides=("item",), reads="histories"),
}


def parameters(name: str) -> list[str]:
    """What the user may set of an initialisation; nothing of a name that is none.

    Example:
        >>> parameters("spectral")
        ['degree_power', 'als_iterations', 'power', 'margin']

    """
    if name not in INITIALIZATIONS:
        return []
    taken = signature(INITIALIZATIONS[name].fill).parameters.values()
    return [parameter.name for parameter in taken if parameter.kind is parameter.KEYWORD_ONLY]
