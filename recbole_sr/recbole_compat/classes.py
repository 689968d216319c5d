"""RecBole's classes, subclasses of them that are made at run time, and attributes of objects."""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, reduce
from typing import Any

__all__ = ["is_recboles", "overridden", "subclass", "with_mixins"]


def is_recboles(model_class: type) -> bool:
    """Whether a class is RecBole's own, and not another one of the same name.

    Example:
        >>> from recbole.model.general_recommender import LightGCN
        >>> is_recboles(LightGCN), is_recboles(type("LightGCN", (), {}))
        (True, False)

    """
    return model_class.__module__.startswith("recbole.")


@cache
def _mixed(metaclass: type) -> Any:
    """A metaclass of ``subclass(mixin, base)``: lets pickle rebuild the class from its parents.

    pickle looks an ordinary class up by module and name, where a class made at run time is not to
    be found; a metaclass may say otherwise in ``copyreg``.
    """
    mixed = type("Mixed", (metaclass,), {})
    copyreg.pickle(mixed, lambda made: (subclass, made.__bases__))
    return mixed


@cache
def subclass(mixin: type, base: type) -> Any:
    """``class base(mixin, base)``: same name, so that RecBole finds its properties and trainer.

    Args:
        mixin: what is added; its methods come first.
        base: a class, also one with a metaclass such as ``abc.ABC``.

    Returns:
        The same class for the same arguments. It pickles by reference to the two.

    """
    namespace = {"__module__": base.__module__, "__qualname__": base.__qualname__}
    namespace["__doc__"] = base.__doc__ or ""
    return _mixed(type(base))(base.__name__, (mixin, base), namespace)


def with_mixins(model_class: type, mixins: Iterable[type]) -> Any:
    """The class with each of the mixins, the last one first; itself without any."""
    return reduce(lambda made, mixin: subclass(mixin, made), mixins, model_class)


@contextmanager
def overridden(target: Any, **own: Any) -> Iterator[None]:
    """Let an object have other attributes than its class inside the block.

    Example:
        >>> from torch import nn
        >>> module = nn.Identity()
        >>> with overridden(module, forward=lambda x: -x):
        ...     module(2)
        -2
        >>> module(2)
        2

    """
    vars(target).update(own)
    try:
        yield
    finally:
        for name in own:
            del vars(target)[name]
