"""From the settings to the first batch: ours, and stock."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.families import SEQUENTIAL
from benchmarks.harness import data_sets, experiment, interleaved, report

SEQUENCES = {**SEQUENTIAL, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}


def main() -> None:
    """Print the table."""
    cases: list[tuple[str, str, dict[str, Any]]] = [
        (model, name, {}) for name in data_sets("yelp2018") for model in ("BPR", "LightGCN")
    ]
    cases.append(("GRU4Rec", "amazon-beauty-5core", SEQUENCES))
    report(
        "Start-up to the first batch, seconds (medians of 3)",
        ["data set", "model", "stock", "ours", "faster"],
        [row(*case) for case in cases],
    )


def row(model: str, data_set: str, settings: dict[str, Any]) -> list[str]:
    """The table's row of a model on a data set."""
    ways = {
        way: partial(start, model, data_set, way == "ours", settings) for way in ("stock", "ours")
    }
    stock, ours = interleaved(ways, runs=3).values()
    return [data_set, model, f"{stock:.1f}", f"{ours:.1f}", f"{stock / ours:.1f} x"]


def start(model: str, data_set: str, fast: bool, settings: dict[str, Any]) -> None:
    """Prepare an experiment, and draw its first batch."""
    next(iter(experiment(model, data_set, fast, **settings).train_data))


if __name__ == "__main__":
    main()
