"""The packages that must be there, in the versions this package was tested with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from recbole_sr.errors import InputError

__all__ = ["own_checkpoint_trusted", "refuse_unsupported_packages"]

# RecBole's metadata ask for ray <= 2.6.3, which Python 3.12 and later cannot install.
_INSTALL = {"recbole": "pip install --no-deps"}
_WHY = {"torch": "older releases run code found in a checkpoint unless told not to"}


def refuse_unsupported_packages() -> None:
    """Stop where RecBole is missing, or a package is outside the range this one was tested with.

    pip honours the ranges when it installs, but a later ``pip install --upgrade`` does not. They
    are read from the installed metadata, so ``setup.cfg`` is the only place that states them.

    Raises:
        InputError: names the package, the range, the version found and the command that mends it.

    """
    if find_spec("recbole") is None:
        raise InputError("recbole_sr needs RecBole; run: pip install --no-deps recbole==1.2.1")
    try:
        requirements = metadata.requires("recbole_sr") or []
    except metadata.PackageNotFoundError:
        return  # a source tree that was never installed states no ranges
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": "recbole"}):
            _check(requirement)


def _check(requirement: Requirement) -> None:
    found = metadata.version(requirement.name)
    if requirement.specifier.contains(found, prereleases=True):
        return
    why = _WHY.get(requirement.name)
    install = _INSTALL.get(requirement.name, "pip install")
    raise InputError(
        f"recbole_sr needs {requirement.name} {requirement.specifier} but found {found}"
        f"{f' ({why})' if why else ''}; run: {install} '{requirement.name}{requirement.specifier}'"
    )


@contextmanager
def own_checkpoint_trusted() -> Iterator[None]:
    """Let RecBole load, inside the block, a checkpoint that this process has just written itself.

    RecBole's checkpoint is a pickle of its ``Config``, and its ``Trainer.evaluate``
    (``trainer.py:583``) loads it by a plain ``torch.load``, which torch >= 2.6 refuses. This sets
    torch's own switch for such calls. Never use it around a file that came from elsewhere.
    """
    switch = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(switch)
    os.environ[switch] = "1"
    try:
        yield
    finally:
        os.environ.pop(switch)
        if before is not None:
            os.environ[switch] = before
