"""Full ranking in blocks of users, with the metrics of RecBole's way to the last digit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from logging import getLogger
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction
from recbole.evaluator import Collector
from torch import Tensor

from recbole_sr.fast.pairs import Pairs

__all__ = ["FullSortLoader", "TopCollector", "best", "order_is_certain", "scores_at_once"]

# Scores held at once: 4 MiB, so that they stay in a processor's cache between the steps; on a GPU
# 256 MiB, as there each step has a cost of its own. Products of a number of users that is no
# multiple of the processor's vectors are slower.
_SCORES, _SCORES_ON_GPU, _VECTOR = 2**20, 2**26, 8
_CHUNK = 64
# Two ways to compute a score differ by rounding: by less than this part of the largest score.
_ROUNDING = 2.0**-16

Batch = tuple[Interaction, tuple[Tensor, Tensor], Tensor, Tensor]


class FullSortLoader(FullSortEvalDataLoader):
    """RecBole's ``FullSortEvalDataLoader``, with as many users a batch as memory allows.

    RecBole takes ``eval_batch_size // n_items`` users, which is one on most catalogues. A block
    holds at most 1 million scores, 4 MiB (64 million, 256 MiB, on a GPU), or RecBole's number of
    users where that is more.

    Args:
        config: RecBole's configuration.
        dataset: the part that is evaluated.
        seen: all parts up to and including it; what a user has there is left out of the ranking,
            unless it is to be found.

    """

    def __init__(self, config: Any, dataset: Any, seen: Sequence[Any]):
        self.logger = getLogger()
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        self.is_sequential = False
        dataset.sort(by=self.uid_field, ascending=True)
        self.uid_list = dataset.inter_feat[self.uid_field].unique_consecutive()
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        self.sample_size = len(self.uid_list)
        self._seen = seen
        self._positive = self._pairs([dataset])
        self._history = self._pairs(seen).without(self._positive)
        AbstractDataLoader.__init__(self, config, dataset, None, shuffle=False)
        users = scores_at_once(config["device"]) // dataset.item_num
        whole = math.lcm(self.step, _VECTOR)
        # No batch of RecBole's lies in two blocks, so that none is scored again for each.
        self.block = users // whole * whole or users // self.step * self.step or self.step

    def __len__(self) -> int:
        return -(-self.sample_size // self.block)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.sample_size, self.block):
            yield self.batch(start, start + self.block)

    def batch(self, start: int, stop: int) -> Batch:
        """What RecBole's loader gives for the users at these positions."""
        users = self.user_df[slice(start, stop)]
        return users, self._history.between(start, stop), *self._positive.between(start, stop)

    @cached_property
    def uid2history_item(self) -> np.ndarray[Any, Any]:
        """Items left out, by user id, also of users who have none here; for the case study."""
        sought, seen = self._by_user([self._dataset]), self._by_user(self._seen)
        history = seen.without(sought)
        items = history.keys % history.n_items
        table = np.empty(self._dataset.user_num, dtype=object)
        for user, own in enumerate(items.split(history.counts(len(table)).tolist())):
            table[user] = own
        return table

    def _by_user(self, parts: Sequence[Any]) -> Pairs:
        """Pairs of the parts' interactions; a row is a user."""
        users, items = (
            torch.cat([part.inter_feat[field] for part in parts])
            for field in (self.uid_field, self.iid_field)
        )
        return Pairs(users, items, parts[0].item_num)

    def _pairs(self, parts: Sequence[Any]) -> Pairs:
        """Pairs of the parts' interactions; a row is a position in ``uid_list``."""
        users = torch.cat([part.inter_feat[self.uid_field] for part in parts])
        items = torch.cat([part.inter_feat[self.iid_field] for part in parts])
        rows = torch.searchsorted(self.uid_list, users)
        nobody = self.uid_list.new_full((1,), -1)  # where ids beyond the last one stand
        known = torch.cat([self.uid_list, nobody])[rows] == users
        return Pairs(rows[known], items[known], parts[0].item_num)


def scores_at_once(device: torch.device) -> int:
    """How many scores are best held at once on a device."""
    return _SCORES if device.type == "cpu" else _SCORES_ON_GPU


