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

__all__ = [
    "REPRESENTATIONS",
    "EmbeddingTables",
    "ForwardOutput",
    "Representation",
    "find",
    "find_loss",
]


class Representation(Protocol):
    """How to read a model's representations: ``(n_users, D)`` and ``(n_items, D)``."""

    @property
    def about(self) -> str:
        """What is regularised, in words."""

    @property
    def needs_forward(self) -> bool:
        """Whether the representations are an output of ``forward`` rather than parameters."""

    @property
    def loss(self) -> str | None:
        """Path of the module that returns the recommendation loss, or None where it has company.

        It is called once a step, and what it returns depends on the dot products of the
        representations alone, so that ``sr_loss`` can take its place.
        """

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
        loss: see :class:`Representation`.

    """

    user: str = "user_embedding"
    item: str = "item_embedding"
    loss: str | None = None
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
        loss: see :class:`Representation`.

    """

    user: int = 0
    item: int = 1
    loss: str | None = None
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
    "BPR": EmbeddingTables(loss="loss"),
    "LightGCN": ForwardOutput(loss="mf_loss"),
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


def find_loss(model_name: str) -> str:
    """Path of the module whose recommendation loss ``sr_loss`` can replace.

    Raises:
        InputError: the model is not listed, or its loss cannot be split.

    Example:
        >>> find_loss("LightGCN")
        'mf_loss'

    """
    path = find(model_name).loss
    if path is None:
        able = [name for name, where in REPRESENTATIONS.items() if where.loss is not None]
        raise InputError(
            f"sr_loss: expected 'model' for {model_name}, whose recommendation loss cannot be told "
            f"from its other losses; keep sr_loss: model, or use one of {', '.join(able)}"
        )
    return path
