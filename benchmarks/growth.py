"""Step time and peak memory of BPR with the regulariser, from 10^4 to 10^7 rows, synthetic.

Each size runs in a process of its own, so that its peak memory is its own. Half of the rows are
users, half items; a step is the default batch of 2,048 with Adam. ``sparse rows`` is
``learner: sparse_adam``, which is other mathematics: rows that a batch does not touch keep their
moments and do not move.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from time import perf_counter

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from benchmarks.harness import report
from recbole_sr.fast.optimizer import fused, row_gradients
from recbole_sr.objectives.regularizers import negative_stable_rank

SIZES = (10**4, 10**5, 10**6, 10**7)
WIDTH, BATCH, STEPS = 64, 2048, 12


def measure(rows: int, sparse: bool) -> dict[str, float]:
    """Median times of the parts of a step, in ms, and peak memory in GiB."""
    torch.manual_seed(0)
    tables = nn.ModuleList(nn.Embedding(rows // 2, WIDTH) for _ in range(2))
    kind = torch.optim.SparseAdam if sparse else torch.optim.Adam
    optimizer = fused(kind(list(tables.parameters()), lr=1e-3))
    gradient, update = [], []
    with row_gradients(tables, optimizer):
        for _ in range(STEPS):
            start = perf_counter()
            optimizer.zero_grad()
            loss(tables).backward()
            middle = perf_counter()
            optimizer.step()
            gradient.append(middle - start)
            update.append(perf_counter() - middle)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "gradient": statistics.median(gradient[2:]) * 1e3,
        "update": statistics.median(update[2:]) * 1e3,
        "peak": peak,
    }


def loss(tables: nn.ModuleList) -> torch.Tensor:
    """BPR and the stable rank of both sides on random ids."""
    user, positive, negative = torch.randint(1, len(tables[0].weight), (3, BATCH))
    users, good, bad = tables[0](user), tables[1](positive), tables[1](negative)
    total = -logsigmoid((users * (good - bad)).sum(1)).mean()
    for table, ids in ((tables[0], user), (tables[1], torch.cat([positive, negative]))):
        ids = ids.unique()
        total = total + 0.03 * negative_stable_rank(table(ids)) / 2
    return total


def main() -> None:
    """Print the table, or measure one size when told which."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(int(sys.argv[1]), sys.argv[2] == "sparse")))
        return
    rows = []
    for size in SIZES:
        for optimizer in ("dense", "sparse"):
            command = [sys.executable, "-m", "benchmarks.growth", str(size), optimizer]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
            seen = json.loads(printed)
            bare = size * WIDTH * 4 * 4 / 2**30  # weights, gradients and two moments
            rows.append(
                [
                    f"10^{len(str(size)) - 1}",
                    "Adam, fused" if optimizer == "dense" else "sparse rows",
                    f"{seen['gradient']:.2f}",
                    f"{seen['update']:.2f}",
                    f"{seen['peak']:.2f}",
                    f"{bare:.2f}",
                ]
            )
    report(
        f"A step of {BATCH} (BPR and stable rank of both tables, d = {WIDTH})",
        ["rows", "optimiser", "loss and gradient, ms", "update, ms", "peak, GiB", "4 tables, GiB"],
        rows,
    )


if __name__ == "__main__":
    main()
