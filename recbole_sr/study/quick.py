"""A study within a time budget: as many seeds as fit, references where they fit, and what did not.

The rule, in the order of the runs:

1. One epoch of the baseline measures a run's start-up, an epoch, and the size of the data.
2. References for which there is not enough memory, by an estimate, are left out. Of the first seed
   each may take as long as that epoch's run and a tenth of the budget; one that does not end in it
   is left out afterwards.
3. The number of epochs is limited so that the first seed of the trained models takes at most 80 %
   of the time that is left then.
4. Further seeds follow, up to five, while the longest one so far fits into what is left.

A run that has not ended when the budget does is ended: it is not finished, and has not failed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
from pydantic import PositiveInt
from typing_extensions import TypedDict

from recbole_sr.models.registry import NON_GRADIENT
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.trial import UNFINISHED, Trial

__all__ = ["MOST_SEEDS", "REFERENCES", "SETTINGS", "within"]

REFERENCES = ("Pop", "ItemKNN", "EASE")
# RecBole's default ranks one or two users at a time; scores do not depend on it, time does.
SETTINGS = {"eval_batch_size": 2**20}
MOST_SEEDS = 5
_SHARE, _MARGIN = 0.1, 0.8
_PLAN = "plan.json"
# A group's limit of memory, and what of it is in use and cannot be given up: versions 2 and 1.
_GROUP = "/sys/fs/cgroup"
_CONTROL_GROUPS = (
    (f"{_GROUP}/memory.max", f"{_GROUP}/memory.stat", "anon"),
    (f"{_GROUP}/memory/memory.limit_in_bytes", f"{_GROUP}/memory/memory.stat", "rss"),
)

Result = dict[str, Any]
# Runs a trial, in the folder of runs or in the one given, for so many seconds at most.
Run = Callable[[Trial, float, Path | None], Result]


class _Plan(TypedDict):
    """How the trained models are run, so that a study that goes on has pairs of equal runs."""

    epochs: PositiveInt


class _Clock:
    """The budget: what is left of it, and what runs take."""

    def __init__(self, minutes: float, run: Run):
        self.budget = 60 * minutes
        self._end = monotonic() + self.budget
        self._run = run

    @property
    def left(self) -> float:
        return max(0.0, self._end - monotonic())

    def run(
        self, trial: Trial, most: float = math.inf, folder: Path | None = None
    ) -> tuple[Result, float]:
        """The result and the seconds that it took, those of an earlier process where it ran it."""
        start = monotonic()
        result = self._run(trial, min(self.left, most), folder)
        earlier = (result.get("seconds") or {}).get("total", 0.0)
        return result, max(monotonic() - start, earlier)


def within(
    minutes: float, trials: Sequence[Trial], seeds: int, folder: Path, run: Run
) -> tuple[list[Result], list[str]]:
    """Run trials and their further seeds for so many minutes.

    Args:
        minutes: the budget.
        trials: of the first seed; the first that is trained is the baseline.
        seeds: at most.
        folder: for the epoch that is measured, and for how many a run may have.
        run: gives a trial's result, having run it where it must.

    Returns:
        The results, and a sentence for each thing left out.

    """
    clock = _Clock(minutes, run)
    trained = [trial for trial in trials if trial.model not in NON_GRADIENT]
    probe, took = clock.run(_limited(trained[0], 1), folder=folder / trained[0].name)
    if probe["error"]:
        too_slow = f"no run: one epoch of {trained[0].model} takes more than {minutes:g} minutes"
        return ([], [too_slow]) if probe["error"] == UNFINISHED else ([probe], [])
    references, left_out = _fitting(trials, probe)
    first = [(trial, *clock.run(trial, took + _SHARE * clock.budget)) for trial in references]
    results = [result for _, result, _ in first]
    fitting = [trial for trial, result, _ in first if not result["error"]]

    plan = RunFolder(folder)
    known = plan.read(_PLAN, _Plan)
    epoch = max(probe["seconds"]["training"] + probe["seconds"]["evaluation"], 1e-3)
    in_time = int((_MARGIN * clock.left / len(trained) - (took - epoch)) // epoch)
    epochs = known["epochs"] if known else max(0, in_time)
    least = max(_least_epochs(trial) for trial in trained)
    if epochs < least:
        names = ", ".join(dict.fromkeys(trial.model for trial in trained))
        seconds = len(trained) * (took + (least - 1) * epoch) / _MARGIN
        seconds = (seconds + took * (1 + len(references))) / (1 - _SHARE * len(references))
        left_out.append(
            f"{names}: left out, as there is time for {epochs} epochs a run and {least} are "
            f"needed; raise --minutes to {math.ceil(seconds / 60)} at least"
        )
        return results, left_out
    plan.write(_PLAN, {"epochs": epochs})
    limited = [_limited(trial, epochs) for trial in trained]
    if limited != trained:
        left_out.append(f"epochs: at most {epochs} a run, as the budget allows; raise --minutes")
    took_first = sum(seconds for _, result, seconds in first if not result["error"])
    more, sentences = _all_seeds(clock, limited, fitting, seeds, took_first)
    return results + more, left_out + sentences


def _all_seeds(
    clock: _Clock, trained: Sequence[Trial], references: Sequence[Trial], seeds: int, took: float
) -> tuple[list[Result], list[str]]:
    """The results of as many seeds as fit, and what is said of the others.

    Args:
        clock: what is left of the budget.
        trained: of the first seed.
        references: which have run with the first seed.
        seeds: at most.
        took: seconds of the references' runs.

    """
    results: list[Result] = []
    longest = took
    for offset in range(seeds):
        if offset and clock.left < longest:
            return results, [
                f"seeds: {offset} of {seeds}, as one takes about {longest:.0f} s and "
                f"{clock.left:.0f} s are left; raise --minutes"
            ]
        of_seed = [*trained, *references] if offset else trained
        done = [clock.run(replace(trial, seed=trial.seed + offset)) for trial in of_seed]
        results += [result for result, _ in done]
        seconds = sum(seconds for _, seconds in done)
        longest = max(longest, seconds) if offset else longest + seconds
    return results, []


def _limited(trial: Trial, epochs: int) -> Trial:
    """The trial with no more epochs than that."""
    if trial.config()["epochs"] <= epochs:
        return trial
    return replace(trial, settings={**trial.settings, "epochs": epochs})


def _least_epochs(trial: Trial) -> int:
    """So many that one of the main phase is among them."""
    return int(trial.config().options.schedule().warm_epochs) + 1


def _fitting(trials: Sequence[Trial], probe: Result) -> tuple[list[Trial], list[str]]:
    """The references for which there is enough memory, and a sentence on each other one."""
    fitting, left_out, free = [], [], _free_bytes()
    for trial in trials:
        if trial.model in NON_GRADIENT:
            needed = _bytes(trial, probe)
            if needed <= free:
                fitting.append(trial)
            else:
                left_out.append(
                    f"{trial.model}: left out, as it takes about {needed / 2**30:.1f} GiB of "
                    f"memory and {free / 2**30:.1f} GiB are free"
                )
    return fitting, left_out


def _bytes(trial: Trial, probe: Result) -> float:
    """What RecBole's model takes beside the data; 0 where that is little or not known."""
    users, items = probe.get("users", 0), probe.get("items", 0)
    if trial.model == "EASE":  # the Gram matrix, its inverse and copies, in single precision
        return 32.0 * items**2
    if trial.model == "ItemKNN":  # lists of Python's numbers: neighbours, and those of users' items
        k = trial.config()["k"]
        return 100.0 * items * k + 70.0 * min(users * items, probe["sizes"][0] * k)
    return 0.0


def _free_bytes() -> float:
    """Main memory that this process may still take, by the machine and by its control group."""
    free = float(psutil.virtual_memory().available)
    for limit, counts, used in _CONTROL_GROUPS:
        with suppress(OSError, ValueError, KeyError):  # no such file, or "max"
            counted = dict(line.split() for line in Path(counts).read_text().splitlines())
            free = min(free, float(Path(limit).read_text()) - float(counted[used]))
    return free
