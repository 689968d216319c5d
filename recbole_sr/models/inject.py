"""The method inside a RecBole model: a subclass whose loss is that of the phase it is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_sr.distributed.group import ALONE, Alone
from recbole_sr.errors import InputError
from recbole_sr.models.batch import ModelBatch
from recbole_sr.models.columns import Columns
from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.popularity import PopularityScores
from recbole_sr.models.registry import entry_of
from recbole_sr.models.share import share_of
from recbole_sr.models.sources import Call, resolve
from recbole_sr.models.tables import columns, stable_ranks, whole_tables
from recbole_sr.objectives.phase import Phase
from recbole_sr.recbole_compat.classes import subclass, with_mixins
from recbole_sr.recbole_compat.mends import mend_model

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import AbstractRecommender as _Model
else:
    _Model = object

__all__ = ["cast_like", "inject", "repaired", "with_representations"]


def inject(model_class: type) -> Any:
    """A subclass of a RecBole model that a phase can regularise.

    It adds no parameters, no buffers and no random draws; without a phase it *is* the model.

    Args:
        model_class: a model of the registry, such as ``recbole.model.general_recommender.BPR``, a
            subclass of one, or a class of your own with the class method ``sr_representations``.

    Returns:
        The class, always the same for the same argument; it and its instances pickle.

    Raises:
        InputError: nothing says where the model's representations are.

    Example:
        >>> from recbole.model.general_recommender import BPR
        >>> inject(BPR).__name__, issubclass(inject(BPR), BPR)
        ('BPR', True)

    """
    return with_mixins(repaired(model_class), (RegularizedModel, PopularityScores))


def repaired(model_class: type) -> Any:
    """The model, with what it needs to run on today's packages; most need nothing.

    Raises:
        InputError: as :func:`inject`.

    Example:
        >>> from recbole.model.general_recommender import BPR
        >>> repaired(BPR) is BPR
        True

    """
    mend_model(model_class)
    return with_mixins(model_class, entry_of(model_class).repairs)


def with_representations(model_class: type, representations: ModelEntry) -> Any:
    """A subclass of a model, also of one whose code cannot be changed, with another entry.

    Give it as ``model`` to train it, and as ``model_class`` to go on with what it saved.
    The class does not pickle; one that declares ``sr_representations`` itself does.

    Args:
        model_class: a model's class.
        representations: where it keeps them; takes the place of what the class or the registry
            says.

    Returns:
        The subclass, of the same name.

    Example:
        >>> from recbole.model.general_recommender import BPR
        >>> from recbole_sr.models.sources import Missing, Table
        >>> mine = ModelEntry(Missing("not to be regularised"), Table("item_embedding"))
        >>> entry_of(with_representations(BPR, mine)).user.about
        'none: not to be regularised'

    """
    declared = {"sr_representations": classmethod(lambda cls: representations)}
    made = subclass(type("Representations", (), declared), model_class)
    made.__module__ = __name__  # no longer RecBole's own, whose recipe would be another entry's
    return made


class RegularizedModel(_Model):
    """Mixin: the model's loss becomes that of the phase."""

    # Class attributes, so that a model outside a phase carries nothing of ours: it deep-copies,
    # pickles and saves as RecBole's does.
    sr_phase: Phase | None = None
    sr_group: Alone = ALONE
    sr_part: Columns | None = None
    sr_seen: Counter[str]
    _sr_batch: ModelBatch | None = None

    def __init__(self, config: Any, dataset: Any):
        super().__init__(config, dataset)
        self._sr_check_paths()
        self.sr_columns = columns(config, dataset)
        sampling = config["train_neg_sample_args"]
        self.sr_label = config["LABEL_FIELD"]
        self.sr_batch_negatives = config["sr_batch_negatives"] or 0
        self.sr_negatives = 0 if sampling["distribution"] == "none" else sampling["sample_num"]

    def _sr_check_paths(self) -> None:
        """Refuse a model of one's own that names attributes which it does not have."""
        entry = self.sr_entry
        sides = {name: entry.side(name) for name in ("user", "item")}
        said = {name: (*side.watched, *side.initialized) for name, side in sides.items()}
        said |= {"loss": (entry.loss or "",), "layers": entry.layers}
        for of, path in ((of, path) for of, paths in said.items() for path in paths):
            try:
                resolve(self, path)
            except (AttributeError, LookupError, TypeError):
                raise InputError(
                    f"sr_representations ({of}): expected the path of an attribute of "
                    f"{type(self).__name__}, got {path!r}; correct it"
                ) from None

    @property
    def sr_entry(self) -> ModelEntry:
        """What the registry knows of the model."""
        kind: Any = type(self)
        return entry_of(kind)

    @contextmanager
    def sr_regularized(self, phase: Phase, group: Alone = ALONE) -> Iterator[None]:
        """Let ``phase`` make every loss that is calculated inside the ``with`` block.

        Args:
            phase: what is minimised.
            group: the processes that calculate it together; all are given the same batches.

        Raises:
            InputError: at the end, if the phase regularises and a side was never regularised,
                unless all batches were of a knowledge graph.

        """
        self.sr_phase, self.sr_seen = phase, Counter()
        if group is not ALONE:
            self.sr_group = group
        try:
            yield
            if phase.regularizes:
                self._sr_check(phase)
        finally:
            del self.sr_phase, self.sr_seen
            self.__dict__.pop("sr_group", None)

    def calculate_loss(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """The phase's loss of a batch, or RecBole's outside a phase.

        Penalties are added to the first part; a model's other losses stay as they are.
        """
        own_loss = super().calculate_loss
        return self._sr_loss(lambda batch: own_loss(batch, *args, **kwargs), interaction)

    def calculate_rs_loss(self, interaction: Any) -> Any:
        """MKR's name for ``calculate_loss``."""
        return self._sr_loss(super().calculate_rs_loss, interaction)

    def calculate_kg_loss(self, interaction: Any) -> Any:
        """RecBole's loss of knowledge-graph triples, which name no users: nothing is added."""
        if self.sr_phase is not None:
            self.sr_seen["knowledge graph"] += 1
        return super().calculate_kg_loss(interaction)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """RecBole's forward; its calls are kept while a loss is being calculated.

        A hook would not do: RecBole calls ``self.forward()``, which runs no hooks.
        """
        output = super().forward(*args, **kwargs)
        if self._sr_batch is not None and "" in self._sr_batch.calls:
            self._sr_batch.calls[""].append(Call(args, output))
        return output

    def load_other_parameter(self, para: Mapping[str, Any] | None) -> None:
        """RecBole's; each value is cast to the type and device of the attribute it replaces."""
        device = next(self.parameters()).device
        found = {
            name: cast_like(getattr(self, name, None), value, device)
            for name, value in (para or {}).items()
        }
        super().load_other_parameter(found)

    def sr_tables(self) -> dict[str, list[Tensor]]:
        """See :func:`~recbole_sr.models.tables.whole_tables`; all columns of several processes."""
        tables = whole_tables(self, self.sr_columns)
        return self.sr_part.whole(tables) if self.sr_part else tables

    def predict(self, interaction: Any) -> Any:
        """RecBole's scores, of all columns of several processes."""
        scores = super().predict(interaction)
        return self.sr_part.total(scores) if self.sr_part else scores

    def full_sort_predict(self, interaction: Any) -> Any:
        """As :meth:`predict`, of all items."""
        scores = super().full_sort_predict(interaction)
        return self.sr_part.total(scores) if self.sr_part else scores

    def sr_cut(self, columns: Columns) -> None:
        """Keep some columns of the tables alone: from now on the model is a part of one."""
        columns.cut(self, self.sr_entry)
        self.sr_part = columns

    def sr_encoded(self, interaction: Any, score: Callable[[Any], Any]) -> list[Tensor]:
        """The users' representations that ``score`` calculates of a batch, a row each: ``(B, D)``.

        For models that have no table of users.
        """
        batch = ModelBatch(self, self.sr_entry, interaction, score)
        with self._sr_watched(batch):
            score(interaction)
        return batch.encoded("user")

    def sr_stable_rank(self) -> dict[str, float]:
        """Stable rank of each side's whole table; the mean where a side has several."""
        return stable_ranks(self.sr_tables())

    def sr_width(self) -> dict[str, int]:
        """The narrowest of each side's tables, above which no stable rank can be."""
        return {side: min(x.shape[-1] for x in tables) for side, tables in self.sr_tables().items()}

    def _sr_loss(self, own_loss: Callable[[Any], Any], interaction: Any) -> Any:
        phase, entry = self.sr_phase, self.sr_entry
        several = self.sr_group is not ALONE or self.sr_part is not None
        if phase is None or not (phase.active or several):
            return own_loss(interaction)
        summed = entry.is_summed(self) and phase.loss is None  # a replacement is a mean
        share = share_of(self.sr_group, self, interaction, summed, entry.of_parameters)
        before = self.sr_seen["recommendation"]
        batch = ModelBatch(self, entry, interaction, own_loss, share, self.sr_part, before)
        with self._sr_watched(batch):
            loss = phase.training_loss(batch)
        self.sr_seen.update(["recommendation", *batch.regularized])
        return loss

    @contextmanager
    def _sr_watched(self, batch: ModelBatch) -> Iterator[None]:
        self._sr_batch = batch
        try:
            with batch.watching():
                yield
        finally:
            del self._sr_batch

    def _sr_check(self, phase: Phase) -> None:
        if self.sr_seen["knowledge graph"] and not self.sr_seen["recommendation"]:
            return
        source = self.sr_entry.side
        for side in [side for side in phase.sides if source(side).always] or phase.sides:
            if not self.sr_seen[side]:
                raise InputError(
                    f"{type(self).__name__}: the {phase.name} phase regularised no {side} in a "
                    f"whole epoch ({source(side).about}): its batches name none, or those "
                    "parameters are frozen; set sr_tables or sr_warm_epochs accordingly"
                )


def cast_like(before: Any, value: Any, device: torch.device) -> Any:
    """A loaded value in the kind of object that it replaces, on its device; its precision stays.

    Args:
        before: the attribute.
        value: what a checkpoint has of it; a tensor on the CPU where it was a tensor or array, a
            number of Python where it was one of numpy.
        device: for a tensor that replaces none, as NCL's centroids do.

    Example:
        >>> cast_like(np.zeros(2), torch.ones(2), torch.device("cpu"))
        array([1., 1.], dtype=float32)

    """
    if isinstance(before, np.generic):
        return type(before)(value)
    if isinstance(before, np.ndarray):
        return value.numpy() if isinstance(value, Tensor) else np.asarray(value, before.dtype)
    if not isinstance(value, Tensor):
        return value
    return value.to(before.device if isinstance(before, Tensor) else device)
