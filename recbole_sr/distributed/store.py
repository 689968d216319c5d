"""The launcher's table of keys and values, which all processes read and write."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from recbole_sr.distributed import launch

__all__ = ["is_first_to_speak", "store"]

_CONNECTED = timedelta(seconds=60)


@cache
def store() -> Store:
    """The table, with keys of this launch alone: torchrun may keep one table over its restarts."""
    made, _, _ = next(rendezvous("env://", timeout=_CONNECTED))
    return PrefixStore(f"recbole_sr/{launch.restarts()}", made)


def is_first_to_speak() -> bool:
    """Whether no other process has yet said why all of them end; from now on this one has."""
    if launch.size() == 1:
        return True
    try:
        return int(store().add("spoken", 1)) == 1
    except RuntimeError:  # whoever kept the table is gone
        return True
