"""What a report draws, as plain data: the page and the paper figures are made from the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import attrgetter, itemgetter
from typing import Any

from recbole_sr.runs.folder import Epoch
from recbole_sr.study.summary import grouped

__all__ = ["Figure", "Run", "Series", "draw"]

SIDES = ("user", "item")
MOMENTS = ("start", "switch", "end")
_EPOCH = re.compile(r"epoch (\d{1,9})")  # a moment that sr_spectra_step records
_FEW = 3  # recorded epochs below which spectra are drawn at the moments alone
_MOST = 12  # spectra of one figure: more would hide one another
_HUGE = 1e100  # no axis reaches further


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it.

    Attributes:
        label: what distinguishes it, its seed apart: the variant of a study, else its folder.
        settings: ``settings.json``.
        epochs: the lines of ``metrics.jsonl``.
        spectra: ``spectra.json``: singular values by moment and side.
        result: ``result.json``; None while the run goes on.
        environment: ``environment.json``.
        compared: whether it belongs to a study.

    """

    label: str
    settings: dict[str, Any]
    epochs: list[Epoch]
    spectra: dict[str, dict[str, list[float]]]
    result: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    compared: bool = False

    @property
    def section(self) -> str:
        """What the figures of its model and data set are named by."""
        return f"{self.settings['model']}-{self.settings['dataset']}"


@dataclass(frozen=True)
class Series:
    """One line of a figure.

    Attributes:
        name: shown in the legend; lines of one name share the entry.
        look: number of its colour and marker.
        dash: number of its dash pattern.
        x: values, ascending.
        y: as many values.
        switch: position of the first point of the main phase; None without a switch.
        detail: told apart from lines of the same name by this, such as the seed.
        shade: number that colours the line by a scale in place of ``look``.

    """

    name: str
    look: int
    dash: int
    x: list[float]
    y: list[float]
    switch: int | None = None
    detail: str = ""
    shade: float | None = None


@dataclass(frozen=True)
class Figure:
    """Lines over common axes, and what they show in words."""

    id: str
    title: str
    x_title: str
    y_title: str
    summary: str
    series: list[Series]
    log_y: bool = False


def draw(runs: Sequence[Run]) -> list[Figure]:
    """The figures of runs of one model on one data set; one that would be empty is left out."""
    figures = [
        _scores(runs, "valid-seconds", "training time", "training seconds", _seconds),
        _scores(runs, "valid-epochs", "epochs", "epoch", _epochs),
        *(_ranks(runs, side) for side in SIDES),
        *(figure for side in SIDES for figure in _spectra(runs, side)),
        *_losses(runs),
    ]
    return [figure for figure in figures if figure.series]


def _scores(
    runs: Sequence[Run], name: str, over: str, x_title: str, x_of: Callable[[Run], list[float]]
) -> Figure:
    metric = runs[0].settings["valid_metric"]
    better = max if runs[0].settings["valid_metric_bigger"] else min
    series = _lines(runs, x_of, lambda epoch: epoch["valid_score"])
    best = [better(zip(one.x, one.y, strict=True), key=itemgetter(1)) for one in series]
    summary = "; ".join(
        f"{one.name} ({one.detail}) {y:.4f} at {x_title} {x:g}"
        for one, (x, y) in zip(series, best, strict=True)
    )
    title = f"Validation {metric} over {over}"
    return Figure(name, title, x_title, metric, f"Best: {summary}.", series)


def _ranks(runs: Sequence[Run], side: str) -> Figure:
    series = _lines(runs, _epochs, lambda epoch: (epoch["stable_rank"] or {}).get(side))
    title = f"Stable rank of the {side} table"
    return Figure(f"stable-rank-{side}", title, "epoch", "stable rank", _ends(series), series)


def _losses(runs: Sequence[Run]) -> Iterator[Figure]:
    """A figure for each objective: the sums of different terms share no axis."""
    objectives = dict.fromkeys(
        _objective(run, epoch["phase"]) for run in runs for epoch in run.epochs
    )
    for number, objective in enumerate(objectives):
        parts = [
            replace(run, epochs=[e for e in run.epochs if _objective(run, e["phase"]) == objective])
            for run in runs
        ]
        series = _lines(parts, _epochs, lambda epoch: epoch["train_loss"])
        name = f"loss-{number}" if number else "loss"
        summary = f"Summed over the batches of an epoch. {_ends(series)}"
        yield Figure(name, f"Training loss: {objective}", "epoch", "loss", summary, series)


