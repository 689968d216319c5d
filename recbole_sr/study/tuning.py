"""Equal tuning: every variant gets the same search space, the same trials and the same number."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.trial import Trial

__all__ = ["first_point", "grid_points", "number_of_trials", "tune"]

_STDOUT = threading.Lock()  # hyperopt's output goes to a file, by the whole process's sys.stdout
_TYPES = ("choice", "uniform", "quniform", "loguniform")
_FORM = (
    f"one of {', '.join(_TYPES)} with lists by property under it, as in "
    "'choice: {learning_rate: [0.01, 0.001]}'"
)


def tune(
    trial: Trial,
    space: Mapping[str, Any],
    trials: int,
    folder: Path,
    bar: Any,
    run: Callable[[Trial, Path], dict[str, Any]] = Trial.result,
) -> tuple[dict[str, Any], Path]:
    """The best settings of a search, judged by validation, and the folder of their run.

    Every variant is tried with the very same settings: those of a grid, where all is ``choice``, in
    order and as many as ``trials`` allows; else those of RecBole's ``HyperTuning`` with hyperopt's
    random algorithm from a fixed seed. Each trial's settings and score go to ``trials.json`` as
    soon as it ends.

    Args:
        trial: what to tune; its seed serves all trials.
        space: in the format of RecBole's ``params_dict``: ``choice: {learning_rate: [0.1, 0.01]}``;
            the bounds of ``loguniform`` are natural logarithms.
        trials: 1 or more; a smaller grid has no more than its points.
        folder: where the trials go.
        bar: progress, moved on by one for each trial.
        run: gives a trial's result, having run it in a folder where it must.

    Returns:
        The property values of the best trial, and its folder; of the first where all failed.

    Raises:
        InputError: hyperopt is missing, or the search space cannot work.

    """
    search = _Search(trial, folder, bar, run)
    _check(space, trials)
    if _grid(space):
        for settings in islice(grid_points(space["choice"]), trials):
            search(settings)
    else:
        with _STDOUT:
            _search_at_random(search, space, trials)
    return search.best()


def first_point(space: Mapping[str, Any], trials: int) -> dict[str, Any]:
    """The first settings of a grid, by which a misspelt property shows; none of another space.

    Raises:
        InputError: the search space, or the number of trials, cannot work.

    Example:
        >>> first_point({"choice": {"learning_rate": [0.1, 0.01]}}, 2)
        {'learning_rate': 0.1}

    """
    _check(space, trials)
    return next(grid_points(space["choice"])) if _grid(space) else {}


def number_of_trials(space: Mapping[str, Any], trials: int) -> int:
    """``trials``, or the number of points of a grid where that is smaller.

    Example:
        >>> number_of_trials({"choice": {"learning_rate": [0.1, 0.01], "n_layers": [1, 2]}}, 10)
        4

    """
    return min(trials, math.prod(map(len, space["choice"].values()))) if _grid(space) else trials


def _grid(space: Mapping[str, Any]) -> bool:
    return set(space) == {"choice"}


def grid_points(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of a grid's values, the last property's changing fastest.

    Example:
        >>> list(grid_points({"learning_rate": [0.1, 0.01], "n_layers": [1]}))
        [{'learning_rate': 0.1, 'n_layers': 1}, {'learning_rate': 0.01, 'n_layers': 1}]

    """
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


class _Search:
    """The objective function that ``HyperTuning`` calls, and what it has seen."""

    def __init__(
        self, trial: Trial, folder: Path, bar: Any, run: Callable[[Trial, Path], dict[str, Any]]
    ):
        self.trial, self.folder, self.bar, self.run = trial, folder, bar, run
        self.seen: list[dict[str, Any]] = []
        self.bigger = True

    def __call__(self, settings: dict[str, Any], _: Any = None) -> dict[str, Any]:
        trial = replace(self.trial, settings={**self.trial.settings, **settings})
        self.bar.set_description(f"tuning {trial.name}")
        folder = self.folder / str(len(self.seen))
        result = self.run(trial, folder)
        self.bar.update()
        self.bigger = result.get("valid_score_bigger", self.bigger)
        score = result.get("best_valid_score")
        self.seen.append({"settings": settings, "score": score, "error": result["error"]})
        RunFolder(self.folder).write("trials.json", self.seen)
        worst = -math.inf if self.bigger else math.inf
        return {
            "model": trial.model,
            "best_valid_score": worst if score is None else score,
            "valid_score_bigger": self.bigger,
            "best_valid_result": result.get("best_valid_result", {}),
            "test_result": result.get("test_result", {}),
        }

    def best(self) -> tuple[dict[str, Any], Path]:
        scored = [i for i, one in enumerate(self.seen) if one["score"] is not None]
        pick = max if self.bigger else min
        best = pick(scored, key=lambda i: self.seen[i]["score"], default=0)
        return dict(self.seen[best]["settings"]), self.folder / str(best)


def _search_at_random(search: _Search, space: Mapping[str, Any], trials: int) -> None:
    try:
        import hyperopt  # noqa: F401 - RecBole imports it later, where it is harder to explain
        from recbole.trainer import HyperTuning
    except ImportError as error:
        raise InputError(
            f"--tune needs hyperopt, which cannot be imported ({error}); "
            "run: pip install 'recbole_sr[tune]'"
        ) from None
    # RecBole stops after `early_stop` trials without progress; as many as there are means never.
    tuning = HyperTuning(
        search, params_dict=dict(space), algo="random", max_evals=trials, early_stop=trials
    )
    # hyperopt draws from this seed; RecBole's `run` has no argument for it.
    os.environ["HYPEROPT_FMIN_SEED"] = str(search.trial.seed)
    output = search.folder / "hyperopt.txt"
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "w", encoding="utf-8") as file, redirect_stdout(file):
        tuning.run()


def _check(space: Mapping[str, Any], trials: int) -> None:
    if trials < 1:
        raise InputError(f"trials: expected 1 or more, got {trials}; give a number of trials")
    if not space:
        raise InputError(f"--tune: expected {_FORM}, got an empty file")
    for kind, parameters in space.items():
        if kind not in _TYPES or not (parameters and isinstance(parameters, Mapping)):
            raise InputError(f"--tune: expected {_FORM}, got {kind!r}: {parameters!r}")
        for name, values in parameters.items():
            if not (values and isinstance(values, list | tuple)):
                raise InputError(f"--tune: expected {_FORM}, got {name!r}: {values!r}")
