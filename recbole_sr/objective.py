"""A phase of training, as an objective on the batch's user and item representations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recbole_sr.losses import Loss
from recbole_sr.rank_control import RankControl
from recbole_sr.regularizers import REGULARIZERS

__all__ = ["Phase"]


@dataclass(frozen=True)
class Phase:
    """What is minimised while the phase lasts.

    Attributes:
        name: shown to the user, ``warm`` or ``main``.
        regularizers: weight of each entry of :data:`~recbole_sr.regularizers.REGULARIZERS`, and of
            ``alignment``, which reads the batch's pairs and not one side's rows.
        loss: takes the place of the model's own recommendation loss; None keeps the model's.
        negatives: how many negatives are sampled for each pair of the batch; 0 where none are.
        uniformity_rows: on how many rows, drawn anew each time, uniformity is measured; None
            means all, and draws no random number.
        control: holds the stable rank at a target. The phases of a run share one.

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
    negatives: int = 1
    uniformity_rows: int | None = None
    control: RankControl | None = None

    @property
    def active(self) -> bool:
        """Whether the phase changes the model's own loss in any way."""
        return self.regularizes or self.loss is not None or self.alignment > 0

    @property
    def regularizes(self) -> bool:
        """Whether the phase has a penalty on the rows of a side."""
        return bool(self._of_rows) or self.control is not None

    @property
    def alignment(self) -> float:
        """The weight of the pairs' alignment beside the loss."""
        return self.regularizers.get("alignment", 0.0)

    @property
    def _of_rows(self) -> dict[str, float]:
        return {
            name: weight
            for name, weight in self.regularizers.items()
            if weight and name != "alignment"
        }

    def sample(self, ids: Tensor) -> Tensor:
        """The ids whose rows the penalty reads: all, or those drawn where uniformity is alone.

        What looks rows up then looks up no others.

        Args:
            ids: ``(N,)``, distinct.

        Returns:
            ``(M,)`` of them, ``M`` at most ``uniformity_rows``; all where a penalty wants all.

        Example:
            >>> import torch
            >>> len(Phase("main", {"uniformity": 0.1}, uniformity_rows=3).sample(torch.arange(9)))
            3

        """
        others = self._of_rows.keys() - {"uniformity"}
        return ids if others or self.control is not None else self._some(ids)

    def penalty(self, rows: Mapping[str, Sequence[Tensor]]) -> Tensor:
        r"""Weighted regularisers, :math:`\sum_r \gamma_r \cdot \text{mean}_s R_r(X_s)` + control.

        Args:
            rows: for each side, its representations of the batch's distinct ids, each ``(N, D)``.
                Several of one side count by their mean.

        Returns:
            ``()``, float32 or wider.

        Source: Loveland et al., WWW 2025; their code takes half the sum of the two sides.

        """
        terms = [
            weight * torch.stack([self._regularize(name, side) for side in rows.values()]).mean()
            for name, weight in self._of_rows.items()
        ]
        if self.control is not None:
            terms.append(self.control.penalty(rows))
        return torch.stack(terms).sum()

    def _regularize(self, name: str, matrices: Sequence[Tensor]) -> Tensor:
        if name == "uniformity":
            matrices = [self._some(x) for x in matrices]
        return torch.stack([REGULARIZERS[name](x) for x in matrices]).mean()

    def _some(self, x: Tensor) -> Tensor:
        limit = self.uniformity_rows
        if limit is None or limit >= len(x):
            return x
        return x[torch.randperm(len(x), device=x.device)[:limit]]
