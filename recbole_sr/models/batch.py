"""A training batch as a phase sees it: the model's loss, and representations looked up once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_sr.models.columns import Columns
from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.share import Share
from recbole_sr.models.sources import PADDING, Call, Step, resolve
from recbole_sr.objectives.peers import NO_PEERS, Peers
from recbole_sr.recbole_compat.classes import overridden

__all__ = ["ModelBatch"]


class ModelBatch:
    """The :class:`~recbole_sr.objectives.phase.Batch` of a RecBole model.

    What the model's own loss has looked up is used again for pairs and penalties, and so is what
    the phase has looked up itself: no vector of the batch is gathered twice.

    Args:
        model: with the method.
        entry: the model's.
        interaction: RecBole's batch.
        own_loss: calculates the model's loss from the batch.
        share: what of the batch's rows is this process's; None where it has all of them.
        columns: what of the tables is this process's; None where it has all of them.
        index: how many batches of the epoch came before.

    Attributes:
        index: the same.
        regularized: the sides whose rows were read.

    """

    def __init__(
        self,
        model: Any,
        entry: ModelEntry,
        interaction: Any,
        own_loss: Callable[[Any], Any],
        share: Share | None = None,
        columns: Columns | None = None,
        index: int = 0,
    ):
        self.index = index
        self._model = model
        self._entry = entry
        self._share, self._columns = share, columns
        self._whole = interaction
        self._interaction = share.interaction if share else interaction
        self._own_loss = own_loss
        self._vectors: dict[str, list[Tensor]] = {}
        self._drawn: Tensor | None = None
        watched = {*entry.user.watched, *entry.item.watched}
        self.calls: dict[str, list[Call]] = {path: [] for path in watched}
        self.regularized: list[str] = []

    @property
    def terms(self) -> int:
        """See :class:`~recbole_sr.objectives.phase.Batch`."""
        return self._entry.terms(self._model, self._whole)

    @property
    def peers(self) -> Peers:
        """See :class:`~recbole_sr.objectives.phase.Batch`."""
        return self._share or NO_PEERS

    def model_loss(self, replacement: Callable[[], Tensor] | None = None) -> Any:
        """See :class:`~recbole_sr.objectives.phase.Batch`."""
        if replacement:  # before anything else is drawn, so that all processes draw alike
            self._drawn = self._negatives_of_the_batch()
        calculate = partial(self._calculate, replacement)
        if self._columns:
            with self._columns.summing(self._model, None if replacement else self._entry.loss):
                return calculate()
        if self._share is None:
            return calculate()
        by_rows = not (self._entry.user.whole and self._entry.item.whole)
        return self._share.own_loss(self._model, calculate, by_rows)

    def _calculate(self, replacement: Callable[[], Tensor] | None) -> Any:
        if replacement is None:
            return self._own_loss(self._interaction)
        if self._entry.sole_loss:
            return replacement()
        with self._replacing_loss(replacement):
            return self._own_loss(self._with_negatives())

    def pairs(self) -> tuple[Tensor, Tensor]:
        """See :class:`~recbole_sr.objectives.phase.Batch`."""
        user, item = (self._only(self._id_field(side), side) for side in ("user", "item"))
        return self._joined(user), self._joined(item)

    def negatives(self) -> Tensor:
        """See :class:`~recbole_sr.objectives.phase.Batch`."""
        if self._drawn is None:
            vectors = self._joined(self._only(self._model.NEG_ITEM_ID, "item"))
            return vectors.unflatten(0, (self._model.sr_negatives, -1))
        (vectors,) = self._entry.item.vectors(self._step("item"), self._drawn.flatten())
        return self._joined(vectors).unflatten(0, self._drawn.shape)

    def rows(
        self, sides: Sequence[str], choose: Callable[[Tensor], Tensor]
    ) -> dict[str, list[Tensor]]:
        """See :class:`~recbole_sr.objectives.phase.Batch`."""
        found = {side: self._side(side, choose) for side in sides}
        rows = {side: matrices for side, matrices in found.items() if matrices}
        self.regularized = list(rows)
        return rows

    def encoded(self, side: str) -> list[Tensor]:
        """The representations ``(B, D)`` of a side that were calculated last, a row each."""
        last = {path: calls[-1:] for path, calls in self.calls.items()}
        step = replace(self._step(side), calls=last)
        return self._entry.side(side).vectors(step, self._interaction[self._id_field(side)])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what the modules that the sources read are given and return."""
        with ExitStack() as hooks:
            for path, calls in self.calls.items():
                module = resolve(self._model, path) if path else None
                if isinstance(module, nn.Module):  # a parameter is not called
                    hooks.enter_context(module.register_forward_hook(partial(_keep, calls)))
            yield

    def _only(self, field: str, side: str) -> Tensor:
        """The vectors of a field's ids, ``(B, D)``, of a side that has one table."""
        vectors = self._known(field, side)
        if not vectors:
            ids = self._ids(field).flatten()
            vectors = self._entry.side(side).vectors(self._step(side), ids)
            self._vectors[field] = vectors
        (only,) = vectors
        return only

    def _known(self, field: str, side: str) -> list[Tensor] | None:
        """The vectors of a field's ids where the model, or the phase, has looked them up."""
        if field not in self._vectors:
            ids = self._interaction[field]
            found = self._entry.side(side).looked_up(self._step(side), ids)
            if not found:
                return None
            count = self._ids(field).numel()
            self._vectors[field] = [matrix[:count] for matrix in found]
        return self._vectors[field]

    def _negatives_of_the_batch(self) -> Tensor | None:
        """Ids ``(K, B)`` of items of the whole batch, drawn for the pairs of this process."""
        count = self._model.sr_batch_negatives
        if not count:
            return None
        items = self._whole[self._id_field("item")]
        drawn = items[torch.randint(len(items), (count, len(items)), device=items.device)]
        return self._share.of_pairs(drawn) if self._share else drawn

    def _ids(self, field: str, batch: Any = None) -> Tensor:
        """A field's ids in this process's part of the batch, or in another batch, each pair once.

        RecBole repeats a batch of B pairs once for each of K negatives: the pairs are its first B
        rows, and the negatives of pair i are at i, i + B, i + 2 B, ...
        """
        ids: Tensor = (self._interaction if batch is None else batch)[field]
        pairwise = getattr(self._model, "NEG_ITEM_ID", None) in self._interaction
        if pairwise and field in (self._id_field("user"), self._id_field("item")):
            ids = ids[: len(ids) // max(self._model.sr_negatives, 1)]
        return ids

    def _id_field(self, side: str) -> str:
        """The main field of a side; a context-aware model of RecBole has no ``USER_ID``."""
        return self._model.sr_columns[side].fields[0]

    def _side(self, side: str, choose: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The trainable rows of a side that the phase chooses."""
        if self._id_field("user") not in self._interaction:
            return []
        step, source = self._step(side), self._entry.side(side)
        fields = [name for name in step.column.fields if name in self._interaction]
        if not fields:  # users alone: the loss ranges over all items
            device = self._interaction[self._id_field("user")].device
            everything = torch.arange(PADDING + 1, step.column.total, device=device)
            chosen = choose(everything)
            if self._share:
                chosen = chosen[self._share.own(side, self._share.evenly(chosen))]
            found = source.vectors(step, chosen)
        else:
            ids = torch.cat([self._ids(field).flatten() for field in fields])
            chosen = self._chosen(side, fields, ids, choose)
            known = [self._known(field, side) or [] for field in fields]
            if all(known):
                parts = zip(*known, strict=True)
                found = [torch.cat(part).index_select(0, chosen) for part in parts]
            else:
                found = source.vectors(step, ids[chosen])
        return [self._joined(matrix) for matrix in found if matrix.requires_grad]

    def _joined(self, x: Tensor) -> Tensor:
        """With all columns of the tables."""
        return self._columns.joined(x) if self._columns else x

    def _chosen(
        self, side: str, fields: Sequence[str], ids: Tensor, choose: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Positions in ``ids``, those of the fields, of the distinct ids that the phase chooses.

        Of several processes, each has those ids whose first occurrence in the batch is its own.
        """
        if self._share is None:
            return choose(_distinct(ids))
        of_all = [self._ids(field, self._whole) for field in fields]
        owners = torch.cat([self._share.owners(values) for values in of_all])
        chosen = choose(_distinct(torch.cat([values.flatten() for values in of_all])))
        mine = chosen[self._share.own(side, owners[chosen])]
        return (self._share.is_own(owners).cumsum(0) - 1)[mine]

    def _step(self, side: str) -> Step:
        return Step(self._model, self._interaction, self.calls, self._model.sr_columns[side])

    @contextmanager
    def _replacing_loss(self, replacement: Callable[[], Tensor]) -> Iterator[None]:
        """Let the module of the recommendation loss return the replacement instead of its own."""
        path: Any = self._entry.loss
        module = resolve(self._model, path)
        losses: list[Tensor] = []

        def forward(*_: Any) -> Tensor:
            losses.append(replacement())
            return losses[-1]

        with overridden(module, forward=forward):
            yield
        if len(losses) != 1:
            raise RuntimeError(
                f"{type(self._model).__name__}: expected one call of {path} a step, got "
                f"{len(losses)}; its registry entry names the wrong module"
            )

    def _with_negatives(self) -> Any:
        """The batch as the model's code expects it: padding for negatives that nobody sampled.

        Its auxiliary losses then see the padding item, whose row is never recommended.
        """
        model, interaction = self._model, self._interaction
        if model.NEG_ITEM_ID in interaction:
            return interaction
        padding = torch.full_like(interaction[self._id_field("item")], PADDING)
        return Interaction({**interaction.interaction, model.NEG_ITEM_ID: padding})


def _distinct(ids: Tensor) -> Tensor:
    """Positions of the first occurrence of each id, in the order of ids, padding excluded."""
    values, order = ids.sort(stable=True)
    first = torch.ones_like(values, dtype=torch.bool)
    first[1:] = values[1:] != values[:-1]
    return order[first & (values != PADDING)]


def _keep(calls: list[Call], module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    calls.append(Call(inputs, output))
