"""A phase of training: what is minimised while it lasts, as a function of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from recbole_sr.objectives.losses import Loss
from recbole_sr.objectives.peers import NO_PEERS, Peers
from recbole_sr.objectives.rank_target import RankTarget
from recbole_sr.objectives.regularizers import REGULARIZERS
from recbole_sr.objectives.rows import widened

__all__ = ["Batch", "Phase"]

Rows = Mapping[str, Sequence[Tensor]]


class Batch(Protocol):
    """A training batch as a phase sees it."""

    @property
    def index(self) -> int:
        """How many batches of the epoch came before."""

    @property
    def terms(self) -> int:
        """How many terms the model's own loss adds up over the batch; 1 where it is their mean."""

    @property
    def peers(self) -> Peers:
        """Who else has a part of the batch."""

    def model_loss(self, replacement: Callable[[], Tensor] | None = None) -> Any:
        """The model's loss, a scalar or a tuple of them; the recommendation loss comes first.

        Args:
            replacement: computes what takes the place of the recommendation loss.

        """

    def pairs(self) -> tuple[Tensor, Tensor]:
        """The users' and the items' vectors of the batch's interactions, each ``(B, D)``."""

    def negatives(self) -> Tensor:
        """The vectors of the sampled items, ``(K, B, D)``."""

    def rows(
        self, sides: Sequence[str], choose: Callable[[Tensor], Tensor]
    ) -> dict[str, list[Tensor]]:
        """The trainable representations of the batch's distinct ids, by side, each ``(N, D)``.

        Args:
            sides: which of ``user`` and ``item``.
            choose: picks some of the positions ``(M,)`` of the distinct ids of a side.

        """


