"""From finished runs to a table: means, spreads, time to the baseline's best, paired tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from statistics import fmean, stdev
from typing import Any, TypeVar

import pandas as pd
from tabulate import tabulate

from recbole_sr.errors import InputError
from recbole_sr.study.statistics import holm, paired
from recbole_sr.study.trial import STOCK, run_name

__all__ = [
    "FAILED",
    "best_at",
    "cells",
    "grouped",
    "summarize",
    "tables",
    "to_csv",
    "to_markdown",
]

FAILED = ("model", "dataset", "variant", "seed", "error")
_MIN_SEEDS = 5
_LEVEL = 0.05
_METHOD = (
    "Every variant of a seed has the same split, initial random state and batches as the baseline;"
    " a seed stands for all three. Test: two-sided paired t-test on the test score, corrected for"
    " splits that overlap where seeds differ in it (Nadeau and Bengio, 2003), and Holm-corrected"
    f" over the variants of one model and data set, level {_LEVEL}. Effect size: mean over standard"
    " deviation of the paired differences (Cohen's d_z). Plus-minus is the standard deviation over"
    " seeds, brackets a 95 % interval of the mean paired difference. Training seconds leave out"
    " evaluation, start-up, checkpoints and monitors."
)

Result = Mapping[str, Any]
T = TypeVar("T")
_MODEL_AND_DATASET = itemgetter("model", "dataset")


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
        and variant) and ``failed`` (model, dataset, variant, seed, error).

    Raises:
        InputError: two runs of one seed had different splits.

    """
    rows = []
    for group in grouped(results, _MODEL_AND_DATASET):
        finished = [result for result in group if result["error"] is None]
        _check_splits(finished)
        base = {run["seed"]: run for run in finished if run["variant"] == baseline}
        variants = grouped(group, itemgetter("variant"))
        rows += _judged([_row(runs, base, epochs, baseline) for runs in variants])
    failed = [
        {key: result[key] for key in FAILED} for result in results if result["error"] is not None
    ]
    return {"baseline": baseline, "method": _METHOD, "rows": rows, "failed": failed}


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


def best_at(
    epochs: Iterable[Mapping[str, Any]], score: float, bigger: bool
) -> tuple[int, float] | None:
    """When a run first reached a validation score: epochs and training seconds spent.

    Example:
        >>> lines = [{"valid_score": s, "train_seconds": 2.0} for s in (0.1, 0.3)]
        >>> best_at(lines, 0.2, bigger=True)
        (2, 4.0)

    """
    seconds = 0.0
    for count, epoch in enumerate(epochs, start=1):
        seconds += epoch["train_seconds"]
        found = epoch["valid_score"]
        if found is not None and (found >= score if bigger else found <= score):
            return count, seconds
    return None


def _check_splits(finished: Sequence[Result]) -> None:
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
        "failed": len(runs) - len(own),
        "test": None,
        "verdict": "baseline" if is_baseline else "nothing to compare",
    }
    if not own:
        return row
    metric = own[0]["metric"]
    row |= {"metric": metric, "bigger": own[0]["valid_score_bigger"]}
    for kind in ("best_valid_result", "test_result", "seconds"):
        row[kind] = {key: _spread([run[kind][key] for run in own]) for key in own[0][kind]}
    row["epochs"] = _spread([run["epochs"] for run in own])
    pairs = [(run, base[run["seed"]]) for run in own if run["seed"] in base]
    row["to_baseline"] = _to_baseline(pairs, epochs)
    if pairs and not is_baseline:
        ours, theirs = (
            [run["test_result"][metric] for run in side] for side in zip(*pairs, strict=True)
        )
        row["test"] = asdict(paired(ours, theirs, _ratio([run for run, _ in pairs])))
    return row


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
    for row, p_value in zip(tested, corrected, strict=True):
        row["test"]["p_holm"] = p_value
        row["verdict"] = _verdict(row["test"], row["bigger"])
    return rows


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}


