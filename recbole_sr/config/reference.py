"""The keys as a property file and as a page: both are written from :class:`Options`.

``python -m recbole_sr.config.reference`` writes them in a source tree, and the page of models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_sr.config import catalogue
from recbole_sr.config.files import read_shipped
from recbole_sr.config.options import GROUPS, Options
from recbole_sr.config.shipped import MODELS_PAGE
from recbole_sr.models.registry import SUPPORTED
from recbole_sr.objectives.losses import LOSSES
from recbole_sr.objectives.regularizers import REGULARIZERS

__all__ = ["page", "property_file"]

_TYPES = {
    "integer": "int",
    "number": "float",
    "string": "str",
    "boolean": "bool",
    "object": "dict",
    "array": "list",
}
_WIDTH = 32  # the column in which comments begin
_FILE_HEAD = (
    "# Written by `python -m recbole_sr.config.reference`, from recbole_sr/config/options.py.\n"
)
_PAGE_HEAD = """# Keys

A key set by the user overrides that key alone.
`recbole-sr config -m MODEL` shows what is in force for a model, and who set it.
`~` is YAML's null: not set.
"""
_MODELS_HEAD = """The property files of these models set these keys, some of them RecBole's.
Every other key of the package has the default above.

| Models | Keys |
|---|---|
"""
_TABLE_HEAD = "| Key | Type | Default | Meaning |\n|---|---|---|---|\n"


def property_file() -> str:
    """``properties/stable_rank.yaml``: every key with its default, type and description."""
    text = _FILE_HEAD
    for key, default, type_, meaning in _keys():
        text += f"\n# {GROUPS[key]}\n" if key in GROUPS else ""
        text += f"{f'{key}: {default}':{_WIDTH}}# ({type_}) {meaning}\n"
    return text


def page() -> str:
    """``docs/keys.md``: the same as tables in Markdown."""
    text = _PAGE_HEAD
    for key, default, type_, meaning in _keys():
        if key in GROUPS:
            text += f"\n## {GROUPS[key]}\n\n{_TABLE_HEAD}"
        text += f"| `{key}` | {type_} | `{default}` | {meaning} |\n"
    text += "\n## Defaults by model\n\n" + _MODELS_HEAD + "\n".join(_recipes()) + "\n"
    return text + "\n## Regularisers and losses\n\n" + "\n".join(_entries()) + "\n"


def _recipes() -> Iterator[str]:
    """A line for each recipe: the models that have it, and the keys that it sets otherwise."""
    models: dict[str, list[str]] = {}
    defaults = Options().model_dump()
    for name in SUPPORTED:
        settings, _ = read_shipped(f"model/{name}.yaml")
        own = {  # RecBole's keys have their defaults elsewhere
            key: value
            for key, value in settings.items()
            if key not in defaults or value != defaults[key]
        }
        models.setdefault(", ".join(f"`{key}: {_yaml(own[key])}`" for key in own), []).append(name)
    for keys, names in models.items():
        if keys:
            yield f"| {', '.join(names)} | {keys} |"


def _keys() -> Iterator[tuple[str, str, str, str]]:
    """Each key's name, default, type and description."""
    for key, schema in Options.model_json_schema()["properties"].items():
        kinds = [schema, *schema.get("anyOf", [])]
        types = (_TYPES[kind["type"]] for kind in kinds if kind.get("type", "null") != "null")
        type_ = next(types, "float or dict")  # a target rank, of which no schema says it
        meaning = " ".join(schema["description"].split())
        for choices in (kind["enum"] for kind in kinds if "enum" in kind):
            meaning += f" One of: {', '.join(choices)}."
        if schema["needs"]:
            meaning += f" Needs {' or '.join(schema['needs'])}."
        yield key, _yaml(schema.get("default")), type_, meaning


def _entries() -> Iterator[str]:
    """A line for each regulariser and each loss."""
    for name, regularizer in REGULARIZERS.items():
        weight = f"Default weight {regularizer.weight}."
        yield f"- `{name}`: {_first_line(regularizer.function)} {weight}"
    for name, loss in LOSSES.items():
        weights = ", ".join(f"{key} {weight}" for key, weight in loss.warm_weights.items())
        more = f" Default weight in its warm phase: {weights}." if weights else ""
        yield f"- `sr_loss: {name}`: {_first_line(loss.function)}{more}"


def _first_line(function: Any) -> str:
    line: str = function.__doc__.partition("\n")[0]
    return re.sub(r":math:`([^`]+)`", r"$\1$", line)


def _yaml(default: Any) -> str:
    if isinstance(default, dict) and default:
        return f"{{{', '.join(f'{key}: {value}' for key, value in default.items())}}}"
    if isinstance(default, list):
        return f"[{', '.join(default)}]"
    if isinstance(default, str | bool):
        return str(default)
    return "~" if default is None else json.dumps(default)


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    (root / "properties" / "stable_rank.yaml").write_text(property_file(), "utf-8")
    (root / "docs" / "keys.md").write_text(page(), "utf-8")
    for file in (MODELS_PAGE, root / "docs" / "models.md"):
        file.write_text(catalogue.page(), "utf-8")
