"""The initialisations there are: functions that fill tables, each with its specification.

To add one, write the function and its entry in :data:`INITIALIZATIONS`; ``sr_init`` then accepts
its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from recbole_sr.init.spectral import spectral
from recbole_sr.init.tables import Interactions, Tables

__all__ = ["INITIALIZATIONS", "Initialization"]


@dataclass(frozen=True)
class Initialization:
    """An initialisation and what it needs.

    Attributes:
        function: fills :class:`~recbole_sr.init.tables.Tables`, given the training interactions
            and a seed.
        parameters: names of keyword arguments of ``function`` that the user may set; the property
            key of ``power`` is ``sr_init_power``.

    """

    function: Callable[..., None]
    parameters: tuple[str, ...] = ()

    def bind(self, **values: Any) -> Callable[[Tables, Interactions, int], None]:
        """The function with its parameters set."""
        return partial(self.function, **values)


INITIALIZATIONS: dict[str, Initialization] = {
    "spectral": Initialization(spectral, ("degree_power", "sweeps", "power", "margin")),
}
