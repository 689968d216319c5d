"""What long runs take, from their epochs and rankings: ``python -m benchmarks.long_runs``.

Stock RecBole's longest runs would keep a machine to themselves for hours. Here both sides train and
rank in turns a few times, and the medians are multiplied by how often the recorded runs did so.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.families import epoch, ranking
from benchmarks.harness import experiment, interleaved, report
from recbole_sr.config.files import read_properties

RECORDED = Path(__file__).parents[1] / "results" / "defaults.csv"
WAYS = ("stock", "default")
LARGE = {"learning_rate": 0.003, "train_batch_size": 8192, "reproducibility": False}


class LongRun(NamedTuple):
    """A model on a data set: its settings, and the epochs of a run, where no file has them."""

    model: str
    data_set: str
    settings: dict[str, Any]
    step: int  # epochs from one validation to the next
    epochs: dict[str, float] | None = None


RUNS = (
    LongRun("BPR", "amazon-beauty-5core", {}, 3),
    LongRun("BPR", "yelp2018", {}, 5),
    # Stock's best comes after 164 epochs on average, and three validations later a run ends.
    LongRun("LightGCN", "gowalla", LARGE, 5, {"stock": 164 + 15, "default": 60}),
)


def main() -> None:
    """Print the table."""
    report(
        "Whole runs, from medians of 5 epochs and rankings in turns, seconds",
        ["model, data set", "variant", "start-up", "an epoch", "a ranking", "epochs", "a run"],
        [row for run in RUNS for row in rows(run)],
    )


def rows(run: LongRun) -> list[list[str]]:
    """A row for stock and one for the default."""
    made, start_up = {}, {}
    for way in WAYS:
        start = perf_counter()
        made[way] = experiment(run.model, run.data_set, way == "default", **settings(run, way))
        start_up[way] = perf_counter() - start
    trained = interleaved({way: partial(epoch, made[way]) for way in WAYS})
    ranked = interleaved({way: partial(ranking, made[way]) for way in WAYS})
    counts = run.epochs or recorded(run)
    found = []
    for way, count in counts.items():
        rankings = count // run.step + 1  # the validations, and the test
        whole = start_up[way] + count * trained[way] + rankings * ranked[way]
        seconds = [f"{x[way]:.1f}" for x in (start_up, trained, ranked)]
        found.append([f"{run.model}, {run.data_set}", way, *seconds, f"{count:g}", f"{whole:.0f}"])
    return found


def settings(run: LongRun, way: str) -> dict[str, Any]:
    """Those of a side; the default's are those of the model's property file."""
    own = read_properties([f"model/{run.model}.yaml"]) if way == "default" else {}
    return {**own, **run.settings}


def recorded(run: LongRun) -> dict[str, float]:
    """The median number of epochs of each side's recorded runs."""
    with RECORDED.open(encoding="utf-8", newline="") as file:
        lines = [
            line
            for line in csv.DictReader(file)
            if (line["model"], line["data_set"]) == (run.model, run.data_set)
        ]
    return {
        way: median(int(x["epochs"]) for x in lines if (x["variant"] == "off") == (way == "stock"))
        for way in WAYS
    }


if __name__ == "__main__":
    main()
