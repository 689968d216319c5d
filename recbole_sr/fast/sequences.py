"""RecBole's rows of sequential data, a history and its next item each, without a Python loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

__all__ = ["augmented"]

_AT_ONCE = 2**16  # rows whose positions are held at a time


def augmented(theirs: Any) -> Any:
    """The method ``SequentialDataset.data_augmentation`` without a loop over interactions.

    Args:
        theirs: the method, which says what is wrong with data that have no row.

    """

    def data_augmentation(self: Any) -> None:
        users = self.inter_feat[self.uid_field]
        if len(users.unique()) == len(users):
            theirs(self)
            return
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        self.sort(by=[self.uid_field, self.time_field], ascending=True)
        starts, targets = histories(self.inter_feat[self.uid_field], self.max_item_list_len)
        rows = self.inter_feat[targets]
        lists = {self.item_list_length_field: targets - starts}
        for field in self.inter_feat:
            if field != self.uid_field:
                name = getattr(self, f"{field}_list_field")
                values = self.inter_feat[field]
                made = values.new_zeros(len(targets), self.max_item_list_len, *values.shape[1:])
                lists[name] = filled(made, values, starts, targets)
        rows.update(Interaction(lists))
        self.inter_feat = rows

    return data_augmentation


def histories(users: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Where each history begins and ends, for every interaction of a user but the first.

    Args:
        users: ``(n,)``, those of one user in sequence.
        most: items of a history; the oldest are left out.

    Returns:
        ``(N,)`` int64 twice: the position of a history's first interaction, and that of the
        interaction after its last, which is to be predicted.

    Example:
        >>> histories(torch.tensor([4, 4, 4, 7, 9, 9]), most=1)
        (tensor([0, 1, 4]), tensor([1, 2, 5]))

    """
    found = users.numpy()
    is_first = np.append(True, found[1:] != found[:-1])
    positions = np.arange(len(found))
    firsts = np.maximum.accumulate(np.where(is_first, positions, 0))
    targets = positions[~is_first]
    starts = np.maximum(firsts[~is_first], targets - most)
    return torch.from_numpy(starts), torch.from_numpy(targets)


def filled(lists: Tensor, values: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Lists of zeros, filled from the left with the values from ``starts`` up to ``ends``.

    Args:
        lists: ``(N, L, ...)``; changed.
        values: ``(n, ...)``.
        starts: ``(N,)``, int64.
        ends: ``(N,)``, int64, at most ``L`` above.

    Example:
        >>> lists, values = torch.zeros(2, 3, dtype=torch.int64), torch.tensor([5, 6, 7])
        >>> filled(lists, values, starts=torch.tensor([0, 0]), ends=torch.tensor([1, 3]))
        tensor([[5, 0, 0],
                [5, 6, 7]])

    """
    places = torch.arange(lists.shape[1])
    for part in range(0, len(lists), _AT_ONCE):
        block = slice(part, part + _AT_ONCE)
        positions = starts[block, None] + places
        inside = positions < ends[block, None]
        lists[block][inside] = values[positions[inside]]
    return lists
