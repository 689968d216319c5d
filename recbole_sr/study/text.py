"""A comparison as text: for the screen, as Markdown and as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from textwrap import fill
from typing import Any

import pandas as pd
from tabulate import tabulate

from recbole_sr.models.registry import NON_GRADIENT
from recbole_sr.study.summary import MIN_SEEDS, MODEL_AND_DATASET, grouped, unsettled
from recbole_sr.study.trial import run_name

__all__ = ["brief", "cells", "headline", "sentences", "tables", "to_csv", "to_markdown", "to_text"]


def to_text(comparison: Mapping[str, Any]) -> str:
    """What the comparison came to, for a terminal of 100 columns."""
    parts = []
    for title, rows in _data_sets(comparison):
        narrow = tabulate(
            rows, "keys", "simple", disable_numparse=True, maxcolwidths=[14, 14, *[None] * 6]
        )
        parts += [title, narrow]
    ended = [*comparison["failed"], *comparison["unfinished"]]
    lines = [*sentences(comparison), *(f"{run_name(run)}: {run['error']}" for run in ended)]
    parts.append("\n".join(fill(line, 100, subsequent_indent="  ") for line in lines))
    return "\n\n".join(filter(None, parts))


def headline(comparison: Mapping[str, Any]) -> Iterator[str]:
    """What was compared with what, and by how much each variant ranks better, for each model."""
    for rows in grouped(comparison["rows"], MODEL_AND_DATASET):
        gains = [
            f"{row['variant']} {row['gain']:+.1f} % ({_head(row['verdict'])})"
            for row in rows
            if "gain" in row
        ]
        if gains:
            first = next(row for row in rows if "gain" in row)
            seeds = f"{first['runs']} {'seed' if first['runs'] == 1 else 'seeds'}"
            yield (
                f"{first['model']} on {first['dataset']}, {seeds}: test {first['metric']} against "
                f"{comparison['baseline']}: {', '.join(gains)}"
            )


def sentences(comparison: Mapping[str, Any]) -> Iterator[str]:
    """What was found of each variant, and what to beware of."""
    for row in comparison["rows"]:
        if row["runs"] and row["model"] not in NON_GRADIENT:
            yield from _said(row)
    for rows in grouped(comparison["rows"], itemgetter("dataset")):
        several = len({row["model"] for row in rows}) > 1
        if several and rows[0]["dataset"] not in comparison["apart"]:
            yield from _best(rows)
    for dataset, parts in comparison["apart"].items():
        groups = "; ".join(", ".join(models) for models in parts)
        yield (
            f"{dataset}: its parts are not the same for {groups}: compare scores within each group "
            "alone"
        )
    for kind in ("tuned", "left_out"):  # earlier comparisons lack them
        yield from comparison.get(kind, ())


def _said(row: Mapping[str, Any]) -> Iterator[str]:
    name = f"{row['model']} {row['variant']}"
    if row["verdict"] == "baseline":
        if reason := unsettled(row):
            yield "{}: {}; {}".format(name, *reason)
        return
    to, test, head = row["to_baseline"], row["test"] or {}, _head(row["verdict"])
    judged = head not in ("no claim", "not judged") and test.get("p_holm") is not None
    p_value = f" (p = {test['p_holm']:.4f})" if judged else ""
    said = (
        f"{name}: {head}{p_value}{row['verdict'].removeprefix(head)}. Reached the baseline's best "
    )
    said += f"validation score in {to['reached']} of {to['pairs']} runs"
    if saved := to.get("saved_percent"):
        kinds = [_fewer(saved[kind]["mean"], kind) for kind in ("epochs", "seconds")]
        said += f", with {' and '.join(kinds)}"
    yield said


def _head(verdict: str) -> str:
    return re.split("[:;]", verdict)[0]


def _best(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The model to choose, where all have a score by the same metric."""
    scored = [(row["best_valid_result"][row["metric"]]["mean"], row) for row in rows if row["runs"]]
    if len({row["metric"] for _, row in scored}) == 1:
        better = max if scored[0][1]["bigger"] else min
        score, row = better(scored, key=itemgetter(0))
        name = f"{row['model']} {row['variant']}"
        yield f"{row['dataset']}: best validation score {score:.4f} by {name}"


