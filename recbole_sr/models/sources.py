"""Ways in which a model can hold the representations of its users or items.

A *source* reads one side, users or items, of one model. Each representation is a matrix ``(N, D)``
with one row for each id. A side may have several matrices, such as the two user tables of NeuMF;
what is computed of a side is then the mean over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import methodcaller
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from recbole_sr.errors import InputError

__all__ = [
    "PADDING",
    "Call",
    "Column",
    "Encoded",
    "Field",
    "Missing",
    "Propagated",
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
        calls: the calls of each watched module by its path; ``""`` is the model's ``forward``.
        column: where the ids of the side to read stand in ``batch``.

    """

    model: nn.Module
    batch: Any
    calls: Mapping[str, Sequence[Call]]
    column: Column


class Source:
    """How to read one side of a model.

    Attributes:
        about: what is read, in words.
        watched: paths of the modules whose calls are read; ``""`` is the model's ``forward``.
        computed: whether what is read exists only once the model's own code has calculated its
            loss.
        always: whether every epoch that trains recommendations must have given rows.
        initialized: paths of the tables that ``sr_init`` can fill; none where there are none.
        linear: whether what is read is a mean over linear layers, the tables being the first.
        whole: whether a step computes the representations of all ids, whatever its batch.
        single: whether what is read is one matrix.

    """

    about: str
    watched: tuple[str, ...] = ()
    computed = False
    always = True
    initialized: tuple[str, ...] = ()
    linear: bool = False
    whole = False
    single = True

    def vectors(self, step: Step, ids: Tensor) -> list[Tensor]:
        """The representations of these ids, still attached to the graph.

        Args:
            step: the training step, after what it reads was calculated.
            ids: ``(N,)``, int64.

        Returns:
            Matrices ``(N, D)``; none where the step has none.

        """
        return []

    def looked_up(self, step: Step, ids: Tensor) -> list[Tensor] | None:
        """The same where the model has looked up exactly this tensor; None where it has not."""
        return None

    def to_fill(self, model: nn.Module, column: Column) -> list[Tensor]:
        """The rows of all ids but padding in the tables that ``sr_init`` fills."""
        rows = slice(PADDING + 1, column.total)
        return [parameter(model, path)[rows] for path in self.initialized]

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """The rows of all ids but padding; none where only a batch has them."""
        return []


class Missing(Source):
    """A side that a model does not have.

    Args:
        why: in words.

    Example:
        >>> Missing("a user is the items of the history").about
        'none: a user is the items of the history'

    """

    always = False
    single = False

    def __init__(self, why: str):
        self.about = f"none: {why}"


