"""Draw ``results/gains.svg``, the gains over stock RecBole, from the first table of its page."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parents[1] / "results"
_ROW = r"^\| ((?:BPR|LightGCN), [\w\- ]+).*? \| (0\.\d+) \| (0\.\d+) \| \*\*(0\.\d+)"
SIDES = (("the default", 60, "#d55e00"), ("spectral initialisation alone", 20, "#0072b2"))


def rows() -> list[tuple[str, float, float]]:
    """Each pair of a model and a data set, with the gains of both in percent."""
    text = (RESULTS / "README.md").read_text("utf-8")
    found = re.findall(_ROW, text, re.M)
    return [
        (name, 100 * (float(ours) / float(stock) - 1), 100 * (float(alone) / float(stock) - 1))
        for name, stock, alone, ours in found
    ]


def main() -> None:
    """Write the picture; the same table gives the same bytes."""
    names, *gains = zip(*reversed(rows()), strict=True)
    plt.rcParams.update({"svg.hashsalt": "gains", "svg.fonttype": "none"})
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    axes.hlines(names, 0, gains[0], color="#bbbbbb", zorder=1)
    for values, (label, size, color) in zip(gains, SIDES, strict=True):
        axes.scatter(values, names, label=label, s=size, color=color, zorder=2)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xlabel("gain in test NDCG@20 over stock RecBole, %")
    axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "gains.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
