"""Pictures of runs on one page that needs no network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from recbole_sr.config.options import Options
from recbole_sr.errors import InputError, check_output
from recbole_sr.models.registry import NON_GRADIENT
from recbole_sr.runs.epochs import UNTRAINED, describe_best
from recbole_sr.runs.files import write_whole
from recbole_sr.runs.folder import IDENTITY, MORE, RunFolder, Settings, Spectra
from recbole_sr.study.report.figures import Run, draw
from recbole_sr.study.summary import FAILED, grouped
from recbole_sr.study.text import brief, cells, headline, sentences, tables
from recbole_sr.study.trial import STOCK

__all__ = ["PAGE", "read_runs", "report"]

PAGE = b"<!doctype html><!-- recbole-sr -->"  # its beginning: nothing else is replaced by one

# Settings that differ between any two runs and say nothing about either.
_INCIDENTAL = {"seed", "checkpoint_dir", "show_progress", "state"}


# Keys of RecBole that a reader looks for beside the method's own.
_USUAL = ("epochs", "learning_rate", "train_batch_size", "embedding_size", "stopping_step", "seed")


class _Request(TypedDict):
    __pydantic_config__ = MORE  # type: ignore[misc]
    variant: str


class _Result(TypedDict):
    __pydantic_config__ = MORE  # type: ignore[misc]
    test_result: dict[str, float | None] | None
    best_valid_score: float | None
    best_epoch: NotRequired[Annotated[int, Field(ge=UNTRAINED)] | None]
    initial_valid_score: NotRequired[float | None]


def report(folders: Sequence[str], output: str = "report.html") -> list[Run]:
    """Write one self-contained page about runs and studies.

    Args:
        folders: of runs (``saved/<run>``), finished or not, and of studies.
        output: the page.

    Returns:
        The runs it shows.

    Raises:
        InputError: a folder holds neither a run nor a study, or there is none for the page.

    Example:
        >>> report(["saved/BPR-DATE", "comparison"], "report.html")  # doctest: +SKIP

    """
    # Studies and commands that write no page do without these.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    if isinstance(folders, str | os.PathLike) or not folders:
        raise InputError(f"report: expected a list of folders, got {folders!r}; give some")
    place = check_output(output, PAGE)
    paths = [Path(folder) for folder in folders]
    comparisons = [_comparison(path) for path in paths]
    runs = [
        run
        for path, title, comparison in zip(paths, _titles(paths), comparisons, strict=True)
        for run in _named(path, title, len(paths) > 1, empty=bool(comparison))
    ]
    page = Environment(
        loader=PackageLoader("recbole_sr.study.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    text = page.get_template("page.html").render(
        sections=[
            _section(group)
            for group in grouped(runs, attrgetter("section"))
            if group[0].settings["model"] not in NON_GRADIENT  # has a score, and no curves
        ],
        comparisons=list(filter(None, comparisons)),
    )
    # Names may hold bytes that are no UTF-8.
    write_whole(place, text.encode("utf-8", "replace").decode())
    return runs


def _name(path: Path) -> str:
    return os.path.basename(os.path.abspath(path))  # of "." too; a link keeps its own


def _titles(paths: Sequence[Path]) -> list[str]:
    """The folders' names; of those that have one in common, the paths as they were given."""
    names = [_name(path) for path in paths]
    return [
        name if names.count(name) == 1 else str(path)
        for name, path in zip(names, paths, strict=True)
    ]


def _named(folder: Path, title: str, among_others: bool, empty: bool) -> list[Run]:
    """The runs of a folder; beside another study's, a variant is named with its study."""
    runs = read_runs(folder, empty)
    if not among_others:
        return runs
    is_study = (folder / "runs").is_dir()
    return [replace(run, label=f"{title}, {run.label}" if is_study else title) for run in runs]


def read_runs(folder: Path, empty: bool = False) -> list[Run]:
    """The runs in a folder: itself, or those of a study; a run without an epoch yet is left out.

    Args:
        folder: of a run or a study.
        empty: whether there may be none, as where all runs of a study failed.

    Raises:
        InputError: the folder holds neither a run nor a study, or a file in it is damaged.

    """
    study = folder / "runs"
    found = sorted(study.iterdir()) if study.is_dir() else [folder]
    runs = [run for one in found if (run := _read_run(one)) is not None]
    runs.sort(key=lambda run: run.label != STOCK)  # first what the others are seen against
    if not runs and (folder / "settings.json").is_file():
        raise InputError(
            f"{folder}: expected a run with an epoch in metrics.jsonl, got one without; wait until "
            "its first epoch has ended (one of epochs: 0 has nothing to draw)"
        )
    if not runs and not empty:
        raise InputError(
            f"{folder}: expected the folder of a run with metrics.jsonl, or of a study, got "
            f"{'neither' if folder.is_dir() else 'no folder'}; give saved/<run> or a study's output"
        )
    return runs


