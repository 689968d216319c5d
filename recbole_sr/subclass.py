"""Subclasses made at run time that pickle, also into a fresh process."""

from __future__ import annotations

import copyreg
from functools import cache
from typing import Any

__all__ = ["subclass"]


class _Mixed(type):
    """Metaclass of ``subclass(mixin, base)``; lets pickle rebuild the class from its two parents.

    pickle looks an ordinary class up by module and name, where a class made at run time is not to
    be found; a metaclass may say otherwise in ``copyreg``.
    """


def _reduce(mixed: type) -> tuple[Any, ...]:
    return subclass, mixed.__bases__


copyreg.pickle(_Mixed, _reduce)


@cache
def subclass(mixin: type, base: type) -> Any:
    """``class base(mixin, base)``: same name, so that RecBole finds its properties and trainer.

    Args:
        mixin: what is added; its methods come first.
        base: a class whose metaclass is ``type``.

    Returns:
        The same class for the same arguments. It pickles by reference to the two.

    """
    namespace = {"__module__": base.__module__, "__qualname__": base.__qualname__}
    namespace["__doc__"] = base.__doc__ or ""
    return _Mixed(base.__name__, (mixin, base), namespace)
