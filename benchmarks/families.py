"""A training epoch and a ranking beside stock, for models of several families.

``python -m benchmarks.families [MODEL DATA_SET ...]``: on a GPU where torch sees one, so that it is
also the check of a GPU: ``python -m benchmarks.families BPR gowalla LightGCN gowalla SASRec
ml-100k``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any
from unittest.mock import patch

import torch
from recbole.utils import ModelType, get_model

from benchmarks.harness import Run, beside_stock, experiment, report, train, turns

# From KGAT on importing the model switches anomaly detection on, for stock models behind it too.
DEFAULT = ("MultiVAE", "NeuMF", "DeepFM", "KGAT", "GRU4Rec", "SASRec")
# The columns that a family reads, beside users and items.
COLUMNS = {"SASRec": ["timestamp"], "GRU4Rec": ["timestamp"], "DeepFM": ["rating"]}
GRAPH = {"kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
SEQUENTIAL: dict[str, Any] = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"},
    "train_neg_sample_args": None,
    # RecBole's 50 items of a history would take minutes an epoch on two cores.
    "MAX_ITEM_LIST_LENGTH": 10,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "SASRec": SEQUENTIAL,
    "GRU4Rec": SEQUENTIAL,
    "MultiVAE": {"train_neg_sample_args": None},
}


def main() -> None:
    """Print the table."""
    given = sys.argv[1:] or [text for name in DEFAULT for text in (name, "ml-100k")]
    pairs = list(zip(given[::2], given[1::2], strict=True))
    rows = [row for model, data_set in pairs for row in measured(model, data_set)]
    where = "a GPU" if torch.cuda.is_available() else "the CPU"
    report(
        f"An epoch and a ranking of the validation part on {where}, seconds, medians of 5 in turns",
        ["model, data set", "what", "stock", "ours", "faster", "of ours the model's scoring"],
        rows,
    )


def measured(model: str, data_set: str) -> list[list[str]]:
    """Two rows of the table."""
    runs = {
        way: experiment(model, data_set, way == "ours", **settings_of(model))
        for way in ("stock", "ours")
    }
    rows = []
    for work in (epoch, ranking):
        seconds = turns({way: partial(work, run) for way, run in runs.items()})
        rows.append([f"{model}, {data_set}", work.__name__, *beside_stock(seconds), ""])
    rows[-1][-1] = f"{scoring(runs['ours']):.0%}"
    return rows


def settings_of(model: str) -> dict[str, Any]:
    """The columns that a model reads, and what its family needs."""
    columns = {"inter": ["user_id", "item_id", *COLUMNS.get(model, [])]}
    if get_model(model).type == ModelType.KNOWLEDGE:
        columns |= GRAPH
    return {"load_col": columns, **SETTINGS.get(model, {})}


def epoch(run: Run) -> None:
    """Train for one, to its end also on a GPU."""
    train(run)
    _wait()


def ranking(run: Run) -> None:
    """Rank the validation part."""
    run.trainer.evaluate(run.valid_data, load_best_model=False)
    _wait()


def scoring(run: Run) -> float:
    """The part of a ranking that the model's own scoring takes, in [0, 1]."""
    spent = 0.0

    def timed(predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(interaction: Any) -> Any:
            nonlocal spent
            start = perf_counter()
            try:
                return predict(interaction)
            finally:
                _wait()
                spent += perf_counter() - start

        return call

    scorers = {name: timed(getattr(run.model, name)) for name in ("predict", "full_sort_predict")}
    with patch.multiple(run.model, **scorers):
        start = perf_counter()
        ranking(run)
        return spent / (perf_counter() - start)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
