"""Closed forms and other packages beside ours, on the same splits, by the same metrics.

``pip install implicit lenskit 'pyarrow<26'`` (26 wants NumPy 2); RecBole's own models need nothing.
Each contestant is tuned over a grid on the first seed, by validation, and run with the others; all
are ranked by RecBole's evaluation. Each run is appended to a file as a line of JSON as it ends, so
that a second start goes on. ``python -m benchmarks.peers "LensKit ALS"`` runs that one alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from recbole.utils import get_model

from benchmarks.harness import (
    Run,
    append_record,
    experiment,
    gain,
    quiet,
    read_records,
    record_parser,
    recorded_run,
    report,
    scratch_folder,
    spread,
    study_settings,
    test_ratio,
)
from recbole_sr.config.config import Config
from recbole_sr.init.svd import normalized_graph
from recbole_sr.training.experiment import prepare

RESULTS = Path(__file__).parents[1] / "results" / "peers.jsonl"
ALS_ITERATIONS, BPR_EPOCHS = 15, 100
OURS = ("BPR's default", "DirectAU", "DirectAU and popularity")

Settings = Mapping[str, Any]
Factors = tuple[Any, Any]  # of users and items, a row for each of RecBole's ids
Scores = dict[str, Any]


def implicit_als(pairs: Any, seed: int, width: int, settings: Settings) -> Factors:
    """Weighted alternating least squares by conjugate gradients: Hu et al., ICDM 2008."""
    from implicit.als import AlternatingLeastSquares

    made = AlternatingLeastSquares(width, random_state=seed, iterations=ALS_ITERATIONS, **settings)
    made.fit(pairs, show_progress=False)
    return made.user_factors, made.item_factors


def implicit_bpr(pairs: Any, seed: int, width: int, settings: Settings) -> Factors:
    """Bayesian personalised ranking: Rendle et al., UAI 2009; the last factor is an item's bias."""
    from implicit.bpr import BayesianPersonalizedRanking

    made = BayesianPersonalizedRanking(
        width - 1, random_state=seed, iterations=BPR_EPOCHS, **settings
    )
    made.fit(pairs, show_progress=False)
    return made.user_factors, made.item_factors


def lenskit_als(pairs: Any, seed: int, width: int, settings: Settings) -> Factors:
    """Weighted alternating least squares by Cholesky factorisation: Hu et al., ICDM 2008."""
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    users, items = pairs.nonzero()
    data = from_interactions_df(pd.DataFrame({"user_id": users, "item_id": items}))
    made = ImplicitMFScorer(embedding_size=width, epochs=ALS_ITERATIONS, **settings)
    made.train(data, TrainingOptions(rng=seed))

    def placed(total: int, ids: Any, rows: Any) -> Any:
        """Rows at their ids, zeros where an id has no training data."""
        table = np.zeros((total, width), np.float32)
        table[ids] = rows
        return table

    count_users, count_items = pairs.shape
    return (
        placed(count_users, data.users.ids(), made.user_embeddings),
        placed(count_items, data.items.ids(), made.item_embeddings),
    )


def by_factors(
    fit: Callable[..., Factors], width: int, data_set: str, seed: int, settings: Settings
) -> Scores:
    """Fit factors to the split, and rank by them."""
    run = split(data_set, seed, embedding_size=width)
    start = perf_counter()
    found = fit(training_matrix(run), seed, width, settings)
    seconds = perf_counter() - start
    tables = run.model.user_embedding.weight, run.model.item_embedding.weight
    with torch.no_grad():
        for table, factors in zip(tables, found, strict=True):
            table.copy_(torch.from_numpy(np.asarray(factors)))
    return ranked(run, seconds)


def by_recbole(name: str, data_set: str, seed: int, settings: Settings) -> Scores:
    """Make a model of RecBole that learns without gradients from the split, and rank by it."""
    run = split(data_set, seed)
    for key, value in settings.items():
        run.config[key] = value
    start = perf_counter()
    run.trainer.model = get_model(name)(run.config, run.train_data._dataset)
    return ranked(run, perf_counter() - start)


