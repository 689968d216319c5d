"""What whole runs take: medians over the seeds of finished comparisons, ratios seed by seed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import report

VARIANTS = ("stock", "none", "default")


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run's result, and its epochs."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return json.loads((folder / "result.json").read_text("utf-8")), [*map(json.loads, lines)]


def until(score: float, result: dict[str, Any], epochs: list[dict[str, Any]]) -> float | None:
    """Seconds from the start of a run to a validation score, start-up and evaluation included."""
    seconds = result["seconds"]["start_up"]
    for epoch in epochs:
        seconds += epoch["train_seconds"] + (epoch["valid_seconds"] or 0)
        if epoch["valid_score"] is not None and epoch["valid_score"] >= score:
            return seconds
    return None


def rows(study: Path) -> list[list[str]]:
    """A row for each variant of a comparison of one model on one data set."""
    runs: dict[str, dict[int, Any]] = {variant: {} for variant in VARIANTS}
    for folder in sorted((study / "runs").iterdir()):
        result, epochs = read(folder)
        runs[result["variant"]][result["seed"]] = result, epochs
    best = {seed: result["best_valid_score"] for seed, (result, _) in runs["stock"].items()}
    whole = {
        variant: {seed: result["seconds"]["total"] for seed, (result, _) in found.items()}
        for variant, found in runs.items()
    }
    reached = {
        variant: {seed: until(best[seed], *run) for seed, run in found.items()}
        for variant, found in runs.items()
    }
    return [
        [
            f"{result['model']}, {result['dataset']}",
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
        "Seconds of whole runs, and until stock's best validation score (medians)",
        ["model, data set", "variant", "whole run", "ratio", "until stock's best", "ratio"],
        [row for folder in sys.argv[1:] for row in rows(Path(folder))],
    )


if __name__ == "__main__":
    main()
