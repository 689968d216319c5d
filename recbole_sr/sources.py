"""Ways in which a model can hold the representations of its users or items.

A *source* reads one side, users or items, of one model. Each representation is a matrix ``(N, D)``
with one row for each id. A side may have several matrices, such as the two user tables of NeuMF;
what is computed of a side is then the mean over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from recbole_sr.errors import InputError
from recbole_sr.fast.optimizer import look_up

__all__ = [
    "PADDING",
    "Call",
    "Column",
    "Encoded",
    "Field",
    "Missing",
    "Propagated",
    "Representations",
    "Source",
    "Step",
    "Sum",
    "Table",
    "parameter",
    "resolve",
]

PADDING = 0  # RecBole keeps id 0 of users and items for padding; its row is never trained


class Column(NamedTuple):
    """Where a side's ids stand in a batch.

    Attributes:
        fields: names of the batch's fields that hold ids of the side, the main one first.
        total: how many ids there are, padding included.

    """

    fields: tuple[str, ...]
    total: int


class Call(NamedTuple):
    """What a module was given, by position, and what it returned."""

    inputs: tuple[Any, ...]
    output: Any


@dataclass(frozen=True)
class Step:
    """What one training step offers to read from.

    Attributes:
        model: the recommender.
        batch: RecBole's ``Interaction``.
        calls: the first call of each watched module by its path; ``""`` is the model's ``forward``.
        column: where the ids of the side to read stand in ``batch``.

    """

    model: nn.Module
    batch: Any
    calls: Mapping[str, Call]
    column: Column


class Source(Protocol):
    """How to read one side of a model."""

    @property
    def about(self) -> str:
        """What is read, in words."""

    @property
    def module(self) -> str | None:
        """Path of the module whose call is read: ``""`` is the model itself, None means none."""

    @property
    def always(self) -> bool:
        """Whether every epoch that trains recommendations must have given rows."""

    @property
    def start(self) -> tuple[str, ...]:
        """Paths of the tables that ``sr_init: spectral`` can start; none where there are none."""

    def rows(self, step: Step, ids: Tensor) -> list[Tensor]:
        """The rows of these ids, still attached to the graph.

        Args:
            step: the training step, after what it reads was calculated.
            ids: ``(N,)``, int64.

        """

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """The rows of all ids but padding; none where only a batch has them."""


@dataclass(frozen=True)
class Missing:
    """A side that a model does not have.

    Attributes:
        why: in words.

    """

    why: str
    module = None
    always = False
    start = ()

    @property
    def about(self) -> str:
        """See :class:`Source`."""
        return f"none: {self.why}"

    def rows(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        return []

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        return []


class Table:
    """Rows of parameters: ``nn.Embedding``, ``nn.Linear`` to one output an id, or ``nn.Parameter``.

    Args:
        paths: attribute paths from the model; an integer part is an index, as in ``decoder.-1``.

    Example:
        >>> Table("user_embedding").about
        'rows of user_embedding'
        >>> Table("user_mf_embedding", "user_mlp_embedding").about
        'rows of user_mf_embedding, user_mlp_embedding'

    """

    module = None
    always = True
    _joint = ", "

    def __init__(self, *paths: str):
        self.paths = paths

    @property
    def about(self) -> str:
        """See :class:`Source`."""
        return f"rows of {self._joint.join(self.paths)}"

    @property
    def start(self) -> tuple[str, ...]:
        """See :class:`Source`."""
        return self.paths

    def rows(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        return [look_up(weight, ids) for weight in self._weights(step.model)]

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        return [weight[PADDING + 1 : column.total] for weight in self._weights(model)]

    def _weights(self, model: nn.Module) -> list[Tensor]:
        return [parameter(model, path) for path in self.paths]


class Sum(Table):
    """Sum of the rows of several tables.

    Example:
        >>> Sum("item_embedding", "entity_embedding").about
        'rows of item_embedding + entity_embedding'

    """

    _joint = " + "

    @property
    def start(self) -> tuple[str, ...]:
        """The first: the sum is what starts, and the others stay small beside it."""
        return self.paths[:1]

    def rows(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        return [reduce(torch.add, super().rows(step, ids))]

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        return [reduce(torch.add, super().tables(model, column))]


@dataclass(frozen=True)
class Field:
    """The id field's rows of the table that all fields of a context-aware model share."""

    about: str
    module = None
    always = True
    start = ()

    def rows(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        return [look_up(self._table(step.model, step.column), ids)]

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        return [self._table(model, column)[PADDING + 1 :]]

    def _table(self, model: Any, column: Column) -> Tensor:
        shared = model.token_embedding_table
        start = int(shared.offsets[model.token_field_names.index(column.fields[0])])
        return shared.embedding.weight[start : start + column.total]


def _forward(model: Any) -> Any:
    return model.forward()


@dataclass(frozen=True)
class Propagated:
    """The representations of all ids that a step computes anyway, by propagation over a graph.

    Attributes:
        pick: the matrix ``(total, D)`` from what the module returned.
        module: path of the module; ``""`` is the model's ``forward``.
        run: the same computation for the monitor, outside a step.
        about: in words.
        start: paths of the tables that are propagated, where a row is a user or an item.
        linear: whether it is a mean over linear layers, the tables themselves being the first.

    """

    pick: Callable[[Any], Tensor]
    module: str = ""
    run: Callable[[Any], Any] = _forward
    about: str = "propagated"
    start: tuple[str, ...] = ()
    linear: bool = False
    always = True

    def rows(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        return [look_up(self.pick(step.calls[self.module].output), ids)]

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        return [self.pick(self.run(model))[PADDING + 1 : column.total]]


@dataclass(frozen=True)
class Encoded:
    """Representations that a step computes row by row of its batch, so that there is no table.

    Attributes:
        pick: the matrix ``(B, D)``, or several, from the call and the step.
        about: in words.
        module: path of the module; ``""`` is the model's ``forward``.
        each: every row counts, as where each is a sequence; else the first row of each id.
        always: whether each epoch has them; S3Rec's pretraining has not.

    """

    pick: Callable[[Call, Step], Tensor | list[Tensor]]
    about: str
    module: str = ""
    each: bool = False
    always: bool = True
    start = ()

    def rows(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        if self.module not in step.calls:
            return []
        picked = self.pick(step.calls[self.module], step)
        matrices = [picked] if isinstance(picked, Tensor) else picked
        if self.each:
            return matrices
        positions = _first_positions(step.batch[step.column.fields[0]], ids)
        return [matrix[positions] for matrix in matrices]

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        return []


@dataclass(frozen=True)
class Representations:
    """Where one model keeps its representations.

    Attributes:
        user: source of the user side.
        item: source of the item side.
        loss: path of the module that is called once a step and returns the recommendation loss, a
            function of the dot products of these representations alone, so that ``sr_loss`` can
            take its place; None where a model has no such module.
        sole_loss: whether a step calculates nothing but that loss, and from tables. Where another
            takes its place the model's own code then does not run: nobody would use its scores.
        summed: whether the model's loss is a sum over the rows of its batch, not their mean, or a
            function of the model that says so, where its stages differ. The penalty is then that
            many times as large, so that a weight counts as much as in any other model.
        layers: paths of the linear layers between the tables and the score, which a spectral start
            lets pass on what enters, instead of mixing it at random.
        note: what else a user of the model must know.
        needs: settings that this entry is right for, as name and permitted value.

    Raises:
        InputError: ``sole_loss`` beside a source that reads what the model's code calculates.

    Example:
        >>> Representations(Table("user_embedding"), Table("item_embedding")).side("user").about
        'rows of user_embedding'

    """

    user: Source
    item: Source
    loss: str | None = None
    sole_loss: bool = False
    summed: bool | Callable[[Any], bool] = False
    layers: tuple[str, ...] = ()
    note: str = ""
    needs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.sole_loss and not self.user.module is self.item.module is None:
            raise InputError(
                "sole_loss: expected False where a source reads what the model's code calculates, "
                f"got True with users from {self.user.about} and items from {self.item.about}; "
                "drop it"
            )

    def side(self, name: str) -> Source:
        """The source of ``user`` or ``item``."""
        return self.user if name == "user" else self.item

    def terms(self, model: nn.Module, batch: Any) -> int:
        """How many terms of a batch the model's loss adds up; 1 where it is their mean."""
        summed = self.summed(model) if callable(self.summed) else self.summed
        return len(batch) if summed else 1

    def check(self, settings: Any, sides: Sequence[str]) -> None:
        """Refuse settings that leave nothing to regularise.

        Args:
            settings: RecBole's ``Config`` or a dictionary of it.
            sides: the value of ``sr_tables``.

        Raises:
            InputError: every named side is missing, or a setting is not the one needed.

        """
        if all(isinstance(self.side(name), Missing) for name in sides):
            (other,) = {"user", "item"} - set(sides)
            raise InputError(
                f"sr_tables: expected a side that {settings['model']} has, got {list(sides)} "
                f"({self.side(sides[0]).about}); set sr_tables: [{other}]"
            )
        for key, value in self.needs.items():
            if settings[key] != value:
                raise InputError(
                    f"{key}: expected {value!r}, for which the representations of "
                    f"{settings['model']} are known, got {settings[key]!r}; set {key}: {value}"
                )

    def check_target(self, model: str, target: Any) -> None:
        """Refuse a rank to hold on a side that the model does not have.

        Args:
            model: its name.
            target: the value of ``sr_target_rank``; a number is for the sides that there are.

        Raises:
            InputError: names the side.

        """
        for side in target if isinstance(target, Mapping) else ():
            if isinstance(self.side(side), Missing):
                raise InputError(
                    f"sr_target_rank: expected a side that {model} has, got {side!r} "
                    f"({self.side(side).about}); drop it"
                )


def resolve(model: nn.Module, path: str) -> Any:
    """The part of a model at an attribute path.

    Example:
        >>> import torch
        >>> resolve(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh()), "-1")
        Tanh()

    """
    part: Any = model
    for name in path.split(".") if path else ():
        part = part[int(name)] if name.lstrip("-").isdigit() else getattr(part, name)
    return part


def parameter(model: nn.Module, path: str) -> Tensor:
    """The parameter at an attribute path, or the weight of the module there."""
    part = resolve(model, path)
    return part if isinstance(part, Tensor) else part.weight


def _first_positions(column: Tensor, ids: Tensor) -> Tensor:
    order = column.argsort(stable=True)
    return order[torch.searchsorted(column[order], ids)]
