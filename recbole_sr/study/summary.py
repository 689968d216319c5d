"""From finished runs to a table: means, spreads, time to the baseline's best, paired tests."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from tabulate import tabulate

from recbole_sr.study.statistics import Paired, holm, paired
from recbole_sr.study.trial import STOCK

__all__ = ["MIN_SEEDS", "best_at", "cells", "columns_of", "summarize", "to_csv", "to_markdown"]

MIN_SEEDS = 5
_LEVEL = 0.05
_METHOD = (
    "Every variant of a seed has the same split, initial random state and batches as the baseline;"
    " a seed stands for all three. Test: two-sided paired t-test on the test score, Holm-corrected"
    f" over the variants of one model and data set, level {_LEVEL}. Effect size: mean over standard"
    " deviation of the paired differences (Cohen's d_z). Plus-minus is the standard deviation over"
    " seeds, brackets a 95 % interval of the mean paired difference. Training seconds leave out"
    " evaluation, start-up, checkpoints and monitors."
)

Result = Mapping[str, Any]


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
        RuntimeError: two runs of one seed had different splits.

    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["model"], result["dataset"]), []).append(result)
    rows = []
    for group in groups.values():
        finished = [result for result in group if result["error"] is None]
        _check_splits(finished)
        rows += _rows(group, epochs, baseline)
    failed = [
        {key: result[key] for key in ("model", "dataset", "variant", "seed", "error")}
        for result in results
        if result["error"] is not None
    ]
    return {"baseline": baseline, "method": _METHOD, "rows": rows, "failed": failed}


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
    splits: dict[int, list[int]] = {}
    for result in finished:
        if splits.setdefault(result["seed"], result["split"]) != result["split"]:
            raise RuntimeError(
                f"{result['model']} on {result['dataset']}, seed {result['seed']}: "
                f"{result['variant']} was trained on another split than the runs before it"
            )


def _rows(
    group: Sequence[Result], epochs: Mapping[str, Any], baseline: str
) -> list[dict[str, Any]]:
    variants = list(dict.fromkeys(result["variant"] for result in group))
    runs = {
        variant: {
            result["seed"]: result
            for result in group
            if result["variant"] == variant and result["error"] is None
        }
        for variant in variants
    }
    rows = [_row(group, variant, baseline, runs, epochs) for variant in variants]
    corrected = holm([row["test"]["p_value"] if row["test"] else None for row in rows])
    for row, p_value in zip(rows, corrected, strict=True):
        if row["test"]:
            row["test"]["p_holm"] = p_value
            row["verdict"] = _verdict(row["test"], row["bigger"])
    return rows


def _row(
    group: Sequence[Result],
    variant: str,
    baseline: str,
    runs: Mapping[str, Mapping[int, Result]],
    epochs: Mapping[str, Any],
) -> dict[str, Any]:
    own, base = runs[variant], runs.get(baseline, {})
    row: dict[str, Any] = {
        "model": group[0]["model"],
        "dataset": group[0]["dataset"],
        "variant": variant,
        "runs": len(own),
        "failed": sum(r["variant"] == variant and r["error"] is not None for r in group),
        "test": None,
        "verdict": "baseline" if variant == baseline else "nothing to compare",
    }
    if not own:
        return row
    results = list(own.values())
    row |= {"metric": results[0]["metric"], "bigger": results[0]["valid_score_bigger"]}
    for kind in ("best_valid_result", "test_result", "seconds"):
        row[kind] = {
            key: _spread([result[kind][key] for result in results]) for key in results[0][kind]
        }
    row["epochs"] = _spread([result["epochs"] for result in results])
    pairs = [(own[seed], base[seed]) for seed in own if seed in base]
    row["to_baseline"] = _to_baseline(pairs, epochs)
    if variant != baseline and pairs:
        row["test"] = asdict(_test(pairs, row["metric"]))
    return row


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}


def _test(pairs: Sequence[tuple[Result, Result]], metric: str) -> Paired:
    scores = [[result["test_result"][metric] for result in pair] for pair in pairs]
    return paired([own for own, _ in scores], [base for _, base in scores])


def _to_baseline(
    pairs: Sequence[tuple[Result, Result]], epochs: Mapping[str, Any]
) -> dict[str, Any]:
    """Epochs and training seconds to the baseline's best validation score on the same seed."""
    reached = []
    for own, base in pairs:
        lines = epochs["{model}-{dataset}-{variant}-{seed}".format_map(own)]
        found = best_at(lines, base["best_valid_score"], base["valid_score_bigger"])
        if found:
            reached.append(found)
    summary: dict[str, Any] = {"pairs": len(pairs), "reached": len(reached)}
    if reached:
        counts, seconds = zip(*reached, strict=True)
        summary |= {"epochs": _spread(counts), "seconds": _spread(seconds)}
    return summary


