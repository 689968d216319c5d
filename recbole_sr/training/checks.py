"""Settings that a model, or this package, cannot follow are refused before anything is built."""

from __future__ import annotations

from collections.abc import Mapping

from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.sources import Missing

__all__ = ["check_settings"]


def check_settings(config: Config, entry: ModelEntry) -> None:
    """Refuse settings that the model cannot follow, or that leave nothing to regularise.

    Raises:
        InputError: names the key, and what the model has or needs instead.

    """
    if not config["single_spec"] or (config["nproc"] or 1) > 1:
        raise InputError(
            f"nproc: expected 1, got {config['nproc']}; distributed training is not supported, "
            "start without --nproc"
        )
    _check_sides(config, entry)
    for key, value in entry.needs.items():
        if config[key] != value:
            raise InputError(
                f"{key}: expected {value!r}, for which the representations of {config['model']} "
                f"are known, got {config[key]!r}; set {key}: {value}"
            )
    _check_initialization(config, entry)
    _check_mixed_precision(config, entry)


def _check_sides(config: Config, entry: ModelEntry) -> None:
    """Refuse to regularise a side that the model does not have."""
    sides, target = config.options.sr_tables, config.options.sr_target_rank
    missing = {s: entry.side(s) for s in ("user", "item") if isinstance(entry.side(s), Missing)}
    if missing.keys() >= set(sides):
        (other,) = {"user", "item"} - set(sides)
        raise InputError(
            f"sr_tables: expected a side that {config['model']} has, got {sides} "
            f"({missing[sides[0]].about}); set sr_tables: [{other}]"
        )
    for side in target if isinstance(target, Mapping) else ():  # a number is for those there are
        if side in missing:
            raise InputError(
                f"sr_target_rank: expected a side that {config['model']} has, got {side!r} "
                f"({missing[side].about}); drop it"
            )


def _check_initialization(config: Config, entry: ModelEntry) -> None:
    """Refuse to fill tables that the model does not have, or that it reads from another run."""
    name, published = config.options.sr_init, config.options.sr_published
    for side in ("user", "item") if name != "model" else ():
        if not entry.side(side).initialized:
            raise InputError(
                f"sr_init: expected 'model' for {config['model']}, which has no {side} table of "
                f"its own to initialise ({entry.side(side).about}), got {name!r}; drop the key"
            )
    key, pretrained = entry.pretrained or ("", None)
    if (name != "model" or published) and key and config[key] == pretrained:
        raise InputError(
            f"{key}: expected no pretrained tables with "
            f"{'sr_published: True' if published else f'sr_init: {name}'}, which fills them anew, "
            f"got {pretrained!r}; drop one of the two"
        )


def _check_mixed_precision(config: Config, entry: ModelEntry) -> None:
    """Refuse mixed precision where torch has no half precision for the model's operations."""
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
