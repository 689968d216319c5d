"""Scores by the cosine of user and item, and by how popular the item is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recbole_sr.models.sources import PADDING, Column
from recbole_sr.objectives.rows import unit_rows

__all__ = ["log_popularity", "with_popularity"]


def log_popularity(dataset: Any, column: Column) -> Tensor:
    """The logarithm of each item's training interactions, of at least one: ``(M,)``, float32.

    Args:
        dataset: RecBole's, of the training interactions.
        column: of the items; padding is left out.

    """
    items = dataset.inter_feat[column.fields[0]]
    return items.bincount(minlength=column.total)[PADDING + 1 :].clamp(min=1).float().log()


def with_popularity(tables: Mapping[str, list[Tensor]], added: Tensor) -> dict[str, list[Tensor]]:
    r"""Tables whose dot products are cosines plus a number for each item.

    A loss of cosines alone, as alignment with uniformity, learns which items go with a user beyond
    their popularity, :math:`\log p(i \mid u) - \log p(i)` up to a factor. What is added gives it
    back.

    Args:
        tables: ``(N, D)`` of ``user`` and ``(M, D)`` of ``item``.
        added: ``(M,)``.

    Returns:
        ``(N, D + 1)`` and ``(M, D + 1)``.

    Source: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, where it is taken
    away to rank rare classes as often as others.

    Example:
        >>> tables = {"user": [torch.tensor([[2.0, 0.0]])], "item": [torch.tensor([[3.0, 0.0]])]}
        >>> user, item = with_popularity(tables, torch.tensor([0.5])).values()
        >>> (user[0] @ item[0].T).item()
        1.5

    """
    (user,), (item,) = tables["user"], tables["item"]
    columns = {"user": (user, user.new_ones(len(user))), "item": (item, added.to(item))}
    return {
        side: [torch.cat([unit_rows(table), column.unsqueeze(1)], dim=1)]
        for side, (table, column) in columns.items()
    }
