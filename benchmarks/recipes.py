"""What the method does for a model, beside stock RecBole: ``python -m benchmarks.recipes``.

A model trains on the data sets of its family, by stock RecBole and by each candidate, with each
learning rate on the first seed. The candidate and the rate that rank best on the validation part
then meet stock with its best rate on the other seeds. Each run is appended to a file as a line of
JSON as it ends, so that a second start goes on. The table is printed from that file.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from recbole.utils import ModelType, get_model

from benchmarks.harness import (
    append_record,
    core,
    epochs_to,
    gain,
    median_epochs,
    quiet,
    read_records,
    record_parser,
    recorded_run,
    report,
    scratch_folder,
    test_ratio,
)
from recbole_sr.config.config import Config
from recbole_sr.models.registry import SUPPORTED
from recbole_sr.training.experiment import prepare

RESULTS = Path(__file__).parents[1] / "results" / "recipes.jsonl"
STOCK = "stock"


def spectral(margin: float, untrained: bool = False) -> tuple[str, dict[str, Any]]:
    """The spectral initialisation, whatever a model's recipe says of it."""
    return "warm/spectral.yaml", {"sr_init_margin": margin, "sr_keep_untrained": untrained}


# What each candidate is set by: a property file, and keys, which a model's recipe may have set too.
CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    STOCK: ("off.yaml", {}),
    "warm phase": ("warm/stable_rank.yaml", {"sr_warm_regularizers": {"stable_rank": 0.03}}),
    "stable rank": ("off.yaml", {"sr_main_regularizers": {"stable_rank": 0.03}}),
    "spectral": spectral(2.0),
    "spectral, margin 1": spectral(1.0),
    "spectral, margin 0.5": spectral(0.5),
    "spectral, margin 0.1": spectral(0.1),
    "spectral, margin 0.5, or untrained": spectral(0.5, untrained=True),
    "transitions": ("warm/transitions.yaml", {}),
    "transitions, norm 2": ("warm/transitions.yaml", {"sr_init_norm": 2.0}),
}
PAIRS = {"load_col": {"inter": ["user_id", "item_id"]}}
RANKED = {"topk": [20], "metrics": ["NDCG"], "valid_metric": "NDCG@20"}
SEQUENCES = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "MAX_ITEM_LIST_LENGTH": 10,
    "epochs": 60,  # at which most still rise, stock's and ours
    "topk": [10],
    "metrics": ["NDCG"],
    "valid_metric": "NDCG@10",
}


CORE = core(8)
# Slow models are measured on a part of the data.
PARTS = {
    "ml-100k": (core(80), {"DGCF", "DMF", "FISM", "NAIS", "NNCF"}),
    "lastfm-lightgcn": (core(15), {"DGCF", "FISM", "NAIS", "NNCF"}),
}


class Family(NamedTuple):
    """Models that are measured alike: the settings by data set, and the candidates."""

    data_sets: dict[str, dict[str, Any]]
    candidates: tuple[str, ...]
    metric: str


FAMILIES = {
    ModelType.GENERAL: Family(
        {"ml-100k": {**PAIRS, **RANKED}, "lastfm-lightgcn": {**PAIRS, **RANKED}},
        ("spectral",),
        "ndcg@20",
    ),
    ModelType.KNOWLEDGE: Family({"ml-100k": RANKED}, ("spectral",), "ndcg@20"),
    ModelType.CONTEXT: Family({"ml-100k": {}}, ("spectral, margin 1",), "auc"),
    ModelType.SEQUENTIAL: Family(
        {
            "amazon-beauty-5core": {**SEQUENCES, **CORE},
            "amazon-sports-5core": {**SEQUENCES, **CORE, "epochs": 200},
        },
        ("transitions",),
        "ndcg@10",
    ),
}
EPOCHS, STOPPING_STEP = 300, 10  # RecBole's own


class Place(NamedTuple):
    """What stock and the candidates are compared on."""

    model: str
    data_set: str


class Run(NamedTuple):
    """One training."""

    model: str
    data_set: str
    candidate: str
    learning_rate: float
    seed: int


Records = dict[Run, dict[str, Any]]


def main() -> None:
    """Train what is missing of what is asked for, or print the table."""
    parser = record_parser("recipes", __doc__, RESULTS)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=list(SUPPORTED))
    parser.add_argument("--data_sets", nargs="+", help="of the family's; all by default")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, help="the family's else")
    parser.add_argument("--learning_rates", nargs="+", type=float, default=[0.001, 0.003])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    given = parser.parse_args()
    if given.table:
        table(read(given.output))
        return
    quiet()
    for model in given.models:
        family = family_of(model)
        for data_set in given.data_sets or family.data_sets:
            candidates = given.candidates or candidates_of(model)
            grid = candidates, given.learning_rates, given.seeds
            measure(Place(model, data_set), *grid, given.output)


