"""From the settings to the first batch: ours, and stock."""

from __future__ import annotations

from functools import partial

from benchmarks.families import settings_of
from benchmarks.harness import data_sets, experiment, interleaved, report


def main() -> None:
    """Print the table."""
    cases = [(model, name) for name in data_sets("yelp2018") for model in ("BPR", "LightGCN")]
    cases.append(("GRU4Rec", "amazon-beauty-5core"))
    report(
        "Start-up to the first batch, seconds (medians of 3)",
        ["data set", "model", "stock", "ours", "faster"],
        [row(*case) for case in cases],
    )


def row(model: str, data_set: str) -> list[str]:
    """The table's row of a model on a data set."""
    ways = {way: partial(start, model, data_set, way == "ours") for way in ("stock", "ours")}
    stock, ours = interleaved(ways, runs=3).values()
    return [data_set, model, f"{stock:.1f}", f"{ours:.1f}", f"{stock / ours:.1f} x"]


def start(model: str, data_set: str, fast: bool) -> None:
    """Prepare an experiment, and draw its first batch."""
    next(iter(experiment(model, data_set, fast, **settings_of(model)).train_data))


if __name__ == "__main__":
    main()
