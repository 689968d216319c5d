"""From the settings to the first batch: ours, and stock."""

from __future__ import annotations

from functools import partial

from benchmarks.families import settings_of
from benchmarks.harness import beside_stock, data_sets, experiment, report, turns


def main() -> None:
    """Print the table."""
    cases = [(model, name) for name in data_sets("yelp2018") for model in ("BPR", "LightGCN")]
    cases.append(("GRU4Rec", "amazon-beauty-5core"))
    report(
        "Start-up to the first batch, seconds (medians of 5)",
        ["data set", "model", "stock", "ours", "faster"],
        [row(*case) for case in cases],
    )


def row(model: str, data_set: str) -> list[str]:
    """The table's row of a model on a data set."""
    ways = {way: partial(start, model, data_set, way == "ours") for way in ("stock", "ours")}
    return [data_set, model, *beside_stock(turns(ways), digits=1)]


def start(model: str, data_set: str, fast: bool) -> None:
    """Prepare an experiment, and draw its first batch."""
    next(iter(experiment(model, data_set, fast, **settings_of(model)).train_data))


if __name__ == "__main__":
    main()
