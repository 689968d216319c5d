"""Recommendation losses on user and item vectors: pure functions, each with its specification.

``B`` pairs of a user and an item it interacted with, each with ``K`` negative items, vectors of
``D`` dimensions. A loss is the mean over the batch, to be minimised. To add one, write the function
and its entry in :data:`LOSSES`; ``sr_loss`` then accepts its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, softplus

from recbole_sr.objectives.rows import unit_rows

__all__ = ["LOSSES", "Loss", "alignment", "bpr", "sampled_softmax"]


@dataclass(frozen=True)
class Loss:
    """A recommendation loss and what it needs.

    Attributes:
        function: from user and positive vectors ``(B, D)`` and, where it needs them, negatives
            ``(K, B, D)``, to a scalar.
        needs_negatives: whether negative items are sampled for it.
        parameters: names of keyword arguments of ``function`` that the user may set; the property
            key of ``temperature`` is ``sr_temperature``.
        warm_weights: default weights of regularisers in a warm phase with this loss, where they
            differ from the regularisers' own.
        published_main_weights: what the main phase of the published method regularises beside it.

    """

    function: Callable[..., Tensor]
    needs_negatives: bool = True
    parameters: tuple[str, ...] = ()
    warm_weights: Mapping[str, float] = field(default_factory=dict)
    published_main_weights: Mapping[str, float] = field(default_factory=dict)

    def bind(self, **values: Any) -> Loss:
        """The same loss with its parameters set."""
        return replace(self, function=partial(self.function, **values)) if values else self


def bpr(user: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    r"""Bayesian personalised ranking, :math:`\operatorname{softplus}(u^\top n - u^\top p)`.

    Args:
        user: ``(B, D)``.
        positive: ``(B, D)``.
        negatives: ``(K, B, D)``; each negative is compared with the positive alone.

    Returns:
        ``()``, 0 or more; log 2 where no item is preferred.

    Source: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.

    Example:
        >>> import torch
        >>> user = torch.ones(1, 2)
        >>> round(bpr(user, user, torch.ones(3, 1, 2)).item(), 4)
        0.6931

    """
    return softplus(_dot(user, negatives) - _dot(user, positive)).mean()


def sampled_softmax(
    user: Tensor,
    positive: Tensor,
    negatives: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    r"""Softmax cross-entropy of the positive among itself and its negatives.

    .. math:: -\log \frac{e^{u^\top p / \tau}}{e^{u^\top p / \tau} + \sum_k e^{u^\top n_k / \tau}}

    With one negative and :math:`\tau = 1` this is :func:`bpr`.

    Args:
        user: ``(B, D)``.
        positive: ``(B, D)``.
        negatives: ``(K, B, D)``.
        temperature: :math:`\tau`, above 0.

    Returns:
        ``()``, 0 or more; log(K + 1) where no item is preferred.

    Source: Wu et al., "On the Effectiveness of Sampled Softmax Loss for Item Recommendation",
    ACM TOIS 42(4), 2024.

    Example:
        >>> import torch
        >>> user = torch.ones(1, 2)
        >>> round(sampled_softmax(user, user, torch.ones(3, 1, 2)).item(), 4)
        1.3863

    """
    preferred = _dot(user, positive) / temperature
    others = _dot(user, negatives) / temperature
    return (torch.cat([preferred[None], others]).logsumexp(0) - preferred).mean()


def alignment(user: Tensor, positive: Tensor) -> Tensor:
    r"""Squared distance of the two unit vectors of a pair, :math:`\|\hat u - \hat p\|^2`.

    Alone it is least where all vectors are one: a phase that has nothing beside it needs a
    regulariser.

    Args:
        user: ``(B, D)``.
        positive: ``(B, D)``.

    Returns:
        ``()``, in ``[0, 4]``.

    Source: Wang and Isola, ICML 2020; in recommendation, Wang et al., "Towards Representation
    Alignment and Uniformity in Collaborative Filtering" (DirectAU), KDD 2022.

    Example:
        >>> import torch
        >>> round(alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 9.0]])).item(), 4)
        2.0

    """
    return mse_loss(unit_rows(user), unit_rows(positive)) * user.shape[-1]


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)


LOSSES: dict[str, Loss] = {
    "bpr": Loss(bpr),
    "ssm": Loss(sampled_softmax, parameters=("temperature",)),
    "align": Loss(
        alignment,
        needs_negatives=False,
        # Nothing else keeps the tables apart, so the regulariser needs a larger weight.
        warm_weights={"stable_rank": 0.3},
        # With uniformity it is DirectAU.
        published_main_weights={"uniformity": 1.0},
    ),
}
