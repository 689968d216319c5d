"""What RecBole 1.2.1 needs on today's packages and no pin alone can give.

One function for each incompatibility, named after it, a no-op where it is not needed, with a test
that fails once it can be deleted. Nothing here changes another package at import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
