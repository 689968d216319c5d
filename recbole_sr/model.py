"""The method inside a RecBole model: its loss, or the phase's, plus the phase's penalty."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_sr import representation
from recbole_sr.losses import Loss, alignment
from recbole_sr.objective import Phase
from recbole_sr.repairs import repaired
from recbole_sr.snapshot import as_before
from recbole_sr.sources import PADDING, Call, Column, Representations, Step, resolve
from recbole_sr.spectral import stable_rank
from recbole_sr.subclass import subclass

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import AbstractRecommender as _Model
else:
    _Model = object

__all__ = ["columns", "inject", "stable_ranks", "whole_tables"]

_SIDES = ("user", "item")


def inject(model_class: type) -> Any:
    """A subclass of a RecBole model that a phase can regularise.

    It adds no parameters, no buffers and no random draws; without a phase it *is* the model.

    Args:
        model_class: a model of the registry, such as ``recbole.model.general_recommender.BPR``, or
            a class of your own with the class method ``sr_representations``.

    Returns:
        The class, always the same for the same argument; it and its instances pickle.

    Raises:
        InputError: nothing says where the model's representations are.

    Example:
        >>> from recbole.model.general_recommender import BPR
        >>> inject(BPR).__name__, issubclass(inject(BPR), BPR)
        ('BPR', True)

    """
    representation.find(model_class)
    return subclass(RegularizedModel, repaired(model_class))


class RegularizedModel(_Model):
    """Mixin: gives the model's loss the phase's loss, alignment and penalty."""

    # Class attributes, so that a model outside a phase carries nothing of ours: it deep-copies,
    # pickles and saves as RecBole's does.
    sr_phase: Phase | None = None
    sr_sides: Sequence[str] = _SIDES
    sr_seen: Counter[str]
    _sr_calls: dict[str, Call] | None = None

    def __init__(self, config: Any, dataset: Any):
        super().__init__(config, dataset)
        self.sr_columns = columns(config, dataset)

    @contextmanager
    def sr_regularized(self, phase: Phase, sides: Sequence[str]) -> Iterator[None]:
        """Regularise by ``phase`` every loss calculated inside the ``with`` block.

        Args:
            phase: what to add.
            sides: which of ``user`` and ``item`` are regularised, where the model has them.

        Raises:
            RuntimeError: at the end, if the phase is active and a side was never regularised,
                unless all batches were of a knowledge graph.

        """
        self.sr_phase, self.sr_sides, self.sr_seen = phase, sides, Counter()
        try:
            yield
            if phase.regularizes:
                self._sr_check(phase)
        finally:
            del self.sr_phase, self.sr_sides, self.sr_seen

    def calculate_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """RecBole's loss with the phase's in place of its recommendation loss, plus the penalty.

        The pairs' alignment and the penalty are added to the first part; a model's other losses
        stay as they are.
        """
        return self._sr_loss(super().calculate_loss, interaction, *args, **kwargs)

    def calculate_rs_loss(self, interaction: Any) -> Any:
        """MKR's name for ``calculate_loss``."""
        return self._sr_loss(super().calculate_rs_loss, interaction)

    def calculate_kg_loss(self, interaction: Any) -> Any:
        """RecBole's loss of knowledge-graph triples, which name no users: nothing is added."""
        if self.sr_phase is not None:
            self.sr_seen["knowledge graph"] += 1
        return super().calculate_kg_loss(interaction)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """RecBole's forward; its first call is kept while a loss is being calculated.

        A hook would not do: RecBole calls ``self.forward()``, which runs no hooks.
        """
        output = super().forward(*args, **kwargs)
        if self._sr_calls is not None:
            self._sr_calls.setdefault("", Call(args, output))
        return output

    def load_other_parameter(self, para: Mapping[str, Any] | None) -> None:
        """RecBole's, except that each value becomes the kind it was, where the model computes."""
        place = next(self.parameters()).device
        found = {
            name: as_before(getattr(self, name, None), value, place)
            for name, value in (para or {}).items()
        }
        super().load_other_parameter(found)

    def sr_tables(self) -> dict[str, list[Tensor]]:
        """See :func:`whole_tables`."""
        return whole_tables(self, self.sr_columns)

    def sr_stable_rank(self) -> dict[str, float]:
        """Stable rank of each side's whole table; the mean where a side has several."""
        return stable_ranks(self.sr_tables())

    def sr_width(self) -> dict[str, int]:
        """The narrowest of each side's tables, above which no stable rank can be."""
        return {side: min(x.shape[-1] for x in tables) for side, tables in self.sr_tables().items()}

    def _sr_loss(self, loss_of: Callable[..., Any], interaction: Any, *args: Any, **kw: Any) -> Any:
        phase = self.sr_phase
        if phase is None or not phase.active:
            return loss_of(interaction, *args, **kw)
        with self._sr_watching() as calls:
            if phase.loss is None:
                loss = loss_of(interaction, *args, **kw)
            else:
                ours = partial(
                    self._sr_replacement, phase.loss, phase.negatives, interaction, calls
                )
                if representation.find(type(self)).sole_loss:
                    loss = ours()
                else:
                    with self._sr_replacing_loss(ours):
                        loss = loss_of(self._sr_with_negatives(interaction), *args, **kw)
        # What sr_loss puts in its place is a mean.
        terms = 1 if phase.loss else representation.find(type(self)).terms(self, interaction)
        if phase.alignment:
            aligned = alignment(*self._sr_pairs(phase.negatives, interaction, calls))
            loss = _add(loss, terms * phase.alignment * aligned)
        rows = self._sr_rows(phase, interaction, calls) if phase.regularizes else {}
        self.sr_seen.update(["recommendation", *rows])
        return _add(loss, terms * _penalty(phase, rows)) if rows else loss

    @contextmanager
    def _sr_replacing_loss(self, ours: Callable[[], Tensor]) -> Iterator[None]:
        """Let the module of the recommendation loss return ``ours`` instead of its own."""
        path = representation.find_loss(type(self))
        module = resolve(self, path)
        losses: list[Tensor] = []

        def replacement(*_: Any) -> Tensor:
            losses.append(ours())
            return losses[-1]

        module.forward = replacement
        try:
            yield
        finally:
            del module.forward
        if len(losses) != 1:
            raise RuntimeError(
                f"{type(self).__name__}: expected one call of {path} a step, got {len(losses)}; "
                "its registry entry names the wrong module"
            )

    def _sr_replacement(
        self, loss: Loss, negatives: int, interaction: Any, calls: Mapping[str, Call]
    ) -> Tensor:
        """What takes the place of the model's loss: that of the pairs and of their negatives."""
        user, positive = self._sr_pairs(negatives, interaction, calls)
        if not negatives:
            return loss(user, positive)
        ids = interaction[self.NEG_ITEM_ID].view(negatives, -1)
        return loss(user, positive, self._sr_vectors("item", ids, interaction, calls))

    def _sr_pairs(
        self, negatives: int, interaction: Any, calls: Mapping[str, Call]
    ) -> tuple[Tensor, Tensor]:
        """The users' and the items' vectors of the batch's pairs, each ``(B, D)``.

        RecBole repeats a batch of B pairs once for each of K negatives: the pairs are its first B
        rows, and the negatives of pair i are at i, i + B, i + 2 B, ...
        """
        pairs = len(interaction[self.USER_ID]) // max(negatives, 1)
        user = self._sr_vectors("user", interaction[self.USER_ID][:pairs], interaction, calls)
        return user, self._sr_vectors("item", interaction[self.ITEM_ID][:pairs], interaction, calls)

    def _sr_vectors(
        self, side: str, ids: Tensor, interaction: Any, calls: Mapping[str, Call]
    ) -> Tensor:
        step = Step(self, interaction, calls, self.sr_columns[side])
        (found,) = representation.find(type(self)).side(side).rows(step, ids)
        return found

    def _sr_with_negatives(self, interaction: Any) -> Any:
        """The batch as the model's code expects it: padding for negatives that nobody sampled.

        Its auxiliary losses then see the padding item, whose row is never recommended.
        """
        if self.NEG_ITEM_ID in interaction:
            return interaction
        padding = torch.full_like(interaction[self.ITEM_ID], PADDING)
        return Interaction({**interaction.interaction, self.NEG_ITEM_ID: padding})

    @contextmanager
    def _sr_watching(self) -> Iterator[dict[str, Call]]:
        """The first call of each module that the sources read."""
        where = representation.find(type(self))
        calls: dict[str, Call] = {}
        self._sr_calls = calls
        with ExitStack() as hooks:
            for path in filter(None, {where.user.module, where.item.module}):
                hook = resolve(self, path).register_forward_hook(_keep(calls, path))
                hooks.callback(hook.remove)
            try:
                yield calls
            finally:
                del self._sr_calls

    def _sr_rows(
        self, phase: Phase, interaction: Any, calls: Mapping[str, Call]
    ) -> dict[str, list[Tensor]]:
        """The trainable rows of the batch that the phase reads, for each side to be regularised."""
        rows = {}
        for side in self.sr_sides:
            column = self.sr_columns[side]
            ids = _distinct(interaction, self.sr_columns["user"], column)
            if ids is not None:
                source = representation.find(type(self)).side(side)
                found = source.rows(Step(self, interaction, calls, column), phase.sample(ids))
                rows[side] = [x for x in found if x.requires_grad]
        return {side: matrices for side, matrices in rows.items() if matrices}

    def _sr_check(self, phase: Phase) -> None:
        if self.sr_seen["knowledge graph"] and not self.sr_seen["recommendation"]:
            return
        where: Representations = representation.find(type(self))
        expected = [side for side in self.sr_sides if where.side(side).always] or self.sr_sides
        for side in expected:
            if not self.sr_seen[side]:
                raise RuntimeError(
                    f"{type(self).__name__}: the {phase.name} phase regularised no {side} in a "
                    f"whole epoch ({where.side(side).about}): its batches name none, or those "
                    "parameters are frozen; set sr_tables or sr_warm_epochs accordingly"
                )


