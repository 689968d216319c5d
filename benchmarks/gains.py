"""Draw the gains over stock RecBole, ``results/gains.svg`` and ``results/recipes.svg``.

Both are drawn from the first table of their page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parents[1] / "results"
_ROW = r"^\| ((?:BPR|LightGCN), [\w\- ]*\w).*? \| (0\.\d+) \| (0\.\d+) \| \*\*(0\.\d+)"
_RECIPE = r"^\| (\w+, [\w-]+) \|.*?\| ([+-][\d.]+) %, p (?:= |< )([\d.]+) \|"
_LARGEST = 100.0  # percent: beyond it stock does not learn
SIDES = (("the default", 60, "#d55e00"), ("spectral initialisation alone", 20, "#0072b2"))
LEVEL = 0.05


def rows() -> list[tuple[str, float, float]]:
    """Each pair of a model and a data set, with the gains of both in percent."""
    text = (RESULTS / "README.md").read_text("utf-8")
    found = re.findall(_ROW, text, re.M)
    return [
        (name, 100 * (float(ours) / float(stock) - 1), 100 * (float(alone) / float(stock) - 1))
        for name, stock, alone, ours in found
    ]


def recipes() -> list[tuple[str, float, float]]:
    """Each pair of a model and a data set, with its gain in percent and its p."""
    text = (RESULTS / "recipes.md").read_text("utf-8")
    found = [(name, float(gain), float(p)) for name, gain, p in re.findall(_RECIPE, text, re.M)]
    return [row for row in found if row[1] < _LARGEST]


def draw_gains() -> None:
    """BPR and LightGCN: the default, and its initialisation alone."""
    names, *gains = zip(*reversed(rows()), strict=True)
    figure, axes = _axes("gains", 3.8)
    axes.hlines(names, 0, gains[0], color="#bbbbbb", zorder=1)
    for values, (label, size, color) in zip(gains, SIDES, strict=True):
        axes.scatter(values, names, label=label, s=size, color=color, zorder=2)
    axes.set_xlabel("gain in test NDCG@20 over stock RecBole, %")
    axes.legend(loc="lower right")
    _save(figure, "gains")


def draw_recipes() -> None:
    """Other models: the gain of the initialisation, and whether it is significant."""
    names, gains, values = zip(*reversed(recipes()), strict=True)
    figure, axes = _axes("recipes", 7.4)
    axes.hlines(names, 0, gains, color="#bbbbbb", zorder=1)
    for significant, color, label in (
        (True, "#d55e00", f"p < {LEVEL}"),
        (False, "#999999", f"p of {LEVEL} or more"),
    ):
        shown = [n for n, p in enumerate(values) if (p < LEVEL) == significant]
        places = [gains[n] for n in shown], [names[n] for n in shown]
        axes.scatter(*places, label=label, s=40, color=color, zorder=2)
    axes.set_xlabel("gain over stock RecBole, %, in test AUC or NDCG")
    axes.legend(loc="upper right")
    _save(figure, "recipes")


def _axes(name: str, height: float) -> tuple[Any, Any]:
    plt.rcParams.update({"svg.hashsalt": name, "svg.fonttype": "none"})
    figure, axes = plt.subplots(figsize=(6.4, height), layout="constrained")
    axes.axvline(0, color="black", linewidth=1)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, name: str) -> None:
    """The same table gives the same bytes."""
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})


def main() -> None:
    """Write both pictures."""
    draw_gains()
    draw_recipes()


if __name__ == "__main__":
    main()