def family_of(model: str) -> Family:
    """The model's family; slow models get a part of the data."""
    family = FAMILIES[get_model(model).type]
    data_sets = dict(family.data_sets)
    for name, (part, slow) in PARTS.items():
        if model in slow:
            data_sets[name] = {**data_sets[name], **part}
    return family._replace(data_sets=data_sets)


def candidates_of(model: str) -> tuple[str, ...]:
    """Those of the family, or of models with layers in place of tables."""
    if SUPPORTED[model].layer_path:
        return ("spectral, margin 0.5", "spectral")
    return family_of(model).candidates


def measure(
    place: Place, candidates: tuple[str, ...], rates: list[float], seeds: list[int], output: Path
) -> None:
    """Choose a candidate and the rates on the first seed, and train it and stock on all."""
    first, *others = seeds
    for candidate, rate in itertools.product((STOCK, *candidates), rates):
        add(Run(*place, candidate, rate, first), output)
    stock, best = chosen(read(output), place)
    for seed in others:
        for run in (stock, best):
            add(run._replace(seed=seed), output)


def chosen(records: Records, place: Place) -> tuple[Run, Run]:
    """Stock and the candidate that rank best on the validation part of the first seed."""
    here = [run for run in records if run[:2] == place]
    first = min(run.seed for run in here)
    stock, others = (
        [run for run in here if run.seed == first and (run.candidate == STOCK) is wanted]
        for wanted in (True, False)
    )
    best = (max(side, key=lambda run: records[run]["valid"]) for side in (stock, others))
    return next(best), next(best)


def add(run: Run, output: Path) -> None:
    """Train, and append the record, unless it is there."""
    if run in read(output):
        return
    record = {**run._asdict(), **train(run)}
    append_record(output, record)
    print(*run, record["valid"], record["test"], file=sys.stderr, flush=True)


def train(run: Run) -> dict[str, Any]:
    """Train once, and keep the scores, the epochs and the seconds."""
    family = family_of(run.model)
    file, keys = CANDIDATES[run.candidate]
    given = {
        **recorded_run(run.data_set),
        "epochs": EPOCHS,
        **family.data_sets[run.data_set],
        **keys,
        "learning_rate": run.learning_rate,
        "seed": run.seed,
        "stopping_step": STOPPING_STEP,
        "sr_monitor": False,
    }
    with scratch_folder():
        made = prepare(Config(run.model, run.data_set, [file], given))
        result = made.train(saved=True, verbose=True)
    epochs = result["sr"]["epochs"]
    return {
        "valid": result["best_valid_score"],
        "test": result["test_result"][family.metric],
        "initial": result["sr"]["initial_valid_score"],
        "best_epoch": result["sr"]["best_epoch"],
        "valid_scores": [epoch["valid_score"] for epoch in epochs],
        "train_seconds": round(sum(epoch["train_seconds"] for epoch in epochs), 2),
        "ratio": test_ratio(made.test_data, made.train_data),
    }


def read(output: Path) -> Records:
    """The runs that are there."""
    lines = read_records(output)
    return {Run(*(line.pop(name) for name in Run._fields)): line for line in lines}


def table(records: Records) -> None:
    """Print what each model came to on each data set."""
    report(
        "The best candidate of the first seed beside stock RecBole",
        [
            "model, data set",
            "candidate (learning rates: stock's, its own)",
            "stock's test score",
            "the candidate's (n)",
            "gain, p",
            "epochs to the best: stock, candidate",
            "epochs to the baseline's best score",
        ],
        list(rows(records)),
    )


def rows(records: Records) -> Iterator[list[str]]:
    """A row for each model and data set."""
    for place in dict.fromkeys(Place(*run[:2]) for run in records):
        if len({run.candidate for run in records if run[:2] == place}) < 2:
            continue  # begun
        runs = chosen(records, place)
        every = sorted({run.seed for run in records if run[:2] == place})
        seeds = [n for n in every if all(run._replace(seed=n) in records for run in runs)]
        stock, ours = ([records[run._replace(seed=seed)] for seed in seeds] for run in runs)
        rates = ", ".join(f"{run.learning_rate:g}" for run in runs)
        yield [", ".join(place), f"{runs[1].candidate} ({rates})", *_compared(stock, ours)]


def _compared(stock: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[str]:
    theirs, own = ([record["test"] for record in side] for side in (stock, ours))
    reached = [epochs_to(mine, its["valid"]) for its, mine in zip(stock, ours, strict=True)]
    best = [
        f"{statistics.median(run['best_epoch'] + 1 for run in side):g}" for side in (stock, ours)
    ]
    return [
        f"{statistics.mean(theirs):.4f}",
        f"{statistics.mean(own):.4f} ({len(own)})",
        gain(own, theirs, stock[0]["ratio"]),
        ", ".join(best),
        median_epochs(reached),
    ]


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
