"""Seconds of the spectral initialisation: factorisation, graph included, and ALS iterations."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import RUNS, data_sets, experiment, interleaved, report
from recbole_sr.init.als import refine
from recbole_sr.init.svd import factorize, normalized_graph

RANK = 64
ITERATIONS = 2


def seconds(ids: list[Any], shape: tuple[int, int]) -> list[str]:
    """Of the factors, and of the ALS iterations after them."""
    graph = normalized_graph(*ids, shape)
    factors = factorize(graph, RANK, seed=2020)
    taken = interleaved(
        {
            "factors": lambda: factorize(normalized_graph(*ids, shape), RANK, seed=2020),
            "als": lambda: refine(factors, graph, ITERATIONS),
        }
    )
    return [f"{taken[part]:.2f}" for part in ("factors", "als")]


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("gowalla", "yelp2018"):
        training = experiment("BPR", name, True).train_data._dataset
        ids = [training.inter_feat[f].numpy() for f in (training.uid_field, training.iid_field)]
        shape = training.user_num, training.item_num
        rows.append([name, *shape, len(ids[0]), *seconds(ids, shape)])
    report(
        f"Seconds of a spectral initialisation, d = {RANK} (medians of {RUNS})",
        [
            "data set",
            "users",
            "items",
            "training pairs",
            "factors",
            f"{ITERATIONS} ALS iterations more",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
