"""The gradients of all processes added up, before an optimiser's step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from recbole_sr.distributed.group import Group

__all__ = ["GradientSum", "RowsOfGradient"]

_NONE, _WHOLE = -1, -2  # in place of a number of rows
_SMALL = 2**16  # entries; smaller gradients are sent together


class RowsOfGradient(Protocol):
    """A dense gradient of which it is known which rows were written."""

    def rows_written(self) -> Tensor | None:
        """Ids of the rows that are not zero, each once; None where any row may be."""

    def see_rows(self, ids: Tensor | None) -> None:
        """Take note that these rows were written, too; None: any row."""


class GradientSum:
    """Adds up the gradients of all processes, and then clips them.

    Every process adds in the same order, so that all go on with the same bits. Where a table's
    gradient has few rows, these alone are sent.

    Args:
        group: the processes.
        parameters: those to be trained.
        clipping: arguments of torch's ``clip_grad_norm_``; None clips nothing.

    """

    def __init__(
        self,
        group: Group,
        parameters: Iterable[nn.Parameter],
        clipping: Mapping[str, Any] | None = None,
    ):
        self._group = group
        self._parameters = [one for one in parameters if one.requires_grad]
        self._clipping = clipping
        self.rows: Mapping[Tensor, RowsOfGradient] = {}

    def __call__(self, *_: Any) -> None:
        """A hook before a step: replace each gradient by the sum over the processes."""
        ids = [self._ids(one) for one in self._parameters]
        kinds = torch.tensor([self._kind(*one) for one in zip(self._parameters, ids, strict=True)])
        of_all = torch.stack(self._group.rows_of_all(kinds, [len(kinds)] * self._group.size))
        small = []
        for parameter, own, counts in zip(self._parameters, ids, of_all.T.tolist(), strict=True):
            if set(counts) == {_NONE}:
                continue
            if min(counts) >= 0:
                self._add_rows(parameter, own, counts)
                continue
            self._make_dense(parameter)
            if parameter.numel() < _SMALL:
                small.append(parameter)
            else:
                gradient: Any = parameter.grad
                self._group.add_up(gradient)
                self._see_any_row(parameter)
        self._add_together(small)
        if self._clipping:
            clip_grad_norm_(self._parameters, **self._clipping)

    def _ids(self, parameter: nn.Parameter) -> Tensor | None:
        """Which rows of the gradient are not zero; None: any may be, or there is no gradient."""
        if parameter.grad is None:
            return None
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            return parameter.grad.indices()[0]
        rows = self.rows.get(parameter)
        return rows.rows_written() if rows else None

    def _kind(self, parameter: nn.Parameter, ids: Tensor | None) -> int:
        """How many rows of the gradient are to be sent, or that there is none, or a whole one."""
        if parameter.grad is None:
            return _NONE
        if ids is None:
            return _WHOLE
        # Rows and their ids are sent to all; a whole gradient is sent twice, whoever has how many.
        many = 2 * len(ids) * self._group.size > len(parameter)
        return _WHOLE if many and not parameter.grad.is_sparse else len(ids)

    def _add_rows(self, parameter: nn.Parameter, ids: Any, counts: list[int]) -> None:
        gradient: Any = parameter.grad
        values = gradient.values() if gradient.is_sparse else gradient.index_select(0, ids)
        ids_of_all = self._group.rows_of_all(ids, counts)
        values_of_all = self._group.rows_of_all(values, counts)
        if gradient.is_sparse:
            found = torch.sparse_coo_tensor(
                torch.cat(ids_of_all)[None],
                torch.cat(values_of_all),
                gradient.shape,
                check_invariants=False,
            )
            parameter.grad = found.coalesce()
            return
        gradient.index_fill_(0, ids, 0)  # so that all processes add in the same order
        for others, rows in zip(ids_of_all, values_of_all, strict=True):
            gradient.index_add_(0, others, rows)
            self.rows[parameter].see_rows(others)

    def _make_dense(self, parameter: nn.Parameter) -> None:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        elif parameter.grad.is_sparse:
            parameter.grad = parameter.grad.to_dense()

    def _add_together(self, parameters: list[nn.Parameter]) -> None:
        if not parameters:
            return
        gradients: list[Any] = [one.grad for one in parameters]
        added = torch.cat([gradient.reshape(-1) for gradient in gradients])
        self._group.add_up(added)
        parts = added.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        for parameter in parameters:
            self._see_any_row(parameter)

    def _see_any_row(self, parameter: nn.Parameter) -> None:
        if rows := self.rows.get(parameter):
            rows.see_rows(None)
