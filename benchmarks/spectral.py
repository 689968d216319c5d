"""The factorisation of the spectral start, graph included."""

from __future__ import annotations

from benchmarks.harness import data_sets, experiment, interleaved, report
from recbole_sr.factorization import factorize, normalized_graph

RANK = 64


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("gowalla", "yelp2018"):
        training = experiment("BPR", name, True).train_data._dataset
        ids = [training.inter_feat[f].numpy() for f in (training.uid_field, training.iid_field)]
        shape = training.user_num, training.item_num

        def run(ids=ids, shape=shape) -> None:
            factorize(normalized_graph(*ids, shape), RANK, seed=2020)

        seconds = interleaved({"factors": run}, runs=3)["factors"]
        rows.append([name, *shape, len(ids[0]), f"{seconds:.2f}"])
    report(
        f"The factors of a spectral start, d = {RANK}, seconds (medians of 3)",
        ["data set", "users", "items", "training pairs", "seconds"],
        rows,
    )


if __name__ == "__main__":
    main()