@dataclass(frozen=True)
class Phase:
    """What is minimised while the phase lasts.

    Attributes:
        name: shown to the user, ``warm`` or ``main``.
        regularizers: weight of entries of :data:`~recbole_sr.objectives.regularizers.REGULARIZERS`.
        loss: takes the place of the model's own recommendation loss; None keeps the model's.
        uniformity_rows: on how many rows, drawn anew each time, a regulariser that allows it is
            measured; None means all, and draws no random number.
        every: the penalties are added to the first of so many batches of an epoch, the next after
            as many, and so on, as many times as large.
        rank_target: holds the stable rank at a target. The phases of a run share one.
        sides: which representations are regularised, of ``user`` and ``item``.

    Example:
        >>> import torch
        >>> phase = Phase("warm", {"stable_rank": 0.5})
        >>> rows = {"user": [torch.eye(4)], "item": [torch.ones(6, 4)]}
        >>> round(phase.penalty(rows).item(), 4)
        -0.3125

    """

    name: str
    regularizers: Mapping[str, float] = field(default_factory=dict)
    loss: Loss | None = None
    uniformity_rows: int | None = None
    every: int = 1
    rank_target: RankTarget | None = None
    sides: Sequence[str] = ("user", "item")

    @property
    def active(self) -> bool:
        """Whether the phase changes the model's own loss in any way."""
        return self.regularizes or self.loss is not None or bool(self._reading("pairs"))

    @property
    def regularizes(self) -> bool:
        """Whether the phase has a penalty on the rows of a side."""
        return bool(self._reading("rows")) or self.rank_target is not None

    def training_loss(self, batch: Batch) -> Any:
        """The loss of a batch: the model's own or its replacement, plus the penalties.

        Penalties are multiplied by the number of terms that the model's own loss adds up, so that a
        weight means the same for sums and means, and added to the first part of a tuple. Where only
        some batches have them they are larger by as much: the mean over the batches is the same
        where ``every`` divides their number, and a little larger where it does not.
        """
        loss = batch.model_loss(partial(self._replacement, batch) if self.loss else None)
        if batch.index % self.every:
            return loss
        terms = self.every * (1 if self.loss else batch.terms)  # a replacement is a mean
        for name, weight in self._reading("pairs").items():
            penalty = batch.peers.mean(REGULARIZERS[name].function(*batch.pairs()))
            loss = _add(loss, terms * weight * penalty)
        rows = batch.rows(self.sides, self.choose) if self.regularizes else {}
        return _add(loss, terms * self.penalty(rows, batch.peers)) if rows else loss

    def choose(self, positions: Tensor) -> Tensor:
        """The positions whose rows the penalty reads: all, or a sample if all of it allows one.

        Args:
            positions: ``(N,)``, of distinct ids.

        Returns:
            ``(M,)`` of them, ``M`` at most ``uniformity_rows``; all where a penalty wants all.

        Example:
            >>> import torch
            >>> phase = Phase("main", {"uniformity": 0.1}, uniformity_rows=3)
            >>> len(phase.choose(torch.arange(9)))
            3

        """
        sampled = all(REGULARIZERS[name].sampled for name in self._reading("rows"))
        return self._sample(positions) if sampled and self.rank_target is None else positions

    def penalty(self, rows: Rows, peers: Peers = NO_PEERS) -> Tensor:
        r"""Weighted regularisers, :math:`\sum_r \gamma_r \cdot \text{mean}_s R_r(X_s)`.

        The penalty of the rank target is added, and its multipliers are adapted. Computed in
        float32 or wider, also where autocast computed the representations.

        Args:
            rows: for each side, its representations of the batch's distinct ids, each ``(N, D)``.
                Several of one side are averaged.
            peers: have the other rows; the penalty is that of all.

        Returns:
            ``()``, float32 or wider.

        Source: Loveland et al., WWW 2025; their code takes half the sum of the two sides.

        """
        some = next(iter(rows.values()))[0]
        with torch.autocast(some.device.type, enabled=False):
            rows = {side: [widened(x) for x in matrices] for side, matrices in rows.items()}
            penalty = self._regularize(rows, peers)
            if self.rank_target is not None:
                log_ranks = self.rank_target.log_ranks(rows, peers)
                penalty = penalty + self.rank_target.penalty(log_ranks)
                self.rank_target.adapt(log_ranks)
            return penalty

    def _replacement(self, batch: Batch) -> Tensor:
        loss: Any = self.loss
        vectors = list(batch.pairs())
        if loss.needs_negatives:
            vectors.append(batch.negatives())
        return loss.function(*vectors)

    def _reading(self, what: Literal["rows", "pairs"]) -> dict[str, float]:
        """The regularisers with a weight that read rows, or pairs."""
        return {
            name: weight
            for name, weight in self.regularizers.items()
            if weight and REGULARIZERS[name].reads == what
        }

    def _regularize(self, rows: Rows, peers: Peers) -> Tensor:
        terms = [
            weight
            * torch.stack([self._of_side(name, side, rows[side], peers) for side in rows]).mean()
            for name, weight in self._reading("rows").items()
        ]
        return torch.stack(terms).sum() if terms else next(iter(rows.values()))[0].new_zeros(())

    def _of_side(self, name: str, side: str, matrices: Sequence[Tensor], peers: Peers) -> Tensor:
        regularizer = REGULARIZERS[name]
        if regularizer.shared:
            return torch.stack([regularizer.function(x, peers) for x in matrices]).mean()
        matrices = [peers.whole(side, x) for x in matrices]
        if regularizer.sampled:
            matrices = [self._sample(x) for x in matrices]
        return torch.stack([regularizer.function(x) for x in matrices]).mean()

    def _sample(self, x: Tensor) -> Tensor:
        limit = self.uniformity_rows
        if limit is None or limit >= len(x):
            return x
        return x[torch.randperm(len(x), device=x.device)[:limit]]


def _add(loss: Any, penalty: Tensor) -> Any:
    """Keep the type: trainers tell the parts of a tuple apart by position."""
    if isinstance(loss, tuple):
        return (loss[0] + penalty, *loss[1:])
    return loss + penalty
