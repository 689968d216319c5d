"""A training epoch of BPR with RecBole's defaults: ours, and stock."""

from __future__ import annotations

from functools import partial

from benchmarks.harness import beside_stock, data_sets, experiment, report, train, turns


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("gowalla", "yelp2018"):
        runs = {"stock": experiment("BPR", name, False), "ours": experiment("BPR", name, True)}
        seconds = turns({way: partial(train, run) for way, run in runs.items()})
        rows.append([name, *beside_stock(seconds)])
    report(
        "BPR, one training epoch (batch 2048, d = 64), seconds",
        ["data set", "stock", "ours", "faster"],
        rows,
    )


if __name__ == "__main__":
    main()
