"""What one epoch was, and what the phases did with all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["EpochRecord", "Ranks", "best_epoch", "describe_ranks", "summarize"]

Ranks = dict[str, float]


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


def best_epoch(
    records: Iterable[EpochRecord], phase: str | None = None, bigger: bool = True
) -> EpochRecord | None:
    """The epoch with the best validation score, the first of equals; None where none was validated.

    Args:
        records: of epochs.
        phase: the name of the phase to look in; None for all.
        bigger: whether a bigger score is a better one.

    Example:
        >>> first = EpochRecord(0, "warm", train_loss=0.7, train_seconds=1.0, valid_score=0.2)
        >>> second = EpochRecord(1, "main", train_loss=0.6, train_seconds=1.0, valid_score=0.1)
        >>> best_epoch([first, second]).epoch, best_epoch([first, second], bigger=False).epoch
        (0, 1)

    """
    scores = {
        record.valid_score: record
        for record in reversed(list(records))
        if phase in (None, record.phase) and record.valid_score is not None
    }
    best = (max if bigger else min)(scores, default=None)
    return None if best is None else scores[best]


def describe_ranks(ranks: Mapping[str, float], name: str = "stable_rank") -> str:
    """Stable ranks, or other numbers of each side, as the console shows them.

    Example:
        >>> describe_ranks({"user": 12.345, "item": 6.0})
        'stable rank: user 12.35, item 6.00'

    """
    shown = ", ".join(f"{side} {rank:.2f}" for side, rank in ranks.items())
    return f"{name.replace('_', ' ')}: {shown}"


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
    return {"phases": phases, "switch_epoch": trainer.schedule.switch_epoch, "epochs": records}
