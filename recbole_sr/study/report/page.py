"""Pictures of runs on one page that needs no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from recbole_sr.errors import InputError, check_folder
from recbole_sr.runs.files import write_whole
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.report.figures import Run, draw
from recbole_sr.study.summary import cells, grouped, tables
from recbole_sr.study.trial import STOCK

__all__ = ["read_runs", "report"]

# Settings that differ between any two runs and say nothing about either.
_INCIDENTAL = {"seed", "checkpoint_dir", "show_progress", "state"}


def report(folders: Sequence[str], output: str = "report.html") -> list[Run]:
    """Write one self-contained page about runs and studies.

    Args:
        folders: of runs (``saved/<run>``), finished or not, and of studies.
        output: the page.

    Returns:
        The runs it shows.

    Raises:
        InputError: a folder holds neither a run nor a study, or there is none for the page.

    """
    # Studies and commands that write no page do without these.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    check_folder(output)
    runs = [run for folder in folders for run in _named(Path(folder), len(folders) > 1)]
    studies = [RunFolder(folder).read("comparison.json") for folder in folders]
    page = Environment(
        loader=PackageLoader("recbole_sr.study.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    text = page.get_template("page.html").render(
        sections=[_section(group) for group in grouped(runs, attrgetter("section"))],
        comparisons=[_comparison(study) for study in studies if study],
        plotly=get_plotlyjs(),
    )
    write_whole(Path(output), text)
    return runs


def _named(folder: Path, among_others: bool) -> list[Run]:
    """The runs of a folder; beside another study's, a variant is named with its study."""
    runs = read_runs(folder)
    if among_others and (folder / "runs").is_dir():
        return [replace(run, label=f"{folder.name}, {run.label}") for run in runs]
    return runs


def read_runs(folder: Path) -> list[Run]:
    """The runs in a folder: itself, or those of a study; a run without an epoch yet is left out.

    Raises:
        InputError: the folder holds neither a run nor a study.

    """
    study = folder / "runs"
    found = sorted(study.iterdir()) if study.is_dir() else [folder]
    runs = [run for one in found if (run := _read_run(one)) is not None]
    runs.sort(key=lambda run: run.label != STOCK)  # first what the others are seen against
    if not runs:
        raise InputError(
            f"{folder}: expected the folder of a run with metrics.jsonl, or of a study, got "
            f"{'neither' if folder.is_dir() else 'no folder'}; give saved/<run> or a study's output"
        )
    return runs


def _read_run(path: Path) -> Run | None:
    folder = RunFolder(path)
    settings, epochs = folder.read("settings.json"), folder.epochs()
    if not settings or not epochs:
        return None
    label = (folder.read("request.json") or {}).get("variant", path.name)
    return Run(label, settings, epochs, folder.read("spectra.json") or {})


def _section(runs: Sequence[Run]) -> dict[str, Any]:
    settings: dict[str, dict[str, Any]] = {}
    for run in runs:
        settings.setdefault(run.label, run.settings)
    return {
        "id": runs[0].section,
        "title": "{model} on {dataset}".format_map(runs[0].settings),
        "runs": len(runs),
        "figures": [asdict(figure) for figure in draw(runs)],
        "labels": list(settings),
        "settings": list(_differing(settings)),
    }


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Each setting that is not the same everywhere, with its value by label."""
    for key in dict.fromkeys(chain(*settings.values())):
        values = [str(one.get(key)) for one in settings.values()]
        if key not in _INCIDENTAL and len(set(values)) > 1:
            yield key, values


def _comparison(study: Mapping[str, Any]) -> dict[str, Any]:
    shown = []
    for title, rows in tables(study):
        texts = [cells(row) for row in rows]
        columns = list(dict.fromkeys(chain(*texts)))
        shown.append({"title": title, "columns": columns, "rows": texts})
    return {"method": study["method"], "tables": shown, "failed": study["failed"]}
