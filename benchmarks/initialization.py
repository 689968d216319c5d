"""The spectral initialisation before any training: scores by its settings, and embedding norms."""

from __future__ import annotations

from itertools import product
from typing import Any
from unittest.mock import patch

from benchmarks.harness import data_sets, experiment, report, study_settings

DEGREE_POWERS = (0.0, 0.25, 0.5)
POWERS = (0.0, 0.5, 1.0, 1.5)
ITERATIONS = (1, 2, 3)
SHRINKAGES = (0.075, 0.15, 0.3)


def score(name: str, **settings: Any) -> str:
    """Validation NDCG@20 of untrained BPR."""
    run = experiment("BPR", name, True, **study_settings(), sr_init="spectral", **settings)
    return f"{run.trainer.evaluate(run.valid_data, load_best_model=False)['ndcg@20']:.4f}"


def by_powers(name: str, degree_power: float) -> list[str]:
    """A score for each power of the singular values."""
    return [score(name, sr_init_degree_power=degree_power, sr_init_power=power) for power in POWERS]


def by_iterations(name: str, shrinkage: float) -> list[str]:
    """A score for each number of ALS iterations."""
    with patch("recbole_sr.init.als._SHRINKAGE", shrinkage):
        return [score(name, sr_init_als_iterations=count) for count in ITERATIONS]


def norm(name: str) -> float:
    """Root mean square norm of the user embeddings at the default powers and margin."""
    run = experiment("BPR", name, True, **study_settings(), sr_init="spectral")
    rows = run.model.user_embedding.weight.detach()[1:]  # without padding
    return rows.square().sum(1).mean().sqrt().item()


def main() -> None:
    """Print the tables."""
    names = data_sets("ml-100k")
    title = (
        "Validation NDCG@20 of the spectral initialisation, no training (BPR, d = 64, seed 2020)"
    )
    report(
        title,
        ["data set", "sr_init_degree_power", *(f"sr_init_power {power}" for power in POWERS)],
        [[name, power, *by_powers(name, power)] for name, power in product(names, DEGREE_POWERS)],
    )
    report(
        title,
        ["data set", "shrinkage", *(f"sr_init_als_iterations {count}" for count in ITERATIONS)],
        [[name, share, *by_iterations(name, share)] for name, share in product(names, SHRINKAGES)],
    )
    report(
        "Norm of the user embeddings (BPR, d = 64, seed 2020)",
        ["data set", "root mean square norm"],
        [[name, f"{norm(name):.2f}"] for name in names],
    )


if __name__ == "__main__":
    main()
