"""Negative items for a batch of users at once, from the distributions RecBole draws from."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_sr.errors import InputError
from recbole_sr.fast.pairs import Pairs

__all__ = [
    "NegativeSampler",
    "popularity_weights",
    "refuse_endless_draws",
    "refuse_without_negatives",
]

_LEAST_SHARE = 1e-4  # of all proposals, that is not an item the user has


class NegativeSampler:
    """Draws items a user is not known to like.

    An item that is a known positive is drawn again, so what remains is the distribution itself,
    restricted to the others, as in RecBole's ``Sampler``.

    Args:
        positives: the pairs that may not be drawn; rows are user ids.
        n_users: number of users, padding included.
        weights: ``(n_items,)``, how often each item is proposed, in any scale; None for the same
            weight for every item but padding.

    Raises:
        InputError: a user has no item left to draw, or hardly ever draws another than those it has.

    Example:
        >>> import torch
        >>> known = Pairs(torch.tensor([1, 1]), torch.tensor([1, 3]), n_items=5)
        >>> draws = NegativeSampler(known, n_users=2).draw(torch.ones(100, dtype=torch.long))
        >>> draws.unique()
        tensor([2, 4])

    """

    def __init__(self, positives: Pairs, n_users: int, weights: Tensor | None = None):
        self.positives = positives
        self.cumulative = None
        available = positives.n_items - 1
        if weights is not None:
            cumulative = weights.double().cumsum(0)
            self.cumulative = (cumulative / cumulative[-1]).to(positives.keys.device)
            available = int((weights > 0).sum())
        refuse_without_negatives(positives, n_users, available)
        if weights is not None:
            refuse_endless_draws(positives, n_users, weights)

    def draw(self, users: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One item for each user id, ``(N,)``, int64, by a generator on the same device."""
        items = self._propose(len(users), generator)
        rejected = self.positives.contains(users, items).nonzero().squeeze(1)
        while len(rejected):
            items[rejected] = proposed = self._propose(len(rejected), generator)
            rejected = rejected[self.positives.contains(users[rejected], proposed)]
        return items

    def _propose(self, count: int, generator: torch.Generator | None) -> Tensor:
        device = self.positives.keys.device
        if self.cumulative is None:
            high = self.positives.n_items
            return torch.randint(1, high, (count,), generator=generator, device=device)
        points = torch.rand(count, dtype=torch.float64, generator=generator, device=device)
        return torch.searchsorted(self.cumulative, points, right=True)


def refuse_without_negatives(positives: Pairs, n_users: int, available: int) -> None:
    """Stop where a user has every item that is available.

    Raises:
        InputError: says so, as RecBole's ``Sampler`` does.

    """
    if int(positives.counts(n_users).max()) >= available:
        raise InputError(
            "train_neg_sample_args: expected items that a user has not interacted with, got a "
            "user with none left to sample; filter such users with user_inter_num_interval"
        )


def refuse_endless_draws(positives: Pairs, n_users: int, weights: Tensor) -> None:
    """Stop where nearly all that is proposed to a user are items that it has.

    Args:
        positives: the pairs that may not be drawn; rows are user ids.
        n_users: number of users, padding included.
        weights: ``(n_items,)``, how often each item is proposed, in any scale.

    Raises:
        InputError: says so, or that the weights are no finite numbers.

    """
    shares = (weights.double() / weights.double().sum()).to(positives.keys.device)
    users, items = positives.between(0, n_users)
    known = torch.zeros(n_users, dtype=torch.float64, device=shares.device)
    known.index_add_(0, users, shares[items])
    if not float(known.max()) <= 1 - _LEAST_SHARE:  # a share of infinite weights is NaN
        raise InputError(
            "train_neg_sample_args (alpha): expected an exponent by which each user draws items "
            "that it does not have, got one by which nearly all draws of a user are items that it "
            "has; give one nearer to 0, or distribution: uniform"
        )


def popularity_weights(items: Tensor, n_items: int, alpha: float) -> Tensor:
    """How often each item occurs, to the power ``alpha``: RecBole's ``popularity``.

    Args:
        items: ``(N,)``, int64, the item of every interaction.
        n_items: number of items, padding included.
        alpha: the exponent.

    Returns:
        ``(n_items,)``, float64; 0 for items that never occur.

    """
    counts = torch.bincount(items, minlength=n_items).double()
    return torch.where(counts > 0, counts.pow(alpha), 0.0)
