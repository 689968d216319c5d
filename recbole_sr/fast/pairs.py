"""A set of (row, item) pairs as sorted numbers: no Python sets, no users x items matrix."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["Pairs"]


class Pairs:
    """Distinct pairs of a row and an item, one int64 each, looked up by binary search.

    Args:
        rows: ``(N,)``, int64, not negative: user ids, or positions of users.
        items: ``(N,)``, int64, in ``[0, n_items)``.
        n_items: number of items, padding included.
        device: where the pairs are kept and looked up.

    Example:
        >>> import torch
        >>> known = Pairs(torch.tensor([2, 0, 2]), torch.tensor([1, 3, 1]), n_items=5)
        >>> known.contains(torch.tensor([0, 0, 2]), torch.tensor([3, 1, 1]))
        tensor([ True, False,  True])

    """

    def __init__(
        self, rows: Tensor, items: Tensor, n_items: int, device: torch.device | str = "cpu"
    ):
        self.n_items = n_items
        # numpy sorts integers several times faster than torch does.
        keys = np.unique((rows * n_items + items).cpu().numpy())
        self.keys = torch.from_numpy(keys).to(device)

    def contains(self, rows: Tensor, items: Tensor) -> Tensor:
        """Which of the given pairs are in the set: ``(N,)``, bool."""
        if not len(self.keys):
            return torch.zeros_like(rows, dtype=torch.bool)
        keys = rows * self.n_items + items
        nearest = torch.searchsorted(self.keys, keys).clamp_(max=len(self.keys) - 1)
        return self.keys[nearest] == keys

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The pairs of rows ``start`` to ``stop``, rows counted from ``start``."""
        limits = self.keys.new_tensor([start, stop]) * self.n_items
        first, last = torch.searchsorted(self.keys, limits).tolist()
        keys = self.keys[first:last]
        return keys // self.n_items - start, keys % self.n_items

    def counts(self, n_rows: int) -> Tensor:
        """Number of items of each row: ``(n_rows,)``, int64."""
        return torch.bincount(self.keys // self.n_items, minlength=n_rows)

    def without(self, other: Pairs) -> Pairs:
        """The pairs that are not in ``other``."""
        rest = object.__new__(Pairs)
        rest.n_items = self.n_items
        rest.keys = self.keys[~other.contains(self.keys // self.n_items, self.keys % self.n_items)]
        return rest
