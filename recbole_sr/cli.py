"""The command line: ``python run_recbole_sr.py`` and ``recbole-sr``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from recbole_sr.errors import InputError
from recbole_sr.resources import properties_folder

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a model from the command line.

    Args:
        arguments: without the program's name; None reads ``sys.argv``.

    Returns:
        The exit code: 0, or 2 where something given cannot work.

    """
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    stray = [argument for argument in rest if not _is_property(argument)]
    if stray:
        parser.error(f"expected --key=value for every property, got {' '.join(stray)!r}")
    # RecBole's Config reads sys.argv itself, so that the command line overrides all else.
    sys.argv[1:] = rest
    try:
        _run(given)
    except InputError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(given: argparse.Namespace) -> None:
    # Imported late: --help and a mistyped flag need not wait for torch.
    from recbole_sr.quick_start import run_recbole_sr

    # RecBole calls what torch deprecates; that is no news to who runs a command.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    run_recbole_sr(given.model, given.dataset, given.config_files.split())


def _is_property(argument: str) -> bool:
    return argument.startswith("--") and "=" in argument


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recbole-sr",
        description="Train a RecBole model with stable-rank regularisation and warm start.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-m", "--model", default="BPR", help="RecBole's name of the model")
    parser.add_argument("-d", "--dataset", default="ml-100k", help="name of the data set")
    parser.add_argument(
        "--config_files", default="", help='YAML property files, as in "a.yaml b.yaml"'
    )
    return parser


def _epilog() -> str:
    keys = (properties_folder() / "stable_rank.yaml").read_text(encoding="utf-8")
    return (
        "Every property of RecBole and of this package can be set as --key=value, above\n"
        "property files. The keys of this package, with their defaults:\n\n" + keys
    )
