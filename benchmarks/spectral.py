"""The factorisation of the spectral start, graph included, and the sweeps of least squares."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import RUNS, data_sets, experiment, interleaved, report
from recbole_sr.init.als import refine
from recbole_sr.init.svd import factorize, normalized_graph

RANK = 64
SWEEPS = 2


def seconds(ids: list[Any], shape: tuple[int, int]) -> list[str]:
    """Of the factors, and of the sweeps that begin from them."""
    graph = normalized_graph(*ids, shape)
    factors = factorize(graph, RANK, seed=2020)
    taken = interleaved(
        {
            "factors": lambda: factorize(normalized_graph(*ids, shape), RANK, seed=2020),
            "sweeps": lambda: refine(factors, graph, SWEEPS),
        }
    )
    return [f"{taken[part]:.2f}" for part in ("factors", "sweeps")]


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("gowalla", "yelp2018"):
        training = experiment("BPR", name, True).train_data._dataset
        ids = [training.inter_feat[f].numpy() for f in (training.uid_field, training.iid_field)]
        shape = training.user_num, training.item_num
        rows.append([name, *shape, len(ids[0]), *seconds(ids, shape)])
    report(
        f"What a spectral start takes, d = {RANK}, seconds (medians of {RUNS})",
        ["data set", "users", "items", "training pairs", "factors", f"{SWEEPS} sweeps more"],
        rows,
    )


if __name__ == "__main__":
    main()