def _objective(run: Run, phase: str) -> str:
    """What a phase minimises, by the keys of the run; stock RecBole has none of them."""
    loss = run.settings.get("sr_loss", "model")
    weights = run.settings.get(f"sr_{phase}_regularizers")
    terms = (
        [f"{weight} {name}" for name, weight in weights.items()]
        if isinstance(weights, dict)
        else []
    )
    if run.settings.get("sr_target_rank") is not None:
        terms.append("what holds the stable rank")
    return " + ".join(["the model's own" if loss == "model" else str(loss), *terms])


def _spectra(runs: Sequence[Run], side: str) -> Iterator[Figure]:
    """Of the first seed of each label: more would hide one another."""
    moments = []
    for look, (run, *_) in enumerate(grouped(runs, attrgetter("label"))):
        over_training = list(_over_training(run, side))
        if len(over_training) < _FEW:
            moments += list(_at_moments(run, side, look))
        else:
            title = f"Singular values of the {side} table over training: {run.label}"
            yield _spectrum(f"spectra-{side}-{look}", title, over_training)
    yield _spectrum(f"spectrum-{side}", f"Singular values of the {side} table", moments)


def _spectrum(name: str, title: str, series: list[Series]) -> Figure:
    ends = "; ".join(f"{one.name} {one.y[0]:.4g} and {one.y[-1]:.4g}" for one in series)
    summary = f"Largest and smallest singular value: {ends}."
    return Figure(name, title, "index", "singular value", summary, series, log_y=True)


def _at_moments(run: Run, side: str, look: int) -> Iterator[Series]:
    for dash, moment in enumerate(MOMENTS):
        if values := _values(run, moment, side):
            name = f"{run.label}, {moment}"
            yield Series(name, look, dash, _indices(values), values, None, _seed(run))


def _over_training(run: Run, side: str) -> Iterator[Series]:
    """Spectra of recorded epochs, evenly thinned, by the number of epochs trained."""
    counts = {"start": 0} | {
        moment: int(found[1]) + 1 for moment in run.spectra if (found := _EPOCH.fullmatch(moment))
    }
    recorded = [
        (count, values)
        for moment, count in sorted(counts.items(), key=itemgetter(1))
        if (values := _values(run, moment, side))
    ]
    for count, values in recorded[:: -(-len(recorded) // _MOST) or 1]:
        name = f"after {count} epoch{'s' * (count != 1)}"
        yield Series(name, 0, 0, _indices(values), values, None, _seed(run), count)


def _values(run: Run, moment: str, side: str) -> list[float] | None:
    """Singular values; None where there are none, or those of a table that is not finite."""
    values = run.spectra.get(moment, {}).get(side) or []
    finite = [value for value in values if value is not None and abs(value) < _HUGE]
    return values if finite and len(finite) == len(values) else None


def _indices(values: Sequence[float]) -> list[float]:
    return [*map(float, range(1, len(values) + 1))]


def _lines(
    runs: Sequence[Run],
    x_of: Callable[[Run], list[float]],
    y_of: Callable[[Epoch], float | None],
) -> list[Series]:
    series = []
    for look, alike in enumerate(grouped(runs, attrgetter("label"))):
        for run in alike:
            points = [
                (x, y, epoch["phase"])
                for x, epoch in zip(x_of(run), run.epochs, strict=True)
                if (y := y_of(epoch)) is not None and max(abs(x), abs(y)) < _HUGE
            ]
            if points:
                xs, ys, phases = map(list, zip(*points, strict=True))
                main = (at for at, phase in enumerate(phases) if phase != phases[0])
                series.append(Series(run.label, look, look, xs, ys, next(main, None), _seed(run)))
    return series


def _seconds(run: Run) -> list[float]:
    return list(accumulate(epoch["train_seconds"] for epoch in run.epochs))


def _epochs(run: Run) -> list[float]:
    return [epoch["epoch"] for epoch in run.epochs]


def _seed(run: Run) -> str:
    return f"seed {run.settings['seed']}"


def _ends(series: Sequence[Series]) -> str:
    ends = (f"{one.name} ({one.detail}) {one.y[0]:.4g}, {one.y[-1]:.4g}" for one in series)
    return f"First and last: {'; '.join(ends)}."
