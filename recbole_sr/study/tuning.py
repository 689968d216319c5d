"""Equal tuning: every variant is tried with the same settings, as often."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.trial import Trial

__all__ = ["check_grid", "grid_points", "number_of_trials", "tune"]

_FORM = (
    "choice with a list of values for each property, as in 'choice: {learning_rate: [0.01, 0.001]}'"
)


def tune(
    trial: Trial,
    space: Mapping[str, Any],
    trials: int,
    folder: Path,
    bar: Any,
    run: Callable[[Trial, Path], dict[str, Any]] = Trial.result,
) -> tuple[dict[str, Any], Path]:
    """The best settings of a grid, judged by validation, and the folder of their run.

    The points are tried in order, as many as ``trials`` allows. Each trial's settings and score go
    to ``trials.json`` as soon as it ends.

    Args:
        trial: what to tune; its seed serves all trials.
        space: checked by :func:`check_grid`.
        trials: 1 or more; a smaller grid has no more than its points.
        folder: where the trials go.
        bar: progress, moved on by one for each trial.
        run: gives a trial's result, having run it in a folder where it must.

    Returns:
        The property values of the best trial, and its folder; of the first where all failed.

    """
    seen: list[dict[str, Any]] = []
    bigger = True
    for settings in islice(grid_points(space["choice"]), trials):
        bar.set_description(f"tuning {trial.name}")
        tried = replace(trial, settings={**trial.settings, **settings})
        result = run(tried, folder / str(len(seen)))
        bar.update()
        bigger = result.get("valid_score_bigger", bigger)
        score = result.get("best_valid_score")
        seen.append({"settings": settings, "score": score, "error": result["error"]})
        RunFolder(folder).write("trials.json", seen)
    scored = [number for number, one in enumerate(seen) if one["score"] is not None]
    pick = max if bigger else min
    best = pick(scored, key=lambda number: seen[number]["score"], default=0)
    return dict(seen[best]["settings"]), folder / str(best)


def check_grid(space: Mapping[str, Any], trials: int) -> dict[str, Any]:
    """The first settings of a grid, by which a misspelt property shows.

    Args:
        space: in the format of RecBole's ``params_dict``: ``choice: {learning_rate: [0.1, 0.01]}``.
        trials: how many of its points to try.

    Raises:
        InputError: the grid, or the number of trials, cannot work.

    Example:
        >>> check_grid({"choice": {"learning_rate": [0.1, 0.01]}}, 2)
        {'learning_rate': 0.1}

    """
    if trials < 1:
        raise InputError(f"trials: expected 1 or more, got {trials}; give a number of trials")
    grid = space.get("choice")
    if set(space) != {"choice"} or not (grid and isinstance(grid, Mapping)):
        raise InputError(f"--tune: expected {_FORM}, got {dict(space)!r}; write it so")
    for name, values in grid.items():
        if not (values and isinstance(values, list | tuple)):
            raise InputError(f"--tune: expected {_FORM}, got {name!r}: {values!r}; write it so")
    return next(grid_points(grid))


def number_of_trials(space: Mapping[str, Any], trials: int) -> int:
    """``trials``, or the number of points of the grid where that is smaller.

    Example:
        >>> number_of_trials({"choice": {"learning_rate": [0.1, 0.01], "n_layers": [1, 2]}}, 10)
        4

    """
    return min(trials, math.prod(map(len, space["choice"].values())))


def grid_points(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of a grid's values, the last property's changing fastest.

    Example:
        >>> list(grid_points({"learning_rate": [0.1, 0.01], "n_layers": [1]}))
        [{'learning_rate': 0.1, 'n_layers': 1}, {'learning_rate': 0.01, 'n_layers': 1}]

    """
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))