class Table(Source):
    """Rows of parameters: ``nn.Embedding``, ``nn.Linear`` to one output an id, or ``nn.Parameter``.

    Args:
        paths: attribute paths from the model; an integer part is an index, as in ``decoder.-1``.
        read: path of a further table, from which the model reads the same ids as it scores by
            these; only an initialisation fills it.

    Example:
        >>> Table("user_embedding").about
        'rows of user_embedding'
        >>> Table("user_mf_embedding", "user_mlp_embedding").about
        'rows of user_mf_embedding, user_mlp_embedding'

    """

    _sign = ", "

    def __init__(self, *paths: str, read: str | None = None):
        self.paths = self.watched = paths
        self.initialized = (*paths, read) if read else paths
        self.about = f"rows of {self._sign.join(paths)}"
        self.single = len(paths) == 1

    def vectors(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        return self._joined([_look_up(resolve(step.model, path), ids) for path in self.paths])

    def looked_up(self, step: Step, ids: Tensor) -> list[Tensor] | None:
        """See :class:`Source`."""
        found = [_output_of(step.calls.get(path, ()), ids) for path in self.paths]
        known = [matrix for matrix in found if matrix is not None]
        return self._joined(known) if len(known) == len(found) else None

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        rows = [parameter(model, path)[PADDING + 1 : column.total] for path in self.paths]
        return self._joined(rows)

    def _joined(self, matrices: list[Tensor]) -> list[Tensor]:
        return matrices


class Sum(Table):
    """Sum of the rows of several tables.

    Example:
        >>> Sum("item_embedding", "entity_embedding").about
        'rows of item_embedding + entity_embedding'

    """

    _sign = " + "

    def __init__(self, *paths: str):
        super().__init__(*paths)
        self.single = True
        self.initialized = paths[:1]  # the others stay small beside the sum

    def _joined(self, matrices: list[Tensor]) -> list[Tensor]:
        return [reduce(torch.add, matrices)]


@dataclass(frozen=True)
class Field(Source):
    """The id field's rows of the table that all fields of a context-aware model share."""

    about: str
    initialized = ("token_embedding_table.embedding",)

    def to_fill(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        return self.tables(model, column)

    def vectors(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        shared: Any = step.model.token_embedding_table
        return [_look_up(shared.embedding, ids + self._first(step.model, step.column))]

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        shared: Any = model.token_embedding_table
        first = self._first(model, column)
        return [shared.embedding.weight[first + PADDING + 1 : first + column.total]]

    def _first(self, model: Any, column: Column) -> int:
        position = model.token_field_names.index(column.fields[0])
        return int(model.token_embedding_table.offsets[position])


@dataclass(frozen=True)
class Propagated(Source):
    """The representations of all ids that a step computes anyway, by propagation over a graph.

    Attributes:
        pick: the matrix ``(total, D)`` from what the module returned.
        module: path of the module; ``""`` is the model's ``forward``.
        run: the same computation for the monitor, outside a step.
        about: in words.
        initialized: paths of the tables that are propagated, where a row is a user or an
            item.
        linear: see :class:`Source`.

    Example:
        >>> Propagated(lambda users_and_items: users_and_items[0]).watched  # its forward
        ('',)

    """

    pick: Callable[[Any], Tensor]
    module: str = ""
    run: Callable[[Any], Any] = methodcaller("forward")
    about: str = "propagated"
    initialized: tuple[str, ...] = ()
    linear: bool = False
    computed = True
    whole = True

    @property
    def watched(self) -> tuple[str, ...]:  # type: ignore[override]
        """See :class:`Source`."""
        return (self.module,)

    def vectors(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        return [embedding(ids, self.pick(call.output)) for call in step.calls[self.module][:1]]

    def tables(self, model: nn.Module, column: Column) -> list[Tensor]:
        """See :class:`Source`."""
        return [self.pick(self.run(model))[PADDING + 1 : column.total]]


@dataclass(frozen=True)
class Encoded(Source):
    """Representations that a step computes row by row of its batch, so that there is no table.

    Attributes:
        pick: the matrix ``(B, D)``, or several, from the call and the step.
        about: in words.
        module: path of the module; ``""`` is the model's ``forward``.
        each: every row counts, as where each is a sequence; else the first row of each id.
        always: whether each epoch has them; S3Rec's pretraining has not.

    Example:
        >>> Encoded(lambda call, step: call.output, "output for each sequence", each=True).about
        'output for each sequence'

    """

    pick: Callable[[Call, Step], Tensor | list[Tensor]]
    about: str
    module: str = ""
    each: bool = False
    always: bool = True
    computed = True

    @property
    def watched(self) -> tuple[str, ...]:  # type: ignore[override]
        """See :class:`Source`."""
        return (self.module,)

    def vectors(self, step: Step, ids: Tensor) -> list[Tensor]:
        """See :class:`Source`."""
        calls = step.calls[self.module]
        if not calls:
            return []
        picked = self.pick(calls[0], step)
        matrices = [picked] if isinstance(picked, Tensor) else picked
        if self.each:
            return matrices
        positions = self._first_positions(step, ids)
        return [matrix[positions] for matrix in matrices]

    def _first_positions(self, step: Step, ids: Tensor) -> Tensor:
        """The first row of each id in its main field, where the others have none."""
        main, *others = (field for field in step.column.fields if field in step.batch)
        column = step.batch[main]
        order = column.argsort(stable=True)
        places = torch.searchsorted(column[order], ids).clamp(max=len(column) - 1)
        positions = order[places]
        if others:  # may hold ids that main does not
            unknown = ids[column[positions] != ids].unique()
            if len(unknown):
                raise InputError(
                    f"Encoded({self.about!r}): expected ids of the batch's {main}, whose rows the "
                    f"step computes, got {len(unknown)} that stand in {', '.join(others)} alone "
                    f"(such as {', '.join(map(str, unknown[:5].tolist()))}); read them by Table or "
                    "Propagated, or leave the side out of sr_tables"
                )
        return positions


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


def _look_up(part: Any, ids: Tensor) -> Tensor:
    """Rows of a parameter or of a module's weight.

    A table is looked up by its own ``forward``, so that whatever serves the model's lookups, as
    the fast path does, serves these too.
    """
    if isinstance(part, nn.Embedding):
        return part(ids)
    return embedding(ids, part if isinstance(part, Tensor) else part.weight)


def _output_of(calls: Sequence[Call], ids: Tensor) -> Tensor | None:
    """What a table returned for exactly this tensor of ids, unless it was changed in place."""
    for inputs, output in calls:
        if inputs and inputs[0] is ids and output.requires_grad and not output._version:
            return output.flatten(0, -2)
    return None
