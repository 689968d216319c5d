"""What RecBole 1.2.1 needs on today's packages and no pin alone can give.

One function for each incompatibility, named after it, a no-op where it is not needed, with a test
that fails once it can be deleted. Nothing here changes another package at import.
"""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement

from recbole_sr.errors import InputError

_WHY = {
    "numpy": "RecBole reads numpy.float_, which numpy 2 removed",
    "pandas": "with pandas 3 RecBole silently leaves missing values unfilled",
    "scipy": "RecBole's graph models use dok_matrix._update, which scipy 1.13 removed",
    "torch": "older releases run code found in a checkpoint unless told not to",
}


def refuse_unsupported_packages() -> None:
    """Stop where an installed package is outside the range this package was tested with.

    pip honours the ranges when it installs, but a later ``pip install pandas`` does not, and
    RecBole on pandas 3 trains on wrong features without a word (``dataset.py:648``). The ranges
    are read from the installed metadata, so ``setup.cfg`` is the only place that states them.

    Raises:
        InputError: names the package, the range, the version found and the command that mends it.

    """
    try:
        requirements = metadata.requires("recbole_sr") or []
    except metadata.PackageNotFoundError:
        return  # a source tree that was never installed states no ranges
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            _check(requirement)


def _check(requirement: Requirement) -> None:
    found = metadata.version(requirement.name)
    if requirement.specifier.contains(found, prereleases=True):
        return
    why = _WHY.get(requirement.name)
    raise InputError(
        f"recbole_sr needs {requirement.name} {requirement.specifier} but found {found}"
        f"{f' ({why})' if why else ''}; run: pip install '{requirement}'"
    )
