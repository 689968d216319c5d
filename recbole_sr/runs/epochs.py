"""What one epoch was, and what the phases did with all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["UNTRAINED", "EpochRecord", "Ranks", "describe_best", "describe_ranks", "summarize"]

Ranks = dict[str, float]
UNTRAINED = -1  # the epoch of a model that is not trained, as RecBole counts


@dataclass
class EpochRecord:
    """What one epoch was.

    ``stable_rank`` is that of the whole tables at its end, ``rank_weight`` how strongly each side
    is then held at ``sr_target_rank``.
    """

    epoch: int
    phase: str
    train_loss: float
    train_seconds: float
    valid_score: float | None = None
    stable_rank: Ranks | None = None
    valid_seconds: float | None = None
    rank_weight: dict[str, float] | None = None


def describe_ranks(ranks: Mapping[str, float], name: str = "stable_rank") -> str:
    """Stable ranks, or other numbers of each side, as the console shows them.

    Example:
        >>> describe_ranks({"user": 12.345, "item": 6.0})
        'stable rank: user 12.35, item 6.00'

    """
    shown = ", ".join(f"{side} {rank:.2f}" for side, rank in ranks.items())
    return f"{name.replace('_', ' ')}: {shown}"


def describe_best(epoch: int | None, epochs: int, score: str) -> str | None:
    """Which epoch was the best, as the console and the report show it.

    Args:
        epoch: it; None where none was evaluated.
        epochs: how many there were.
        score: what it came to.

    Example:
        >>> describe_best(3, 12, "valid mrr@10 0.4081")
        '3 of 12, valid mrr@10 0.4081'

    """
    if epoch is None:
        return None
    untrained = "the untrained model" + f" (none of {epochs})" * (epochs > 0)
    return f"{untrained if epoch == UNTRAINED else f'{epoch} of {epochs}'}, {score}"


def summarize(trainer: Any) -> dict[str, Any]:
    """What the phases did, as plain data: the ``sr`` entry of a run's result."""
    records = [asdict(record) for record in trainer.epoch_records]
    phases = []
    start = trainer.initial_stable_rank
    for phase in (trainer.schedule.warm, trainer.schedule.main):
        epochs = [record for record in records if record["phase"] == phase.name]
        if epochs:
            end = epochs[-1]["stable_rank"]
            phases.append(
                {
                    "name": phase.name,
                    "regularizers": dict(phase.regularizers),
                    "first_epoch": epochs[0]["epoch"],
                    "last_epoch": epochs[-1]["epoch"],
                    "stable_rank": {"start": start, "end": end},
                }
            )
            start = end
    best = float(trainer.best_valid_score)
    found = [UNTRAINED] if trainer.initial_valid_score == best else []  # unless an epoch is as good
    found += [record["epoch"] for record in records if record["valid_score"] == best]
    return {
        "phases": phases,
        "switch_epoch": trainer.schedule.switch_epoch,
        "epochs": records,
        "best_epoch": found[-1] if found else None,  # the later of two is saved
        "initial_valid_score": trainer.initial_valid_score,
    }
