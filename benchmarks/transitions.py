"""How well untrained item rows predict the next item: ``python -m benchmarks.transitions``.

A user is the sum of the rows of the last five items, each divided by its distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse

from benchmarks.harness import experiment, report
from recbole_sr.init.svd import factorize, normalized_graph
from recbole_sr.init.transitions import count_transitions, leading, transition_graph
from recbole_sr.models.initialize import histories

WIDTH, TOP, LAST, SEED = 64, 10, 5, 0
CORE = {"user_inter_num_interval": "[7,inf)", "item_inter_num_interval": "[7,inf)"}
DATA_SETS = {"amazon-beauty-5core": CORE, "ml-100k": {}}


def main() -> None:
    """Print the table."""
    columns = [dict(scores(name, settings)) for name, settings in DATA_SETS.items()]
    report(
        "Untrained item rows, validation NDCG@10",
        ["rows", *DATA_SETS],
        [[rows, *(f"{column[rows]:.4f}" for column in columns)] for rows in columns[0]],
    )


def scores(data_set: str, settings: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The score of each kind of rows."""
    made = experiment(
        "GRU4Rec",
        data_set,
        fast=True,
        **settings,
        load_col={"inter": ["user_id", "item_id", "timestamp"]},
    )
    training = made.train_data._dataset
    known, asked = (
        histories(data._dataset, made.model.sr_columns)
        for data in (made.train_data, made.valid_data)
    )
    for window in (5, 1, 3, 10):
        yield f"window {window}", ranked(rows(transition_graph(known, window), 0.5), asked)
    yield "the values themselves", ranked(rows(transition_graph(known, 5), 1.0), asked)
    counted = count_transitions(known, 5)
    degrees = np.asarray(counted.sum(1)).ravel().clip(1e-9)
    scale = scipy.sparse.diags(degrees**-0.25)
    yield "degrees to the power 1/4", ranked(rows(scale @ counted @ scale, 0.5), asked)
    yield "pointwise mutual information", ranked(rows(positive_information(counted), 0.5), asked)
    users, items = (training.inter_feat[field].numpy() - 1 for field in ("user_id", "item_id"))
    graph = normalized_graph(users, items, (training.user_num - 1, known.items), 0.25)
    factors = factorize(graph, WIDTH, SEED)
    yield "users by items", ranked(factors.item * factors.values, asked)


def positive_information(counted: Any) -> Any:
    """Positive pointwise mutual information of pairs."""
    found = counted.tocoo()
    total, degrees = found.data.sum(), np.asarray(counted.sum(1)).ravel()
    information = np.log(found.data * total / degrees[found.row] / degrees[found.col]).clip(0)
    return scipy.sparse.csr_matrix((information, (found.row, found.col)), found.shape)


def rows(graph: Any, power: float) -> Any:
    """Item rows ``(M, D)`` of a graph of items."""
    values, vectors = leading(graph, WIDTH, SEED)
    return vectors * values**power


def ranked(item: Any, asked: Any) -> float:
    """NDCG@10 of the next items of the validation part."""
    scored = np.zeros((len(asked.next), asked.items))
    for step, earlier in enumerate(asked.before.T[:LAST], 1):
        there = earlier >= 0
        scored[there] += item[earlier[there]] @ item.T / step
    target = scored[np.arange(len(asked.next)), asked.next]
    rank = (scored > target[:, None]).sum(1)
    return float(np.where(rank < TOP, 1 / np.log2(rank + 2.0), 0).mean())


if __name__ == "__main__":
    main()
