"""Property files and texts of the command line, read as plain data and never evaluated."""

from __future__ import annotations

import ast
import copy
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from fractions import Fraction
from os.path import isfile  # pathlib's raises on names that are too long
from pathlib import Path
from typing import Any

import yaml

from recbole_sr.config.shipped import properties_folder
from recbole_sr.errors import InputError, check_file

__all__ = [
    "CommandLine",
    "Loader",
    "file_named",
    "find_file",
    "is_quoted_number",
    "literals",
    "once",
    "read_files",
    "read_properties",
    "read_shipped",
]

INCLUDES = "config_files"
_MOST_VALUES = 100_000
Origins = dict[str, str]


class CommandLine(dict[str, str]):
    """Properties that were given to a command of this package, as texts by key."""


class Loader(yaml.SafeLoader):
    """Reads numbers as RecBole does, and refuses a key that is given twice in one mapping.

    YAML would take the last one. A data set holds it with its configuration, and pickles it by
    this name.
    """

    def compose_mapping_node(self, anchor: Any) -> Any:
        """YAML's mapping, of which each key is there once."""
        node = super().compose_mapping_node(anchor)
        # Merge keys are joined later, and may be overridden.
        keys = [key for key, _ in node.value if key.value != "<<"]
        if twice := _repeated([(key.tag, str(key.value)) for key in keys]):
            line = max(key.start_mark.line for key in keys if str(key.value) == twice[1]) + 1
            raise _RepeatedKey(f"the key {twice[1]!r} twice, again in line {line}; drop one")
        return node


class _RepeatedKey(yaml.YAMLError):
    """A mapping with one key twice."""


# RecBole reads 1e-3 and ._5 as numbers, where YAML wants 1.0e-3 and .5.
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"([-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+|\.[0-9_]+([eE][-+][0-9]+)?)$",
    ),
    list("-+0123456789."),
)


