"""What a training epoch costs under each objective: matrix factorisation, and LightGCN's own."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

from benchmarks.harness import data_sets, experiment, ratio, report, train, turns
from benchmarks.rank import OBJECTIVES, PAIRS, negatives
from recbole_sr.config.files import read_properties

UNIFORMITY = read_properties(["main/uniformity.yaml"])
ALIGNMENT = read_properties(["main/alignment.yaml"])
MORE: dict[str, dict[str, Any]] = {
    "BPR, 16 negatives, by sr_loss: bpr": {"sr_loss": "bpr", **negatives(16)},
    "BPR, 1 negative + stable rank 0.03": {"sr_main_regularizers": {"stable_rank": 0.03}},
    "BPR, 1 negative + uniformity 0.1 on 512 rows": UNIFORMITY,
    "BPR, 1 negative + alignment 1.0 + uniformity 2.0 on 512 rows": ALIGNMENT,
    "alignment + uniformity 1.0 on 1,024 rows": {
        "sr_loss": "align",
        "sr_main_regularizers": {"uniformity": 1.0},
        "sr_uniformity_rows": 1024,
    },
}


def costs(
    model: str, name: str, pairs: int, objectives: dict[str, dict[str, Any]], measure: str
) -> None:
    """Print a table of epochs, by the epoch of one of the objectives too."""
    runs = {
        objective: experiment(model, name, True, **{"train_batch_size": pairs, **settings})
        for objective, settings in objectives.items()
    }
    seconds = turns({objective: partial(train, run) for objective, run in runs.items()})
    report(
        f"{model}'s tables on {name}, one training epoch ({pairs:,} pairs a step, d = 64), seconds",
        ["objective", "epoch", f"of {measure}"],
        [
            [objective, f"{median(epochs):.2f}", ratio(epochs, seconds[measure], digits=2)]
            for objective, epochs in sorted(seconds.items(), key=lambda item: median(item[1]))
        ],
    )


def main() -> None:
    """Print two tables for each data set."""
    for name in data_sets("gowalla"):
        own = {"its own": {}, "with uniformity 0.1 on 512 rows": UNIFORMITY}
        costs("LightGCN", name, 8192, own, "its own")
        costs("BPR", name, PAIRS, {**OBJECTIVES, **MORE}, "BPR, 1 negative")


if __name__ == "__main__":
    main()
