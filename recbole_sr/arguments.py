"""What a command line says: a command's own options, and properties as ``--key=value``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["parse"]


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, dict[str, str]]:
    """A command's own options, and the properties among its arguments: the values' texts by key.

    argparse alone takes a property whose value has a space, such as ``--a={b: 1}``, for a further
    value of the option before it.

    Raises:
        SystemExit: after one sentence and the usage, for an argument that is neither.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--seeds", nargs="+")
        >>> parse(parser, ["--seeds", "1", "2", "--topk=[5, 10]"])
        (Namespace(seeds=['1', '2']), {'topk': '[5, 10]'})
    """
    properties = [text for text in arguments if _is_property(text, parser)]
    given, stray = parser.parse_known_args([text for text in arguments if text not in properties])
    if stray:
        parser.error(f"expected --key=value for every property, got {' '.join(stray)!r}")
    return given, dict(text.removeprefix("--").split("=", 1) for text in properties)


def _is_property(text: str, parser: argparse.ArgumentParser) -> bool:
    key, equals, _ = text.partition("=")
    return key.startswith("--") and bool(equals) and bool(parser.parse_known_args([f"{key}=1"])[1])
