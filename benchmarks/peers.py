"""Outside references on the same splits, by the same metrics: implicit's ALS and BPR.

``pip install implicit``. Each is tuned over a grid on the first seed, by validation,
then run on every seed; the factors are ranked by RecBole's evaluation. ``SEEDS`` says how many.
``python -m benchmarks.peers ALS`` runs that one alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from itertools import product
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse
import torch

from benchmarks.harness import Run, data_sets, experiment, report, study_settings

WIDTH, FIRST_SEED = 64, 2020
ALS_GRID = {"alpha": [0.1, 1, 10, 40], "regularization": [0.01, 0.1, 1, 10]}
BPR_GRID = {"learning_rate": [0.001, 0.003, 0.01, 0.03], "regularization": [0.001, 0.01, 0.1]}

Settings = Mapping[str, Any]


def alternating(seed: int, settings: Settings) -> Any:
    """Weighted alternating least squares: Hu, Koren and Volinsky, ICDM 2008."""
    from implicit.als import AlternatingLeastSquares

    return AlternatingLeastSquares(WIDTH, random_state=seed, iterations=15, **settings)


def pairwise(seed: int, settings: Settings) -> Any:
    """Bayesian personalised ranking, with implicit's item bias: Rendle et al., UAI 2009."""
    from implicit.bpr import BayesianPersonalizedRanking

    return BayesianPersonalizedRanking(WIDTH, random_state=seed, iterations=100, **settings)


def training_matrix(run: Run) -> Any:
    """Training pairs, ``(users, items)``, by RecBole's ids."""
    data = run.train_data._dataset
    users, items = (data.inter_feat[field].numpy() for field in (data.uid_field, data.iid_field))
    ones = np.ones(len(users), dtype=np.float32)
    return scipy.sparse.csr_matrix((ones, (users, items)), (data.user_num, data.item_num))


def scores(run: Run, made: Any, settings: Settings) -> dict[str, Any]:
    """Train the peer on the run's split, and rank by its factors."""
    matrix = training_matrix(run)
    start = perf_counter()
    made.fit(matrix, show_progress=False)
    seconds = perf_counter() - start
    tables = run.model.user_embedding.weight, run.model.item_embedding.weight
    with torch.no_grad():
        for table, factors in zip(tables, (made.user_factors, made.item_factors), strict=True):
            table.copy_(torch.from_numpy(np.asarray(factors)))
    evaluate = run.trainer.evaluate
    return {
        "settings": settings,
        "seconds": seconds,
        "valid": dict(evaluate(run.valid_data, load_best_model=False)),
        "test": dict(evaluate(run.test_data, load_best_model=False)),
    }


def runs_of(
    name: str, make: Callable[[int, Settings], Any], grid: Mapping[str, list[Any]], width: int
) -> list[dict[str, Any]]:
    """The tuned peer on every seed."""
    shared = study_settings()
    count = int(os.environ.get("SEEDS", "5"))
    prepared = [
        experiment("BPR", name, True, **shared, embedding_size=width, seed=FIRST_SEED + offset)
        for offset in range(count)
    ]
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    tried = [scores(prepared[0], make(FIRST_SEED, point), point) for point in points]
    best = max(tried, key=lambda one: one["valid"]["ndcg@20"])
    others = enumerate(prepared[1:], start=FIRST_SEED + 1)
    return [best, *(scores(run, make(s, best["settings"]), best["settings"]) for s, run in others)]


def main() -> None:
    """Print the table."""
    peers = {
        "ALS": (alternating, ALS_GRID, WIDTH),
        "BPR": (pairwise, BPR_GRID, WIDTH + 1),  # its last factor is the item's bias
    }
    chosen = sys.argv[1:] or list(peers)
    rows = []
    for name in data_sets("ml-100k"):
        for peer in chosen:
            found = runs_of(name, *peers[peer])
            spread = [
                _spread([run[part][metric] for run in found])
                for part, metric in product(("valid", "test"), ("ndcg@20", "recall@20"))
            ]
            seconds = fmean(run["seconds"] for run in found)
            rows.append([name, f"implicit {peer}", found[0]["settings"], *spread, f"{seconds:.1f}"])
    report(
        f"Peers, d = {WIDTH}, mean and standard deviation over seeds",
        [
            "data set",
            "peer",
            "settings",
            "valid NDCG@20",
            "valid Recall@20",
            "test NDCG@20",
            "test Recall@20",
            "training s",
        ],
        rows,
    )


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