def by_training(files: list[str], data_set: str, seed: int, settings: Settings) -> Scores:
    """Train BPR with its default recipe, or with property files."""
    given = {
        **recorded_run(data_set),
        **{key: value for key, value in study_settings().items() if not key.startswith("sr_")},
        **settings,
        "seed": seed,
        "sr_monitor": False,
    }
    with scratch_folder():
        made = prepare(Config("BPR", data_set, files, given))
        result = made.train(saved=True, verbose=True)
    return {
        "valid": result["best_valid_result"],
        "test": result["test_result"],
        "seconds": sum(epoch["train_seconds"] for epoch in result["sr"]["epochs"]),
        "ratio": test_ratio(made.test_data, made.train_data),
    }


def split(data_set: str, seed: int, **settings: Any) -> Run:
    """The data of a seed, with the model whose tables hold factors."""
    settings = {**study_settings(), **settings, "metric_decimal_place": 6}
    return experiment("BPR", data_set, True, **settings, seed=seed)


def training_matrix(run: Run) -> Any:
    """Training pairs, ``(users, items)``, by RecBole's ids."""
    data = run.train_data._dataset
    users, items = (data.inter_feat[field].numpy() for field in (data.uid_field, data.iid_field))
    return normalized_graph(users, items, (data.user_num, data.item_num), power=0)


def ranked(run: Run, seconds: float) -> Scores:
    """The scores of what a run's trainer has as its model."""
    evaluate = partial(run.trainer.evaluate, load_best_model=False)
    return {
        "valid": dict(evaluate(run.valid_data)),
        "test": dict(evaluate(run.test_data)),
        "seconds": seconds,
        "ratio": test_ratio(run.test_data, run.train_data),
    }


class Contestant(NamedTuple):
    """How a contestant is scored, and what is tuned."""

    scores: Callable[[str, int, Settings], Scores]
    grid: Mapping[str, list[Any]]


WEIGHTS, PENALTIES = [1.0, 10.0, 40.0, 100.0], [0.01, 0.1, 1.0, 10.0, 100.0]
IMPLICIT = {"alpha": WEIGHTS, "regularization": PENALTIES}
DIRECTAU = {
    "embedding_size": [64, 256],
    "learning_rate": [0.003, 0.001],
    "sr_init_margin": [0.1],
    "sr_uniformity_rows": [1024],
}
SLIM = {"positive_only": [True], "hide_item": [True]}
CONTESTANTS = {
    "BPR's default": Contestant(
        partial(by_training, []),
        {"embedding_size": [64, 128, 256], "learning_rate": [0.003, 0.001, 0.0003]},
    ),
    "DirectAU": Contestant(partial(by_training, ["loss/directau.yaml"]), DIRECTAU),
    "DirectAU and popularity": Contestant(
        partial(by_training, ["loss/directau.yaml"]), {**DIRECTAU, "sr_popularity": [0.1]}
    ),
    "EASE": Contestant(
        partial(by_recbole, "EASE"), {"reg_weight": [10.0, 20.0, 50.0, 100.0, 250.0, 500.0, 1000.0]}
    ),
    "ItemKNN": Contestant(
        partial(by_recbole, "ItemKNN"),
        {"k": [20, 50, 100, 200, 400], "shrink": [0.0, 10.0, 100.0], "knn_method": ["item"]},
    ),
    "SLIMElastic": Contestant(
        partial(by_recbole, "SLIMElastic"),
        {"alpha": [0.05, 0.1, 0.2], "l1_ratio": [0.005, 0.02, 0.1], **SLIM},
    ),
    "implicit ALS": Contestant(partial(by_factors, implicit_als, 64), IMPLICIT),
    "implicit ALS, 256 wide": Contestant(partial(by_factors, implicit_als, 256), IMPLICIT),
    "LensKit ALS": Contestant(
        partial(by_factors, lenskit_als, 64), {"weight": WEIGHTS, "regularization": PENALTIES}
    ),
    "implicit BPR": Contestant(
        partial(by_factors, implicit_bpr, 65),
        {"learning_rate": [0.001, 0.003, 0.01, 0.03], "regularization": [0.001, 0.01, 0.1]},
    ),
}
DATA_SETS = ("ml-100k", "lastfm-lightgcn", "amazon-beauty-5core", "gowalla", "yelp2018")


