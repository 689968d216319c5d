"""When the warm phase ends: a small state machine that knows epochs and validation scores."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from recbole_sr.objectives.phase import Phase

__all__ = ["Schedule"]


@dataclass(eq=False)
class Schedule:
    """Which phase it is: epochs and validation scores in, phase out.

    The phase only ever changes in :meth:`begin_epoch`, and only from warm to main.

    Args:
        warm: the phase that training starts in.
        main: the phase it ends in.
        switch: ``epochs`` ends the warm phase after ``warm_epochs`` epochs; ``metric`` sooner,
            once ``patience`` evaluations in a row brought no better validation score.
        warm_epochs: the most epochs that the warm phase has; 0 means that there is none.
        patience: evaluations, 1 or more.
        bigger: whether a bigger validation score is a better one.

    Example:
        >>> schedule = Schedule(Phase("warm"), Phase("main"), warm_epochs=2)
        >>> [schedule.begin_epoch(epoch).name for epoch in range(4)]
        ['warm', 'warm', 'main', 'main']
        >>> schedule.switch_epoch
        2

    """

    warm: Phase
    main: Phase
    _: KW_ONLY
    switch: Literal["epochs", "metric"] = "epochs"
    warm_epochs: int = 5
    patience: int = 5
    bigger: bool = True
    switch_epoch: int | None = field(default=None, init=False)
    _best_score: float | None = field(default=None, init=False)
    _misses: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.warming = self.warm_epochs > 0

    @property
    def phase(self) -> Phase:
        """The phase that training is in."""
        return self.warm if self.warming else self.main

    def begin_epoch(self, epoch: int) -> Phase:
        """Decide the phase of an epoch that is about to be trained; epochs count from 0."""
        stagnant = self.switch == "metric" and self._misses >= self.patience
        if self.warming and (stagnant or epoch >= self.warm_epochs):
            self.warming = False
            self.switch_epoch = epoch
        return self.phase

    def observe(self, score: float) -> None:
        """Take note of a validation score of the epoch just trained; NaN is never better."""
        best = self._best_score
        is_better = best is None or (score > best if self.bigger else score < best)
        if is_better and not math.isnan(score):
            self._best_score = score
            self._misses = 0
        else:
            self._misses += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training, as plain data."""
        target = self.main.rank_target
        return {
            "warming": self.warming,
            "switch_epoch": self.switch_epoch,
            "best_score": self._best_score,
            "misses": self._misses,
            "rank_weights": target.state_dict() if target else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.warming = state["warming"]
        self.switch_epoch = state["switch_epoch"]
        self._best_score = state["best_score"]
        self._misses = state["misses"]
        if self.main.rank_target:
            self.main.rank_target.load_state_dict(state["rank_weights"])
