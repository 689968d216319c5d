"""What the stable-rank regulariser costs: on top of a stock BPR step, and its kernel alone."""

from __future__ import annotations

from functools import partial
from itertools import islice, product
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.harness import data_sets, experiment, ratio, report, train, turns
from recbole_sr.objectives.regularizers import negative_stable_rank

STEPS = 100
PLAIN, EVERY = 0, (1, 4)  # not regularised, and which batches are


def by_singular_values(x: Tensor) -> Tensor:
    """The published form: norms of the normalised rows, the spectral one by decomposition."""
    x = normalize(x)
    norm = torch.linalg.matrix_norm
    return -(norm(x, "fro").square() / norm(x, 2).square()) / x.shape[1]


def _warm(every: int) -> dict[str, Any]:
    return {"sr_warm_epochs": 10**6, "sr_regularize_every": every} if every else {}


def on_top_of_a_step() -> None:
    """Steps on the same batches, with and without the regulariser, stock and ours."""
    rows = []
    for name in data_sets("gowalla"):
        ways = {
            (fast, every): experiment("BPR", name, fast, **_warm(every))
            for fast in (False, True)
            for every in (PLAIN, *EVERY)
        }
        batches = list(islice(iter(ways[True, PLAIN].train_data), STEPS))
        seconds = turns({way: partial(train, run, batches) for way, run in ways.items()})
        for fast, every in product((False, True), EVERY):
            plain, regularised = seconds[fast, PLAIN], seconds[fast, every]
            more = [one - other for one, other in zip(regularised, plain, strict=True)]
            rows.append(
                [
                    name,
                    "ours" if fast else "stock",
                    f"{every}",
                    *(f"{median(each) / STEPS * 1e3:.2f}" for each in (plain, regularised, more)),
                    ratio(more, seconds[False, PLAIN], digits=2),
                ]
            )
    report(
        "Stable rank of both tables on top of a BPR step without loading (batch 2048, d = 64), ms",
        ["data set", "step", "every", "plain", "regularised", "more", "of a stock step"],
        rows,
    )


def kernel() -> None:
    """Forward and backward on 7,000 rows."""
    x = torch.randn(7000, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def often(function):
        def run() -> None:
            for _ in range(STEPS):
                x.grad = None
                function(x).backward()

        return run

    forms = {"singular values": by_singular_values, "ours": negative_stable_rank}
    theirs, ours = turns({name: often(form) for name, form in forms.items()}).values()
    taken = [f"{median(each) / STEPS * 1e3:.2f}" for each in (theirs, ours)]
    report(
        "The kernel, forward and backward (n = 7,000, d = 64), ms",
        ["by singular values", "ours", "faster"],
        [[*taken, ratio(theirs, ours)]],
    )


if __name__ == "__main__":
    on_top_of_a_step()
    kernel()
