"""Whether torch's threads have cores of their own: each waits for all others many times a step."""

from __future__ import annotations

from time import perf_counter

import psutil
import torch

__all__ = ["Cores"]

_SHORTEST = 1.0  # seconds; a processor's clock ticks every hundredth


class Cores:
    """What other programs take of the processor, from when this is made.

    Example:
        >>> Cores().advice() is None  # too little time has passed
        True

    """

    def __init__(self) -> None:
        self._began: tuple[float, ...] | None = self._clock()

    @staticmethod
    def _clock() -> tuple[float, ...]:
        """Seconds: that pass, that all cores are idle, and that this process takes of them."""
        machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        return perf_counter(), idle, own.user + own.system

    def advice(self) -> str | None:
        """What to do where threads lack a core, said once; None where none does, or too soon."""
        if self._began is None:
            return None
        passed, idle, own = (
            now - then for now, then in zip(self._clock(), self._began, strict=True)
        )
        if passed < _SHORTEST:
            return None
        self._began = None
        threads, cores = torch.get_num_threads(), psutil.cpu_count() or 1
        others = max(0.0, cores - (idle + own) / passed)
        if threads == 1 or cores - others > threads - 0.5:
            return None
        return (
            f"Other programs take {others:.1f} of {cores} cores, and torch's {threads} threads "
            "wait for each other, which can cost more than the training: set OMP_NUM_THREADS="
            f"{max(1, round(cores - others))}"
        )
