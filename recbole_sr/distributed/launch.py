"""How a process learns that it is one of several: by the environment, as torchrun sets it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from recbole_sr.errors import InputError

__all__ = [
    "KEYS",
    "launch_name",
    "launched",
    "local_rank",
    "local_size",
    "rank",
    "refuse_several",
    "restarts",
    "size",
    "torchrun",
]

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


# RecBole's keys by which several processes are started.
KEYS = ("nproc", "world_size", "ip", "port", "group_offset")


def launched() -> bool:
    """Whether torchrun, or another launcher that sets the same variables, started this process."""
    return all(os.environ.get(name) for name in _NEEDED)


def rank() -> int:
    """The number of this process among all, from 0; 0 where it is alone."""
    return int(os.environ["RANK"]) if launched() else 0


def size() -> int:
    """How many processes there are."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def local_rank() -> int:
    """The number of this process on its machine, by which it takes its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched() else 0


def local_size() -> int:
    """How many processes there are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(size()))) if launched() else 1


def restarts() -> int:
    """How often torchrun has started the processes again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) if launched() else 0


def launch_name() -> str | None:
    """What names one call of torchrun, also after it has started the processes again."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    return f"{run}-{os.getppid()}" if launched() and run else None


def refuse_several(what: str) -> None:
    """Refuse what only one process can do.

    Raises:
        InputError: there are several.

    """
    if size() > 1:
        raise InputError(f"{what}: expected one process, got {size()}; start it without torchrun")


def torchrun(keys: Mapping[str, int | str], program: Sequence[str]) -> list[str]:
    """The command by which torchrun does what RecBole's keys of distributed training ask for.

    Args:
        keys: ``nproc``, the processes on this machine; for several machines also ``world_size``,
            those on all, ``ip`` and ``port`` of the first, and ``group_offset``, the number of this
            machine's first process.
        program: what each process runs.

    Raises:
        ValueError: the machines do not have the same number of processes.

    Example:
        >>> torchrun({"nproc": 2}, ["run.py", "-m", "BPR"])[3:]
        ['--nproc-per-node=2', '--standalone', 'run.py', '-m', 'BPR']

    """
    here = int(keys["nproc"])
    everywhere, before = int(keys.get("world_size", -1)), int(keys.get("group_offset", 0))
    options = ["--standalone"]
    if everywhere not in (-1, here):
        if everywhere % here or before % here:
            raise ValueError("numbers of processes that are multiples of nproc")
        options = [
            f"--nnodes={everywhere // here}",
            f"--node-rank={before // here}",
            f"--master-addr={keys.get('ip', 'localhost')}",
            f"--master-port={keys.get('port', 5678)}",
        ]
    launcher = [sys.executable, "-m", "recbole_sr.distributed.torchrun", f"--nproc-per-node={here}"]
    return [*launcher, *options, *program]
