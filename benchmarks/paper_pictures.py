"""Pictures of the paper's theory: ``python -m benchmarks.paper_pictures``.

While each loss trains on ml-100k in the authors' setting, without a warm phase: the stable rank and
the singular values. Over all runs of the grid: the stable rank against test NDCG@20. The first two
train anew; the third is drawn from the grid's file.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from benchmarks.paper import (
    LOSSES,
    PLACES,
    RESULTS,
    Cell,
    chosen,
    outcome,
    points,
    read,
    settings,
    train,
)

EPOCHS, STEP = 120, 30
SIDES = ("user", "item")


def main() -> None:
    """Write the pictures beside the grid's file."""
    parser = argparse.ArgumentParser(prog="benchmarks.paper_pictures", description=__doc__)
    parser.add_argument("-i", "--input", type=Path, default=RESULTS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    sys.argv = sys.argv[:1]
    plt.rcParams.update({"svg.hashsalt": "paper", "svg.fonttype": "none", "font.size": 9})
    given.input = given.input.absolute()
    records = read(given.input)
    trained = dict(of_losses(records))
    for name, figure in (
        ("rank", over_epochs(trained)),
        ("spectra", spectra(trained)),
        ("scores", scatter(records)),
    ):
        file = given.input.with_name(f"paper_{name}.svg")
        figure.savefig(file, metadata={"Date": None})
        print(file)


def of_losses(records: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """By the name of a loss that is tuned: stable ranks by epoch, some epochs' singular values."""
    for loss, numbers in LOSSES.items():
        for negatives in numbers:
            cell = Cell("ml-100k", "BPR", loss, negatives, "none")
            if outcome(records, cell):
                of = f", {negatives} negative{'s' if negatives > 1 else ''}" if negatives else ""
                name = f"{loss}{of}"
                yield name, _trained(cell, records)
                if loss == "directau":  # without its uniformity
                    alone = {"sr_main_regularizers": {}}
                    yield "alignment alone", _trained(cell, records, alone)


def _trained(cell: Cell, records: Any, more: dict[str, Any] | None = None) -> dict[str, Any]:
    longer = {"epochs": EPOCHS, "stopping_step": EPOCHS, "sr_spectra_step": STEP}
    result, values = train(
        cell, {**settings(cell, chosen(records, cell)), **longer, **(more or {})}
    )
    return {"ranks": [epoch["stable_rank"] for epoch in result["sr"]["epochs"]], "spectra": values}


def over_epochs(trained: dict[str, dict[str, Any]]) -> Figure:
    """The stable rank of both tables over the epochs, a line for each loss."""
    figure, both = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    for axes, side in zip(both, SIDES, strict=True):
        for name, found in trained.items():
            axes.plot([ranks[side] for ranks in found["ranks"]], label=name)
        axes.set(title=f"{side}s", xlabel="epoch")
        axes.grid(alpha=0.3)
    both[0].set_ylabel("stable rank")
    both[1].legend(fontsize=7)
    return figure


def spectra(trained: dict[str, dict[str, Any]]) -> Figure:
    """The singular values of the item table at some epochs, a panel for each loss."""
    columns = -(-len(trained) // 2)
    figure, panels = plt.subplots(
        2, columns, figsize=(9, 4.2), sharex=True, sharey=True, layout="constrained"
    )
    for axes, (name, found) in zip(panels.flat, trained.items(), strict=False):
        for moment, sides in found["spectra"].items():
            values = sides["item"]
            axes.plot([value / values[0] for value in values], label=moment)
        axes.set_title(name, fontsize=8)
        axes.set_yscale("log")
        axes.set_ylim(1e-3, 1.2)
    for axes in panels.flat[len(trained) :]:
        axes.set_visible(False)
    panels.flat[0].legend(fontsize=6)
    figure.supxlabel("index of the singular value of the item table")
    figure.supylabel("over the largest")
    return figure


def scatter(records: Any) -> Figure:
    """The stable rank of the best epoch against test NDCG@20, a point for each run."""
    figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
    for name in PLACES:
        if found := points(records, name):
            axes.scatter(*zip(*found, strict=True), s=8, label=f"{name}, n = {len(found)}")
    axes.set(xlabel="stable rank at the best epoch, mean of both tables", ylabel="test NDCG@20")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


if __name__ == "__main__":
    main()
