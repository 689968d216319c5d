"""From a checkpoint, the scores of all items for any users, and what those users have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor

from recbole_sr.errors import InputError
from recbole_sr.fast.pairs import Pairs
from recbole_sr.fast.ranking import scores_at_once
from recbole_sr.models.features import columns_of_interactions
from recbole_sr.training.experiment import load_data_and_model

__all__ = ["KNOWN", "Scorer"]

KNOWN = ("training", "validation", "all")
_PREDICTIONS = 2**16  # pairs scored at once by a model that scores pairs


class Scorer:
    """A trained model and what is known of its users.

    Args:
        model_file: path of the checkpoint.
        known: which interactions count as known to the model's user: those of ``training``, of
            ``validation`` too, or ``all``.
        model_class: the model's class where it is none of RecBole's.
        data_path: the folder of the data set's folder, where it is no longer that of training.

    Attributes:
        model: in evaluation mode.
        dataset: RecBole's, whose ids the rows of scores have.

    Raises:
        InputError: as :func:`~recbole_sr.training.experiment.load_data_and_model`.

    """

    def __init__(
        self,
        model_file: str,
        known: str = "all",
        model_class: type | None = None,
        data_path: str | None = None,
    ):
        if known not in KNOWN:
            raise InputError(f"known: expected one of {', '.join(KNOWN)}, got {known!r}; give one")
        loaded = load_data_and_model(model_file, model_class, data_path)
        _warn_of_a_run_that_goes_on(Path(model_file))
        config, model, self.dataset, *loaders = loaded
        self.file, self.model, self.config = model_file, model.eval(), config
        parts = [loader._dataset for loader in loaders if loader is not None]
        self.parts = parts[: KNOWN.index(known) + 1]
        self.is_sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        self._candidates = self.dataset.get_item_feature().to(config["device"])
        if self.is_sequential:
            self._single = _of_single_events(self.dataset, parts[0])
            self._latest = _latest(self.parts, self._single, self.dataset)

    def served(self, users: Tensor) -> Tensor:
        """Which users the model can score for: ``(N,)``, bool; all but those without a sequence."""
        if self.is_sequential:
            return torch.isin(users, self._latest[self.dataset.uid_field])
        return torch.ones_like(users, dtype=torch.bool)

    def of_one_event(self, users: Tensor) -> Tensor:
        """Which users have one event alone, of which no sequential model learns: ``(N,)``, bool."""
        if self.is_sequential:
            return torch.isin(users, self._single[self.dataset.uid_field])
        return torch.zeros_like(users, dtype=torch.bool)

    def trained(self, users: Tensor) -> Tensor:
        """Which users have an interaction in training: ``(N,)``, bool."""
        return torch.isin(users, self.parts[0].inter_feat[self.dataset.uid_field])

    def block(self) -> int:
        """How many users are best scored at once."""
        return max(1, scores_at_once(self.config["device"]) // self.dataset.item_num)

    def scores(self, users: Tensor) -> Tensor:
        """Scores of all items, the padding item's minus infinity.

        Args:
            users: ``(N,)``, int64, that :meth:`served` knows.

        Returns:
            ``(N, n_items)``, floating point.

        Raises:
            InputError: the model needs more of an interaction than its user and item, or gives
                scores that are NaN.

        """
        inputs = self.inputs(users)
        with torch.no_grad():
            try:
                scores = self.model.full_sort_predict(inputs)
            except NotImplementedError:  # RecBole's word for a model that scores pairs alone
                scores = torch.cat([*self._of_pairs(inputs)])
        scores = scores.view(len(users), self.dataset.item_num)
        scores[:, 0] = -torch.inf
        if scores.isnan().any():
            raise InputError(f"{self.file}: expected scores that are numbers, got NaN; train anew")
        return scores

    def inputs(self, users: Tensor) -> Any:
        """What the model reads to score for users, on its device."""
        field = self.dataset.uid_field
        if self.is_sequential:
            rows = self._latest[torch.searchsorted(self._latest[field], users)]
        else:
            rows = self.dataset.join(Interaction({field: users}))
        return rows.to(self.config["device"])

    def seen(self, users: Tensor) -> Pairs:
        """The known interactions of users; a row is a position in ``users``."""
        place = torch.full((self.dataset.user_num,), -1)
        place[users] = torch.arange(len(users))
        owners, items = (torch.cat(x) for x in zip(*self._known_pairs(), strict=True))
        mine = place[owners] >= 0
        return Pairs(place[owners[mine]], items[mine], self.dataset.item_num)

    def _known_pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        user, item = self.dataset.uid_field, self.dataset.iid_field
        for part in self.parts:
            yield part.inter_feat[user], part.inter_feat[item]
            if self.is_sequential:
                histories = part.inter_feat[_histories(part)]
                # The first item of a sequence is nobody's target. Given ones may have any others.
                some = histories if part.benchmark_filename_list else histories[:, :1]
                yield part.inter_feat[user].repeat_interleave(some.shape[1]), some.flatten()
        if self.is_sequential:
            items = self._latest[_histories(self.parts[0])]
            yield self._latest[user].repeat_interleave(items.shape[1]), items.flatten()

    def _of_pairs(self, inputs: Any) -> Iterator[Tensor]:
        """Scores of each user with each item, some at a time, as RecBole scores them."""
        n_items = self.dataset.item_num
        users = max(1, _PREDICTIONS // n_items)
        for start in range(0, len(inputs), users):
            pairs = inputs[start : start + users]
            count = len(pairs)
            pairs = pairs.repeat_interleave(n_items)
            pairs.update(self._candidates.repeat(count))
            for first in range(0, len(pairs), _PREDICTIONS):
                try:
                    yield self.model.predict(pairs[first : first + _PREDICTIONS]).flatten()
                except KeyError as error:
                    found = columns_of_interactions(self.model, self.dataset)
                    missing = [repr(name) for name in found] or [str(error)]
                    raise InputError(
                        f"{self.file}: expected a model that reads users, items and their features "
                        f"alone, got {self.config['model']}, which also reads {', '.join(missing)} "
                        "of each interaction; train it without them by load_col"
                    ) from None


def _warn_of_a_run_that_goes_on(file: Path) -> None:
    """A better model may come, or in a run on all interactions one that was trained to its end."""
    folder = file.with_suffix("")
    if folder.is_dir() and not (folder / "result.json").is_file():
        getLogger().warning(
            f"{file}: of a run that has not ended; where it was killed, recbole-sr resume "
            f"{folder}.run.pth goes on with it"
        )


def _histories(part: Any) -> str:
    """The field of the histories of items, which RecBole names after that of the items."""
    name: str = getattr(part, f"{part.iid_field}_list_field")
    return name


def _of_single_events(dataset: Any, part: Any) -> Interaction:
    """Rows of users with one event: it comes after a history without an item."""
    known = part.inter_feat.interaction
    events = getattr(dataset, "sr_single_events", None)  # none of given sequences
    if events is None or events.empty:
        return Interaction({field: values[:0] for field, values in known.items()})
    events = dataset._dataframe_to_interaction(events)
    return Interaction(
        {
            field: _filled_up(events[field], values)
            if field in events
            else values.new_zeros(len(events), *values.shape[1:])
            for field, values in known.items()
        }
    )


def _filled_up(values: Tensor, like: Tensor) -> Tensor:
    """Lists as long as others are, with zeros at their ends."""
    whole = like.new_zeros(len(values), *like.shape[1:])
    whole[tuple(map(slice, values.shape))] = values
    return whole


def _latest(parts: Sequence[Any], single: Interaction, dataset: Any) -> Interaction:
    """Each user's sequence up to and including the last known item, by user."""
    # Without times, as of given sequences, the parts and their rows are in the order of time.
    names = [dataset.uid_field, dataset.time_field, parts[0].item_list_length_field]
    names = [name for name in names if name in parts[0].inter_feat]
    known = [*(part.inter_feat for part in parts), single]
    columns = [torch.cat([rows[name] for rows in known]).numpy() for name in names]
    # A time among numerical_features has the place of its bucket beside it.
    columns = [column if column.ndim == 1 else column[:, 0] for column in columns]
    order = np.lexsort(columns[::-1])
    users = columns[0][order]
    last = torch.from_numpy(order[np.append(users[1:] != users[:-1], True)])
    fields = list(parts[0].inter_feat)
    rows = {x: torch.cat([each[x] for each in known])[last] for x in fields}
    length = parts[0].item_list_length_field
    lengths = rows[length]
    for field in fields:
        name = getattr(parts[0], f"{field}_list_field", None)
        if name in rows:
            rows[name] = _appended(rows[name], lengths, rows[field])
    rows[length] = (lengths + 1).clamp(max=rows[_histories(parts[0])].shape[1])
    return Interaction(rows)


def _appended(lists: Tensor, lengths: Tensor, values: Tensor) -> Tensor:
    """Lists ``(N, L, ...)`` with a value more each; a full one loses its first."""
    full = lengths >= lists.shape[1]
    lists = torch.where(full.view(-1, *[1] * (lists.dim() - 1)), lists.roll(-1, dims=1), lists)
    lists[torch.arange(len(lists)), lengths.clamp(max=lists.shape[1] - 1)] = values
    return lists