def read_properties(
    files: Sequence[str] = (), texts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The property values of YAML files and, above them, of a command line or a dictionary.

    They are read as :class:`~recbole_sr.config.config.Config` reads them, but nothing is added.

    Raises:
        InputError: a file is not there, or holds no YAML mapping.

    Example:
        >>> read_properties(texts={"learning_rate": "1e-3", "topk": "[10,20]"})
        {'learning_rate': 0.001, 'topk': [10, 20]}
    """
    return {**read_files(files)[0], **literals(texts or {})}


def read_files(files: Sequence[str]) -> tuple[dict[str, Any], Origins]:
    """The property values of YAML files, later ones above earlier ones, and who set each.

    Raises:
        InputError: a file is not there, holds no YAML mapping, or includes itself; or one name is
            given in place of a list.

    """
    if isinstance(files, str):
        raise InputError(
            f"config_file_list: expected a list of files, got {files!r}; give [{files!r}]"
        )
    return _merged(layer for name in files for layer in _layers(find_file(name), name))


def read_shipped(name: str) -> tuple[dict[str, Any], Origins]:
    """A file of ``properties/`` and those it includes; nothing where there is none."""
    file = _shipped(name)
    return _merged(_layers(file, name) if isfile(file) else ())


def _layers(
    file: Path, name: str, above: tuple[Path, ...] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The names and property values of the files that a YAML file includes, and its own above.

    Args:
        file: the file.
        name: what it is called, as the origin of its keys.
        above: the files that include it.

    """
    if file in above:
        raise InputError(f"{file}: expected files that do not include each other; drop {INCLUDES}")
    own = _read_mapping(file)
    included = own.pop(INCLUDES, None) or []
    parts = included.split() if isinstance(included, str) else included
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise InputError(f"{file}: expected names of files as {INCLUDES}, got {included!r}")
    for part in parts:
        yield from _layers(_included(part, file), part, (*above, file))
    yield name, own


def _merged(layers: Iterable[tuple[str, dict[str, Any]]]) -> tuple[dict[str, Any], Origins]:
    """Property values, later layers above earlier ones, and the name of each one's layer."""
    settings: dict[str, Any] = {}
    origins: Origins = {}
    for name, own in layers:
        settings |= own
        origins |= dict.fromkeys(own, name)
    return settings, origins


@contextmanager
def file_named(origin: Callable[[str], str | None]) -> Iterator[None]:
    """Around checks of keys: at the end of their sentence stands the file that the key is from.

    Args:
        origin: the file that set a key, or None.

    Example:
        >>> with file_named({"topk": "my.yaml"}.get):
        ...     raise InputError("topk: expected a list, got 3")
        Traceback (most recent call last):
        recbole_sr.errors.InputError: topk: expected a list, got 3 (in my.yaml)

    """
    try:
        yield
    except InputError as error:
        key = re.match(r"unknown key '(.*?)'|([^\s:]*)", str(error))
        if key is None or (file := origin(key[1] or key[2])) is None:
            raise
        raise InputError(f"{error} (in {file})") from error.__cause__


def find_file(name: str) -> Path:
    """A file of the user's, or else the shipped one of that name."""
    shipped = _shipped(name)
    return shipped if isfile(shipped) and not isfile(name) else Path(name)


def once(arguments: Iterable[str]) -> dict[str, str]:
    """Texts of a command line, each ``--key=value``, by key.

    Raises:
        InputError: a key is there twice, with two values.

    Example:
        >>> once(["--epochs=1"])
        {'epochs': '1'}
    """
    texts: dict[str, str] = {}
    for argument in arguments:
        key, _, text = argument.removeprefix("--").partition("=")
        if texts.setdefault(key, text) != text:
            raise InputError(
                f"{key}: expected one value on the command line, got {texts[key]!r} and {text!r}; "
                "drop one"
            )
    return texts


def literals(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a property file would have them: text as a literal, plain data in place of others.

    Raises:
        InputError: a key is no text, or a value cannot be copied, such as a generator.

    Example:
        >>> literals({"learning_rate": "1e-3", "topk": (5, 10), "data_path": Path("data")})
        {'learning_rate': 0.001, 'topk': [5, 10], 'data_path': 'data'}

    """
    if not isinstance(texts, Mapping):
        raise InputError(f"config_dict: expected a dictionary of keys, got {texts!r}; give one")
    found = {}
    for key, value in texts.items():
        if not isinstance(key, str):
            raise InputError(f"config_dict: expected the names of keys, got {key!r}; give texts")
        try:
            found[key] = _value(value)
        except TypeError:
            raise InputError(
                f"{key}: expected a text, a number, a list or a dictionary, got {value!r}; give one"
            ) from None
    return found


def is_quoted_number(value: Any) -> bool:
    """Whether a value is the text of what a property file would read as a number without quotes.

    Example:
        >>> is_quoted_number("1e-3"), is_quoted_number("1,5"), is_quoted_number(0.1)
        (True, False, False)

    """
    if not isinstance(value, str):
        return False
    with suppress(yaml.YAMLError, ValueError, RecursionError):
        return type(_read_yaml(value)) in (int, float)
    return False


def _included(name: str, by: Path) -> Path:
    """The file that another one includes: beside it, or else as any other."""
    if by.is_relative_to(_shipped("")):
        return _shipped(name)
    return by.parent / name if isfile(by.parent / name) else find_file(name)


def _shipped(name: str) -> Path:
    return properties_folder() / name


def _read_mapping(file: Path) -> dict[str, Any]:
    check_file(file, "a YAML property file")
    try:
        settings = _read_yaml(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: expected a YAML property file, got {reason}") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise InputError(
            f"{file}: expected lines of the form key: value, got {str(settings)[:80]!r}"
        )
    return settings


def _read_yaml(text: str) -> Any:
    try:
        value = yaml.load(text, Loader=Loader)  # noqa: S506 - a subclass of SafeLoader
    except (AttributeError, IndexError, KeyError) as error:  # of a value that is none of its tag
        raise yaml.YAMLError(f"a tag such as !!bool before another value ({error})") from None
    if _size(value, {}) > _MOST_VALUES:
        raise ValueError(f"aliases that stand for more than {_MOST_VALUES} values")
    return value


def _value(given: Any) -> Any:
    """A Python literal as RecBole reads it, else a YAML list, mapping, null or boolean."""
    if not isinstance(given, str):
        return _plain(given)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(_without_repeated_keys(given))
    if given.lower() in ("true", "false", "null", "~") or given[:1] in ("[", "{"):
        # RecBole's intervals look like a list: "[5,inf)"
        try:
            return _read_yaml(given)
        except _RepeatedKey as error:
            raise InputError(f"{given}: expected each key once, got {error}") from None
        except (yaml.YAMLError, ValueError, RecursionError):
            return given
    return given


def _plain(given: Any) -> Any:
    """Paths as texts, tuples as lists, arrays as numbers or lists; a copy of all else."""
    if isinstance(given, os.PathLike):
        return os.fspath(given)
    if isinstance(given, list | tuple):
        return list(map(_plain, given))
    if isinstance(given, Mapping):
        return {key: _plain(value) for key, value in given.items()}
    if isinstance(given, Decimal | Fraction):
        return float(given)
    return given.tolist() if hasattr(given, "tolist") else copy.deepcopy(given)


def _without_repeated_keys(text: str) -> str:
    """The text of a Python literal; one that names a key twice is left to YAML, which refuses it.

    Raises:
        ValueError: such a key.
    """
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.Dict) and _repeated([ast.dump(key) for key in node.keys if key]):
            raise ValueError
    return text


def _repeated(names: Sequence[Any]) -> Any:
    """The first of the names that is there twice, or None."""
    return next((name for name, times in Counter(names).items() if times > 1), None)


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values there are with every alias written out; a file of a page can hold billions.

    Raises:
        RecursionError: an alias stands inside itself.
    """
    if not isinstance(value, list | dict):
        return 1
    if id(value) not in known:
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]
