"""Training without importing torch's compiler, which an optimiser does though nothing is compiled.

The import takes about a second and 65 MB.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch.optim import Optimizer

__all__ = ["stepping_without_compiler", "without_compiler"]

_GUARDED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
_CALLED_INSTEAD = "__dynamo_disable"  # torch's name for the form of a function that it keeps


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let optimisers be made, cleared, saved and read in the block without importing the compiler.

    torch imports it at the first call of such a method, to keep it from compiling that method. Here
    the methods are called as they are. Where the compiler has been imported, nothing changes.

    Example:
        >>> with without_compiler():
        ...     optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
        >>> optimizer.param_groups[0]["lr"]
        0.001

    """
    if "torch._dynamo" in sys.modules:
        yield
        return
    functions = [inspect.unwrap(getattr(Optimizer, name)) for name in _GUARDED]
    ours = [f for f in functions if not hasattr(f, _CALLED_INSTEAD)]  # in a block within another
    for function in ours:
        setattr(function, _CALLED_INSTEAD, function)
    try:
        yield
    finally:
        for function in ours:
            delattr(function, _CALLED_INSTEAD)


@cache
def stepping_without_compiler(kind: type[Optimizer]) -> type[Optimizer]:
    """The class of an optimiser of torch, with the same step less the import of the compiler.

    torch's step tells the compiler, which need not be there, where to break. What is left of it is
    the step itself, without gradients as long as the optimiser is not made to be differentiable.

    Example:
        >>> weight = torch.ones(1, requires_grad=True)
        >>> optimizer = stepping_without_compiler(torch.optim.SGD)([weight], lr=0.5)
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> weight.item()
        0.5

    """
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {"step": step, "__doc__": kind.__doc__})
