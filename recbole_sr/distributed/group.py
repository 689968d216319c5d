"""The processes of a run: sums, gathers and decisions that they share.

A *total* adds up what each process has and hands the gradient back unchanged. A loss made of totals
is then the same number everywhere, and the gradients of all processes add up to its gradient, as
long as each process puts its own part of the batch into the totals alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.distributed_c10d import PrefixStore

from recbole_sr.distributed import launch
from recbole_sr.distributed.store import store
from recbole_sr.errors import LostProcessError, first_line

__all__ = ["ALONE", "Alone", "Group", "current_group", "processes"]

Value = TypeVar("Value")


class Alone:
    """A process that has no others: everything is its own.

    Attributes:
        rank: number of the process, from 0.
        size: how many there are.

    """

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def first(self, make: Callable[[], Value]) -> Value:
        """What ``make`` returns, or raises, in the first process; the others do not call it."""
        return make()

    def gathered(self, value: Value) -> list[Value]:
        """The value of each process, in their order."""
        return [value]


class Group(Alone):
    """The processes that torch's default process group joins."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def first(self, make: Callable[[], Value]) -> Value:
        """See :class:`Alone`. What is returned is pickled; the processes trust each other."""
        told: list[Any] = [None, None]
        if self.leads:
            try:
                told[0] = make()
            except Exception as error:
                told[1] = error
        mine = told[1]
        with self._together():
            dist.broadcast_object_list(told, src=0)
        if told[1] is not None:
            raise mine or told[1]
        return told[0]

    def gathered(self, value: Value) -> list[Value]:
        """See :class:`Alone`. The values are pickled; the processes trust each other."""
        found: list[Any] = [None] * self.size
        with self._together():
            dist.all_gather_object(found, value)
        return found

    def add_up(self, x: Tensor) -> None:
        """Replace a tensor by the sum of those of all processes."""
        with self._together():
            dist.all_reduce(x)

    def total(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """The sum over the processes; the gradient is that of a term, times ``scale``."""
        added: Tensor = _Total.apply(x, self, scale)
        return added

    def whole(self, x: Tensor, owners: Tensor) -> Tensor:
        """The rows of all processes; the gradient of each goes to its own process.

        Args:
            x: ``(n, D)``, the rows of this process.
            owners: ``(N,)``, int64, whose row each one of the whole is; known to all.

        Returns:
            ``(N, D)``, rows of one process in their order.

        """
        rows: Tensor = _Whole.apply(x, owners, self)
        return rows

    def rows_of_all(self, x: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """The matrices ``(n_r, ...)`` of all processes, in their order, without gradient.

        Args:
            x: this process's.
            counts: the ``n_r``.

        """
        most = max(counts)
        if not most:
            return [x for _ in counts]
        padded = x.new_zeros((most, *x.shape[1:]))
        padded[: len(x)] = x.detach()
        found = [torch.empty_like(padded) for _ in counts]
        with self._together():
            dist.all_gather(found, padded)
        return [rows[:count] for rows, count in zip(found, counts, strict=True)]

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Around every exchange: it fails where another process is gone or does not answer."""
        try:
            yield
        except RuntimeError as error:
            said = str(error).lower()
            late = "timed out" in said or "timeout" in said
            what = "has not answered within sr_timeout" if late else "has ended"
            raise LostProcessError(
                f"another process {what}, so that process {self.rank} of {self.size} ends, too"
            ) from error


ALONE = Alone()
_joined = count()
_FIRST_WORD = timedelta(minutes=10)
_current: Alone = ALONE


def current_group() -> Alone:
    """The processes of the run that is under way."""
    return _current


@contextmanager
def processes(patience: Callable[[], float]) -> Iterator[Alone]:
    """The processes that torchrun has started, joined; without it, this one alone.

    Tensors on GPUs are exchanged by NCCL, others by gloo.

    Args:
        patience: says how many seconds a process waits for the others; the first process is asked.

    Raises:
        LostProcessError: the others did not come.

    """
    global _current
    if launch.size() == 1:
        yield ALONE
        return
    made = not dist.is_initialized()
    if made:
        _join(patience() if launch.rank() == 0 else None)
    before, _current = _current, Group()
    try:
        yield _current
    finally:
        _current = before
    if made:  # where all has gone well: else the others may no longer answer
        dist.destroy_process_group()


def _join(patience: float | None) -> None:
    try:
        shared = PrefixStore(str(next(_joined)), store())  # torch counts groups anew once one ended
        if patience is not None:
            shared.set("patience", str(patience))
        shared.wait(["patience"], _FIRST_WORD)  # the first process may have a large run to read
        seconds = float(shared.get("patience"))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=shared,
            rank=launch.rank(),
            world_size=launch.size(),
            timeout=timedelta(seconds=seconds),
        )
    except RuntimeError as error:
        raise LostProcessError(
            f"process {launch.rank()} of {launch.size()}: expected {launch.size()} processes, but "
            f"not all came ({first_line(error)[:80]}); start as many as torchrun was told"
        ) from error


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group, scale: float) -> Tensor:
        ctx.scale = scale
        added = x.clone(memory_format=torch.contiguous_format)
        group.add_up(added)
        return added

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad if ctx.scale == 1 else grad * ctx.scale, None, None


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, owners: Tensor, group: Group) -> Tensor:
        ctx.own = (owners == group.rank).nonzero().squeeze(1)
        counts = torch.bincount(owners, minlength=group.size).tolist()
        order = owners.argsort(stable=True)
        rows = torch.cat(group.rows_of_all(x, counts))
        return torch.empty_like(rows).index_copy_(0, order, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, ctx.own), None, None
