"""Tables of which each process owns some columns: the optimiser's step is divided, too.

Scores are sums over columns, and linear propagation treats each column alone. So the processes
exchange partial scores, or the rows that an objective reads, and no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from recbole.model.loss import EmbLoss
from torch import Tensor, nn

from recbole_sr.distributed.group import Group
from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.share import root
from recbole_sr.models.sources import resolve
from recbole_sr.recbole_compat.classes import overridden

__all__ = ["Columns"]


class Columns:
    """The columns of all tables that are this process's: a contiguous part of them.

    Args:
        group: the processes.
        width: of the whole tables, a multiple of the number of processes.

    """

    def __init__(self, group: Group, width: int):
        self._group, self._width = group, width
        self._own = width // group.size

    def cut(self, model: nn.Module, entry: ModelEntry) -> None:
        """Leave a model that has whole tables with the columns of this process."""
        for path in (*entry.user.initialized, *entry.item.initialized):
            table = resolve(model, path)
            table.weight = nn.Parameter(self.part(table.weight.data).clone())
            table.embedding_dim = self._own

    def joined(self, x: Tensor) -> Tensor:
        """All columns ``(N, D)`` of what each process has some of; the gradient is divided."""
        whole: Tensor = _Joined.apply(x, self._group)
        return whole

    def total(self, scores: Tensor) -> Tensor:
        """The sum of partial scores, or of other sums over columns."""
        return self._group.total(scores)

    def whole(self, state: Any) -> Any:
        """Weights, moments or other state with all columns, as one process has them."""
        return _mapped(state, self._is_part, lambda x: self.joined(x.detach()))

    def part(self, state: Any) -> Any:
        """The reverse of :meth:`whole`: the columns of this process alone."""
        first = self._group.rank * self._own
        return _mapped(
            state, self._is_whole, lambda x: x[:, first : first + self._own].contiguous()
        )

    @contextmanager
    def summing(self, model: nn.Module, loss: str | None) -> Iterator[None]:
        """Have the model's losses see whole scores and norms.

        Args:
            model: whose code calculates partial ones.
            loss: path of the module that is given the scores; None where another loss, of whole
                vectors, takes its place.

        """
        norms: list[Any] = [part for part in model.modules() if type(part) is EmbLoss]
        with ExitStack() as stack:
            if loss:
                module = resolve(model, loss)
                summed = partial(self._with_whole_scores, module.forward)
                stack.enter_context(overridden(module, forward=summed))
            for one in norms:
                stack.enter_context(overridden(one, forward=self._embedding_loss(one.norm)))
            yield

    def _with_whole_scores(self, loss: Callable[..., Tensor], *scores: Tensor) -> Tensor:
        return loss(*self.total(torch.stack(scores)))

    def _embedding_loss(self, p: int) -> Callable[..., Tensor]:
        def forward(*embeddings: Tensor, require_pow: bool = False) -> Tensor:
            powers = self.total(torch.stack([x.abs().pow(p).sum() for x in embeddings]))
            norms = powers / p if require_pow else root(powers, p)
            return (norms.sum() / embeddings[-1].shape[0]).reshape(1)

        return forward

    def _is_part(self, x: Tensor) -> bool:
        return x.ndim == 2 and x.shape[1] == self._own

    def _is_whole(self, x: Tensor) -> bool:
        return x.ndim == 2 and x.shape[1] == self._width


def _mapped(
    state: Any, chosen: Callable[[Tensor], bool], change: Callable[[Tensor], Tensor]
) -> Any:
    if isinstance(state, dict):
        return {key: _mapped(value, chosen, change) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_mapped(value, chosen, change) for value in state)
    return change(state) if isinstance(state, Tensor) and chosen(state) else state


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.first, ctx.count = group.rank * x.shape[1], x.shape[1]
        return torch.cat(group.rows_of_all(x.contiguous(), [len(x)] * group.size), dim=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad[:, ctx.first : ctx.first + ctx.count], None
