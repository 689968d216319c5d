"""The report's figures as PNG and SVG, for papers. Needs the extra ``figures`` (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from recbole_sr.errors import InputError, check_output
from recbole_sr.study.report.figures import Figure, Run, draw
from recbole_sr.study.summary import grouped

__all__ = ["plot", "write_figures"]

# Okabe and Ito, "Color universal design", 2008, darkest first; the page has the same order.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
_DASHES = ("-", "--", ":", "-.")
# How a figure begins: nothing else is replaced by one.
_STARTS = {"png": b"\x89PNG", "svg": b"<?xml"}
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def write_figures(runs: Sequence[Run], folder: str) -> list[Path]:
    """Write each figure of runs as PNG (300 dots an inch) and SVG.

    Args:
        runs: of any models and data sets.
        folder: made where it is missing.

    Returns:
        The files.

    Raises:
        InputError: matplotlib is missing, or something else has a figure's name.

    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = []
    for group in grouped(runs, attrgetter("section")):
        for figure in draw(group):
            drawn = plot(figure)
            for suffix, start in _STARTS.items():
                # The name of a data set comes from a file: it may not lead to another folder.
                name = f"{group[0].section}-{figure.id}.{suffix}".replace("/", "_")
                file = Path(folder) / name
                check_output(file, start)
                drawn.savefig(file, dpi=300)
                files.append(file)
    return files


def plot(figure: Figure) -> Any:
    """A ``matplotlib.figure.Figure`` of 5 by 3.2 inches."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise InputError(
            f"--figures needs matplotlib, which cannot be imported ({error}); "
            "run: pip install 'recbole_sr[figures]'"
        ) from None
    canvas = Canvas(figsize=(5, 3.2), layout="constrained")
    axes = canvas.add_subplot(title=figure.title, xlabel=figure.x_title, ylabel=figure.y_title)
    if figure.log_y:
        axes.set_yscale("log")
    for one in figure.series:
        axes.plot(
            one.x,
            one.y,
            _DASHES[one.dash % len(_DASHES)],
            color=_COLOURS[one.look % len(_COLOURS)],
            marker=_MARKERS[one.look % len(_MARKERS)],
            markevery=max(1, len(one.x) // 12),
            markersize=3,
            linewidth=1,
            label=one.name,
        )
        if one.switch is not None:
            axes.plot(one.x[one.switch], one.y[one.switch], "*", color="black", zorder=3)
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(named.values(), named.keys(), fontsize="small", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return canvas
