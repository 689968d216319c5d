"""``learner: sparse_adam`` takes gradients of rows alone: models that have others are refused."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import SparseAdam

from recbole_sr.errors import InputError

__all__ = ["refuse_dense_gradients"]


def refuse_dense_gradients(optimizer: SparseAdam, model: nn.Module) -> None:
    """Say before the first update that a parameter's gradient is not one of rows.

    Only the tables of ``nn.Embedding`` can have gradients of rows. Whether they do, a model's code
    decides: a product with a whole table gives a whole gradient. So other parameters are refused at
    once, and tables when the first step has their gradients.

    Raises:
        InputError: a parameter to be trained is no table; the optimiser's steps raise it too, where
            the gradient of a table is dense.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> refuse_dense_gradients(SparseAdam(model.parameters()), model)
        Traceback (most recent call last):
        ...
        recbole_sr.errors.InputError: learner: expected one for whole gradients, as Linear has one \
for its parameter weight, got 'sparse_adam', which moves looked-up rows alone; set learner: adam

    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}

    def refuse(parameter: nn.Parameter) -> None:
        raise InputError(
            f"learner: expected one for whole gradients, as {type(model).__name__} has one for its "
            f"parameter {names[parameter]}, got 'sparse_adam', which moves looked-up rows alone; "
            "set learner: adam"
        )

    def before_step(*_: Any) -> None:
        for parameter in _parameters(optimizer):
            if parameter.grad is not None and not parameter.grad.is_sparse:
                refuse(parameter)

    for parameter in _parameters(optimizer):
        if parameter.requires_grad and parameter not in tables:
            refuse(parameter)
    optimizer.register_step_pre_hook(before_step)


def _parameters(optimizer: SparseAdam) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
