"""When the warm phase ends: a small state machine that knows epochs, scores and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from recbole_sr.objective import Phase

__all__ = ["Schedule"]


class Schedule:
    """Which phase it is. Epochs, validation scores and stable ranks in, phase out.

    The phase only ever changes in :meth:`begin_epoch`, and only from warm to main.

    Args:
        warm: the phase that training starts in.
        main: the phase it ends in.
        switch: ``epochs`` ends the warm phase after ``warm_epochs`` epochs; ``metric`` once
            ``patience`` evaluations in a row brought no better validation score; ``rank`` once
            every side's stable rank has crossed ``rank``, from where it was before training to the
            other side, or, without a ``rank``, has settled.
        warm_epochs: 0 means no warm phase, whatever ``switch`` is.
        patience: evaluations, 1 or more.
        rank: the level to cross, above 1; None to wait until the ranks settle.
        tolerance: a rank has settled that changed by less than this part of itself in one epoch.
        bigger: whether a bigger validation score is a better one.

    Example:
        >>> schedule = Schedule(Phase("warm"), Phase("main"), warm_epochs=2)
        >>> [schedule.begin_epoch(epoch).name for epoch in range(4)]
        ['warm', 'warm', 'main', 'main']
        >>> schedule.switch_epoch
        2

    """

    def __init__(
        self,
        warm: Phase,
        main: Phase,
        *,
        switch: Literal["epochs", "metric", "rank"] = "epochs",
        warm_epochs: int = 5,
        patience: int = 5,
        rank: float | None = None,
        tolerance: float = 0.01,
        bigger: bool = True,
    ):
        self.warm = warm
        self.main = main
        self.switch = switch
        self.warm_epochs = warm_epochs
        self.patience = patience
        self.rank = rank
        self.tolerance = tolerance
        self.bigger = bigger
        self.warming = warm_epochs > 0
        self.switch_epoch: int | None = None
        self._best_score: float | None = None
        self._misses = 0
        self._first_ranks: dict[str, float] = {}
        self._ranks: dict[str, float] = {}
        self._rank_reached = False

    @property
    def phase(self) -> Phase:
        """The phase that training is in."""
        return self.warm if self.warming else self.main

    def begin_epoch(self, epoch: int) -> Phase:
        """Decide the phase of an epoch that is about to be trained; epochs count from 0."""
        if self.warming and self._warm_enough(epoch):
            self.warming = False
            self.switch_epoch = epoch
        return self.phase

    def observe(self, score: float) -> None:
        """Take note of a validation score of the epoch just trained; NaN is never better."""
        if self._best_score is None or self._better(score, self._best_score):
            self._best_score = score
            self._misses = 0
        else:
            self._misses += 1

    def observe_ranks(self, ranks: Mapping[str, float]) -> None:
        """Take note of the stable rank of each side: before training, then after each epoch."""
        if self._first_ranks:
            self._rank_reached = all(self._arrived(side, rank) for side, rank in ranks.items())
        else:
            self._first_ranks = dict(ranks)
        self._ranks = dict(ranks)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training, as plain data."""
        return {
            "warming": self.warming,
            "switch_epoch": self.switch_epoch,
            "best_score": self._best_score,
            "misses": self._misses,
            "first_ranks": self._first_ranks,
            "ranks": self._ranks,
            "rank_reached": self._rank_reached,
            "control": self.main.control and self.main.control.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.warming = state["warming"]
        self.switch_epoch = state["switch_epoch"]
        self._best_score = state["best_score"]
        self._misses = state["misses"]
        self._first_ranks = state["first_ranks"]
        self._ranks = state["ranks"]
        self._rank_reached = state["rank_reached"]
        if self.main.control:
            self.main.control.load_state_dict(state["control"])

    def _warm_enough(self, epoch: int) -> bool:
        if self.switch == "epochs":
            return epoch >= self.warm_epochs
        if self.switch == "rank":
            return self._rank_reached
        return self._misses >= self.patience

    def _arrived(self, side: str, rank: float) -> bool:
        if self.rank is None:
            return abs(rank - self._ranks[side]) < self.tolerance * self._ranks[side]
        return (rank - self.rank) * (self._first_ranks[side] - self.rank) <= 0

    def _better(self, score: float, best: float) -> bool:
        return score > best if self.bigger else score < best
