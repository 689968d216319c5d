"""A training epoch and a ranking beside stock, for models of several families.

``python -m benchmarks.families [MODEL DATA_SET ...]``: on a GPU where torch sees one, so that it is
also the check of a GPU: ``python -m benchmarks.families BPR gowalla LightGCN gowalla SASRec
ml-100k``.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

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
        ["model, data set", "what", "stock", "ours", "faster"],
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
        rows.append([f"{model}, {data_set}", work.__name__, *beside_stock(seconds)])
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


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
