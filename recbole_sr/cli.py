"""The command line: ``python run_recbole_sr.py`` and ``recbole-sr``."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence

from recbole_sr import __version__
from recbole_sr.arguments import parse
from recbole_sr.errors import InputError
from recbole_sr.resources import properties_folder

__all__ = ["main"]

PROGRAM = "recbole-sr"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; without one, train a model.

    Args:
        arguments: without the program's name; None reads ``sys.argv``.

    Returns:
        The exit code: 0, or 2 where something given cannot work.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = COMMANDS[arguments.pop(0)] if arguments[:1] and arguments[0] in COMMANDS else _train
    # RecBole calls what torch deprecates; that is no news to who runs a command.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    # RecBole's Config would read them again, and those of other commands for properties.
    sys.argv[1:] = []
    try:
        command(arguments)
    except InputError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    return 0


# Each command imports what it needs itself: --help and a mistyped flag need not wait for torch.


def _train(arguments: list[str]) -> None:
    parser = _parser("Train a RecBole model with stable-rank regularisation and warm start.")
    parser.epilog = _epilog()
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument("-m", "--model", default="BPR", help="RecBole's name of the model")
    parser.add_argument("-d", "--dataset", default="ml-100k", help="name of the data set")
    parser.add_argument(
        "--config_files", default="", help='YAML property files, as in "a.yaml b.yaml"'
    )
    given, properties = parse(parser, arguments)
    from recbole_sr.quick_start import run_recbole_sr

    run_recbole_sr(given.model, given.dataset, given.config_files.split(), properties)


def _resume(arguments: list[str]) -> None:
    parser = _parser("Continue a run that was interrupted or killed, to the same result.", "resume")
    parser.add_argument("run", help="the .run.pth file that the run left in its checkpoint_dir")
    given = parser.parse_args(arguments)
    from recbole_sr.quick_start import resume

    resume(given.run)


def _export(arguments: list[str]) -> None:
    parser = _parser("Write a checkpoint that RecBole itself can load.", "export")
    parser.add_argument("checkpoint", help="a model's checkpoint of recbole-sr")
    parser.add_argument("-o", "--output", required=True, help="the file to write")
    given = parser.parse_args(arguments)
    from recbole_sr.export import export

    export(given.checkpoint, given.output)


def _of(module: str) -> Callable[[list[str]], None]:
    """The ``main(arguments)`` of a module."""

    def command(arguments: list[str]) -> None:
        importlib.import_module(f"recbole_sr.{module}").main(arguments)

    return command


def _models(arguments: list[str]) -> None:
    parser = _parser("List RecBole's models: what of each is regularised, which not.", "models")
    parser.parse_args(arguments)
    from recbole_sr.catalogue import lines

    print(*lines(), sep="\n")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "export": _export,
    "models": _models,
    "resume": _resume,
    "compare": _of("compare"),
    "report": _of("report"),
    "spectrum": _of("spectrum"),
}


def _parser(description: str, command: str = "") -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"{PROGRAM} {command}".rstrip(),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _epilog() -> str:
    keys = (properties_folder() / "stable_rank.yaml").read_text(encoding="utf-8")
    return (
        f"Further commands, each with its own --help: {', '.join(COMMANDS)}.\n\n"
        "Every property of RecBole and of this package can be set as --key=value, above\n"
        "property files. The keys of this package, with their defaults:\n\n" + keys
    )