def _verdict(test: Mapping[str, Any], bigger: bool) -> str:
    if test["n"] < MIN_SEEDS:
        return f"no claim: paired seeds {test['n']}, needed {MIN_SEEDS}"
    if test["p_holm"] is None or test["p_holm"] >= _LEVEL:
        return "no difference shown"
    return "better" if (test["difference"] > 0) == bigger else "worse"


def to_markdown(comparison: Mapping[str, Any]) -> str:
    """The comparison as Markdown tables, one for each model and data set."""
    parts = [f"# Comparison with {comparison['baseline']}", comparison["method"]]
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in comparison["rows"]:
        groups.setdefault((row["model"], row["dataset"]), []).append(row)
    for (model, dataset), rows in groups.items():
        metric = next((row["metric"] for row in rows if "metric" in row), "score")
        parts += [f"## {model} on {dataset}, {metric}", _table([cells(row) for row in rows])]
        others = [{"variant": row["variant"], **_all_metrics(row)} for row in rows if row["runs"]]
        if others:
            parts += ["Test scores:", _table(others)]
    if comparison["failed"]:
        parts += ["## Failed runs", _table(comparison["failed"])]
    return "\n\n".join(parts) + "\n"


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """One row of the comparison as text, by column."""
    texts = {"variant": row["variant"], "verdict": row["verdict"], "runs": str(row["runs"])}
    if row["failed"]:
        texts["runs"] += f", {row['failed']} failed"
    if row["runs"]:
        metric, to, time = row["metric"], row["to_baseline"], row["seconds"]
        enough = row["test"] and row["test"]["n"] >= MIN_SEEDS
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


def _all_metrics(row: Mapping[str, Any]) -> dict[str, str]:
    return {metric: _pm(spread) for metric, spread in row["test_result"].items()}


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = columns_of(rows)
    cells = [[str(row.get(column, "")).replace("|", "\\|") for column in columns] for row in rows]
    return tabulate(cells, columns, "github", disable_numparse=True)


def columns_of(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The columns of the fullest row: a variant that failed has few."""
    return list(max(rows, key=lambda row: len(list(row))))


def _pm(spread: Mapping[str, Any] | None, digits: int = 4) -> str:
    if not spread:
        return ""
    sd = "" if spread["sd"] is None else f" ± {spread['sd']:.{digits}f}"
    return f"{spread['mean']:.{digits}f}{sd}"


def _interval(test: Mapping[str, Any] | None) -> str:
    if not test:
        return ""
    if test["low"] is None:
        return f"{test['difference']:+.4f}"
    return f"{test['difference']:+.4f} [{test['low']:+.4f}, {test['high']:+.4f}]"


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def to_csv(comparison: Mapping[str, Any]) -> str:
    """One line for each model, data set and variant; every number of the comparison a column."""
    lines = [dict(_flat(row)) for row in comparison["rows"]]
    columns = list(dict.fromkeys(column for line in lines for column in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value
