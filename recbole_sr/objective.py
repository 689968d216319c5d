"""A phase of training, as an objective on the batch's user and item representations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recbole_sr.regularizers import REGULARIZERS, Regularizer

__all__ = ["Phase"]


@dataclass(frozen=True)
class Phase:
    """What is minimised while the phase lasts, beside the model's own loss.

    Attributes:
        name: shown to the user, ``warm`` or ``main``.
        regularizers: weight of each entry of :data:`~recbole_sr.regularizers.REGULARIZERS`.

    Example:
        >>> import torch
        >>> phase = Phase("warm", {"stable_rank": 0.5})
        >>> rows = {"user": [torch.eye(4)], "item": [torch.ones(6, 4)]}
        >>> round(phase.penalty(rows).item(), 4)
        -0.3125

    """

    name: str
    regularizers: Mapping[str, float] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the phase adds anything to the model's own loss."""
        return any(self.regularizers.values())

    def penalty(self, rows: Mapping[str, Sequence[Tensor]]) -> Tensor:
        r"""Weighted regularisers, :math:`\sum_r \gamma_r \cdot \text{mean}_s R_r(X_s)`.

        Args:
            rows: for each side, its representations of the batch's distinct ids, each ``(N, D)``.
                Several of one side count by their mean.

        Returns:
            ``()``, float32 or wider.

        Source: Loveland et al., WWW 2025; their code takes half the sum of the two sides.

        """
        terms = [
            weight * torch.stack([_mean(REGULARIZERS[name], side) for side in rows.values()]).mean()
            for name, weight in self.regularizers.items()
            if weight
        ]
        return torch.stack(terms).sum()


def _mean(regularizer: Regularizer, matrices: Sequence[Tensor]) -> Tensor:
    return torch.stack([regularizer(x) for x in matrices]).mean()
