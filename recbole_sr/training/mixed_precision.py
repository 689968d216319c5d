"""Mixed precision is refused for the models whose operations torch has no half precision for."""

from __future__ import annotations

from typing import Any

from recbole_sr.errors import InputError
from recbole_sr.models.entry import ModelEntry

__all__ = ["check_mixed_precision"]


def check_mixed_precision(config: Any, entry: ModelEntry) -> None:
    """Refuse mixed precision where the model's operations have none.

    Args:
        config: a :class:`~recbole_sr.config.config.Config`.
        entry: the model's.

    Raises:
        InputError: ``enable_amp`` with such a model.

    """
    if not config["enable_amp"] or entry.mixed_precision == "yes":
        return
    # Only RecBole's own propagation drops nodes, and only that is inherited by a subclass.
    able = entry.propagation is not None and not config["node_dropout"]
    by_fast = entry.mixed_precision == "fast path" and able
    if not (by_fast and config.options.sr_fast):
        raise InputError(
            f"enable_amp: expected False for {config['model']}, as torch has no half precision for "
            "its sparse products or scattering, or it has not been tried, got True; drop the key"
            + (", or set sr_fast: True" if by_fast else "")
        )
