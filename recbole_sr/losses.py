"""Recommendation losses on user and item vectors: pure functions, one entry each in a dictionary.

``B`` pairs of a user and an item it interacted with, each with ``K`` negative items, vectors of
``D`` dimensions. A loss is the mean over the batch, to be minimised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from recbole_sr.rows import unit_rows

__all__ = ["LOSSES", "Loss", "Similarity", "alignment", "bpr", "sampled_softmax"]

# (user, positive, negatives), or (user, positive) where no negatives are wanted
Loss = Callable[..., Tensor]
Similarity = Literal["dot", "cosine"]


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
    similarity: Similarity = "dot",
) -> Tensor:
    r"""Softmax cross-entropy of the positive among itself and its negatives.

    .. math:: -\log \frac{e^{s(u, p) / \tau}}{e^{s(u, p) / \tau} + \sum_k e^{s(u, n_k) / \tau}}

    With one negative, dot product and :math:`\tau = 1` this is :func:`bpr`.

    Args:
        user: ``(B, D)``.
        positive: ``(B, D)``.
        negatives: ``(K, B, D)``.
        temperature: :math:`\tau`, above 0.
        similarity: :math:`s`, the dot product or the cosine.

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
    if similarity == "cosine":
        user, positive, negatives = map(unit_rows, (user, positive, negatives))
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
    return (unit_rows(user) - unit_rows(positive)).square().sum(-1).mean()


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)


LOSSES: dict[str, Loss] = {"bpr": bpr, "ssm": sampled_softmax, "align": alignment}
