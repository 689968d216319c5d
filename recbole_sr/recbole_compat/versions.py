"""The packages that must be there, in the versions this package was tested with."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from recbole_sr.errors import InputError

__all__ = ["refuse_unsupported_packages"]

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
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        found = "none"
    if found != "none" and requirement.specifier.contains(found, prereleases=True):
        return
    why = _WHY.get(requirement.name)
    install = _INSTALL.get(requirement.name, "pip install")
    raise InputError(
        f"recbole_sr needs {requirement.name} {requirement.specifier} but found {found}"
        f"{f' ({why})' if why else ''}; run: {install} '{requirement.name}{requirement.specifier}'"
    )
