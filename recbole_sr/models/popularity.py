"""Scores by the cosine of user and item, and by how popular the item is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from recbole_sr.models.sources import PADDING, Column
from recbole_sr.objectives.rows import unit_rows

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import AbstractRecommender as _Model
else:
    _Model = object

__all__ = ["PopularityScores", "log_popularity", "popularity_weight", "with_popularity"]


def popularity_weight(loss: str, weight: float) -> float:
    """The weight of popularity in the scores: 0 with a loss that is none of cosines.

    Args:
        loss: the key ``sr_loss``.
        weight: the key ``sr_popularity``.

    Example:
        >>> popularity_weight("align", 0.1), popularity_weight("bpr", 0.1)
        (0.1, 0.0)

    """
    return weight if loss == "align" else 0.0


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


class PopularityScores(_Model):
    """Mixin: with ``sr_popularity`` a model scores by cosines and popularity."""

    # A class attribute, so that a model without it carries nothing of ours.
    sr_popularity: Tensor | None = None
    sr_columns: dict[str, Column]  # this and the next are RegularizedModel's
    sr_tables: Callable[[], dict[str, list[Tensor]]]

    def __init__(self, config: Any, dataset: Any):
        super().__init__(config, dataset)
        weight = popularity_weight(config["sr_loss"], config["sr_popularity"])
        if weight:
            self.sr_popularity = weight * log_popularity(dataset, self.sr_columns["item"])

    def sr_scoring_tables(self) -> dict[str, list[Tensor]]:
        """The tables by which the model scores; with ``sr_popularity`` by their dot products."""
        tables = self.sr_tables()
        return tables if self.sr_popularity is None else with_popularity(tables, self.sr_popularity)

    def predict(self, interaction: Any) -> Any:
        """The model's scores of pairs, or those of ``sr_popularity``."""
        if self.sr_popularity is None:
            return super().predict(interaction)
        user, item = self._sr_vectors()
        users, items = (interaction[column.fields[0]] for column in self.sr_columns.values())
        return (user[users] * item[items]).sum(-1)

    def full_sort_predict(self, interaction: Any) -> Any:
        """As :meth:`predict`, of all items."""
        if self.sr_popularity is None:
            return super().full_sort_predict(interaction)
        user, item = self._sr_vectors()
        return (user[interaction[self.sr_columns["user"].fields[0]]] @ item.T).flatten()

    def train(self, mode: bool = True) -> Any:
        """RecBole's; what is trained next has other vectors."""
        self._sr_forget()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """RecBole's; what is loaded has other vectors."""
        self._sr_forget()
        return super().load_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        """torch's, as of a move to another device."""
        self._sr_forget()
        return super()._apply(*args, **kwargs)

    def _sr_vectors(self) -> tuple[Tensor, Tensor]:
        """The scoring tables, with rows of padding; made once an evaluation."""
        found: tuple[Tensor, Tensor] | None = self.__dict__.get("_sr_found")
        if found is None:
            (user,), (item,) = self.sr_scoring_tables().values()
            found = (pad(user, (0, 0, 1, 0)), pad(item, (0, 0, 1, 0)))
            if not (self.training or torch.is_grad_enabled()):
                self.__dict__["_sr_found"] = found
        return found

    def _sr_forget(self) -> None:
        self.__dict__.pop("_sr_found", None)
