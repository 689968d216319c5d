"""Equal tuning: every variant is tried with the same settings, as often."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.trial import Trial

__all__ = ["TRIALS", "grid_points", "tune"]

TRIALS = "trials.json"  # settings, score and error of each trial
_FORM = (
    "choice with a list of values for each property, as in 'choice: {learning_rate: [0.01, 0.001]}'"
)


def tune(
    trial: Trial,
    points: Sequence[Mapping[str, Any]],
    folder: Path,
    bar: Any,
    run: Callable[[Trial, Path], dict[str, Any]],
) -> tuple[Trial, Path]:
    """The trial with the best settings of a grid, judged by validation, and the folder of its run.

    The points are tried in order. Each one's settings and score go to ``trials.json`` as soon as
    it ends.

    Args:
        trial: what to tune; its seed serves all points.
        points: what to try, at least one.
        folder: where the trials go.
        bar: progress, moved on by one for each point.
        run: gives a trial's result, having run it in a folder where it must.

    Returns:
        The best trial, and its folder; the first where all failed.

    """
    trials = [replace(trial, settings={**trial.settings, **settings}) for settings in points]
    seen: list[dict[str, Any]] = []
    bigger = True
    for number, settings in enumerate(points):
        bar.set_description(f"tuning {trial.name}")
        result = run(trials[number], folder / str(number))
        bar.update()
        bigger = result.get("valid_score_bigger", bigger)
        score = None if result["error"] else result.get("best_valid_score")
        seen.append({"settings": settings, "score": score, "error": result["error"]})
        RunFolder(folder).write(TRIALS, seen)
    scored = [number for number, one in enumerate(seen) if one["score"] is not None]
    pick = max if bigger else min
    best = pick(scored, key=lambda number: seen[number]["score"], default=0)
    return trials[best], folder / str(best)


def grid_points(space: Mapping[str, Any], trials: int) -> list[dict[str, Any]]:
    """The settings to try: a grid's, the last property's changing fastest, as far as ``trials``.

    Args:
        space: in the format of RecBole's ``params_dict``: ``choice: {learning_rate: [0.1, 0.01]}``.
        trials: how many of its points to try.

    Raises:
        InputError: the grid, or the number of trials, cannot work.

    Example:
        >>> grid_points({"choice": {"learning_rate": [0.1, 0.01], "n_layers": [1]}}, 10)
        [{'learning_rate': 0.1, 'n_layers': 1}, {'learning_rate': 0.01, 'n_layers': 1}]

    """
    if trials < 1:
        raise InputError(f"trials: expected 1 or more, got {trials}; give a number of trials")
    grid = space.get("choice")
    if set(space) != {"choice"} or not (grid and isinstance(grid, Mapping)):
        raise InputError(f"--tune: expected {_FORM}, got {dict(space)!r}; write it so")
    for name, values in grid.items():
        if not (isinstance(name, str) and values and isinstance(values, list | tuple)):
            raise InputError(f"--tune: expected {_FORM}, got {name!r}: {values!r}; write it so")
    return [
        dict(zip(grid, values, strict=True)) for values in islice(product(*grid.values()), trials)
    ]
