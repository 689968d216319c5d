"""One product of LightGCN's adjacency with its tables, three ways, where the model computes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import data_sets, experiment, interleaved, report

PRODUCTS = 30


def main() -> None:
    """Print the table."""
    rows = []
    for name in data_sets("gowalla"):
        model = experiment("LightGCN", name, True).model
        adjacency = model.norm_adj_matrix
        tables = torch.cat([model.user_embedding.weight, model.item_embedding.weight]).detach()
        compressed = adjacency.csr(torch.float32)
        coordinates = compressed.to_sparse_coo().coalesce()
        ways = {
            "embedding_bag": lambda a=adjacency, x=tables: a.times(x),
            "compressed rows": lambda a=compressed, x=tables: a @ x,
            "coordinates, as RecBole": lambda a=coordinates, x=tables: torch.sparse.mm(a, x),
        }
        seconds = interleaved({way: lambda f=multiply: _many(f) for way, multiply in ways.items()})
        for way, multiply in ways.items():
            same = "yes" if torch.equal(multiply(), multiply()) else "no"
            rows.append([name, way, f"{seconds[way] / PRODUCTS * 1e3:.2f}", same])
    report(
        f"Adjacency times tables (d = 64), mean of {PRODUCTS}, on {tables.device}",
        ["data set", "by", "ms", "same bits twice"],
        rows,
    )


def _many(multiply: Callable[[], Tensor]) -> Tensor:
    """So many products, all of them done when it returns."""
    for _ in range(PRODUCTS):
        product = multiply()
    product.sum().item()  # waits for a GPU
    return product


if __name__ == "__main__":
    main()
