"""The report's figures as PNG and SVG, for papers. Needs the extra ``figures`` (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_sr.errors import InputError
from recbole_sr.study.report.figures import Figure, Series

__all__ = ["plot", "write_figures"]

# Okabe and Ito, "Color universal design", 2008, darkest first; the page has the same order.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def write_figures(figures: Sequence[Figure], folder: str, prefix: str) -> list[Path]:
    """Write each figure as PNG (300 dots an inch) and SVG.

    Args:
        figures: what :func:`~recbole_sr.study.report.figures.draw` returned.
        folder: made where it is missing.
        prefix: of the file names.

    Returns:
        The files.

    Raises:
        InputError: matplotlib is missing.

    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = []
    for figure in figures:
        drawn = plot(figure)
        for suffix in ("png", "svg"):
            file = Path(folder) / f"{prefix}-{figure.id}.{suffix}"
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
        _draw(one, axes)
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(named.values(), named.keys(), fontsize="small", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return canvas


def _draw(series: Series, axes: Any) -> None:
    axes.plot(
        series.x,
        series.y,
        _DASHES[series.dash % len(_DASHES)],
        color=_COLOURS[series.look % len(_COLOURS)],
        marker=_MARKERS[series.look % len(_MARKERS)],
        markevery=max(1, len(series.x) // 12),
        markersize=3,
        linewidth=1,
        label=series.name,
    )
    if series.switch is not None:
        axes.plot(series.x[series.switch], series.y[series.switch], "*", color="black", zorder=3)