@torch.no_grad()
def whole_tables(model: nn.Module, columns: Mapping[str, Column]) -> dict[str, list[Tensor]]:
    """Each side's whole tables, padding row left out, ``(N, D)``.

    A side that only a batch has, as the users of an auto-encoder, is left out. The random state is
    left as it was.

    Args:
        model: of the registry, with the method or RecBole's own.
        columns: as :func:`columns` gives them.

    """
    where = representation.find(type(model))
    with _evaluating(model), _random_state_kept(model):
        found = {side: where.side(side).tables(model, column) for side, column in columns.items()}
    return {side: tables for side, tables in found.items() if tables}


def stable_ranks(tables: Mapping[str, list[Tensor]]) -> dict[str, float]:
    """Stable rank of each side, the mean where it has several tables."""
    return {
        side: torch.stack([stable_rank(x) for x in found]).mean().item()
        for side, found in tables.items()
    }


def columns(config: Any, dataset: Any) -> dict[str, Column]:
    """Where the ids of users and items stand in a batch."""
    user, item = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    items = (item, config["NEG_PREFIX"] + item, item + config["LIST_SUFFIX"])
    return {"user": Column((user,), dataset.num(user)), "item": Column(items, dataset.num(item))}


def _distinct(interaction: Any, users: Column, column: Column) -> Tensor | None:
    """Distinct ids of a side in a batch, padding excluded; None for a batch without users.

    Where a batch names users alone, the loss ranges over all items, and so do the ids.
    """
    if users.fields[0] not in interaction:
        return None
    found = [interaction[name].flatten() for name in column.fields if name in interaction]
    if not found:
        device = interaction[users.fields[0]].device
        return torch.arange(PADDING + 1, column.total, device=device)
    ids = torch.cat(found).unique()
    return ids[ids != PADDING]


def _penalty(phase: Phase, rows: Mapping[str, list[Tensor]]) -> Tensor:
    """In single precision or wider, also where autocast computed the representations."""
    some = next(iter(rows.values()))[0]
    with torch.autocast(some.device.type, enabled=False):
        return phase.penalty(
            {
                side: [x.float() if x.dtype.itemsize < 4 else x for x in matrices]
                for side, matrices in rows.items()
            }
        )


def _keep(calls: dict[str, Call], path: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls.setdefault(path, Call(inputs, output))

    return hook


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """``model.eval()`` and back, without ``train()``, in which SGL draws new graphs."""
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _random_state_kept(model: nn.Module) -> Iterator[None]:
    """Leave every random state as it was: some models draw in evaluation too."""
    states = random.getstate(), np.random.get_state()
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _add(loss: Any, penalty: Tensor) -> Any:
    """Keep the type: trainers tell the parts of a tuple apart by position."""
    if isinstance(loss, tuple):
        return (loss[0] + penalty, *loss[1:])
    return loss + penalty