def _read_run(path: Path) -> Run | None:
    folder = RunFolder(path)
    settings, epochs = folder.read("settings.json", Settings), folder.epochs()
    if not settings or not epochs:
        return None
    request = folder.read("request.json", _Request)
    spectra = folder.read("spectra.json", Spectra) or {}
    if request:
        return Run(request["variant"], settings, epochs, spectra, compared=True)
    result, environment = folder.read("result.json", _Result), folder.read("environment.json")
    return Run(_name(path), settings, epochs, spectra, result, environment)


def _section(runs: Sequence[Run]) -> dict[str, Any]:
    from recbole_sr.study.report.drawing import as_svg  # takes a second to import

    settings: dict[str, dict[str, Any]] = {}
    for run in runs:
        settings.setdefault(run.label, run.settings)
    return {
        "id": runs[0].section,
        "title": "{model} on {dataset}".format_map(runs[0].settings),
        "runs": len(runs),
        "singles": [_single(run) for run in runs if not run.compared],
        "figures": [(figure, as_svg(figure)) for figure in draw(runs)],
        "labels": list(settings),
        "settings": list(_differing(settings)),
    }


def _single(run: Run) -> dict[str, Any]:
    """What a run came to, how it was set and where it ran, as text."""
    settings = run.settings
    headline, facts = _outcome(run)
    training, evaluation = (
        sum(epoch.get(key) or 0.0 for epoch in run.epochs)  # type: ignore[misc]
        for key in ("train_seconds", "valid_seconds")
    )
    facts["time"] = f"{training:.1f} s of training, {evaluation:.1f} s of validation"
    defaults = Options().model_dump()
    recipe = {key: settings[key] for key in _USUAL if key in settings} | {
        key: settings[key] for key in defaults if key in settings and settings[key] != defaults[key]
    }
    environment = {k: v for k, v in (run.environment or {}).items() if k not in IDENTITY}
    packages = environment.pop("packages", None)
    return {
        "name": run.label,
        "headline": headline,
        "facts": facts,
        "recipe": _texts(recipe),
        "environment": _texts(environment | (packages if isinstance(packages, dict) else {})),
        "settings": _texts(settings),
    }


def _outcome(run: Run) -> tuple[str, dict[str, str]]:
    """What a run came to, in a sentence and in facts."""
    result, metric = run.result, run.settings["valid_metric"].lower()
    epochs = f"{len(run.epochs)} epoch{'s' * (len(run.epochs) != 1)}"
    on_all = run.settings.get("sr_train_on") == "all"  # nothing is left to judge it by
    if not result:
        return f"Not finished; {epochs} so far", {} if on_all else {"test result": "none yet"}
    if on_all:
        return f"Trained on all interactions for {epochs}, so not tested", {}
    tested, best = (result["test_result"] or {}).get(metric), result.get("best_epoch")
    untrained = result.get("initial_valid_score")
    score = f"valid {metric} {_number(result['best_valid_score'])}"
    facts = {
        "test result": _scores(result["test_result"]),
        "best epoch": describe_best(best, len(run.epochs), score) or "none",
        "untrained initialisation": "not scored"
        if untrained is None
        else f"valid {metric} {_number(untrained)}",
    }
    return f"Test {metric} {_number(tested)} after {epochs}", facts


def _scores(scores: Mapping[str, float | None] | None) -> str:
    return ", ".join(f"{name} {_number(x)}" for name, x in (scores or {}).items()) or "none"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Each setting that is not the same everywhere, with its value by label."""
    for key in dict.fromkeys(chain(*settings.values())):
        values = [str(one.get(key)) for one in settings.values()]
        if key not in _INCIDENTAL and len(set(values)) > 1:
            yield key, values


def _comparison(folder: Path) -> dict[str, Any] | None:
    study = RunFolder(folder).read("comparison.json")
    if study is None:
        return None
    try:
        failed = [{key: str(run[key]) for key in FAILED} for run in study["failed"]]
        return {
            "headline": list(headline(study)),
            "brief": [_table(title, rows) for title, rows in brief(study)],
            "sentences": list(sentences(study)),
            "tables": [_table(title, map(cells, rows)) for title, rows in tables(study)],
            "method": str(study["method"]),
            "failed": failed,
        }
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"{folder / 'comparison.json'}: expected a comparison as compare leaves it, got other "
            f"data ({type(error).__name__}: {error}); write it again by compare --resume"
        ) from None


def _table(title: str, rows: Iterable[dict[str, str]]) -> dict[str, Any]:
    texts = list(rows)
    return {"title": title, "columns": list(dict.fromkeys(chain(*texts))), "rows": texts}
