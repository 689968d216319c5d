"""What a report draws, as plain data: the page and the paper figures are made from the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter, itemgetter
from typing import Any

from recbole_sr.runs.folder import Epoch
from recbole_sr.study.summary import grouped

__all__ = ["Figure", "Run", "Series", "draw"]

SIDES = ("user", "item")
MOMENTS = ("start", "switch", "end")


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it.

    Attributes:
        label: what distinguishes it, its seed apart: the variant of a study, else its folder.
        settings: ``settings.json``.
        epochs: the lines of ``metrics.jsonl``.
        spectra: ``spectra.json``: singular values by moment and side.

    """

    label: str
    settings: dict[str, Any]
    epochs: list[Epoch]
    spectra: dict[str, dict[str, list[float]]]

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

    """

    name: str
    look: int
    dash: int
    x: list[float]
    y: list[float]
    switch: int | None = None
    detail: str = ""


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
    losses = _lines(runs, _epochs, lambda epoch: epoch["train_loss"])
    loss = "Penalties included, so that phases differ in level. " + _ends(losses)
    figures = [
        _scores(runs, "valid-seconds", "training time", "training seconds", _seconds),
        _scores(runs, "valid-epochs", "epochs", "epoch", _epochs),
        *(_ranks(runs, side) for side in SIDES),
        *(_spectra(runs, side) for side in SIDES),
        Figure("loss", "Training loss, summed over batches", "epoch", "loss", loss, losses),
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


def _spectra(runs: Sequence[Run], side: str) -> Figure:
    """Of the first seed of each label: more would hide one another."""
    series = []
    for look, (run, *_) in enumerate(grouped(runs, attrgetter("label"))):
        for dash, moment in enumerate(MOMENTS):
            values = run.spectra.get(moment, {}).get(side)
            if values and None not in values:  # those of a table that is not finite
                x, name = [*map(float, range(1, len(values) + 1))], f"{run.label}, {moment}"
                series.append(Series(name, look, dash, x, values, None, _seed(run)))
    ends = "; ".join(f"{one.name} {one.y[0]:.4g} and {one.y[-1]:.4g}" for one in series)
    summary = f"Largest and smallest singular value: {ends}."
    title = f"Singular values of the {side} table"
    return Figure(f"spectrum-{side}", title, "index", "singular value", summary, series, log_y=True)


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
                if (y := y_of(epoch)) is not None
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
