"""Arguments of the command line: a command's own options, and properties as ``--key=value``.

What reads files is imported where it is needed: ``--help`` need not wait for it.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Collection, Sequence
from typing import Any

__all__ = ["DATA_SET", "MODEL", "PROGRAM", "new_parser", "parse", "read_known", "run_arguments"]

PROGRAM = "recbole-sr"
MODEL, DATA_SET = "BPR", "ml-100k"  # where nobody says another


class _Once(argparse.Action):
    """Stores a value, notes that it was given, and refuses an option that is given twice."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        if option and self.dest in namespace.given:
            parser.error(f"expected {option} once, got it twice; drop one")
        namespace.given = {*namespace.given, self.dest}
        setattr(namespace, self.dest, values)


def new_parser(description: str, command: str = "") -> argparse.ArgumentParser:
    """A parser of a command's options, each of which may be given once.

    Example:
        >>> new_parser("Write one page.", "report").prog
        'recbole-sr report'

    """
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {command}".rstrip(),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.register("action", None, _Once)
    parser.set_defaults(given=frozenset())
    return parser


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str], commands: Collection[str] = ()
) -> tuple[argparse.Namespace, dict[str, str]]:
    """A command's own options, and the properties among its arguments: their texts by key.

    argparse alone takes a property whose value has a space, such as ``--a={b: 1}``, for a further
    value of the option before it.

    Args:
        parser: of the options.
        arguments: what was typed.
        commands: names of commands, one of which may have been meant.

    Raises:
        SystemExit: after one sentence and the usage, for an argument that is neither.
        InputError: a property is no key.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--seeds", nargs="+")
        >>> parse(parser, ["--seeds", "1", "2", "--topk=[5, 10]"])
        (Namespace(seeds=['1', '2']), {'topk': '[5, 10]'})

    """
    properties = [text for text in arguments if _is_property(text, parser)]
    given, stray = parser.parse_known_args([text for text in arguments if text not in properties])
    if stray:
        expected = f"expected --key=value for every property, got {' '.join(stray)!r}"
        parser.error("; ".join(filter(None, [expected, _meant(stray, parser, commands)])))
    from recbole_sr.config.files import once

    found = once(properties)
    _refuse_names(found)
    return given, found


def run_arguments(
    parser: argparse.ArgumentParser, arguments: Sequence[str], commands: Collection[str] = ()
) -> tuple[argparse.Namespace, tuple[Any, ...]]:
    """A command's options, and what is to be trained: a model, a data set, files and properties.

    Args:
        parser: of further options; those of a run are added to it.
        arguments: what was typed.
        commands: as for :func:`parse`.

    Raises:
        SystemExit: as by :func:`parse`.
        InputError: a property of the command line or of a file is no key.

    Example:
        >>> _, found = run_arguments(new_parser("Train."), ["-m", "LightGCN", "--epochs=3"])
        >>> found
        ('LightGCN', 'ml-100k', [], {'epochs': '3'})

    """
    add = parser.add_argument
    add("-m", "--model", help=f"RecBole's name of the model; else the files', else {MODEL}")
    add("-d", "--dataset", help=f"name of the data set; else the files', else {DATA_SET}")
    add("--config_files", default="", help='YAML property files, as in "a.yaml b.yaml"')
    given, properties = parse(parser, arguments, commands)
    from recbole_sr.config.files import CommandLine

    files = given.config_files.split()
    said = read_known(files)  # a name that a file says is left to it
    model, dataset = (
        default if typed is None and key not in said else typed
        for key, typed, default in (
            ("model", given.model, MODEL),
            ("dataset", given.dataset, DATA_SET),
        )
    )
    return given, (model, dataset, files, CommandLine(properties))


def read_known(files: Sequence[str]) -> dict[str, Any]:
    """The values of property files, none of which may hold what is no key.

    Raises:
        InputError: a file is not there, or a name in one is no key.

    Example:
        >>> read_known(["warm/none.yaml"])["sr_warm_epochs"]
        0

    """
    from recbole_sr.config.files import file_named, read_files

    found, origins = read_files(files)
    with file_named(origins.get):
        _refuse_names(found)
    return found


def _refuse_names(keys: Collection[str]) -> None:
    """Refuse what is no key, before what takes seconds to import."""
    from recbole_sr.config.names import method_keys, refuse_unknown, refuse_unread

    refuse_unknown(keys, method_keys())
    refuse_unread(keys)


def _is_property(text: str, parser: argparse.ArgumentParser) -> bool:
    key, equals, _ = text.partition("=")
    return key.startswith("--") and bool(equals) and bool(parser.parse_known_args([f"{key}=1"])[1])


def _meant(stray: Sequence[str], parser: argparse.ArgumentParser, commands: Collection[str]) -> str:
    """What may have been meant by what is neither an option nor a property."""
    first, *others = stray
    options = re.findall(r"--\w+", parser.format_usage())
    if alike := difflib.get_close_matches(first, options, n=1, cutoff=0.7):
        return f"did you mean {alike[0]}?"
    if first.startswith("--"):
        value = others[0] if others and not others[0].startswith("-") else "VALUE"
        return f"write {first}={value}"
    if first in commands:
        return f"put the command {first} first"
    if first.endswith((".yaml", ".yml")):
        return 'put several files in quotes, as in --config_files "a.yaml b.yaml"'
    alike = difflib.get_close_matches(first, commands, n=1)
    return f"did you mean the command {alike[0]}?" if alike else ""
