"""Holding the stable rank at a target, by adapting how strongly it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recbole_sr.objectives.peers import NO_PEERS, Peers
from recbole_sr.objectives.stable_rank import unit_stable_rank

__all__ = ["MAX_WEIGHT", "RankTarget", "log_stable_rank"]

# A target that the loss makes unreachable must not let the weight grow without end.
MAX_WEIGHT = 10.0


def log_stable_rank(x: Tensor, peers: Peers = NO_PEERS) -> Tensor:
    r"""Logarithm of the stable rank of the unit rows, :math:`\log \operatorname{srank}(\hat X)`.

    Its gradient does not fade near rank one, where that of the stable rank is smallest.

    Args:
        x: ``(N, D)``, floating point.
        peers: have the other rows of the matrix.

    Returns:
        ``()``, in ``[0, log min(N, D)]``.

    Source: the logarithm of the stable rank of Loveland et al., WWW 2025.

    Example:
        >>> import torch
        >>> round(log_stable_rank(torch.eye(4)).item(), 4)
        1.3863

    """
    return unit_stable_rank(x, peers).clamp_min(1).log()


class RankTarget:
    r"""Penalty :math:`-\sum_s w_s \log \operatorname{srank}(\hat X_s)` that holds a stable rank.

    The method of multipliers on the constraint :math:`\log \operatorname{srank}(\hat X_s) \ge
    \log r_s`. With the gap :math:`g_s = \log r_s - \log \operatorname{srank}(\hat X_s)` of a batch,

    .. math:: w_s = \operatorname{clip}(\gamma_s + g_s, \, 0, \, 10), \qquad
              \gamma_s \leftarrow \operatorname{clip}(\gamma_s + \eta \, g_s, \, 0, \, 10)

    The multiplier :math:`\gamma_s` grows while the rank is below its target and falls to 0 while it
    is above. Without the gap in :math:`w_s`, which is plain dual ascent, the rank swings around
    the target instead of holding it.

    Args:
        targets: stable rank wanted, by side; above 1 and below the width of the rows.
        step: :math:`\eta`, above 0.

    Example:
        >>> import torch
        >>> target = RankTarget({"item": 4.0}, step=0.5)
        >>> log_ranks = target.log_ranks({"item": [torch.ones(5, 8)]})  # rank 1: below the target
        >>> target.adapt(log_ranks)
        >>> round(target.weights["item"], 4)  # 0.5 * log 4
        0.6931

    Source: Hestenes, "Multiplier and gradient methods", J. Optim. Theory Appl. 4, 1969, for an
    inequality and with penalty parameter 1.

    """

    def __init__(self, targets: Mapping[str, float], step: float = 0.01):
        self.targets = dict(targets)
        self.step = step
        self._weights: dict[str, Tensor | float] = dict.fromkeys(self.targets, 0.0)

    @property
    def weights(self) -> dict[str, float]:
        """The multiplier of each side now. Waits for a GPU: ask once an epoch, not once a batch."""
        return {side: float(weight) for side, weight in self._weights.items()}

    def log_ranks(
        self, rows: Mapping[str, Sequence[Tensor]], peers: Peers = NO_PEERS
    ) -> dict[str, Tensor]:
        """The logarithm of the stable rank of each side that has a target.

        Args:
            rows: for each side, its representations of the batch's distinct ids, each ``(N, D)``;
                of several, the mean of the logarithms is taken.
            peers: have the other rows.

        Returns:
            A scalar, float32 or wider, for each side in ``rows`` that has a target.

        """
        return {
            side: torch.stack([log_stable_rank(x, peers) for x in rows[side]]).mean()
            for side in self.targets
            if side in rows
        }

    def penalty(self, log_ranks: Mapping[str, Tensor]) -> Tensor | float:
        """The penalty by the present multipliers, ``()``; 0 where no side has a target."""
        terms = [
            -(self._weight(side, log_rank) + self._gap(side, log_rank)).clamp(0, MAX_WEIGHT)
            * log_rank
            for side, log_rank in log_ranks.items()
        ]
        return torch.stack(terms).sum() if terms else 0.0

    def adapt(self, log_ranks: Mapping[str, Tensor]) -> None:
        """Move each multiplier by the gap of a batch, after its penalty was taken."""
        for side, log_rank in log_ranks.items():
            moved = self._weight(side, log_rank) + self.step * self._gap(side, log_rank)
            self._weights[side] = moved.clamp(0, MAX_WEIGHT)

    def state_dict(self) -> dict[str, float]:
        """The multipliers, as plain data."""
        return self.weights

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._weights = {side: state[side] for side in self.targets}

    def _weight(self, side: str, like: Tensor) -> Tensor:
        # Stays a tensor on the device from the first batch on, so that no batch waits for a GPU.
        return torch.as_tensor(self._weights[side], dtype=like.dtype, device=like.device)

    def _gap(self, side: str, log_rank: Tensor) -> Tensor:
        return math.log(self.targets[side]) - log_rank.detach()
