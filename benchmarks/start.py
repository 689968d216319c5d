"""A spectral start before any training: what it ranks like by its powers, and its rows' length."""

from __future__ import annotations

from itertools import product

from benchmarks.harness import data_sets, experiment, report, study_settings

DEGREE_POWERS = (0.0, 0.25, 0.5)
POWERS = (0.0, 0.5, 1.0, 1.5)


def score(name: str, degree_power: float, power: float) -> float:
    """Validation NDCG@20 of untrained BPR."""
    run = experiment(
        "BPR",
        name,
        True,
        **study_settings(),
        sr_init="spectral",
        sr_init_degree_power=degree_power,
        sr_init_power=power,
    )
    found: float = run.trainer.evaluate(run.valid_data, load_best_model=False)["ndcg@20"]
    return found


def length(name: str) -> float:
    """Root mean square length of the users' rows at the default powers and margin."""
    run = experiment("BPR", name, True, **study_settings(), sr_init="spectral")
    rows = run.model.user_embedding.weight.detach()[1:]  # without padding
    return rows.square().sum(1).mean().sqrt().item()


def main() -> None:
    """Print the tables."""
    rows = [
        [name, degree_power, *(f"{score(name, degree_power, power):.4f}" for power in POWERS)]
        for name, degree_power in product(data_sets("ml-100k"), DEGREE_POWERS)
    ]
    report(
        "Validation NDCG@20 of a spectral start, no training (BPR, d = 64, seed 2020)",
        ["data set", "sr_init_degree_power", *(f"sr_init_power {power}" for power in POWERS)],
        rows,
    )
    report(
        "Length of the rows (BPR, d = 64, seed 2020)",
        ["data set", "root mean square length"],
        [[name, f"{length(name):.2f}"] for name in data_sets("ml-100k")],
    )


if __name__ == "__main__":
    main()
