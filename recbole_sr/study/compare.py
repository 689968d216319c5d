"""Does it help, and how much: ``recbole-sr compare``, a study against a baseline."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from joblib import cpu_count
from tqdm import tqdm

from recbole_sr.config.files import read_properties
from recbole_sr.config.recbole_keys import empty_parts
from recbole_sr.errors import InputError, check_file, check_output
from recbole_sr.runs.files import locked, write_whole
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.report.page import PAGE, report
from recbole_sr.study.summary import summarize, to_csv, to_markdown
from recbole_sr.study.trial import OFF, STOCK, Trial, run_name
from recbole_sr.study.tuning import grid_points, tune

__all__ = ["VARIANTS", "compare"]

VARIANTS: dict[str, dict[str, Any]] = {
    STOCK: OFF,
    "none": OFF,
    "published": {"sr_published": True},
    "default": {},
}
_FIRST_SEED = 2020  # RecBole's own
_RUNS, _TUNING, _PAGE = "runs", "tuning", "report.html"
_TABLES = ("comparison.json", "comparison.md", "comparison.csv")
_PARTS = (_RUNS, _TUNING, *_TABLES)


def compare(
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    *,
    seeds: int = 5,
    variants: Sequence[str] = ("default",),
    baseline: str = STOCK,
    config_file_list: Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
    output: str = "comparison",
    resume: bool = False,
    tune_file: str | None = None,
    tune_trials: int = 10,
    jobs: int = 1,
) -> dict[str, Any]:
    """Train a baseline and variants of the method on the same splits, and compare them.

    Each run has a process of its own and leaves ``output/runs/<run>/`` behind as soon as it ends;
    ``comparison.md``, ``.csv``, ``.json`` and ``report.html`` are written at the end.

    Args:
        models: RecBole's names; None takes ``model`` of the settings, or else BPR.
        datasets: names of data sets; None takes ``dataset`` of the settings, or else ml-100k.
        seeds: how many; they count up from the ``seed`` given, RecBole's 2020 by default.
        variants: ``none`` (this package, switched off), ``published``, ``default``, or paths of
            property files.
        baseline: what they are compared with: ``stock``, which is RecBole as it is, or as
            ``variants``.
        config_file_list: property files for all runs, the baseline's too; no ``sr_`` keys where
            ``stock`` or ``none`` is among them.
        config_dict: property values for all runs, above the files; as for the files.
        output: the study's folder.
        resume: continue the study in ``output``: what ended well is kept, what failed is tried
            again.
        tune_file: a grid in YAML; every variant is tuned in it, by as many trials.
        tune_trials: trials for each model, data set and variant.
        jobs: runs at a time, which share the processor's cores. Scores do not depend on it but for
            rounding; seconds do, so with more than one compare epochs.

    Returns:
        As :func:`~recbole_sr.study.summary.summarize`.

    Raises:
        InputError: something given cannot work; one sentence says what, before anything runs.

    """
    named = _named([baseline, *variants])
    shared = {**read_properties(config_file_list), **(config_dict or {})}
    model, dataset = shared.pop("model", "BPR"), shared.pop("dataset", "ml-100k")
    models = _listed(model) if models is None else models
    datasets = _listed(dataset) if datasets is None else datasets
    for key, names in (("model", models), ("dataset", datasets)):
        if len(set(names)) < len(names):
            raise InputError(f"{key}: expected distinct names, got {', '.join(names)}; drop one")
    _check_shared(shared, named)
    points = grid_points(read_properties([tune_file]), tune_trials) if tune_file else []
    study = _Study(Path(output), named, shared, seeds, points, jobs)
    groups = list(product(models, datasets, study.variants))
    study.check(groups, resume)
    study.folder.mkdir(parents=True, exist_ok=True)
    with locked(study.folder):
        results = study.results(groups)
        comparison = summarize(results, study.epochs(results), next(iter(named)))
        study.write(comparison)
    return comparison


@dataclass(frozen=True)
class _Study:
    folder: Path
    variants: Mapping[str, Mapping[str, Any]]
    shared: Mapping[str, Any]
    seeds: int
    points: Sequence[Mapping[str, Any]]
    jobs: int
    stopped: threading.Event = field(default_factory=threading.Event)

    def check(self, groups: Sequence[tuple[str, str, str]], resume: bool) -> None:
        """Find out now what would otherwise be found out after hours."""
        for name, number in (("seeds", self.seeds), ("jobs", self.jobs)):
            if number < 1:
                raise InputError(f"{name}: expected 1 or more, got {number}; give a number")
        if not resume and any(os.path.lexists(self.folder / part) for part in _PARTS):
            raise InputError(
                f"{self.folder}: expected no study there, but it holds one; "
                "continue it with --resume, or give another folder by --output"
            )
        if self.folder.is_dir():
            check_output(self.folder / _PAGE, PAGE)
        elif os.path.lexists(self.folder):
            raise InputError(f"{self.folder}: expected a folder, got a file; give another --output")
        for table in filter(os.path.lexists, (self.folder / name for name in _TABLES)):
            check_file(table)
        self._check_names(groups)
        for group, point in product(groups, self.points or [{}]):
            config = self.trial(*group).config(**point)
            if group[2] == "default" and config.options.off:
                raise InputError(
                    f"variants: expected one that does something for {group[0]}, for which no "
                    "default has been measured, got 'default'; give --variants "
                    "warm/stable_rank.yaml, or warm/spectral.yaml"
                )
            parts = empty_parts(config["eval_args"]["split"])
            if parts:
                raise InputError(
                    "eval_args: expected a split with a validation and a test part, by which a "
                    f"study judges, got none for {' and '.join(sorted(parts))}; give all three"
                )

    def _check_names(self, groups: Sequence[tuple[str, str, str]]) -> None:
        """Refuse two groups whose runs would share a folder, as ``a-b`` with ``c``, and ``a``."""
        named: dict[str, tuple[str, str, str]] = {}
        for group in groups:
            name = self.trial(*group).name
            if Path(name).name != name:
                raise InputError(f"{name}: expected names without a slash, got one; rename it")
            if (other := named.setdefault(name, group)) != group:
                raise InputError(
                    "variants: expected runs whose folders have names of their own, got "
                    f"{name} for both {' '.join(other)} and {' '.join(group)}; rename a file"
                )

    def trial(self, model: str, dataset: str, variant: str) -> Trial:
        seed = self.shared.get("seed", _FIRST_SEED)
        return Trial(model, dataset, variant, seed, {**self.shared, **self.variants[variant]})

    def results(self, groups: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
        """Run what is not there yet, under a bar that shows how long it will take."""
        total = len(groups) * (self.seeds + len(self.points))
        with tqdm(total=total, unit="run") as bar, ThreadPoolExecutor(self.jobs) as pool:
            try:
                trials = list(pool.map(lambda group: self._tuned(self.trial(*group), bar), groups))
                # A seed's variants follow each other, so that a study cut short has whole pairs.
                pairs = product(range(self.seeds), trials)
                runs = [replace(trial, seed=trial.seed + offset) for offset, trial in pairs]
                return list(pool.map(lambda trial: self._run(trial, bar), runs))
            except BaseException:  # interrupted, say: the threads wait for processes of their own
                self.stopped.set()
                raise

    def _tuned(self, trial: Trial, bar: Any) -> Trial:
        if not self.points:
            return trial
        tuned, run = tune(trial, self.points, self.folder / _TUNING / trial.name, bar, self._result)
        tuned.take_over(run, self.folder / _RUNS / trial.name)  # the first seed's run
        return tuned

    def _run(self, trial: Trial, bar: Any) -> dict[str, Any]:
        bar.set_description(trial.name)
        result = self._result(trial, self.folder / _RUNS / trial.name)
        bar.update()
        if result["error"]:
            bar.write(f"{trial.name} failed: {result['error']}")
        return result

    def _result(self, trial: Trial, folder: Path) -> dict[str, Any]:
        threads = max(1, cpu_count() // self.jobs) if self.jobs > 1 else None
        return trial.finished(folder) or trial.run(folder, threads, self.stopped)

    def epochs(self, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        names = [run_name(result) for result in results]
        return {name: RunFolder(self.folder / _RUNS / name).epochs() for name in names}

    def write(self, comparison: Mapping[str, Any]) -> None:
        RunFolder(self.folder).write("comparison.json", comparison)
        write_whole(self.folder / "comparison.md", to_markdown(comparison))
        write_whole(self.folder / "comparison.csv", to_csv(comparison))
        report([str(self.folder)], str(self.folder / _PAGE))


def _check_shared(shared: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]) -> None:
    off = [name for name, own in variants.items() if own is OFF]
    ours = [key for key in shared if key.startswith("sr_")]
    if off and ours:
        raise InputError(
            f"{ours[0]}: expected no sr_ key among the settings that all runs share, as "
            f"{off[0]!r} is to run without the method; put it in a property file and give that to "
            "--variants, or to --baseline"
        )


def _listed(names: Any) -> list[Any]:
    return names if isinstance(names, list) else [names]


def _named(variants: Sequence[str]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for variant in variants:
        name = Path(variant).stem if variant.endswith((".yaml", ".yml")) else variant
        if name == STOCK != variant:
            raise InputError(
                f"variants: expected a file of another name than {variant}, as {STOCK!r} is "
                "RecBole as it is; rename the file"
            )
        if name in named:
            raise InputError(f"variants: expected distinct names, got {name!r} twice; rename one")
        if name == variant and name not in VARIANTS:
            raise InputError(
                f"variants: expected one of {', '.join(VARIANTS)} or a .yaml file, got {name!r}; "
                "check the spelling"
            )
        named[name] = VARIANTS[name] if name == variant else read_properties([variant])
        for key in ("model", "dataset"):
            if key in named[name]:
                raise InputError(
                    f"{variant}: expected no {key} in it, as a study trains every variant on each "
                    f"{key}, got {named[name][key]!r}; give it as -{key[0]}"
                )
    return named
