"""From finished runs to numbers: means, spreads, time to the baseline's best, paired tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from operator import itemgetter
from statistics import fmean, stdev
from typing import Any, TypeVar

from recbole_sr.errors import InputError
from recbole_sr.models.registry import NON_GRADIENT
from recbole_sr.study.statistics import holm, paired, rising
from recbole_sr.study.trial import STOCK, UNFINISHED, run_name

__all__ = [
    "FAILED",
    "MIN_SEEDS",
    "MODEL_AND_DATASET",
    "by_run",
    "grouped",
    "seconds_to",
    "summarize",
    "time_to_score",
    "unsettled",
]

FAILED = ("model", "dataset", "variant", "seed", "error")
MIN_SEEDS = 5
_PATIENCE = 10  # evaluations without a better one, RecBole's own stopping_step
# Why the best score of a run may not be the best that its settings reach, and what to do.
_UNSETTLED = {
    "rising": ("still rising at its last epoch", "raise epochs"),
    "cut": ("ended by epochs before early stopping", "raise epochs"),
    "stopped": ("still rising when early stopping ended it", "raise stopping_step"),
}
_LEVEL = 0.05
_METHOD = (
    "Every variant of a seed has the same split, initial random state and batches as the baseline;"
    " a seed stands for all three, but a split in time is the same for every seed. Test: two-sided"
    " paired t-test on the test score, corrected for splits that overlap where seeds differ in it"
    " (Nadeau and Bengio, 2003), and Holm-corrected"
    f" over the variants of one model and data set, level {_LEVEL}. Effect size: mean over standard"
    " deviation of the paired differences (Cohen's d_z). Plus-minus is the standard deviation over"
    " seeds, brackets a 95 % interval of the mean paired difference. Training seconds leave out"
    " evaluation, start-up, checkpoints and monitors; seconds are of whole runs, memory is main"
    " memory at its peak. A variant is judged worse or not at all where the baseline was still"
    f" rising: at most {_PATIENCE} evaluations (stopping_step, if less) follow the best one of a"
    f" run, or a line through the last {_PATIENCE} of most runs rises (one-sided p < 0.01)."
)

Result = Mapping[str, Any]
T = TypeVar("T")
MODEL_AND_DATASET = itemgetter("model", "dataset")


def summarize(
    results: Sequence[Result],
    epochs: Mapping[str, Sequence[Mapping[str, Any]]],
    baseline: str = STOCK,
) -> dict[str, Any]:
    """The comparison as plain data.

    Args:
        results: what :meth:`~recbole_sr.study.trial.Trial.run` returned, failed ones included.
        epochs: the lines of ``metrics.jsonl`` by :attr:`~recbole_sr.study.trial.Trial.name`.
        baseline: the variant that the others are compared with.

    Returns:
        ``baseline``, ``method`` (how to read the numbers), ``rows`` (one for each model, data set
        and variant), ``failed`` (model, dataset, variant, seed, error), ``unfinished`` (as
        ``failed``: what a time budget ended) and ``apart`` (by data set, groups of models whose
        parts are not the same, so that their scores cannot be compared).

    Raises:
        InputError: two runs of one seed had different splits.

    """
    rows = []
    for group in grouped(results, MODEL_AND_DATASET):
        finished = [result for result in group if result["error"] is None]
        _check_splits(finished)
        base = {run["seed"]: run for run in finished if run["variant"] == baseline}
        variants = grouped(group, itemgetter("variant"))
        rows += _judged([_row(runs, base, epochs, baseline) for runs in variants])
    errors = [{key: run[key] for key in FAILED} for run in results if run["error"] is not None]
    return {
        "baseline": baseline,
        "method": _METHOD,
        "rows": rows,
        "failed": [run for run in errors if run["error"] != UNFINISHED],
        "unfinished": [run for run in errors if run["error"] == UNFINISHED],
        "apart": _apart(results),
    }


def by_run(
    results: Sequence[Result],
    epochs: Mapping[str, Sequence[Mapping[str, Any]]],
    baseline: str = STOCK,
) -> list[dict[str, Any]]:
    """What each finished run came to, one after the other.

    Args:
        results: as :func:`summarize` takes them.
        epochs: as :func:`summarize` takes them.
        baseline: the variant that the others are compared with.

    Returns:
        For each ``model``, ``dataset``, ``variant`` and ``seed``: ``settings`` (those that are not
        the same for all runs), ``epochs``, ``best_epoch`` (0 is the untrained model),
        ``epochs_to_baselines_best`` (on the validation part; None is never, and where the
        baseline's run failed), ``best_valid_result``, ``test_result`` and ``seconds``. Models
        without gradients have no epochs to count.

    """
    finished = [result for result in results if result["error"] is None]
    settings = [result.get("settings", {}) for result in finished]
    keys = [key for key in dict.fromkeys(chain(*settings)) if not _alike(settings, key)]
    base = {
        (MODEL_AND_DATASET(run), run["seed"]): run["best_valid_score"]
        for run in finished
        if run["variant"] == baseline
    }
    rows = []
    for run in finished:
        row = {key: run[key] for key in ("model", "dataset", "variant", "seed")}
        row["settings"] = {key: run.get("settings", {}).get(key) for key in keys}
        if run["model"] not in NON_GRADIENT:
            lines, score = epochs[run_name(run)], base.get((MODEL_AND_DATASET(run), run["seed"]))
            bigger, untrained = run["valid_score_bigger"], run.get("untrained")
            found = None if score is None else time_to_score(lines, score, bigger, untrained)
            row["epochs"], row["best_epoch"] = run["epochs"], _best_epoch(run, lines)
            row["epochs_to_baselines_best"] = found[0] if found else None
        row |= {key: run[key] for key in ("best_valid_result", "test_result", "seconds")}
        rows.append(row)
    return rows


def _alike(settings: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether a key has one value everywhere, or none anywhere."""
    return all(one.get(key) == settings[0].get(key) for one in settings)


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> list[list[T]]:
    """The items of each key, keys in the order in which they first appear.

    Example:
        >>> grouped(["b1", "a1", "b2"], itemgetter(0))
        [['b1', 'b2'], ['a1']]

    """
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def time_to_score(
    epochs: Iterable[Mapping[str, Any]],
    score: float,
    bigger: bool,
    untrained: float | None = None,
) -> tuple[int, float] | None:
    """When a run first reached a validation score: epochs and training seconds spent.

    Args:
        epochs: of the run.
        score: to reach.
        bigger: whether more is better.
        untrained: the score of the untrained model, where it may be the best one.

    Returns:
        None where the score was never reached.

    Example:
        >>> lines = [{"valid_score": s, "train_seconds": 2.0} for s in (0.1, 0.3)]
        >>> time_to_score(lines, 0.2, bigger=True)
        (2, 4.0)

    """
    if untrained is not None and (untrained >= score if bigger else untrained <= score):
        return 0, 0.0
    seconds = 0.0
    for count, epoch in enumerate(epochs, start=1):
        seconds += epoch["train_seconds"]
        found = epoch["valid_score"]
        if found is not None and (found >= score if bigger else found <= score):
            return count, seconds
    return None


def seconds_to(run: Result, epochs: Sequence[Mapping[str, Any]], count: int) -> float:
    """Seconds from the start of a run to the end of an epoch: start-up and evaluation included."""
    spent = sum(
        epoch["train_seconds"] + (epoch.get("valid_seconds") or 0) for epoch in epochs[:count]
    )
    return float(run["seconds"]["start_up"] + spent)


def _apart(results: Sequence[Result]) -> dict[str, list[list[str]]]:
    """By data set, the models with the same parts, where there are several such groups."""
    apart = {}
    finished = [run for run in results if run["error"] is None]
    for runs in grouped(finished, itemgetter("dataset")):
        of_seed = {run["model"]: run for run in runs if run["seed"] == runs[0]["seed"]}
        parts = grouped(of_seed.values(), lambda run: tuple(run["split"]))
        if len(parts) > 1:
            apart[runs[0]["dataset"]] = [[run["model"] for run in alike] for alike in parts]
    return apart


def _check_splits(finished: Sequence[Result]) -> None:
    sizes = {sum(run["sizes"]) for run in finished if run.get("sizes")}
    if len(sizes) > 1:
        raise InputError(
            f"{finished[0]['model']} on {finished[0]['dataset']}: expected the same data for all "
            f"seeds, got {' and '.join(map(str, sorted(sizes)))} interactions; remove the runs of "
            "the data as they were, and go on by --resume"
        )
    for first, *others in grouped(finished, itemgetter("seed")):
        for run in others:
            if run["split"] != first["split"]:
                raise InputError(
                    f"{run['model']} on {run['dataset']}, seed {run['seed']}: expected one split "
                    f"for all variants, got another for {run['variant']} than for "
                    f"{first['variant']}; give keys that change the data or the split to all runs, "
                    "as --key=value, and keep the data set's files as they are during a study"
                )


def _row(
    runs: Sequence[Result], base: Mapping[int, Result], epochs: Mapping[str, Any], baseline: str
) -> dict[str, Any]:
    """What the runs of a variant gave, beside the baseline's by seed."""
    own = [run for run in runs if run["error"] is None]
    is_baseline = runs[0]["variant"] == baseline
    row: dict[str, Any] = {
        **{key: runs[0][key] for key in ("model", "dataset", "variant")},
        "runs": len(own),
        "failed": sum(run["error"] not in (None, UNFINISHED) for run in runs),
        "test": None,
        "verdict": "baseline" if is_baseline else "nothing to compare",
    }
    if row["model"] in NON_GRADIENT:
        row["verdict"] = "reference"
    if not own:
        return row
    metric = own[0]["metric"]
    row |= {"metric": metric, "bigger": own[0]["valid_score_bigger"]}
    for kind in ("best_valid_result", "test_result", "seconds"):
        row[kind] = {key: _spread([run[kind][key] for run in own]) for key in own[0][kind]}
    row["epochs"] = _spread([run["epochs"] for run in own])
    if all(run.get("peak_memory") for run in own):
        row["peak_memory"] = _spread([run["peak_memory"] for run in own])
    if row["model"] not in NON_GRADIENT:
        row |= _ends([(run, epochs.get(run_name(run), ())) for run in own])
    pairs = [(run, base[run["seed"]]) for run in own if run["seed"] in base]
    if row["model"] in NON_GRADIENT:
        pairs = []  # what the baseline is for a variant of the method, it is not for a reference
    row["to_baseline"] = _to_baseline(pairs, epochs)
    if pairs and not is_baseline:
        ours, theirs = (
            [run["test_result"][metric] for run in side] for side in zip(*pairs, strict=True)
        )
        row["test"] = asdict(paired(ours, theirs, _ratio([run for run, _ in pairs])))
        if fmean(theirs):
            sign = 1 if row["bigger"] else -1
            row["gain"] = sign * 100 * row["test"]["difference"] / abs(fmean(theirs))
    return row


def _ends(runs: Sequence[tuple[Result, Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    """The epoch of the best score, and how many runs may not have reached theirs, by reason."""
    best, reasons = [], Counter[str]()
    for run, lines in runs:
        epoch = _best_epoch(run, lines)
        if epoch is not None:
            best.append(epoch)
        if epoch:
            scores = [(n, e["valid_score"]) for n, e in enumerate(lines, 1)]
            scored = [(n, score) for n, score in scores if score is not None]
            sign = 1 if run["valid_score_bigger"] else -1
            last = [sign * score for _, score in scored[-_PATIENCE:]]
            worse = sum(n > epoch for n, _ in scored)  # evaluations since
            if worse <= min(run.get("stopping_step", _PATIENCE), _PATIENCE):
                reasons["cut" if worse else "rising"] += 1
            elif rising(last):
                reasons["stopped"] += 1
    if 2 * reasons["stopped"] <= len(runs):  # one curve in a few that recovers from a dip is noise
        del reasons["stopped"]
    return {"best_epoch": _spread(best) if best else None, "unsettled": dict(reasons) or None}


def _best_epoch(run: Result, lines: Sequence[Mapping[str, Any]]) -> int | None:
    """The epoch of the model that is kept, the last of equal ones; 0 is the untrained model."""
    equal = [n for n, e in enumerate(lines, 1) if e["valid_score"] == run["best_valid_score"]]
    if equal:
        return equal[-1]
    return 0 if run.get("untrained") == run["best_valid_score"] else None


def _ratio(runs: Sequence[Result]) -> float | None:
    """Test interactions for each training interaction, by which splits of one data set overlap."""
    if len({tuple(run["split"]) for run in runs}) == 1:
        return 0.0  # one split for all seeds
    if not all(run.get("sizes") for run in runs):
        return None
    return fmean(run["sizes"][2] / run["sizes"][0] for run in runs)


def _judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one model and data set, their p-values corrected together."""
    tested = [row for row in rows if row["test"]]
    corrected = holm([row["test"]["p_value"] for row in tested])
    base = next((row for row in rows if row["verdict"] == "baseline"), {})
    for row, p_value in zip(tested, corrected, strict=True):
        row["test"]["p_holm"] = p_value
        row["verdict"] = _verdict(row, base)
    return rows


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}


def _to_baseline(
    pairs: Sequence[tuple[Result, Result]], epochs: Mapping[str, Any]
) -> dict[str, Any]:
    """Epochs and training seconds to the baseline's best validation score on the same seed."""
    reached, saved = [], []
    for own, base in pairs:
        score, bigger = base["best_valid_score"], base["valid_score_bigger"]
        lines, others = epochs[run_name(own)], epochs[run_name(base)]
        found = time_to_score(lines, score, bigger, own.get("untrained"))
        if found:
            reached.append(found)
            theirs = time_to_score(others, score, bigger, base.get("untrained"))
            if theirs and theirs[0]:  # no part of none can be saved
                times = seconds_to(own, lines, found[0]), seconds_to(base, others, theirs[0])
                saved.append((_saved(found[0], theirs[0]), _saved(*times)))
    summary: dict[str, Any] = {"pairs": len(pairs), "reached": len(reached)}
    if reached:
        counts, seconds = zip(*reached, strict=True)
        summary |= {"epochs": _spread(counts), "seconds": _spread(seconds)}
    if saved:
        counts, seconds = zip(*saved, strict=True)
        summary["saved_percent"] = {"epochs": _spread(counts), "seconds": _spread(seconds)}
    return summary


def _saved(own: float, base: float) -> float:
    return 100 * (1 - own / base)


def _verdict(row: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """What the test says, unless the baseline, or the variant, may have more to come."""
    verdict = _tested(row["test"], row["bigger"])
    if verdict in ("better", "no significant difference") and (reason := unsettled(base)):
        return "not judged: the baseline was {}; {}".format(*reason)
    if not verdict.startswith("no claim") and (reason := unsettled(row)):
        return "{}; it may be better still, as it was {}: {}".format(verdict, *reason)
    return verdict


def unsettled(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a variant may not be at its best, and what to do; None where it is."""
    return next(
        (text for key, text in _UNSETTLED.items() if (row.get("unsettled") or {}).get(key)), None
    )


def _tested(test: Mapping[str, Any], bigger: bool) -> str:
    if test["n"] < MIN_SEEDS:
        return f"no claim: paired seeds {test['n']}, needed {MIN_SEEDS}"
    if test["p_holm"] is None and test["low"] is None:
        return "no claim: earlier runs, without the sizes of the parts; run them anew"
    if test["p_holm"] is None or test["p_holm"] >= _LEVEL:
        return "no significant difference"
    return "better" if (test["difference"] > 0) == bigger else "worse"
