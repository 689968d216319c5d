"""What a training epoch of matrix factorisation costs under each objective."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.harness import data_sets, experiment, interleaved, report, train
from benchmarks.rank import OBJECTIVES, PAIRS, negatives

MORE: dict[str, dict[str, Any]] = {
    "BPR, 16 negatives, by sr_loss: bpr": {"sr_loss": "bpr", **negatives(16)},
    "BPR, 1 negative + stable rank 0.03": {"sr_main_regularizers": {"stable_rank": 0.03}},
    "BPR, 1 negative + uniformity 0.1 on 512 rows": {
        "sr_main_regularizers": {"uniformity": 0.1},
        "sr_uniformity_rows": 512,
    },
    "alignment + uniformity 1.0 on 1,024 rows": {
        "sr_loss": "align",
        "sr_main_regularizers": {"uniformity": 1.0},
        "sr_uniformity_rows": 1024,
    },
}


def main() -> None:
    """Print a table for each data set."""
    for name in data_sets("gowalla"):
        runs = {
            objective: experiment("BPR", name, True, **{"train_batch_size": PAIRS, **settings})
            for objective, settings in {**OBJECTIVES, **MORE}.items()
        }
        seconds = interleaved({way: partial(train, run) for way, run in runs.items()})
        one = seconds["BPR, 1 negative"]
        report(
            f"BPR's tables on {name}, one training epoch ({PAIRS:,} pairs a step, d = 64), seconds",
            ["objective", "epoch", "of BPR's, 1 negative"],
            [
                [objective, f"{seconds[objective]:.2f}", f"{seconds[objective] / one:.2f} x"]
                for objective in sorted(seconds, key=seconds.__getitem__)
            ],
        )


if __name__ == "__main__":
    main()
