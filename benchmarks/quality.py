"""Whether the fast path learns what stock learns: 5 seeds on ml-100k, a paired test."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import experiment, report, test_ratio, train
from recbole_sr.study.statistics import paired

SEEDS = (1, 2, 3, 4, 5)
EPOCHS = 20
METRICS = ("ndcg@10", "recall@10")


def run(fast: bool, seed: int) -> tuple[list[float], dict[str, float], float]:
    """The losses of the epochs, the validation metrics, and validation over training interactions.

    The last is what the test is corrected by: the splits of two seeds overlap.
    """
    made = experiment("BPR", "ml-100k", fast, seed=seed, epochs=EPOCHS)
    losses = [train(made) / len(made.train_data) for _ in range(EPOCHS)]
    metrics = made.trainer.evaluate(made.valid_data, load_best_model=False)
    return losses, metrics, test_ratio(made.valid_data, made.train_data)


def main() -> None:
    """Print the table: means, the paired t-test's p, and Cohen's d of the differences."""
    stock, ours = ([run(fast, seed) for seed in SEEDS] for fast in (False, True))
    values = {
        f"loss, epoch {epoch}": [[losses[epoch] for losses, *_ in way] for way in (stock, ours)]
        for epoch in (0, 4, 9, EPOCHS - 1)
    }
    values |= {
        metric: [[metrics[metric] for _, metrics, _ in way] for way in (stock, ours)]
        for metric in METRICS
    }
    rows = []
    for name, (theirs, mine) in values.items():
        difference = np.subtract(mine, theirs)
        test = paired(mine, theirs, ours[0][2])
        rows.append(
            [
                name,
                f"{np.mean(theirs):.4f}",
                f"{np.mean(mine):.4f}",
                f"{difference.mean():+.4f} ± {difference.std(ddof=1):.4f}",
                f"{test.p_value:.2f}",
                f"{test.effect_size:+.2f}",
            ]
        )
    report(
        f"BPR on ml-100k, seeds {SEEDS}, {EPOCHS} epochs, the same split a seed",
        ["what", "stock", "ours", "difference", "p (corrected paired t)", "effect size"],
        rows,
    )


if __name__ == "__main__":
    main()
