"""Seconds from a command to a test score: BPR's default after one epoch, and implicit's ALS.

``pip install implicit``, and the folder of the data in ``RECBOLE_DATA``. Each side is a process of
its own, from Python's start to its printed score, in turns. ALS has the settings that
``benchmarks.peers`` chose, and reads, splits and ranks by pandas, NumPy and implicit, as its users
do. Its split is therefore another one: ``benchmarks.peers`` has its score on RecBole's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import scipy.sparse

from benchmarks.harness import RUNS, data_folder, data_sets, ratio, report, turns

# Chosen by benchmarks.peers at 64 factors, on the first seed.
TUNED = {
    "gowalla": {"alpha": 40.0, "regularization": 0.1},
    "yelp2018": {"alpha": 40.0, "regularization": 100.0},
}
ITERATIONS, WIDTH, TOP, PART, SEED = 15, 64, 20, 0.1, 2020


def ours(data_set: str) -> list[str]:
    """The command of BPR's default for one epoch, which is not validated, tested once."""
    keys = {
        "data_path": data_folder(),
        "load_col": "{inter: [user_id, item_id]}",
        "metrics": "[NDCG]",
        "topk": f"[{TOP}]",
        "valid_metric": f"NDCG@{TOP}",
        "learning_rate": 0.003,
        "epochs": 1,
        "eval_step": 0,
        "seed": SEED,
    }
    given = [f"--{key}={value}" for key, value in keys.items()]
    return [sys.executable, "-m", "recbole_sr", "-m", "BPR", "-d", data_set, *given]


def als(data_set: str) -> float:
    """Read, split, fit and rank as a user of implicit would; the test NDCG@20."""
    from implicit.als import AlternatingLeastSquares
    from implicit.evaluation import ndcg_at_k

    path = Path(data_folder(), data_set, f"{data_set}.inter")
    ids = [pd.factorize(column)[0] for _, column in pd.read_csv(path, sep="\t").items()]
    drawn = np.random.default_rng(SEED).random(len(ids[0]))  # a tenth is test, one validation
    shape = tuple(column.max() + 1 for column in ids[:2])
    train, test = (
        scipy.sparse.csr_matrix(
            (np.ones(part.sum(), np.float32), [column[part] for column in ids[:2]]), shape
        )
        for part in (drawn >= 2 * PART, drawn < PART)
    )
    model = AlternatingLeastSquares(
        WIDTH, random_state=SEED, iterations=ITERATIONS, **TUNED[data_set]
    )
    model.fit(train, show_progress=False)
    return float(ndcg_at_k(model, train, test, K=TOP, show_progress=False))


def score(command: list[str]) -> float:
    """What a command prints as its test score, the last number of that line."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    (line,) = re.findall(r"^test result: .*", done.stdout + done.stderr, re.MULTILINE)
    return float(line.split()[-1])


def main() -> None:
    """Print the table, or fit ALS when told on what."""
    if len(sys.argv) == 2:
        print("test result:", als(sys.argv[1]))
        return
    rows = []
    for name in data_sets("gowalla", "yelp2018"):
        commands = {
            "als": [sys.executable, "-m", "benchmarks.first_score", name],
            "ours": ours(name),
        }
        found: dict[str, float] = {}

        def run(side: str, commands=commands, found=found) -> None:
            found[side] = score(commands[side])

        seconds = turns({side: lambda side=side: run(side) for side in commands})
        rows.append(
            [
                name,
                f"{median(seconds['als']):.1f}",
                f"{median(seconds['ours']):.1f}",
                ratio(seconds["ours"], seconds["als"]),
                f"{found['als']:.4f}, {found['ours']:.4f}",
            ]
        )
    report(
        f"Seconds from the command to a test score (medians of {RUNS})",
        ["data set", "implicit's ALS", "BPR's default, one epoch", "ratio", "test NDCG@20"],
        rows,
    )


if __name__ == "__main__":
    main()
