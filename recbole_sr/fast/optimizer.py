"""The optimiser's step in one pass over memory, and gradients of the batch's rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, SparseAdam

from recbole_sr.fast.compiler import stepping_without_compiler
from recbole_sr.recbole_compat.classes import overridden

__all__ = ["RowAdam", "RowGradient", "fused", "row_gradients"]

_FUSED = (Adam, AdamW, SGD, Adagrad)
_SCATTERED = 8  # times as long to clear a row here and there as one in the whole table


def fused(optimizer: Optimizer) -> Optimizer:
    """The same optimiser with a step in one pass over memory: rounded differently, no more.

    It is torch's own where torch has one. ``SparseAdam``'s is :class:`RowAdam`.

    Args:
        optimizer: fresh, that is before its first step.

    """
    if type(optimizer) is SparseAdam:
        return RowAdam(optimizer.param_groups, lr=optimizer.defaults["lr"])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    on_cpu = all(p.device.type == "cpu" for p in parameters)
    if type(optimizer) not in _FUSED or (type(optimizer) is Adagrad and not on_cpu):
        return optimizer
    groups = [{**group, "fused": True, "foreach": False} for group in optimizer.param_groups]
    kind: Any = type(optimizer)
    make: Any = stepping_without_compiler(kind)
    return make(groups, lr=optimizer.defaults["lr"], fused=True)


class RowAdam(SparseAdam):
    """``SparseAdam`` that reads and writes each row of the batch once, on dense moments.

    torch's sorts the gradient into a sparse matrix and adds sparse matrices to both moments and to
    the weights. The mathematics and the state are the same.

    Example:
        >>> table = nn.Embedding(3, 2, sparse=True)
        >>> optimizer = RowAdam(table.parameters(), lr=0.5)
        >>> before = table.weight.detach().clone()
        >>> table(torch.tensor([1, 1])).sum().backward()
        >>> optimizer.step()
        >>> before - table.weight.detach()
        tensor([[0.0000, 0.0000],
                [0.5000, 0.5000],
                [0.0000, 0.0000]])

    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; ``closure`` calculates the loss again, as torch's optimisers have it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        ids, gradient = self._summed(parameter.grad)
        if group["maximize"]:
            gradient.neg_()
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        mean, square = (self._room(use, gradient) for use in ("mean", "square"))
        torch.index_select(state["exp_avg"], 0, ids, out=mean).lerp_(gradient, 1 - first)
        torch.index_select(state["exp_avg_sq"], 0, ids, out=square).mul_(second)
        square.addcmul_(gradient, gradient, value=1 - second)
        state["exp_avg"].index_copy_(0, ids, mean)
        state["exp_avg_sq"].index_copy_(0, ids, square)
        bias = (1 - second ** state["step"]) ** 0.5 / (1 - first ** state["step"])
        moved = mean.div_(square.sqrt_().add_(group["eps"])).mul_(-bias * float(group["lr"]))
        parameter.index_add_(0, ids, moved)  # with alpha torch takes a slower way

    def _summed(self, gradient: Any) -> tuple[Tensor, Tensor]:
        """The ids ``(n,)`` of a sparse gradient, each once, and sums of their rows ``(n, D)``."""
        ids, place = gradient._indices()[0].unique(return_inverse=True)
        rows = gradient._values()
        sums = self._room("gradient", rows[: len(ids)])
        return ids, sums.zero_().index_add_(0, place, rows)

    def _room(self, use: str, like: Tensor) -> Tensor:
        """Memory of the shape of a tensor, used again in each step: fresh pages cost more."""
        rooms: dict[Any, Tensor] = vars(self).setdefault("_rooms", {})
        room = rooms.get(key := (use, like.dtype, like.device, like.shape[1:]))
        if room is None or len(room) < len(like):
            room = rooms[key] = like.new_empty(like.shape)
        return room[: len(like)]


