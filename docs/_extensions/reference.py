"""Pages made from the code: every command with its options, and every message of a refusal."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import recbole_sr
from recbole_sr.cli import COMMANDS, main
from recbole_sr.config.arguments import PROGRAM

PACKAGE = Path(recbole_sr.__file__).parent
PLACEHOLDER = "…"


def parser_of(command: list[str]) -> argparse.ArgumentParser:
    """The parser whose help a command prints."""
    asked: list[argparse.ArgumentParser] = []

    def print_help(parser: argparse.ArgumentParser, file: Any = None) -> None:
        asked.append(parser)

    with (
        patch.object(argparse.ArgumentParser, "print_help", print_help),
        patch.object(sys, "argv", [PROGRAM]),
        suppress(SystemExit),
    ):
        main([*command, "--help"])
    return asked[0]


def messages(file: Path) -> Iterator[str]:
    """The texts of a module's ``raise InputError(...)``, with a placeholder for each value."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        call = node.exc if isinstance(node, ast.Raise) else None
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "InputError":
            yield PLACEHOLDER.join(_literal(call.args[0]))


def _literal(node: ast.expr) -> Iterator[str]:
    """What is written out of a text, in the pieces between its values."""
    text = ""
    for part in _parts(node):
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            yield text
            text = ""
    yield text


def _parts(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_parts(node.left), *_parts(node.right)]
    return list(node.values) if isinstance(node, ast.JoinedStr) else [node]


class Commands(SphinxDirective):
    """A section for each command: its usage, what it does, its options."""

    def run(self) -> list[nodes.Node]:
        """The sections, training first."""
        return [self.section([]), *(self.section([name]) for name in COMMANDS)]

    def section(self, command: list[str]) -> nodes.section:
        """One command."""
        parser = parser_of(command)
        title = " ".join([PROGRAM, *command])
        section = nodes.section(ids=[nodes.make_id(title)], names=[title])
        usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
        section += nodes.title(text=title)
        section += nodes.paragraph(text=parser.description)
        section += nodes.literal_block(usage, usage, language="text", classes=["usage"])
        options = nodes.definition_list(classes=["options"])
        for action in parser._actions:
            options += self.option(action)
        section += options
        return section

    def option(self, action: argparse.Action) -> nodes.definition_list_item:
        """One option or argument; ``%`` is argparse's."""
        value = action.metavar or action.dest.upper()
        takes = "" if action.nargs == 0 else f" {value}{' ...' if action.nargs == '+' else ''}"
        names = ", ".join(action.option_strings) + takes if action.option_strings else action.dest
        default = "" if action.default in (None, "", False, argparse.SUPPRESS) else action.default
        text = (action.help or "").replace("%%", "%")
        if default and action.nargs != 0 and str(default) not in text:
            shown = " ".join(default) if isinstance(default, list) else default
            text += f"; default: {shown}"
        return nodes.definition_list_item(
            "",
            nodes.term("", "", nodes.literal(text=names)),
            nodes.definition("", nodes.paragraph(text=text[:1].upper() + text[1:] + ".")),
        )


class Messages(SphinxDirective):
    """A section for each room: its messages, in the order of the alphabet."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        rooms: dict[str, set[str]] = {}
        for file in sorted(PACKAGE.rglob("*.py")):
            self.env.note_dependency(str(file))
            room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
            rooms.setdefault(room, set()).update(messages(file))
        return [self.section(room, found) for room, found in sorted(rooms.items()) if found]

    def section(self, room: str, found: set[str]) -> nodes.section:
        """One room."""
        section = nodes.section(ids=[f"messages-{nodes.make_id(room)}"], names=[room])
        section += nodes.title(text=room)
        lines = nodes.bullet_list(classes=["messages"])
        for text in sorted(found):
            lines += nodes.list_item("", nodes.paragraph(text=text))
        section += lines
        return section


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("commands", Commands)
    app.add_directive("messages", Messages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
