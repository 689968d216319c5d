"""The optimiser's step in one pass over memory, and gradients of the batch's rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, SparseAdam

__all__ = ["fused", "look_up", "row_gradients"]

_SERVED = "sr_row_gradients"  # on the weights that `row_gradients` serves
_FUSED = (Adam, AdamW, SGD, Adagrad)


def fused(optimizer: Optimizer) -> Optimizer:
    """The same optimiser with torch's fused step where it has one: rounded differently, no more.

    Args:
        optimizer: fresh, that is before its first step.

    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    on_cpu = all(p.device.type == "cpu" for p in parameters)
    if type(optimizer) not in _FUSED or (type(optimizer) is Adagrad and not on_cpu):
        return optimizer
    groups = [{**group, "fused": True, "foreach": False} for group in optimizer.param_groups]
    make: Any = type(optimizer)
    return make(groups, lr=optimizer.defaults["lr"], fused=True)


def look_up(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of a table, with a gradient of rows where :func:`row_gradients` collects them."""
    return embedding(ids, table, sparse=getattr(table, _SERVED, False))


@contextmanager
def row_gradients(model: nn.Module, optimizer: Optimizer | None = None) -> Iterator[None]:
    """Inside the ``with`` block, look-ups in embedding tables do not allocate whole gradients.

    torch gives every look-up a dense gradient as large as the table, fresh memory of which all but
    the batch's rows is zero. Here the look-ups give rows, which are added up in one dense gradient
    that is kept from step to step and cleared where it was written. The optimiser sees what it
    always sees. ``SparseAdam`` is handed the rows themselves, which is what it needs; it moves only
    the rows of the batch and lets the moments of the others stand still, other mathematics than
    Adam's.

    Args:
        model: its ``nn.Embedding`` tables on the CPU are served, but for those that scale by
            frequency. On a GPU fresh memory costs nothing, and torch's own way is deterministic.
        optimizer: what the gradients are for.

    """
    rows_wanted = isinstance(optimizer, SparseAdam)
    tables = [
        module
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        and module.weight.requires_grad
        and not (module.sparse or module.scale_grad_by_freq)
        and (rows_wanted or module.weight.device.type == "cpu")
    ]
    handles = []
    for table in tables:
        table.sparse = True
        setattr(table.weight, _SERVED, True)
        if not rows_wanted:
            handles.append(table.weight.register_post_accumulate_grad_hook(_RowGradient()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for table in tables:
            table.sparse = False
            vars(table.weight).pop(_SERVED, None)  # tied tables share one


class _RowGradient:
    """Turns the sparse gradient of a table into a dense one, in memory that is used again."""

    def __init__(self) -> None:
        self.dense: Tensor | None = None
        self.written: Tensor | None = None

    @torch.no_grad()
    def __call__(self, parameter: Tensor) -> None:
        gradient = parameter.grad
        if gradient is self.dense:  # added to, not cleared: any row may be written
            self.written = None
        elif gradient is not None and gradient.is_sparse:
            dense = self._cleared(parameter)
            self.written = gradient._indices()[0]
            parameter.grad = dense.index_add_(0, self.written, gradient._values())

    def _cleared(self, parameter: Tensor) -> Tensor:
        if self.dense is None:
            self.dense = torch.zeros_like(parameter)
        elif self.written is None:
            self.dense.zero_()
        else:
            self.dense.index_fill_(0, self.written, 0)
        return self.dense
