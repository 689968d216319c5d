"""The property files that travel with the package."""

from importlib import resources
from importlib.resources.abc import Traversable

__all__ = ["properties_folder"]


def properties_folder() -> Traversable:
    """The shipped property files: inside an installed package, beside it in a clone.

    Example:
        >>> (properties_folder() / "stable_rank.yaml").is_file()
        True
    """
    package = resources.files("recbole_sr")
    installed = package / "properties"
    return installed if installed.is_dir() else package / ".." / "properties"
