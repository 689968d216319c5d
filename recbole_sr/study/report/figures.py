"""What a report draws, as plain data: the page and the paper figures are made from the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

__all__ = ["Figure", "Run", "Series", "draw"]

SIDES = ("user", "item")
MOMENTS = ("start", "switch", "end")
Epoch = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it.

    Attributes:
        label: what distinguishes it, its seed apart: the variant of a study, else its folder.
        model: RecBole's name of it.
        dataset: name of the data set.
        seed: of the run.
        settings: ``settings.json``.
        epochs: the lines of ``metrics.jsonl``.
        spectra: ``spectra.json``: singular values by moment and side.

    """

    label: str
    model: str
    dataset: str
    seed: int
    settings: dict[str, Any]
    epochs: list[Epoch]
    spectra: dict[str, dict[str, list[float]]]


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
    series: list[Series] = field(default_factory=list)
    log_y: bool = False


def draw(runs: Sequence[Run]) -> list[Figure]:
    """The figures of runs of one model on one data set; one that would be empty is left out."""
    metric = runs[0].settings["valid_metric"]
    figures = [
        _curve(runs, "valid-seconds", f"Validation {metric} over training time", metric, _seconds),
        _curve(runs, "valid-epochs", f"Validation {metric} over epochs", metric, _epoch),
        *(_ranks(runs, side) for side in SIDES),
        *(_spectra(runs, side) for side in SIDES),
        _losses(runs),
    ]
    return [figure for figure in figures if figure.series]


def _curve(
    runs: Sequence[Run], name: str, title: str, metric: str, x_of: Callable[[Run], list[float]]
) -> Figure:
    series = _lines(runs, x_of, lambda epoch: epoch["valid_score"])
    x_title = "training seconds" if x_of is _seconds else "epoch"
    better = max if runs[0].settings["valid_metric_bigger"] else min
    summary = "Best: " + "; ".join(_best(one, better, x_title) for one in series) + "."
    return Figure(name, title, x_title, metric, summary, series)


def _ranks(runs: Sequence[Run], side: str) -> Figure:
    series = _lines(runs, _epoch, lambda epoch: (epoch["stable_rank"] or {}).get(side))
    return Figure(
        f"stable-rank-{side}",
        f"Stable rank of the {side} table",
        "epoch",
        "stable rank",
        _ends(series),
        series,
    )


def _losses(runs: Sequence[Run]) -> Figure:
    series = _lines(runs, _epoch, lambda epoch: epoch["train_loss"])
    summary = "Penalties included, so that phases differ in level. " + _ends(series)
    return Figure("loss", "Training loss, summed over batches", "epoch", "loss", summary, series)


def _spectra(runs: Sequence[Run], side: str) -> Figure:
    """Of the first seed of each label: more would hide one another."""
    series = []
    for look, label in enumerate(_labels(runs)):
        run = next(run for run in runs if run.label == label)
        for dash, moment in enumerate(MOMENTS):
            values = run.spectra.get(moment, {}).get(side)
            if values and None not in values:  # those of a table that is not finite
                x = [float(index) for index in range(1, len(values) + 1)]
                detail = f"seed {run.seed}"
                series.append(Series(f"{label}, {moment}", look, dash, x, values, detail=detail))
    summary = "Largest and smallest singular value: " + "; ".join(
        f"{one.name} {one.y[0]:.4g} and {one.y[-1]:.4g}" for one in series
    )
    title = f"Singular values of the {side} table"
    return Figure(
        f"spectrum-{side}", title, "index", "singular value", summary + ".", series, log_y=True
    )


def _lines(
    runs: Sequence[Run],
    x_of: Callable[[Run], list[float]],
    y_of: Callable[[Epoch], float | None],
) -> list[Series]:
    looks = {label: look for look, label in enumerate(_labels(runs))}
    series = []
    for run in runs:
        points = [
            (x, y, epoch["phase"])
            for x, epoch in zip(x_of(run), run.epochs, strict=True)
            if (y := y_of(epoch)) is not None
        ]
        if points:
            xs, ys = [point[0] for point in points], [point[1] for point in points]
            switch = _switch([point[2] for point in points])
            look = looks[run.label]
            series.append(Series(run.label, look, look, xs, ys, switch, f"seed {run.seed}"))
    return series


def _switch(phases: Sequence[str]) -> int | None:
    main = [index for index, phase in enumerate(phases) if phase != phases[0]]
    return main[0] if main else None


def _seconds(run: Run) -> list[float]:
    return list(accumulate(epoch["train_seconds"] for epoch in run.epochs))


def _epoch(run: Run) -> list[float]:
    return [epoch["epoch"] for epoch in run.epochs]


def _labels(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.label for run in runs))


def _best(series: Series, better: Callable[..., float], x_title: str) -> str:
    best = better(series.y)
    where = series.x[series.y.index(best)]
    return f"{series.name} ({series.detail}) {best:.4f} at {x_title} {where:g}"


def _ends(series: Sequence[Series]) -> str:
    return "First and last: " + (
        "; ".join(f"{one.name} ({one.detail}) {one.y[0]:.4g}, {one.y[-1]:.4g}" for one in series)
        + "."
    )
