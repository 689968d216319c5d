"""A process's part of a batch, where several processes calculate its loss together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.loss import EmbLoss
from torch import Tensor, nn

from recbole_sr.distributed.group import Alone, Group
from recbole_sr.distributed.random import RandomStates
from recbole_sr.recbole_compat.classes import overridden

__all__ = ["Share", "root", "share_of"]


class Share:
    """The contiguous part of a batch's pairs that is this process's.

    The batch itself is the same in all processes. What is a mean over the batch is the sum of the
    processes' means, each weighted by the part of the pairs that it has.

    Args:
        group: the processes.
        interaction: RecBole's batch, of ``times`` rows for each pair: RecBole repeats a batch of B
            pairs, so that row i + kB is of pair i.
        times: how often a pair stands in the batch.
        summed: whether the model's own loss adds up its rows.
        of_parameters: names of the model's methods whose result that loss adds, whatever the batch.

    Attributes:
        interaction: the rows of this process.
        weight: how much the mean over them counts.

    """

    def __init__(
        self,
        group: Group,
        interaction: Any,
        times: int,
        summed: bool = False,
        of_parameters: Sequence[str] = (),
    ):
        self._group, self._times = group, times
        self._pairs = len(interaction) // times
        self._bounds = [self._pairs * rank // group.size for rank in range(group.size + 1)]
        first, last = self._bounds[group.rank : group.rank + 2]
        self.weight = (last - first) / self._pairs
        if first == last:  # it computes as the others do, on a pair that counts nothing
            first, last = 0, 1
        self._first, self._count = first, last - first
        self._summed, self._of_parameters = summed, of_parameters
        # How many processes add their part of a sum.
        self._adding = sum(first < last for first, last in pairwise(self._bounds)) if summed else 1
        self._owners: dict[str, Tensor] = {}
        self.interaction = Interaction(
            {
                name: self._part(values, first, last)
                for name, values in interaction.interaction.items()
            }
        )

    def _part(self, values: Tensor, first: int, last: int) -> Tensor:
        if self._times == 1:
            return values[first:last]
        return values.unflatten(0, (self._times, self._pairs))[:, first:last].flatten(0, 1)

    def of_pairs(self, x: Tensor) -> Tensor:
        """What this process has of ``(K, B)`` values, a column for each pair of the batch."""
        return x[:, self._first : self._first + self._count]

    def owners(self, ids: Tensor) -> Tensor:
        """Which process has each of a field's ids, in the order of ``ids.flatten()``: int64."""
        upper = torch.tensor(self._bounds[1:], device=ids.device)
        pair = torch.arange(len(ids), device=ids.device) % self._pairs
        of_rows = torch.searchsorted(upper, pair, right=True)
        return of_rows.repeat_interleave(ids[0].numel() if len(ids) else 1)

    def own_loss(self, model: nn.Module, calculate: Callable[[], Any], drawn_by_rows: bool) -> Any:
        """The model's loss of the whole batch.

        Args:
            model: whose loss it is.
            calculate: that of the rows of this process.
            drawn_by_rows: whether random numbers, such as dropout's, are drawn for rows of the
                batch. Each process then draws its own; else all draw the same.

        """
        apart = (
            RandomStates(self._group, next(model.parameters()).device) if drawn_by_rows else None
        )
        with self._pooled(model):
            loss = calculate()
        parts = loss if isinstance(loss, tuple) else (loss,)
        counted = float(self.weight > 0) if self._summed else self.weight
        moved = parts[0].new_full((1,), float(apart.moved) if apart else 0.0)
        flat = torch.cat([*(part.reshape(-1) * counted for part in parts), moved.detach()])
        added = self._group.total(flat)
        if apart:
            apart.join(bool(added[-1]))
        sizes = [part.numel() for part in parts]
        found = [
            whole.reshape(part.shape)
            for whole, part in zip(added[:-1].split(sizes), parts, strict=True)
        ]
        return tuple(found) if isinstance(loss, tuple) else found[0]

    def mean(self, x: Tensor) -> Tensor:
        """See :class:`~recbole_sr.objectives.peers.Peers`."""
        return self._group.total(x * self.weight)

    def total(self, x: Tensor) -> Tensor:
        """See :class:`~recbole_sr.objectives.peers.Peers`."""
        return self._group.total(x)

    def evenly(self, rows: Tensor) -> Tensor:
        """A process for each row, where no pair has it: contiguous parts."""
        return torch.arange(len(rows), device=rows.device) * self._group.size // max(len(rows), 1)

    def is_own(self, owners: Tensor) -> Tensor:
        """Where the process is this one: bool."""
        return owners == self._group.rank

    def own(self, side: str, owners: Tensor) -> Tensor:
        """The same for the rows of a side, whose processes are noted for :meth:`whole`."""
        self._owners[side] = owners
        return self.is_own(owners)

    def whole(self, side: str, x: Tensor) -> Tensor:
        """See :class:`~recbole_sr.objectives.peers.Peers`."""
        return self._group.whole(x, self._owners[side])

    @contextmanager
    def _pooled(self, model: nn.Module) -> Iterator[None]:
        """Have RecBole's ``EmbLoss``, a norm over the batch, be that of the whole batch.

        The model's loss is multiplied by this process's weight; the gradient makes up for that.
        """
        once = {name: partial(self._once, getattr(model, name)) for name in self._of_parameters}
        norms: list[Any] = [part for part in model.modules() if type(part) is EmbLoss]
        with ExitStack() as stack:
            stack.enter_context(overridden(model, **once))
            for one in norms:
                stack.enter_context(overridden(one, forward=self._embedding_loss(one.norm)))
            yield

    def _once(self, calculate: Callable[[], Tensor]) -> Tensor:
        return calculate() / self._adding

    def _embedding_loss(self, p: int) -> Callable[..., Tensor]:
        counted = bool(self.weight)
        # Of a sum each process adds its part once; of a mean, by its weight.
        pull = 1.0 if self._summed else (1 / self.weight if counted else 0.0)

        def forward(*embeddings: Tensor, require_pow: bool = False) -> Tensor:
            rows = embeddings[-1].shape[0] * self._pairs // self._count
            powers = torch.stack([x.abs().pow(p).sum() for x in embeddings]) * counted
            whole = self._group.total(powers, scale=pull)
            norms = whole if require_pow else root(whole, p)
            loss = norms.sum() / rows / self._adding
            return (loss / p if require_pow else loss).reshape(1)

        return forward


def root(x: Tensor, p: int) -> Tensor:
    """The root of powers' sums; that of 0 has the gradient 0, as torch's norm."""
    return torch.where(x > 0, x, 1).pow(1 / p) * (x > 0)


def share_of(
    group: Alone, model: Any, interaction: Any, summed: bool, of_parameters: Sequence[str]
) -> Share | None:
    """This process's part of a batch; None where it is alone."""
    if not isinstance(group, Group):
        return None
    return Share(group, interaction, _times(model, interaction), summed, of_parameters)


def _times(model: Any, interaction: Any) -> int:
    """How often each pair stands in a batch: once for each negative, or once more with labels."""
    negatives: int = model.sr_negatives
    if getattr(model, "NEG_ITEM_ID", None) in interaction:
        return max(negatives, 1)
    return negatives + 1 if negatives and model.sr_label in interaction else 1
