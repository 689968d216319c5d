"""What each objective does to the stable rank of the tables: the theory, checked in training."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.harness import data_sets, experiment, report, study_settings, train

SEEDS = (2020, 2021, 2022, 2023, 2024)
EPOCHS = 30
SHOWN = (1, 5, EPOCHS)  # after how many epochs
PAIRS = 2048  # a step, whatever the number of negatives


def negatives(number: int) -> dict[str, Any]:
    """RecBole's batch size counts pairs times negatives."""
    sampling = {"distribution": "uniform", "sample_num": number}
    return {"train_batch_size": PAIRS * number, "train_neg_sample_args": sampling}


OBJECTIVES: dict[str, dict[str, Any]] = {
    "alignment": {"sr_loss": "align"},
    "alignment + stable rank 0.3": {
        "sr_loss": "align",
        "sr_main_regularizers": {"stable_rank": 0.3},
    },
    "alignment + effective rank 1.0": {
        "sr_loss": "align",
        "sr_main_regularizers": {"effective_rank": 1.0},
    },
    "alignment + uniformity 1.0 (DirectAU)": {
        "sr_loss": "align",
        "sr_main_regularizers": {"uniformity": 1.0},
    },
    "BPR, 1 negative": negatives(1),
    "BPR, 4 negatives": negatives(4),
    "BPR, 16 negatives": negatives(16),
    "sampled softmax, 1 negative": {"sr_loss": "ssm", **negatives(1)},
    "sampled softmax, 16 negatives": {"sr_loss": "ssm", **negatives(16)},
}


def course(dataset: str, settings: dict[str, Any], seed: int) -> list[float]:
    """Mean stable rank of both tables at the start and as `SHOWN`, then validation NDCG@20."""
    run = experiment("BPR", dataset, True, **{**study_settings(), **settings}, seed=seed)
    ranks = [_stable_rank(run)]
    for epoch in range(1, EPOCHS + 1):
        train(run)
        if epoch in SHOWN:
            ranks.append(_stable_rank(run))
    score = run.trainer.evaluate(run.valid_data, load_best_model=False)["ndcg@20"]
    return [*ranks, score]


def _stable_rank(run: Any) -> float:
    return mean(run.model.sr_stable_rank().values())


def main() -> None:
    """Print the tables."""
    for name in data_sets("ml-100k"):
        rows = []
        for objective, settings in OBJECTIVES.items():
            *ranks, score = map(
                mean, zip(*(course(name, settings, seed) for seed in SEEDS), strict=True)
            )
            rows.append([objective, *(f"{rank:.1f}" for rank in ranks), f"{score:.4f}"])
        report(
            f"Stable rank in training, {name} (BPR's tables, d = 64, means of {len(SEEDS)} seeds)",
            [
                "objective",
                "at the start",
                *(f"after epoch {epoch}" for epoch in SHOWN),
                "validation NDCG@20",
            ],
            rows,
        )


if __name__ == "__main__":
    main()