def main() -> None:
    """Run what is missing of what is asked for, or print the table."""
    parser = record_parser("peers", __doc__, RESULTS)
    parser.add_argument("contestants", nargs="*", metavar="NAME", default=list(CONTESTANTS))
    parser.add_argument("--data_sets", nargs="+", default=DATA_SETS, choices=DATA_SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(2020, 2025)))
    given = parser.parse_args()
    if given.table:
        table(read_records(given.output))
        return
    quiet()
    for data_set, name in product(given.data_sets, given.contestants):
        first, *others = sorted(given.seeds)
        grid = CONTESTANTS[name].grid
        for point in product(*grid.values()):
            add(given.output, data_set, name, first, dict(zip(grid, point, strict=True)))
        best = chosen(read_records(given.output), data_set, name)["settings"]
        for seed in others:
            add(given.output, data_set, name, seed, best)


def add(output: Path, data_set: str, name: str, seed: int, settings: Settings) -> None:
    """Run, and append the record, unless it is there."""
    run = {"data_set": data_set, "contestant": name, "seed": seed, "settings": settings}
    if any(run.items() <= record.items() for record in read_records(output)):
        return
    found = CONTESTANTS[name].scores(data_set, seed, settings)
    append_record(output, {**run, **found})
    print(*run.values(), found["valid"], found["test"], file=sys.stderr, flush=True)


def chosen(records: list[Scores], data_set: str, name: str) -> Scores:
    """The run of the first seed that ranks best on its validation part."""
    here = [one for one in records if (one["data_set"], one["contestant"]) == (data_set, name)]
    first = min(one["seed"] for one in here)  # as `main` sorts them
    return max(
        (one for one in here if one["seed"] == first), key=lambda one: one["valid"]["ndcg@20"]
    )


def table(records: list[Scores]) -> None:
    """Print what each contestant came to on each data set."""
    report(
        "Closed forms, other packages and ours, each tuned",
        [
            "data set",
            "contestant",
            "settings",
            "valid NDCG@20",
            "test NDCG@20 (n)",
            "the best of ours beside it, p",
            "training s",
        ],
        list(rows(records)),
    )


def rows(records: list[Scores]) -> Iterator[list[str]]:
    """A row for each contestant, with how far the best of ours is above it."""
    tried = {(one["data_set"], one["contestant"]) for one in records}
    bests = {data_set: best_of_ours(records, data_set) for data_set in DATA_SETS}
    for data_set, name in product(DATA_SETS, CONTESTANTS):
        if (data_set, name) not in tried:
            continue
        found = of_seeds(records, data_set, name)
        valid, test = (
            [one[part]["ndcg@20"] for one in found.values()] for part in ("valid", "test")
        )
        settings = next(iter(found.values()))["settings"]
        tuned = {key for key, values in CONTESTANTS[name].grid.items() if len(values) > 1}
        yield [
            data_set,
            name,
            ", ".join(f"{key} {value:g}" for key, value in settings.items() if key in tuned),
            spread(valid),
            f"{spread(test)} ({len(test)})",
            _beside(bests[data_set], found) if found != bests[data_set] else "",
            f"{fmean(one['seconds'] for one in found.values()):.1f}",
        ]


def best_of_ours(records: list[Scores], data_set: str) -> dict[int, Scores]:
    """The runs of that of ours which ranks best on the first seed's validation part, by seed."""
    here = {one["contestant"] for one in records if one["data_set"] == data_set}
    runs = {own: chosen(records, data_set, own) for own in OURS if own in here}
    best = max(runs, key=lambda own: runs[own]["valid"]["ndcg@20"], default=None)
    return of_seeds(records, data_set, best) if best else {}


def of_seeds(records: list[Scores], data_set: str, name: str) -> dict[int, Scores]:
    """The runs of a contestant with the settings that were chosen, by seed."""
    best = chosen(records, data_set, name)["settings"]
    run = {"data_set": data_set, "contestant": name, "settings": best}
    return {one["seed"]: one for one in records if run.items() <= one.items()}


def _beside(ours: dict[int, Scores], theirs: dict[int, Scores]) -> str:
    seeds = [seed for seed in theirs if seed in ours]
    if not seeds:
        return ""
    mine, its = ([side[seed]["test"]["ndcg@20"] for seed in seeds] for side in (ours, theirs))
    return gain(mine, its, theirs[seeds[0]]["ratio"])


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
