"""The method inside a RecBole model: its own loss plus the penalty of the current phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recbole_sr import representation
from recbole_sr.fast.optimizer import look_up
from recbole_sr.objective import Phase
from recbole_sr.spectral import stable_rank
from recbole_sr.subclass import subclass

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import AbstractRecommender as _Model
else:
    _Model = object

__all__ = ["inject"]

_PADDING = 0  # RecBole keeps id 0 of users and items for padding; its row is never trained


def inject(model_class: type) -> Any:
    """A subclass of a RecBole model that a phase can regularise.

    It adds no parameters, no buffers and no random draws; without a phase it *is* the model.

    Args:
        model_class: a model of the registry, such as ``recbole.model.general_recommender.BPR``.

    Returns:
        The class, always the same for the same argument; it and its instances pickle.

    Raises:
        InputError: the model is not in the registry.

    Example:
        >>> from recbole.model.general_recommender import BPR
        >>> inject(BPR).__name__, issubclass(inject(BPR), BPR)
        ('BPR', True)

    """
    representation.find(model_class.__name__)
    return subclass(RegularizedModel, model_class)


class RegularizedModel(_Model):
    """Mixin: adds the phase's penalty to ``calculate_loss``."""

    # Class attributes, so that a model outside a phase carries nothing of ours: it deep-copies,
    # pickles and saves as RecBole's does.
    sr_phase: Phase | None = None
    sr_sides: Sequence[str] = ("user", "item")
    sr_batches = 0
    _sr_outputs: list[Any] | None = None

    @contextmanager
    def sr_regularized(self, phase: Phase, sides: Sequence[str]) -> Iterator[None]:
        """Regularise by ``phase`` every loss calculated inside the ``with`` block.

        Args:
            phase: what to add.
            sides: which of ``user`` and ``item`` are regularised.

        Raises:
            RuntimeError: at the end, if the phase is active and no batch was regularised.

        """
        self.sr_phase, self.sr_sides, self.sr_batches = phase, sides, 0
        try:
            yield
            if phase.active and not self.sr_batches:
                raise RuntimeError(
                    f"{type(self).__name__}: the {phase.name} phase regularised no batch in a whole"
                    f" epoch; its batches hold neither {' nor '.join(sides)} ids"
                )
        finally:
            del self.sr_phase, self.sr_sides, self.sr_batches

    def calculate_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """RecBole's loss, with the phase's penalty added to its first part."""
        if self.sr_phase is None or not self.sr_phase.active:
            return super().calculate_loss(interaction, *args, **kwargs)
        with self._sr_capturing() as outputs:
            loss = super().calculate_loss(interaction, *args, **kwargs)
        rows = self._sr_rows(interaction, outputs)
        if not rows:
            return loss
        self.sr_batches += 1
        return _add(loss, self.sr_phase.penalty(rows))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """RecBole's forward; its output is kept while a loss is being calculated.

        A hook would not do: RecBole calls ``self.forward()``, which runs no hooks.
        """
        output = super().forward(*args, **kwargs)
        if self._sr_outputs is not None:
            self._sr_outputs.append(output)
        return output

    @torch.no_grad()
    def sr_tables(self) -> dict[str, Tensor]:
        """Each side's whole table, padding row left out, ``(N, D)``; draws no random number."""
        where = representation.find(type(self).__name__)
        training = self.training
        self.eval()
        tables = where.tables(self, [self.forward()] if where.needs_forward else [])
        self.train(training)
        return {side: table[_PADDING + 1 :] for side, table in tables.items()}

    def sr_stable_rank(self) -> dict[str, float]:
        """Stable rank of each side's whole table."""
        return {side: stable_rank(table).item() for side, table in self.sr_tables().items()}

    @contextmanager
    def _sr_capturing(self) -> Iterator[list[Any]]:
        outputs: list[Any] = []
        self._sr_outputs = outputs
        try:
            yield outputs
        finally:
            del self._sr_outputs

    def _sr_rows(self, interaction: Any, outputs: list[Any]) -> Mapping[str, Tensor]:
        tables = representation.find(type(self).__name__).tables(self, outputs)
        ids = {"user": [self.USER_ID], "item": [self.ITEM_ID, self.NEG_ITEM_ID]}
        rows = {}
        for side in self.sr_sides:
            fields = [interaction[name] for name in ids[side] if name in interaction]
            if fields:
                rows[side] = look_up(tables[side], _distinct(fields))
        return rows


def _distinct(fields: list[Tensor]) -> Tensor:
    ids = torch.cat(fields).unique()
    return ids[int(ids[0] == _PADDING) :]  # sorted, so padding comes first


def _add(loss: Any, penalty: Tensor) -> Any:
    """Keep the type: trainers tell the parts of a tuple apart by position."""
    if isinstance(loss, tuple):
        return (loss[0] + penalty, *loss[1:])
    return loss + penalty
