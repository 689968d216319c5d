"""Outside references on the same splits, by the same metrics: implicit and LensKit.

``pip install implicit lenskit 'pyarrow<26'`` (26 wants NumPy 2). Each is tuned over a grid on the
first seed, by validation, then run on every seed; the factors are ranked by RecBole's evaluation.
``SEEDS`` says how many. ``python -m benchmarks.peers "LensKit ALS"`` runs that one alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from itertools import product
from statistics import fmean, stdev
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.harness import Run, data_sets, experiment, report, study_settings
from recbole_sr.init.svd import normalized_graph

WIDTH, FIRST_SEED, SWEEPS = 64, 2020, 15

Settings = Mapping[str, Any]
Factors = tuple[Any, Any]  # of users and items, a row for each of RecBole's ids


def implicit_als(pairs: Any, seed: int, settings: Settings) -> Factors:
    """Weighted alternating least squares by conjugate gradients: Hu et al., ICDM 2008."""
    from implicit.als import AlternatingLeastSquares

    made = AlternatingLeastSquares(WIDTH, random_state=seed, iterations=SWEEPS, **settings)
    made.fit(pairs, show_progress=False)
    return made.user_factors, made.item_factors


def implicit_bpr(pairs: Any, seed: int, settings: Settings) -> Factors:
    """Bayesian personalised ranking, with implicit's item bias: Rendle et al., UAI 2009."""
    from implicit.bpr import BayesianPersonalizedRanking

    made = BayesianPersonalizedRanking(WIDTH, random_state=seed, iterations=100, **settings)
    made.fit(pairs, show_progress=False)
    return made.user_factors, made.item_factors


def lenskit_als(pairs: Any, seed: int, settings: Settings) -> Factors:
    """Weighted alternating least squares by Cholesky factorisation: Hu et al., ICDM 2008."""
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    users, items = pairs.nonzero()
    data = from_interactions_df(pd.DataFrame({"user_id": users, "item_id": items}))
    made = ImplicitMFScorer(embedding_size=WIDTH, epochs=SWEEPS, **settings)
    made.train(data, TrainingOptions(rng=seed))
    count_users, count_items = pairs.shape
    return (
        _placed(count_users, data.users.ids(), made.user_embeddings),
        _placed(count_items, data.items.ids(), made.item_embeddings),
    )


def _placed(total: int, ids: Any, rows: Any) -> Any:
    """Rows at their ids, zeros where an id has no training data."""
    table = np.zeros((total, WIDTH), np.float32)
    table[ids] = rows
    return table


class Peer(NamedTuple):
    """How a peer is fitted, what is tuned, and the width of the tables that it fills."""

    fit: Callable[[Any, int, Settings], Factors]
    grid: Mapping[str, list[float]]
    width: int = WIDTH


WEIGHTS, PENALTIES = [1.0, 10.0, 40.0, 100.0], [0.01, 0.1, 1.0, 10.0, 100.0]
PEERS = {
    "implicit ALS": Peer(implicit_als, {"alpha": WEIGHTS, "regularization": PENALTIES}),
    "LensKit ALS": Peer(lenskit_als, {"weight": WEIGHTS, "regularization": PENALTIES}),
    "implicit BPR": Peer(
        implicit_bpr,
        {"learning_rate": [0.001, 0.003, 0.01, 0.03], "regularization": [0.001, 0.01, 0.1]},
        WIDTH + 1,  # its last factor is the item's bias
    ),
}


def training_matrix(run: Run) -> Any:
    """Training pairs, ``(users, items)``, by RecBole's ids."""
    data = run.train_data._dataset
    users, items = (data.inter_feat[field].numpy() for field in (data.uid_field, data.iid_field))
    return normalized_graph(users, items, (data.user_num, data.item_num), power=0)


def scores(run: Run, peer: Peer, seed: int, settings: Settings) -> dict[str, Any]:
    """Train the peer on the run's split, and rank by its factors."""
    pairs = training_matrix(run)
    start = perf_counter()
    found = peer.fit(pairs, seed, settings)
    seconds = perf_counter() - start
    tables = run.model.user_embedding.weight, run.model.item_embedding.weight
    with torch.no_grad():
        for table, factors in zip(tables, found, strict=True):
            table.copy_(torch.from_numpy(np.asarray(factors)))
    evaluate = run.trainer.evaluate
    return {
        "settings": settings,
        "seconds": seconds,
        "valid": dict(evaluate(run.valid_data, load_best_model=False)),
        "test": dict(evaluate(run.test_data, load_best_model=False)),
    }


def runs_of(name: str, peer: Peer) -> list[dict[str, Any]]:
    """The tuned peer on every seed."""
    shared = study_settings()
    seeds = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("SEEDS", "5")))
    prepared = {
        seed: experiment("BPR", name, True, **shared, embedding_size=peer.width, seed=seed)
        for seed in seeds
    }
    points = [dict(zip(peer.grid, point, strict=True)) for point in product(*peer.grid.values())]
    tried = [scores(prepared[FIRST_SEED], peer, FIRST_SEED, point) for point in points]
    best = max(tried, key=lambda one: one["valid"]["ndcg@20"])
    return [best, *(scores(prepared[seed], peer, seed, best["settings"]) for seed in seeds[1:])]


def main() -> None:
    """Print the table."""
    chosen = sys.argv[1:] or list(PEERS)
    rows = []
    for name in data_sets("ml-100k"):
        for peer in chosen:
            found = runs_of(name, PEERS[peer])
            spread = [
                _spread([run[part][metric] for run in found])
                for part, metric in product(("valid", "test"), ("ndcg@20", "recall@20"))
            ]
            seconds = fmean(run["seconds"] for run in found)
            rows.append([name, peer, found[0]["settings"], *spread, f"{seconds:.1f}"])
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
