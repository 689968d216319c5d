"""Time and peak memory as tables and data grow, on made data: ``python -m benchmarks.growth``.

Half of the rows are users, half items. Each size runs in a process of its own, so that its peak
memory is its own. ``sparse rows`` is ``learner: sparse_adam``, which is other mathematics: rows
that a batch does not touch keep their moments and do not move.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from benchmarks.harness import report
from recbole_sr.fast.optimizer import fused, row_gradients
from recbole_sr.fast.pairs import Pairs
from recbole_sr.fast.ranking import best, scores_at_once
from recbole_sr.fast.sampler import NegativeSampler
from recbole_sr.init.svd import factorize, normalized_graph
from recbole_sr.objectives.regularizers import negative_stable_rank

ROWS = (10**4, 10**5, 10**6, 10**7)
DATA = ((10**4, 10**6), (10**5, 10**6), (10**6, 10**7), (10**7, 10**7), (10**7, 10**8))
WIDTH, BATCH, STEPS = 64, 2048, 12
RANKED, TOP = 1024, 20


def step(rows: int, sparse: int) -> dict[str, float]:
    """Median ms of the parts of a training step."""
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
    return {
        "gradient": statistics.median(gradient[2:]) * 1e3,
        "update": statistics.median(update[2:]) * 1e3,
    }


def loss(tables: nn.ModuleList) -> Tensor:
    """BPR and the stable rank of both sides on random ids."""
    user, positive, negative = torch.randint(1, len(tables[0].weight), (3, BATCH))
    users, good, bad = tables[0](user), tables[1](positive), tables[1](negative)
    total = -logsigmoid((users * (good - bad)).sum(1)).mean()
    for table, ids in ((tables[0], user), (tables[1], torch.cat([positive, negative]))):
        ids = ids.unique()
        total = total + 0.03 * negative_stable_rank(table(ids)) / 2
    return total


def initialisation(rows: int, pairs: int) -> dict[str, float]:
    """Seconds of the factors that a spectral initialisation needs."""
    users, items = interactions(rows, pairs)
    start = perf_counter()
    factorize(normalized_graph(users, items, (rows // 2, rows // 2)), WIDTH, seed=0)
    return {"seconds": perf_counter() - start}


def sampling(rows: int, pairs: int) -> dict[str, float]:
    """Seconds to make the sampler, and median ms of a batch's negatives."""
    users, items = map(torch.from_numpy, interactions(rows, pairs))
    start = perf_counter()
    sampler = NegativeSampler(Pairs(users, items, rows // 2), rows // 2)
    made = perf_counter() - start
    taken = []
    for batch in users[torch.randint(len(users), (STEPS, BATCH))]:
        start = perf_counter()
        sampler.draw(batch)
        taken.append(perf_counter() - start)
    return {"seconds": made, "batch": statistics.median(taken[2:]) * 1e3}


def ranking(rows: int, _: int) -> dict[str, float]:
    """Seconds of the best items of 1,024 users among all."""
    torch.manual_seed(0)
    users, items = torch.randn(RANKED, WIDTH), torch.randn(rows // 2, WIDTH)
    block = max(1, scores_at_once(torch.device("cpu")) // len(items))
    start = perf_counter()
    for first in range(0, RANKED, block):
        best(users[first : first + block] @ items.T, TOP)
    return {"seconds": perf_counter() - start}


def interactions(rows: int, pairs: int) -> tuple[Any, Any]:
    """Users at random, and items of which few are popular: a tenth have half of the pairs."""
    draw = np.random.default_rng(0)
    users = draw.integers(rows // 2, size=pairs)
    items = (rows // 2 * draw.random(pairs) ** np.log2(10)).astype(np.int64)
    return users, items


PARTS: dict[str, Callable[[int, int], dict[str, float]]] = {
    part.__name__: part for part in (step, initialisation, sampling, ranking)
}


def measured(part: str, rows: int, more: int) -> dict[str, float]:
    """What a part takes in a process of its own, with its peak memory in GiB."""
    command = [sys.executable, "-m", "benchmarks.growth", part, str(rows), str(more)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found: dict[str, float] = json.loads(done.stdout)
    return found


def power(number: int) -> str:
    """A power of ten, written as one."""
    return f"10^{len(str(number)) - 1}"


def main() -> None:
    """Print the tables, or measure one size when told which."""
    if len(sys.argv) == 4:
        part, rows, more = sys.argv[1], *map(int, sys.argv[2:])
        found = PARTS[part](rows, more)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({**found, "peak": peak}))
        return
    _report_steps()
    _report_data()
    _report_ranking()


def _report_steps() -> None:
    lines = []
    for rows in ROWS:
        bare = rows * WIDTH * 4 * 4 / 2**30  # weights, gradients and two moments
        for sparse, name in enumerate(("Adam, fused", "sparse rows")):
            found = measured("step", rows, sparse)
            times = [f"{found[key]:.2f}" for key in ("gradient", "update", "peak")]
            lines.append([power(rows), name, *times, f"{bare:.2f}"])
    report(
        f"A step of {BATCH} (BPR and stable rank of both tables, d = {WIDTH})",
        ["rows", "optimiser", "loss and gradient, ms", "update, ms", "peak, GiB", "4 tables, GiB"],
        lines,
    )


def _report_data() -> None:
    lines = []
    for rows, pairs in DATA:
        factors, sampler = (measured(part, rows, pairs) for part in ("initialisation", "sampling"))
        numbers = [factors["seconds"], factors["peak"], sampler["seconds"], sampler["peak"]]
        shown = [f"{number:.2f}" for number in (*numbers, sampler["batch"])]
        lines.append([power(rows), power(pairs), *shown])
    report(
        f"The factors of an initialisation (d = {WIDTH}), and negatives for {BATCH} pairs",
        [
            "rows",
            "interactions",
            "factors, s",
            "peak, GiB",
            "sampler made, s",
            "peak, GiB",
            "a batch's negatives, ms",
        ],
        lines,
    )


def _report_ranking() -> None:
    lines = []
    for rows in ROWS:
        found = measured("ranking", rows, 0)
        lines.append([power(rows), f"{found['seconds']:.2f}", f"{found['peak']:.2f}"])
    report(
        f"The best {TOP} items of {RANKED:,} users (d = {WIDTH})",
        ["rows, half of them items", "seconds", "peak, GiB"],
        lines,
    )


if __name__ == "__main__":
    main()
