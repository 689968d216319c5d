"""Does it help, and how much: ``recbole-sr compare``, a study against a baseline."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import product
from logging import getLogger
from pathlib import Path
from typing import Any

from joblib import cpu_count
from recbole.utils import ModelType
from tqdm import tqdm

from recbole_sr.config.arguments import DATA_SET, MODEL
from recbole_sr.config.config import without_sr
from recbole_sr.config.data_files import check_dataset, checksums
from recbole_sr.config.files import read_properties
from recbole_sr.config.model_keys import model_keys
from recbole_sr.config.recbole_keys import empty_parts
from recbole_sr.errors import InputError, check_file, check_output
from recbole_sr.models.registry import MODELS, NON_GRADIENT, entry_of
from recbole_sr.runs.files import locked, write_whole
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.cluster import Cluster, joined
from recbole_sr.study.quick import MOST_SEEDS, REFERENCES, SETTINGS, within
from recbole_sr.study.report.page import PAGE, report
from recbole_sr.study.summary import by_run, summarize
from recbole_sr.study.text import to_csv, to_markdown
from recbole_sr.study.trial import OFF, STOCK, Trial, run_name
from recbole_sr.study.tuning import TRIALS, grid_points, tune
from recbole_sr.training.checks import check_judged, check_settings

__all__ = ["VARIANTS", "compare"]

VARIANTS: dict[str, dict[str, Any]] = {
    STOCK: OFF,
    "none": OFF,
    "published": {"sr_published": True},
    "default": {},
}
_FIRST_SEED = 2020  # RecBole's own
_MOST_MINUTES = 1_000_000
_RUNS, _TUNING, _QUICK, _PAGE = "runs", "tuning", "quick", "report.html"
_DATA = "data.json"
_TABLES = ("comparison.json", "comparison.md", "comparison.csv", "runs.csv")
_PARTS = (_RUNS, _TUNING, _QUICK)
# What scores are compared by: the same in all runs.
_JUDGED_BY = (
    "eval_args",
    "metrics",
    "topk",
    "valid_metric",
    "repeatable",
    "metric_decimal_place",
)
# What a study gives each run, and so no variant and no grid may.
_GIVEN = {"model": "-m", "dataset": "-d", "seed": "--seed", "checkpoint_dir": "--output"}


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
    minutes: float | None = None,
    ray: str | None = None,
) -> dict[str, Any]:
    """Train a baseline and variants of the method on the same splits, and compare them.

    Models that learn without gradients, such as EASE, are references: RecBole runs them as they
    are on the same splits. The method has no variant of them, and they are not tuned.

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
        minutes: a budget: Pop, ItemKNN and EASE are added, and seeds and epochs are as many as fit,
            see :mod:`recbole_sr.study.quick`; None: no limit.
        ray: address of a Ray cluster whose cores run a trial each, as
            :func:`~recbole_sr.study.cluster.joined` takes it; None: this machine, without Ray.

    Returns:
        As :func:`~recbole_sr.study.summary.summarize`, and sentences: ``tuned`` on the settings
        that were chosen, ``left_out`` on what did not fit into ``minutes``.

    Raises:
        InputError: something given cannot work; one sentence says what, before anything runs.

    Example:
        >>> compare(["BPR"], ["ml-100k"], seeds=5)["rows"][1]["gain"]  # doctest: +SKIP

    """
    if not output:
        raise InputError("--output: expected a folder, got an empty name; give one")
    named = _named([baseline, *variants])
    shared = read_properties(config_file_list, config_dict)
    models = _names("model", models, shared.pop("model", MODEL))
    datasets = _names("dataset", datasets, shared.pop("dataset", DATA_SET))
    if ray is not None:
        _check_cluster(minutes, jobs)
    if minutes is not None:
        _check_quick(minutes, models, datasets, seeds, jobs, tune_file)
        models = list(dict.fromkeys([*models, *REFERENCES]))
        shared = {**SETTINGS, **shared}
    _check_shared(shared, named)
    points = [] if tune_file is None else grid_points(read_properties([tune_file]), tune_trials)
    _check_grid(points[0] if points else {}, named)
    others = _keys_of_others(models, shared)
    study = _Study(Path(output), named, shared, seeds, points, jobs, minutes, others)
    groups = [
        group
        for model, dataset in product(models, datasets)
        for group in product([model], [dataset], [STOCK] if model in NON_GRADIENT else named)
    ]
    study.check(groups, resume)
    if "checkpoint_dir" in shared:
        getLogger().warning("checkpoint_dir: no effect, as the runs are in the study's folder")
    _warn_of_defaults(others)
    with ExitStack() as held:
        if ray is not None:
            study = replace(study, cluster=held.enter_context(joined(ray)))
        study.folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(locked(study.folder))
        study.check_data(groups)
        results = study.results(groups)
        of_runs = (results, study.epochs(results), next(iter(named)))
        comparison = summarize(*of_runs)
        comparison["tuned"] = sorted(study.tuned)
        comparison["left_out"] = study.left_out
        study.write(comparison, by_run(*of_runs))
    return comparison


@dataclass(frozen=True)
class _Study:
    folder: Path
    variants: Mapping[str, Mapping[str, Any]]
    shared: Mapping[str, Any]
    seeds: int
    points: Sequence[Mapping[str, Any]]
    jobs: int
    minutes: float | None = None
    keys_of_others: Mapping[str, Collection[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    tuned: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    cluster: Cluster | None = None

    def check(self, groups: Sequence[tuple[str, str, str]], resume: bool) -> None:
        """Find out now what would otherwise be found out after hours."""
        for name, number in (("seeds", self.seeds), ("jobs", self.jobs)):
            if number < 1:
                raise InputError(f"{name}: expected 1 or more, got {number}; give a number")
        self._check_folder(resume)
        self._check_names(groups)
        judged_by: dict[tuple[str, str], Any] = {}
        for group, point in product(groups, self.points or [{}]):
            own = {} if group[0] in NON_GRADIENT else point  # they are not tuned
            trial = self.trial(*group)
            config = trial.config(**own)
            _check_judged_alike(judged_by.setdefault(group[:2], config), config)
            if group[2] == "default" and config.options.off:
                sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
                raise InputError(
                    f"variants: expected one that does something for {group[0]}, for which no "
                    "default has been shown to gain, got 'default'; give --variants "
                    f"warm/stable_rank.yaml, or warm/{'transitions' if sequential else 'spectral'}"
                    ".yaml"
                )
            if group[2] != STOCK:
                check_settings(config, entry_of(config.model_class))
            check_judged(config)
            check_dataset(config.final_config_dict)
            parts = empty_parts(config["eval_args"]["split"])
            if parts:
                raise InputError(
                    "eval_args: expected a split with a validation and a test part, by which a "
                    f"study judges, got none for {' and '.join(sorted(parts))}; give all three"
                )
        # All groups have the same seeds, of which the last may be out of range.
        replace(trial, seed=trial.seed + self.seeds - 1).config(**own)

    def check_data(self, groups: Sequence[tuple[str, str, str]]) -> None:
        """Refuse to go on with other data than the study's runs were trained on.

        Raises:
            InputError: names the files that changed.

        """
        study = RunFolder(self.folder)
        found: dict[str, str] = {}
        for group in {group[1]: group for group in groups}.values():  # one for each data set
            found |= checksums(self.trial(*group).config().final_config_dict)
        known = study.read(_DATA, dict[str, str]) if self._is_begun() else None
        data = {**found, **(known or {})}
        if changed := [name for name in found if data[name] != found[name]]:
            raise InputError(
                f"{self.folder}: expected the data that the study began with, got another "
                f"{', '.join(changed)}; restore the data set, or give another --output"
            )
        study.write(_DATA, data)

    def _is_begun(self) -> bool:
        return any(os.path.lexists(self.folder / part) for part in _PARTS)

    def _check_folder(self, resume: bool) -> None:
        """Refuse one that is to be begun and holds a study, or the reverse, or others' files."""
        holds_study = self._is_begun()
        if holds_study and not resume:
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
            if not holds_study:
                raise InputError(
                    f"{table}: expected no such file, as no study is there, got one; give another "
                    "folder by --output"
                )
        if resume and not holds_study:
            raise InputError(
                f"{self.folder}: expected a study to continue, got none; check --output, or drop "
                "--resume"
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
        if model not in NON_GRADIENT:
            return Trial(model, dataset, variant, seed, {**self.shared, **self.variants[variant]})
        others = self.keys_of_others.get(model, ())
        own = {key: value for key, value in self.shared.items() if key not in others}
        return Trial(model, dataset, variant, seed, {**without_sr(own), **OFF})

    def results(self, groups: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
        """Run what is not there yet, under a bar that shows how long it will take."""
        tuned = sum(model not in NON_GRADIENT for model, *_ in groups) * len(self.points)
        total = len(groups) * self.seeds + tuned
        with (
            tqdm(total=total, unit="run", disable=None) as bar,
            ThreadPoolExecutor(self.cluster.size if self.cluster else self.jobs) as pool,
        ):
            if self.minutes is not None:
                return self._within(self.minutes, [self.trial(*group) for group in groups], bar)
            try:
                trials = list(pool.map(lambda group: self._tuned(self.trial(*group), bar), groups))
                # A seed's variants follow each other, so that a study cut short has whole pairs.
                pairs = product(range(self.seeds), trials)
                runs = [replace(trial, seed=trial.seed + offset) for offset, trial in pairs]
                return list(pool.map(lambda trial: self._run(trial, bar), runs))
            except BaseException:  # interrupted, say: the threads wait for processes of their own
                self.stopped.set()
                raise

    def _within(self, minutes: float, trials: Sequence[Trial], bar: Any) -> list[dict[str, Any]]:
        def run(trial: Trial, seconds: float, folder: Path | None) -> dict[str, Any]:
            if folder:
                bar.set_description(f"measuring {trial.model}")
                return self._result(trial, folder, seconds)
            return self._run(trial, bar, seconds)

        results, left_out = within(minutes, trials, self.seeds, self.folder / _QUICK, run)
        self.left_out.extend(left_out)
        order = [(trial.model, trial.variant) for trial in trials]
        return sorted(results, key=lambda one: order.index((one["model"], one["variant"])))

    def _tuned(self, trial: Trial, bar: Any) -> Trial:
        if not self.points or trial.model in NON_GRADIENT:
            return trial
        folder = self.folder / _TUNING / trial.name
        tuned, run = tune(trial, self.points, folder, bar, self._result)
        tuned.take_over(run, self.folder / _RUNS / trial.name)  # the first seed's run
        chosen = ", ".join(f"{key} {tuned.settings[key]}" for key in self.points[0])
        name = f"{trial.model} {trial.variant} on {trial.dataset}"
        scored = any(one["score"] is not None for one in RunFolder(folder).read(TRIALS, list[Any]))
        how = "by validation the best" if scored else "the first, as none had a score,"
        self.tuned.append(f"{name}: {chosen}, {how} of {len(self.points)}")
        return tuned

    def _run(self, trial: Trial, bar: Any, seconds: float = math.inf) -> dict[str, Any]:
        bar.set_description(trial.name)
        result = self._result(trial, self.folder / _RUNS / trial.name, seconds)
        bar.update()
        if result["error"]:
            bar.write(f"{trial.name}: {result['error']}", file=sys.stderr)  # and in the answer
        return result

    def _result(self, trial: Trial, folder: Path, seconds: float = math.inf) -> dict[str, Any]:
        if done := trial.finished(folder):
            return done
        if self.cluster:
            return self.cluster.run(trial, folder, self.stopped)
        threads = max(1, cpu_count() // self.jobs) if self.jobs > 1 else None
        return trial.run(folder, threads, self.stopped, seconds)

    def epochs(self, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        names = [run_name(result) for result in results]
        return {name: RunFolder(self.folder / _RUNS / name).epochs() for name in names}

    def write(self, comparison: Mapping[str, Any], runs: list[dict[str, Any]]) -> None:
        RunFolder(self.folder).write("comparison.json", comparison)
        write_whole(self.folder / "comparison.md", to_markdown(comparison))
        write_whole(self.folder / "comparison.csv", to_csv(comparison["rows"]))
        write_whole(self.folder / "runs.csv", to_csv(runs))
        report([str(self.folder)], str(self.folder / _PAGE))


def _check_judged_alike(first: Any, other: Any) -> None:
    """Refuse two configurations of a study whose scores cannot be compared."""
    for key in _JUDGED_BY:
        if other[key] != first[key]:
            raise InputError(
                f"{key}: expected the same for all runs, whose scores are compared, got "
                f"{first[key]!r} and {other[key]!r}; give it for all, by --{key}"
            )


def _check_shared(shared: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]) -> None:
    off = [name for name, own in variants.items() if own is OFF]
    ours = [key for key in shared if key.startswith("sr_")]
    if off and ours:
        raise InputError(
            f"{ours[0]}: expected no sr_ key among the settings that all runs share, as "
            f"{off[0]!r} is to run without the method; put it in a property file and give that to "
            "--variants, or to --baseline"
        )


def _check_grid(point: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]) -> None:
    for key, option in _GIVEN.items():
        if key in point:
            raise InputError(
                f"--tune: expected no {key} in it, as a study gives each run its own, got one; "
                f"drop it, or give it for all runs by {option}"
            )
    # Stock has no use for the method's keys; by them ``none`` would not be what it says.
    ours = [key for key in point if key.startswith("sr_")]
    if ours and variants.get("none") is VARIANTS["none"]:  # and no file of that name
        raise InputError(
            "--tune: expected no sr_ key in it, as 'none' is to run without the method, got "
            f"{ours[0]}; take stock or off.yaml for none, or drop it"
        )


def _check_cluster(minutes: float | None, jobs: int) -> None:
    beside = {
        "--quick": minutes is not None and "a time budget",
        "--jobs": jobs > 1 and f"jobs {jobs}",
    }
    for option, got in beside.items():
        if got:
            raise InputError(
                f"ray: expected no {option} beside it, as a cluster runs a trial on each core, got "
                f"{got}; drop one"
            )


def _check_quick(
    minutes: float,
    models: Sequence[str],
    datasets: Sequence[str],
    seeds: int,
    jobs: int,
    tune_file: str | None,
) -> None:
    """Refuse what does not go with a time budget."""
    for wrong, sentence in (
        (
            not 0 < minutes <= _MOST_MINUTES,
            f"minutes: expected a number above 0, at most {_MOST_MINUTES}, got {minutes}; say how "
            "long the study may take",
        ),
        (
            seeds > MOST_SEEDS,
            f"seeds: expected at most {MOST_SEEDS} within a time budget, got {seeds}; lower it",
        ),
        (jobs > 1, f"jobs: expected one run at a time within a time budget, got {jobs}; drop it"),
        (tune_file, "--tune: expected none within a time budget, got one; tune without a budget"),
        (
            len(datasets) > 1,
            f"dataset: expected one within a time budget, got {', '.join(datasets)}; drop others",
        ),
        (
            all(model in NON_GRADIENT for model in models),
            f"model: expected one that is trained, got {', '.join(models)}; add BPR",
        ),
    ):
        if wrong:
            raise InputError(sentence)


def _keys_of_others(models: Sequence[str], given: Collection[str]) -> dict[str, set[str]]:
    """For each reference the keys given that another model has as its own.

    EASE's ``reg_weight``, say, is 250, and LightGCN's 1e-5: a value for one is none for the other.
    """
    known = {model: model_keys(model).keys() for model in models if model in MODELS}
    return {
        model: {key for key in given for other in known if other != model and key in known[other]}
        for model in models
        if model in NON_GRADIENT
    }


def _warn_of_defaults(keys_of_others: Mapping[str, Collection[str]]) -> None:
    for model, keys in keys_of_others.items():
        for key in sorted(keys & model_keys(model).keys()):
            getLogger().warning(
                f"{key}: {model} keeps its default, as another model has a key of that name; "
                f"compare {model} alone to set it"
            )


def _names(key: str, given: Sequence[str] | None, of_files: Any) -> list[str]:
    """The names that were given, else those of the files: one, or a list."""
    listed = of_files if isinstance(of_files, list) else [of_files]
    names = listed if given is None else list(given)
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{key}: expected a name or a list of names, got {names}; give names")
    if not names:
        raise InputError(f"{key}: expected a name, got none; give one")
    if len(set(names)) < len(names):
        raise InputError(f"{key}: expected distinct names, got {', '.join(names)}; drop one")
    return names


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
        for key, option in _GIVEN.items():
            if key in named[name]:
                raise InputError(
                    f"{variant}: expected no {key} in it, as a study trains every variant on each "
                    f"{key}, got {named[name][key]!r}; give it as {option}"
                )
    return named