class TopCollector(Collector):
    """RecBole's ``Collector``, for blocks of users.

    A block's scores are sums in another order than RecBole's, so they differ in the last bits.
    Where that could change a metric, RecBole's batch of that user is scored once more exactly as
    RecBole would; hence the same metrics, to the last digit, at the cost of RecBole's own pass at
    most. Most need to know which places hold an item that was to be found, not which item: two that
    were not may change places.
    """

    _loader: FullSortLoader | None = None

    def begin_evaluation(self, eval_data: Any, score: Callable[[Batch], tuple[Any, ...]]) -> None:
        """Say what is evaluated next.

        Args:
            eval_data: the loader; one of RecBole's is collected RecBole's way.
            score: the trainer's way from a batch to its scores.

        """
        self._loader = eval_data if isinstance(eval_data, FullSortLoader) else None
        self._score = score
        self._collected: dict[str, list[Tensor]] = {"rec.items": [], "rec.topk": []}

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Keep each user's best items, and which of them were to be found."""
        if self._loader is None:
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
            return
        sought = Pairs(positive_u, positive_i, scores_tensor.shape[1], scores_tensor.device)
        items = self._best_items(scores_tensor, interaction, sought, self._loader)
        numbers = sought.counts(len(items)).unsqueeze(1)
        self._collected["rec.items"].append(items)
        self._collected["rec.topk"].append(torch.cat([_hits(items, sought), numbers], 1).int())

    def get_data_struct(self) -> Any:
        """All that was collected, as RecBole's evaluator reads it."""
        if self._loader is not None:
            self._loader = None
            for name, parts in self._collected.items():
                if parts:  # a process may have no user of its own
                    self.data_struct.set(name, torch.cat(parts))
        return super().get_data_struct()

    def _best_items(
        self, scores: Tensor, users: Any, sought: Pairs, loader: FullSortLoader
    ) -> Tensor:
        k = max(self.topk)
        if loader.block == loader.step:  # RecBole's own batches
            return scores.topk(k, dim=-1).indices
        items, apart = best(scores, k)
        by_items = self.register.need("rec.items")
        clear = apart.all(-1) if by_items else order_is_certain(apart, _hits(items, sought))
        rows = (~clear).nonzero().squeeze(1).cpu()
        places = torch.searchsorted(loader.uid_list, users[loader.uid_field].cpu()[rows])
        batches, counts = (places // loader.step).unique_consecutive(return_counts=True)
        of_batches = zip(*(x.split(counts.tolist()) for x in (rows, places)), strict=True)
        for start, (own, place) in zip((batches * loader.step).tolist(), of_batches, strict=True):
            again = self._score(loader.batch(start, start + loader.step))[1]
            best_again = again.topk(k, dim=-1).indices  # as RecBole asks for them
            items[own] = best_again[place - start]
        return items


def _hits(items: Tensor, sought: Pairs) -> Tensor:
    """Which of the items of each row are sought: ``(N, k)``, bool."""
    rows = torch.arange(len(items), device=items.device).unsqueeze(1).expand_as(items)
    return sought.contains(rows, items)


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best items of each row, and where rounding cannot change their order.

    The largest score of each chunk of 64 items is found first; the best items lie in the best
    chunks, so only those are sorted.

    Args:
        scores: ``(N, M)``, floating point.
        k: how many, at most ``M``.

    Returns:
        Items ``(N, k)``, best first, and ``(N, k)``, bool: whether the score of each is apart from
        the next one, at last the best of the rest, by more than rounding.

    Example:
        >>> import torch
        >>> items, apart = best(torch.tensor([[0.1, 0.9, 0.5], [0.2, 0.7, 0.7]]), k=1)
        >>> items[0], apart
        (tensor([1]), tensor([[ True],
                [False]]))

    """
    top, items, largest = _top(scores, min(k + 1, scores.shape[1]))
    scale = largest.masked_fill(largest.isinf(), 0).abs().amax(-1, keepdim=True)
    apart = top[:, :-1] - top[:, 1:] > _ROUNDING * scale
    if apart.shape[1] < k:  # all items are ranked: none is left to come before the last
        apart = torch.cat([apart, apart.new_ones(len(apart), 1)], dim=1)
    return items[:, :k], apart


def order_is_certain(apart: Tensor, hits: Tensor) -> Tensor:
    """The rows in which rounding cannot change which places hold a hit.

    Neighbours that rounding could exchange are both hits, or neither; the last place's neighbour is
    none of the ``k`` best, and what comes after it is not known, so that these two must be apart.

    Args:
        apart: ``(N, k)``, bool, as :func:`best` gives it.
        hits: ``(N, k)``, bool: which of the ``k`` best are to be found.

    Returns:
        ``(N,)``, bool.

    Example:
        >>> import torch
        >>> apart = torch.tensor([[False, True, True], [True, True, False]])
        >>> order_is_certain(apart, torch.tensor([[False, False, True], [False, False, False]]))
        tensor([ True, False])

    """
    alike = torch.zeros_like(apart)
    alike[:, :-1] = hits[:, :-1] == hits[:, 1:]
    return (apart | alike).all(-1)


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``k`` largest scores of each row, their items, and some scores that show the scale."""
    whole = scores.shape[1] // _CHUNK * _CHUNK
    if whole < 4 * k * _CHUNK:  # too few chunks to be worth it
        return *scores.topk(k, dim=-1), scores
    chunks = scores[:, :whole].unflatten(1, (-1, _CHUNK))
    largest = chunks.amax(-1)
    within = torch.arange(_CHUNK, device=scores.device)
    candidates = (largest.topk(k).indices.unsqueeze(-1) * _CHUNK + within).flatten(1)
    tail = torch.arange(whole, scores.shape[1], device=scores.device)
    candidates = torch.cat([candidates, tail.expand(len(scores), -1)], dim=1)
    top, places = scores.gather(1, candidates).topk(k, dim=-1)
    return top, candidates.gather(1, places), largest
