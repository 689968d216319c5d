"""LightGCN training with RecBole's defaults: ours, and stock, by the step."""

from __future__ import annotations

import importlib.util
from functools import partial
from itertools import islice
from typing import Any

from benchmarks.harness import beside_stock, data_sets, experiment, report, train, turns

BATCHES = 20


class _Part:
    """The first batches of a loader."""

    def __init__(self, loader: Any):
        self.loader = loader

    def __iter__(self) -> Any:
        return islice(iter(self.loader), BATCHES)

    def __len__(self) -> int:
        return BATCHES


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("gowalla", "yelp2018"):
        runs = {way: experiment("LightGCN", name, way == "ours") for way in ("stock", "ours")}
        seconds = turns(
            {way: partial(train, run, _Part(run.train_data)) for way, run in runs.items()}
        )
        batches = len(runs["ours"].train_data)
        *epoch, _ = beside_stock(seconds, batches / BATCHES, digits=0)
        rows.append([name, *beside_stock(seconds, 1e3 / BATCHES, digits=0), *epoch])
    report(
        f"LightGCN (2 layers, batch 2048, d = 64), {BATCHES} steps with their loading",
        ["data set", "stock, ms", "ours, ms", "faster", "stock epoch, s", "our epoch, s"],
        rows,
    )
    if importlib.util.find_spec("recbole_gnn") is None:
        print("\nRecBole-GNN is not installed, so it is not compared.")


if __name__ == "__main__":
    main()
