"""What whole runs take: medians over the seeds of finished comparisons, ratios seed by seed.

``python -m benchmarks.runs FOLDER ...`` prints the table, and with ``--csv`` a line for each run.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import report
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.summary import best_at, seconds_to

SETTINGS = ("learning_rate", "weight_decay", "embedding_size")
VARIANTS = ("stock", "off", "default")
Runs = list[tuple[dict[str, Any], list[dict[str, Any]]]]


def until(score: float, result: dict[str, Any], epochs: list[dict[str, Any]]) -> float | None:
    """Seconds from the start of a run to a validation score, start-up and evaluation included."""
    found = best_at(epochs, score, result["valid_score_bigger"], result.get("untrained"))
    if found is None:
        return None
    return seconds_to(result, epochs, found[0])


def finished(study: Path) -> Runs:
    """The result and the epochs of each run of a comparison."""
    folders = map(RunFolder, sorted((study / "runs").iterdir()))
    return [(folder.read("result.json"), folder.epochs()) for folder in folders]


def baselines_best(runs: Runs) -> dict[int, float]:
    """The best validation score of each seed's baseline: stock, or off where there is none."""
    variant = "stock" if any(run["variant"] == "stock" for run, _ in runs) else "off"
    return {run["seed"]: run["best_valid_score"] for run, _ in runs if run["variant"] == variant}


def rows(study: Path) -> list[list[str]]:
    """A row for each variant of a comparison of one model on one data set."""
    runs = finished(study)
    best = baselines_best(runs)
    whole: dict[str, dict[int, Any]] = {variant: {} for variant in VARIANTS}
    reached: dict[str, dict[int, Any]] = {variant: {} for variant in VARIANTS}
    for result, epochs in runs:
        variant, seed = result["variant"], result["seed"]
        whole[variant][seed] = result["seconds"]["total"]
        reached[variant][seed] = until(best[seed], result, epochs)
    name = f"{result['model']}, {result['dataset']}"
    return [
        [
            name,
            variant,
            *beside(whole["stock"], whole[variant]),
            *beside(reached["stock"], reached[variant]),
        ]
        for variant in VARIANTS
    ]


def beside(stock: dict[int, Any], ours: dict[int, Any]) -> list[str]:
    """Median seconds and median of stock's over ours, where every seed has them."""
    found = [seed for seed in ours if ours[seed] is not None]
    if len(found) < len(stock):
        return [f"reached by {len(found)} of {len(stock)}", ""]
    ratio = median(stock[seed] / ours[seed] for seed in found)
    return [f"{median(ours.values()):.1f}", f"{ratio:.1f} x"]


def lines(study: Path) -> Iterator[dict[str, Any]]:
    """Of each run: what was chosen, how long it trained, and its scores."""
    runs = finished(study)
    best = baselines_best(runs)
    for run, epochs in runs:
        reached = best_at(
            epochs, best[run["seed"]], run["valid_score_bigger"], run.get("untrained")
        )
        yield {
            "model": run["model"],
            "data_set": run["dataset"],
            "variant": run["variant"],
            "seed": run["seed"],
            **{key: run["settings"][key] for key in SETTINGS if key in run["settings"]},
            "epochs": run["epochs"],
            "epochs_to_the_baselines_best": reached and reached[0],
            **{f"valid_{metric}": score for metric, score in run["best_valid_result"].items()},
            **{f"test_{metric}": score for metric, score in run["test_result"].items()},
        }


def main() -> None:
    """Print the table of the comparisons in the folders named, or a line for each of their runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runs", description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--csv", action="store_true", help="a line for each run")
    given = parser.parse_args()
    if given.csv:
        found = [line for study in given.studies for line in lines(study)]
        writer = csv.DictWriter(sys.stdout, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
        return
    report(
        "Seconds of whole runs, and until the baseline's best validation score (medians)",
        ["model, data set", "variant", "whole run", "ratio", "until the baseline's best", "ratio"],
        [row for study in given.studies for row in rows(study)],
    )


if __name__ == "__main__":
    main()
