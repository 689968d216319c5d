"""The property files that travel with the package."""

from pathlib import Path

__all__ = ["properties_folder"]


def properties_folder() -> Path:
    """The shipped property files: inside an installed package, beside it in a clone.

    Example:
        >>> (properties_folder() / "stable_rank.yaml").is_file()
        True
    """
    package = Path(__file__).parent.parent
    installed = package / "properties"
    return installed if installed.is_dir() else package.parent / "properties"