@contextmanager
def row_gradients(
    model: nn.Module, optimizer: Optimizer | None = None
) -> Iterator[dict[Tensor, RowGradient]]:
    """Inside the ``with`` block, lookups in embedding tables do not allocate whole gradients.

    torch gives every lookup a dense gradient as large as the table, fresh memory of which all but
    the batch's rows is zero. Here each lookup adds its rows to one dense gradient, which is kept
    from step to step and cleared where it was written. The optimiser sees what it always sees.
    ``SparseAdam`` is handed the rows themselves, which is what it needs; it moves only the rows of
    the batch and lets the moments of the others stand still, other mathematics than Adam's.

    Args:
        model: its ``nn.Embedding`` tables on the CPU are served, but for those that scale by
            frequency or renormalise. On a GPU fresh memory costs nothing, and torch's own way is
            deterministic.
        optimizer: what the gradients are for.

    Yields:
        The dense gradient of each table's weight; none for ``SparseAdam``.

    """
    rows_wanted = isinstance(optimizer, SparseAdam)
    tables = [
        module
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        and module.weight.requires_grad
        and not (module.sparse or module.scale_grad_by_freq or module.max_norm)
        and (rows_wanted or module.weight.device.type == "cpu")
    ]
    with ExitStack() as stack:
        served: dict[Tensor, Any] = {}  # tables may share a weight
        dense: dict[Tensor, RowGradient] = {}
        for table in tables:
            weight = table.weight
            if rows_wanted:
                served[weight] = partial(embedding, weight=weight, sparse=True)
            elif weight not in served:
                dense[weight] = stack.enter_context(RowGradient(weight))
                served[weight] = dense[weight].look_up
            forward = partial(served[weight], padding_idx=table.padding_idx)
            stack.enter_context(overridden(table, forward=forward))
        yield dense


class RowGradient:
    """One dense gradient for all lookups in a table, in memory that is used again.

    Args:
        weight: the table, ``(N, D)``.

    """

    def __init__(self, weight: Tensor):
        self.weight = weight
        self.dense: Tensor | None = None
        self.written: list[Tensor] | None = []  # ids of rows; None: any row
        # Has autograd call the lookups' backward. The weight itself would have it call the hook
        # below after each, as if the whole gradient had been written.
        self._anchor = weight.new_zeros((), requires_grad=True)

    def __enter__(self) -> RowGradient:
        self.handle = self.weight.register_post_accumulate_grad_hook(self._see_whole_gradient)
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def look_up(self, ids: Tensor, padding_idx: int | None = None) -> Tensor:
        """Rows whose gradient is added here; that of padding is dropped."""
        rows: Tensor = _LookUp.apply(self._anchor, self.weight.detach(), ids, padding_idx, self)
        return rows

    def add(self, ids: Tensor, rows: Tensor) -> None:
        """Add gradients ``(B, D)`` of the rows ``ids``, ``(B,)``."""
        if self.weight.grad is None:
            self.weight.grad = self._cleared()
        self.weight.grad.index_add_(0, ids, rows)
        if self.weight.grad is self.dense and self.written is not None:
            self.written.append(ids)

    def rows_written(self) -> Tensor | None:
        """Ids of the rows that may not be zero, each once; None where any row may."""
        if self.weight.grad is not self.dense or self.written is None:
            return None
        return torch.cat(self.written).unique()

    def see_rows(self, ids: Tensor | None) -> None:
        """Take note that others have written these rows, or any row."""
        if self.weight.grad is self.dense and self.written is not None:
            self.written = None if ids is None else [*self.written, ids]

    def _see_whole_gradient(self, weight: Tensor) -> None:
        """Torch has added a gradient of the whole table, where a model uses it whole."""
        if weight.grad is self.dense:
            self.written = None

    def _cleared(self) -> Tensor:
        if self.dense is None:
            self.dense = torch.zeros_like(self.weight)
        elif self.written is None or _SCATTERED * sum(map(len, self.written)) > len(self.weight):
            self.dense.zero_()
        else:
            for ids in self.written:
                self.dense.index_fill_(0, ids, 0)
        self.written = []
        return self.dense


class _LookUp(torch.autograd.Function):
    """A lookup whose backward hands its rows to a :class:`RowGradient`, and torch nothing."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor: Tensor,
        weight: Tensor,
        ids: Tensor,
        padding_idx: int | None,
        gradient: RowGradient,
    ) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.padding_idx, ctx.gradient = padding_idx, gradient
        return embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, ...]:
        (ids,) = ctx.saved_tensors
        if ctx.padding_idx is not None:
            grad = grad.masked_fill((ids == ctx.padding_idx).unsqueeze(-1), 0)
        ctx.gradient.add(ids.reshape(-1), grad.reshape(-1, grad.shape[-1]))
        return None, None, None, None, None
