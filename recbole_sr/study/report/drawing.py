"""The report's figures by matplotlib: SVG inside the page, PNG and SVG files for papers."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib import colormaps, rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from recbole_sr.errors import check_output
from recbole_sr.study.report.figures import Figure, Run, Series, draw
from recbole_sr.study.summary import grouped

__all__ = ["COLOURS", "as_svg", "plot", "write_figures"]

# Drawn here and not in the browser: plotly's package has only the whole of plotly.js, 4.5 MB a
# page, and a smaller bundle would have to be kept as a copy. SVG needs no script, and a page and a
# paper show the same picture.

# Okabe and Ito, "Color universal design", 2008, darkest first; no two lines differ by colour alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
_TEXT, _GRID = "#1a1a1a", "#d0d0cc"
# The page has these colours in a light and in a dark variant.
_VARIABLES = {_TEXT: "text", _GRID: "line"} | {
    colour.lower(): f"series-{number}" for number, colour in enumerate(COLOURS)
}
_STYLE = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "axes.edgecolor": _GRID,
    "grid.color": _GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _TEXT),
}
_TINY = 1e-100  # no logarithmic axis begins below
# Who made a figure stands near its beginning: nothing else is replaced by one.
_MAKER = "recbole-sr"
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": _MAKER},
    "svg": {"Creator": _MAKER, "Date": None},
}


def write_figures(runs: Sequence[Run], folder: str) -> list[Path]:
    """Write each figure of runs as PNG (300 dots an inch) and SVG.

    Args:
        runs: of any models and data sets.
        folder: made where it is missing.

    Returns:
        The files.

    Raises:
        InputError: something else has a figure's name.

    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = []
    for group in grouped(runs, lambda run: run.section):
        for figure in draw(group):
            drawn = plot(figure)
            for suffix, metadata in _METADATA.items():
                # The name of a data set comes from a file: it may not lead to another folder.
                name = f"{group[0].section}-{figure.id}.{suffix}".replace("/", "_")
                file = Path(folder) / name
                check_output(file, mark=_MAKER.encode())
                _save(drawn, file, dpi=300, metadata=metadata)
                files.append(file)
    return files


def as_svg(figure: Figure) -> str:
    """An ``svg`` element without a title, whose texts are texts.

    The page has to define its colours: ``--text``, ``--line`` and ``--series-N``.
    """
    file = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": figure.id}):
        _save(plot(figure, titled=False), file, format="svg", transparent=True)
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # ids are unique in a page
    text = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', text)
    return re.sub("|".join(_VARIABLES), lambda found: f"var(--{_VARIABLES[found[0]]})", text)


def plot(figure: Figure, titled: bool = True) -> Any:
    """A ``matplotlib.figure.Figure`` of 4 by 2.8 inches.

    Args:
        figure: what to draw.
        titled: write its title above it.

    """
    with rc_context(_STYLE):
        canvas = Canvas(figsize=(4, 2.8), layout="constrained")
        axes = canvas.add_subplot(xlabel=_text(figure.x_title), ylabel=_text(figure.y_title))
        if titled:
            axes.set_title(fill(_text(figure.title), 60))
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_parse_math(False)
        _scale(axes, figure)
        shades = [one.shade for one in figure.series if one.shade is not None]
        if shades:
            _draw_shaded(canvas, axes, figure.series, Normalize(min(shades), max(shades)))
        else:
            _draw_named(canvas, axes, figure.series)
    return canvas


def _scale(axes: Any, figure: Figure) -> None:
    """Plain numbers on both axes, as few as have room."""
    axes.grid()
    axes.spines[["top", "right"]].set_visible(False)
    whole = all(x == int(x) for one in figure.series for x in one.x)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10), integer=whole))
    highest = max(max(one.y) for one in figure.series)
    if figure.log_y and highest > _TINY:
        lowest = min(y for one in figure.series for y in one.y if y > 1e-6 * highest)
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylim(lowest / 1.2, highest * 1.2)
        few = math.log10(highest / lowest) < 2
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=9))
        axes.yaxis.set_minor_locator(LogLocator(subs=()))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def _draw_named(canvas: Any, axes: Any, series: Sequence[Series]) -> None:
    """Each name in a colour, dash and marker of its own; only its first line has the markers."""
    handles: dict[str, Any] = {}
    for one in series:
        colour = COLOURS[one.look % len(COLOURS)]
        first = one.name not in handles
        (line,) = axes.plot(
            one.x,
            one.y,
            _DASHES[one.dash % len(_DASHES)],
            color=colour,
            alpha=1 if first else 0.55,
            marker=_MARKERS[one.look % len(_MARKERS)] if first else None,
            markevery=max(1, len(one.x) // 8),
        )
        handles.setdefault(one.name, line)
        if one.switch is not None:
            at = one.x[one.switch], one.y[one.switch]
            axes.plot(*at, "*", color=colour, markersize=9, markeredgecolor=_TEXT, zorder=3)
    if any(one.switch is not None for one in series):
        handles["switch to the main phase"] = axes.plot([], [], "*", color=_TEXT, markersize=8)[0]
    longest = max(map(len, handles))
    columns = 3 if longest < 15 else 2 if longest < 30 else 1
    # matplotlib hides labels that begin with an underscore, so that names are set afterwards.
    places = [*map(str, range(len(handles)))]
    legend = canvas.legend(
        list(handles.values()), places, loc="outside lower left", ncols=columns, frameon=False
    )
    for text, name in zip(legend.get_texts(), handles, strict=True):
        text.set_parse_math(False)
        text.set_text(_text(name))


def _draw_shaded(canvas: Any, axes: Any, series: Sequence[Series], scale: Normalize) -> None:
    """Lines by the number that shades them, with a bar beside them that explains it."""
    # The ends of the scale are too dark or too light for one of the page's backgrounds.
    colours = ListedColormap([colormaps["viridis"](0.2 + 0.65 * step / 63) for step in range(64)])
    for one in series:
        axes.plot(one.x, one.y, color=colours(scale(one.shade or 0)))
    bar = canvas.colorbar(ScalarMappable(scale, colours), ax=axes, label="epochs trained")
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    bar.outline.set_visible(False)


def _text(text: str) -> str:
    """What is no character in any font is a question mark."""
    return text.encode("utf-8", "replace").decode()


def _save(canvas: Any, file: Any, **options: Any) -> None:
    with warnings.catch_warnings():
        # A browser has fonts for names that matplotlib's own font lacks glyphs for.
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.savefig(file, **options)
