"""A training step on two processes of one thread each, beside one process of one thread.

Both are measured in turns in the same processes: while the first trains alone the second waits.
Bytes are those that the loopback device carries, of both processes together.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.harness import Run, data_sets, experiment, report, train
from recbole_sr.distributed.group import Alone, processes
from recbole_sr.distributed.launch import launched, torchrun

STABLE_RANK = {"sr_main_regularizers": {"stable_rank": 0.03}}
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "BPR, 2,048": ("BPR", 100, {}),
    "BPR, 8,192": ("BPR", 40, {"train_batch_size": 8192}),
    "BPR and stable rank, 2,048": ("BPR", 60, STABLE_RANK),
    "LightGCN, 2,048": ("LightGCN", 10, {}),
}
WAYS = ("data", "columns")
RUNS, WARM_UP = 5, 1


def main() -> None:
    """Start the processes, or be one of them and print the table as the first."""
    if not launched():
        command = torchrun({"nproc": 2}, ["-m", "benchmarks.distributed"])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        sys.exit(subprocess.call(command, env=environment))  # noqa: S603
    torch.set_num_threads(1)
    (name,) = data_sets("gowalla")
    alone = {case: prepared(case, name) for case in CASES}
    with processes(lambda: 600.0) as group:
        rows = [measured(case, alone[case], name, group, way) for case in CASES for way in WAYS]
    if group.leads:
        report(
            f"A step on {name}, d = 64: one process and two, one thread each",
            ["model, batch", "one, ms", "two, ms", "faster", "MB a step", "MiB a process"],
            rows,
        )


def prepared(case: str, dataset: str, way: str = "data") -> Run:
    """An experiment of the processes that are joined, or of this one."""
    model, _, settings = CASES[case]
    return experiment(model, dataset, True, **settings, sr_parallel=way)


def measured(case: str, alone: Run, dataset: str, group: Alone, by: str) -> list[str]:
    """A row of the table."""
    steps, together = CASES[case][1], prepared(case, dataset, by)
    ways = {"one": alone, "two": together}
    batches = {way: list(islice(run.train_data, steps)) for way, run in ways.items()}
    steps = len(batches["two"])  # small data have fewer in an epoch
    times: dict[str, list[float]] = {way: [] for way in ways}
    moved = []
    for turn in range(WARM_UP + RUNS):
        for way, run in ways.items():
            group.gathered(None)  # the other is ready
            before, start = carried(), perf_counter()
            if way == "two" or group.leads:
                train(run, batches[way])
            seconds = max(
                group.gathered(perf_counter() - start if way == "two" or group.leads else 0.0)
            )
            if turn >= WARM_UP:
                times[way].append(1000 * seconds / steps)
                moved += [(carried() - before) / steps / 1e6] if way == "two" else []
    one, two = (statistics.median(times[way]) for way in ways)
    size = memory(alone), memory(together)
    return [
        f"{case}, by {by}",
        f"{one:.1f}",
        f"{two:.1f}",
        f"{one / two:.2f} x",
        f"{statistics.median(moved):.2f}",
        f"{size[0]:.0f}, {size[1]:.0f}",
    ]


def carried() -> int:
    """Bytes that the loopback device has received so far; 0 where nobody counts."""
    file = Path("/proc/net/dev")
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return next((int(x.split()[1]) for x in lines if x.strip().startswith("lo:")), 0)


def memory(run: Run) -> float:
    """MiB of a process's weights and of its optimiser's state."""
    states = run.trainer.optimizer.state.values()
    tensors = [x for state in states for x in state.values() if isinstance(x, torch.Tensor)]
    return sum(x.nbytes for x in [*run.model.parameters(), *tensors]) / 2**20


if __name__ == "__main__":
    main()
