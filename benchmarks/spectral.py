"""The factorisation of the spectral start, graph included, and the sweeps of least squares."""

from __future__ import annotations

from benchmarks.harness import RUNS, data_sets, experiment, interleaved, report
from recbole_sr.factorization import factorize, normalized_graph
from recbole_sr.least_squares import refine

RANK = 64
SWEEPS = 2


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("gowalla", "yelp2018"):
        training = experiment("BPR", name, True).train_data._dataset
        ids = [training.inter_feat[f].numpy() for f in (training.uid_field, training.iid_field)]
        graph = normalized_graph(*ids, (training.user_num, training.item_num))
        factors = factorize(graph, RANK, seed=2020)
        seconds = interleaved(
            {
                "factors": lambda ids=ids, graph=graph: factorize(
                    normalized_graph(*ids, graph.shape), RANK, seed=2020
                ),
                "sweeps": lambda graph=graph, factors=factors: refine(factors, graph, SWEEPS),
            }
        )
        times = [f"{seconds[part]:.2f}" for part in ("factors", "sweeps")]
        rows.append([name, *graph.shape, len(ids[0]), *times])
    report(
        f"What a spectral start takes, d = {RANK}, seconds (medians of {RUNS})",
        ["data set", "users", "items", "training pairs", "factors", f"{SWEEPS} sweeps more"],
        rows,
    )


if __name__ == "__main__":
    main()
