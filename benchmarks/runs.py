"""What whole runs take: medians over the seeds of finished comparisons, ratios seed by seed."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import report
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.summary import best_at, seconds_to

VARIANTS = ("stock", "off", "default")


def until(score: float, result: dict[str, Any], epochs: list[dict[str, Any]]) -> float | None:
    """Seconds from the start of a run to a validation score, start-up and evaluation included."""
    found = best_at(epochs, score, result["valid_score_bigger"])
    if found is None:
        return None
    return seconds_to(result, epochs, found[0])


def rows(study: Path) -> list[list[str]]:
    """A row for each variant of a comparison of one model on one data set."""
    folders = map(RunFolder, sorted((study / "runs").iterdir()))
    runs = [(folder.read("result.json"), folder.epochs()) for folder in folders]
    best = {run["seed"]: run["best_valid_score"] for run, _ in runs if run["variant"] == "stock"}
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


def main() -> None:
    """Print the table of the comparisons in the folders named."""
    report(
        "Seconds of whole runs, and until the baseline's best validation score (medians)",
        ["model, data set", "variant", "whole run", "ratio", "until the baseline's best", "ratio"],
        [row for folder in sys.argv[1:] for row in rows(Path(folder))],
    )


if __name__ == "__main__":
    main()
