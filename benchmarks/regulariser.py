"""What the stable-rank regulariser costs: on top of a stock BPR step, and its kernel alone."""

from __future__ import annotations

from functools import partial
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.harness import data_sets, experiment, interleaved, report, train
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
        seconds = interleaved({way: partial(train, run, batches) for way, run in ways.items()})
        seconds = {way: value / STEPS * 1e3 for way, value in seconds.items()}
        stock = seconds[False, PLAIN]
        for fast, every in product((False, True), EVERY):
            plain, regularised = seconds[fast, PLAIN], seconds[fast, every]
            rows.append(
                [
                    name,
                    "ours" if fast else "stock",
                    f"{every}",
                    f"{plain:.2f}",
                    f"{regularised:.2f}",
                    f"{regularised - plain:.2f}",
                    f"{(regularised - plain) / stock:.1%}",
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
    seconds = interleaved({name: often(form) for name, form in forms.items()})
    theirs, ours = (seconds[name] / STEPS * 1e3 for name in forms)
    report(
        "The kernel, forward and backward (n = 7,000, d = 64), ms",
        ["by singular values", "ours", "faster"],
        [[f"{theirs:.2f}", f"{ours:.2f}", f"{theirs / ours:.1f} x"]],
    )


if __name__ == "__main__":
    on_top_of_a_step()
    kernel()
