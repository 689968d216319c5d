"""A training epoch of BPR with RecBole's defaults: ours, and stock."""

from __future__ import annotations

from functools import partial

from benchmarks.harness import data_sets, experiment, interleaved, report, train


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("gowalla", "yelp2018"):
        runs = {"stock": experiment("BPR", name, False), "ours": experiment("BPR", name, True)}
        seconds = interleaved({way: partial(train, run) for way, run in runs.items()})
        stock, ours = seconds["stock"], seconds["ours"]
        rows.append([name, f"{stock:.2f}", f"{ours:.2f}", f"{stock / ours:.1f} x"])
    report(
        "BPR, one training epoch (batch 2048, d = 64), seconds",
        ["data set", "stock", "ours", "faster"],
        rows,
    )


if __name__ == "__main__":
    main()