def _fewer(percent: float, kind: str) -> str:
    if abs(percent) < 0.5:
        return f"as many {kind}"
    return f"{abs(percent):.0f} % {'fewer' if percent >= 0 else 'more'} {kind}"


def _data_sets(comparison: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A title and the texts of all models and variants, for each data set."""
    for rows in grouped(comparison["rows"], itemgetter("dataset")):
        yield _title(rows), list(map(_line, rows))


def _title(rows: Sequence[Mapping[str, Any]]) -> str:
    """A data set, and by what its models are scored."""
    metrics = dict.fromkeys(row["metric"] for row in rows if "metric" in row)
    return f"{rows[0]['dataset']}, {', '.join(metrics) or 'score'}"


def _line(row: Mapping[str, Any]) -> dict[str, str]:
    memory = row.get("peak_memory")
    ran = bool(row["runs"])
    return {
        "model": row["model"],
        "variant": row["variant"],
        "test": _pm(row["test_result"][row["metric"]]) if ran else "",
        "gain %": f"{row['gain']:+.1f}" if "gain" in row else "",
        "seconds": f"{row['seconds']['total']['mean']:.0f}" if ran else "",
        "MiB": f"{memory['mean'] / 2**20:.0f}" if memory else "",
        "epochs to best": _pm(row.get("best_epoch"), 0).split(" ")[0],
        "verdict": _head(row["verdict"]).replace("no significant difference", "not significant"),
    }


def brief(comparison: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """For each data set a title and what a first look needs of all models and variants."""
    for rows in grouped(comparison["rows"], itemgetter("dataset")):
        several = len({row["model"] for row in rows}) > 1
        columns = ["model"] * several + ["variant", "test", "gain %", "verdict"]
        texts = []
        for row in rows:
            line = _line(row)
            texts.append(
                {column: line[column] for column in columns}
                | {"epochs": _pm(row.get("epochs"), 0), "seconds": line["seconds"]}
            )
        yield _title(rows), texts


def to_markdown(comparison: Mapping[str, Any]) -> str:
    """The comparison as Markdown: what it came to, then a table for each model and data set."""
    parts = [f"# Comparison with {comparison['baseline']}"]
    for title, lines in _data_sets(comparison):
        parts += [f"## {title}", _table(lines)]
    if said := list(sentences(comparison)):
        parts.append("\n".join(f"- {sentence}." for sentence in said))
    parts.append(comparison["method"])
    for title, rows in tables(comparison):
        parts += [f"## {title}", _table(map(cells, rows))]
        others = [
            {"variant": row["variant"]} | {key: _pm(x) for key, x in row["test_result"].items()}
            for row in rows
            if row["runs"]
        ]
        if others:
            parts += ["Test scores:", _table(others)]
    for title, kind in (("Failed runs", "failed"), ("Runs not finished", "unfinished")):
        if comparison[kind]:
            parts += [f"## {title}", _table(comparison[kind])]
    return "\n\n".join(parts) + "\n"


def tables(comparison: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A title and the rows of each model and data set."""
    for rows in grouped(comparison["rows"], MODEL_AND_DATASET):
        metric = next((row["metric"] for row in rows if "metric" in row), "score")
        yield f"{rows[0]['model']} on {rows[0]['dataset']}, {metric}", rows


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
            "reached baseline's best": f"{to['reached']} of {to['pairs']}" if to["pairs"] else "",
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


def to_csv(rows: list[dict[str, Any]]) -> str:
    """One line for each, every number a column."""
    lines = pd.json_normalize(rows).dropna(axis="columns", how="all")
    return lines.convert_dtypes().to_csv(index=False, lineterminator="\n")
