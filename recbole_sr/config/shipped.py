"""The files that travel with the package."""

from pathlib import Path

__all__ = ["MODELS_PAGE", "models_page", "properties_folder"]

MODELS_PAGE = Path(__file__).parent / "models.md"


def properties_folder() -> Path:
    """The shipped property files: inside an installed package, beside it in a clone.

    Example:
        >>> (properties_folder() / "stable_rank.yaml").is_file()
        True
    """
    package = Path(__file__).parent.parent
    installed = package / "properties"
    return installed if installed.is_dir() else package.parent / "properties"


def models_page() -> str:
    """What ``recbole-sr models`` prints, as :mod:`recbole_sr.config.catalogue` has written it.

    Example:
        >>> models_page()[:8]
        '# Models'
    """
    return MODELS_PAGE.read_text(encoding="utf-8")