def _to_baseline(
    pairs: Sequence[tuple[Result, Result]], epochs: Mapping[str, Any]
) -> dict[str, Any]:
    """Epochs and training seconds to the baseline's best validation score on the same seed."""
    reached = []
    for own, base in pairs:
        lines = epochs[run_name(own)]
        found = best_at(lines, base["best_valid_score"], base["valid_score_bigger"])
        if found:
            reached.append(found)
    summary: dict[str, Any] = {"pairs": len(pairs), "reached": len(reached)}
    if reached:
        counts, seconds = zip(*reached, strict=True)
        summary |= {"epochs": _spread(counts), "seconds": _spread(seconds)}
    return summary


def _verdict(test: Mapping[str, Any], bigger: bool) -> str:
    if test["n"] < _MIN_SEEDS:
        return f"no claim: paired seeds {test['n']}, needed {_MIN_SEEDS}"
    if test["p_holm"] is None and test["low"] is None:
        return "no claim: earlier runs, without the sizes of the parts; run them anew"
    if test["p_holm"] is None or test["p_holm"] >= _LEVEL:
        return "no significant difference"
    return "better" if (test["difference"] > 0) == bigger else "worse"


def to_markdown(comparison: Mapping[str, Any]) -> str:
    """The comparison as Markdown tables, one for each model and data set."""
    parts = [f"# Comparison with {comparison['baseline']}", comparison["method"]]
    for title, rows in tables(comparison):
        parts += [f"## {title}", _table(map(cells, rows))]
        others = [
            {"variant": row["variant"]} | {key: _pm(x) for key, x in row["test_result"].items()}
            for row in rows
            if row["runs"]
        ]
        if others:
            parts += ["Test scores:", _table(others)]
    if comparison["failed"]:
        parts += ["## Failed runs", _table(comparison["failed"])]
    return "\n\n".join(parts) + "\n"


def tables(comparison: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A title and the rows of each model and data set."""
    for rows in grouped(comparison["rows"], _MODEL_AND_DATASET):
        metric = next((row["metric"] for row in rows if "metric" in row), "score")
        yield f"{rows[0]['model']} on {rows[0]['dataset']}, {metric}", rows


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """One row of the comparison as text, by column."""
    texts = {"variant": row["variant"], "verdict": row["verdict"], "runs": str(row["runs"])}
    if row["failed"]:
        texts["runs"] += f", {row['failed']} failed"
    if row["runs"]:
        metric, to, time = row["metric"], row["to_baseline"], row["seconds"]
        enough = row["test"] and row["test"]["n"] >= _MIN_SEEDS
        test = row["test"] if enough else {}
        texts |= {
            "valid": _pm(row["best_valid_result"][metric]),
            "test": _pm(row["test_result"][metric]),
            "difference": _interval(row["test"]),
            "p (Holm)": _number(test.get("p_holm")),
            "d_z": _number(test.get("effect_size"), 2),
            "reached baseline's best": f"{to['reached']} of {to['pairs']}",
            "after epochs": _pm(to.get("epochs"), 1),
            "training s to it": _pm(to.get("seconds"), 1),
            "training s": _pm(time["training"], 1),
            "evaluation s": _pm(time["evaluation"], 1),
            "start-up s": _pm(time["start_up"], 1),
            "total s": _pm(time["total"], 1),
        }
    return texts


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    texts = [{key: str(text).replace("|", "\\|") for key, text in row.items()} for row in rows]
    return tabulate(texts, "keys", "github", disable_numparse=True)


def _pm(spread: Mapping[str, Any] | None, digits: int = 4) -> str:
    if not spread:
        return ""
    sd = "" if spread["sd"] is None else f" ± {spread['sd']:.{digits}f}"
    return f"{spread['mean']:.{digits}f}{sd}"


def _interval(test: Mapping[str, Any] | None) -> str:
    if not test:
        return ""
    interval = "" if test["low"] is None else f" [{test['low']:+.4f}, {test['high']:+.4f}]"
    return f"{test['difference']:+.4f}{interval}"


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def to_csv(comparison: Mapping[str, Any]) -> str:
    """One line for each model, data set and variant; every number of the comparison a column."""
    lines = pd.json_normalize(comparison["rows"]).dropna(axis="columns", how="all")
    return lines.convert_dtypes().to_csv(index=False, lineterminator="\n")
