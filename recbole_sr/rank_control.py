"""Holding the stable rank at a target, by adapting how strongly it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recbole_sr.regularizers import log_stable_rank

__all__ = ["MAX_WEIGHT", "RankControl"]

# A target that the loss makes unreachable must not let the weight grow without end.
MAX_WEIGHT = 10.0


class RankControl:
    r"""Penalty :math:`\sum_s w_s \cdot (-\log \operatorname{srank}(\hat X_s))` over the sides.

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
        >>> control = RankControl({"item": 4.0}, step=0.5)
        >>> _ = control.penalty({"item": [torch.ones(5, 8)]})  # rank 1: below the target
        >>> round(control.weights["item"], 4)  # 0.5 * log 4
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

    def penalty(self, rows: Mapping[str, Sequence[Tensor]]) -> Tensor:
        """Penalty by the present multipliers, which are then adapted.

        Args:
            rows: for each side, its representations of the batch's distinct ids, each ``(N, D)``.
                Of several, the mean of the logarithms is held. A side without a target is left
                alone.

        Returns:
            ``()``, float32 or wider.

        """
        terms = [self._term(side, rows[side]) for side in self.targets if side in rows]
        return torch.stack(terms).sum() if terms else torch.zeros(())

    def state_dict(self) -> dict[str, float]:
        """The weights, as plain data."""
        return self.weights

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._weights = {side: state[side] for side in self.targets}

    def _term(self, side: str, matrices: Sequence[Tensor]) -> Tensor:
        minus_log_rank = torch.stack([log_stable_rank(x) for x in matrices]).mean()
        gap = math.log(self.targets[side]) + minus_log_rank.detach()
        # Stays a tensor on the device from the first batch on, so that no batch waits for a GPU.
        multiplier = torch.as_tensor(self._weights[side], dtype=gap.dtype, device=gap.device)
        self._weights[side] = (multiplier + self.step * gap).clamp(0, MAX_WEIGHT)
        return (multiplier + gap).clamp(0, MAX_WEIGHT) * minus_log_rank
