"""Where each RecBole model keeps its user and item representations: the registry.

A new model is one line in :data:`REPRESENTATIONS`. A model that is not listed is refused: there is
no guessing what to regularise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

from torch import Tensor, nn

from recbole_sr.errors import InputError
from recbole_sr.sentences import nearest

__all__ = ["REPRESENTATIONS", "EmbeddingTables", "ForwardOutput", "Representation", "find"]


class Representation(Protocol):
    """How to read a model's representations: ``(n_users, D)`` and ``(n_items, D)``."""

    @property
    def about(self) -> str:
        """What is regularised, in words."""

    @property
    def needs_forward(self) -> bool:
        """Whether the representations are an output of ``forward`` rather than parameters."""

    def tables(self, model: nn.Module, outputs: list[Any]) -> Mapping[str, Tensor]:
        """Both tables, by side, still attached to the graph.

        Args:
            model: the recommender.
            outputs: what its ``forward`` returned, call by call, in the current step.

        """


@dataclass(frozen=True)
class EmbeddingTables:
    """The rows of two embedding tables.

    Attributes:
        user: attribute path of the user ``nn.Embedding``.
        item: attribute path of the item ``nn.Embedding``.

    """

    user: str = "user_embedding"
    item: str = "item_embedding"
    needs_forward = False

    @property
    def about(self) -> str:
        """What is regularised, in words."""
        return f"rows of {self.user} and {self.item}"

    def tables(self, model: nn.Module, outputs: list[Any]) -> Mapping[str, Tensor]:
        """See :class:`Representation`."""
        return {
            "user": attrgetter(self.user)(model).weight,
            "item": attrgetter(self.item)(model).weight,
        }


@dataclass(frozen=True)
class ForwardOutput:
    """Two of the tensors that the first ``forward`` of a step returned: no second propagation.

    Attributes:
        user: position of the user representations in the returned tuple.
        item: position of the item representations.

    """

    user: int = 0
    item: int = 1
    needs_forward = True

    @property
    def about(self) -> str:
        """What is regularised, in words."""
        return "propagated user and item representations"

    def tables(self, model: nn.Module, outputs: list[Any]) -> Mapping[str, Tensor]:
        """See :class:`Representation`."""
        first = outputs[0]
        return {"user": first[self.user], "item": first[self.item]}


REPRESENTATIONS: dict[str, Representation] = {
    "BPR": EmbeddingTables(),
    "LightGCN": ForwardOutput(),
}


def find(model_name: str) -> Representation:
    """The registry's entry for a model.

    Raises:
        InputError: the model is not listed.

    Example:
        >>> find("LightGCN").about
        'propagated user and item representations'

    """
    if model_name in REPRESENTATIONS:
        return REPRESENTATIONS[model_name]
    raise InputError(
        f"model: expected one whose representations are known "
        f"({', '.join(REPRESENTATIONS)}), got {model_name!r}; "
        f"did you mean {nearest(model_name, REPRESENTATIONS)!r}?"
    )
