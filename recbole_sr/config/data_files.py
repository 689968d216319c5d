"""RecBole's atomic files, looked at before RecBole reads them.

RecBole's reader shifts columns where a line has too many, and fills them where it has too few.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole.utils import ModelType

from recbole_sr.errors import InputError

__all__ = ["check_dataset", "columns_of"]

_TYPES = ("token", "token_seq", "float", "float_seq")


def check_dataset(settings: Mapping[str, Any]) -> None:
    """Check a data set's interaction files: encoding, header, columns of every line.

    Files of further features need only be there.

    Args:
        settings: RecBole's final configuration. A data set that is not there is left to RecBole,
            which may know where to download it.

    Raises:
        InputError: names the file and, where there is one, the line.
    """
    folder, name = Path(settings["data_path"]), settings["dataset"]
    parts = settings["benchmark_filename"]
    names = [f"{name}.{part}.inter" for part in parts] if parts else [f"{name}.inter"]
    wanted = {settings["USER_ID_FIELD"], settings["ITEM_ID_FIELD"]}
    encoding = settings.get("encoding") or "utf-8"
    for file in (folder / name for name in names):
        if file.is_file():
            fields = _check_file(file, encoding, settings["field_separator"], wanted)
            if parts and settings["MODEL_TYPE"] == ModelType.SEQUENTIAL:
                _check_sequences(file, fields, settings)
    for suffix in settings["additional_feat_suffix"] or ():
        file = folder / f"{name}.{suffix}"
        if folder.is_dir() and not file.is_file():
            raise InputError(
                f"{file}: expected the features that additional_feat_suffix asks for, got no such "
                "file; write it in RecBole's form of atomic files, or choose a model that needs "
                "none"
            )


def columns_of(settings: Mapping[str, Any], source: str) -> set[str]:
    """The columns of a data set's file of a source, such as ``user``; none where there is none."""
    folder, name = Path(settings["data_path"]), settings["dataset"]
    parts = [f"{part}.inter" for part in settings["benchmark_filename"] or ()]
    found: set[str] = set()
    for suffix in parts if parts and source == "inter" else [source]:
        file = folder / f"{name}.{suffix}"
        if file.is_file():
            with open(file, encoding=settings.get("encoding") or "utf-8") as lines:
                columns = next(lines, "").rstrip("\n").split(settings["field_separator"])
            found |= {column.rpartition(":")[0] for column in columns} - {""}
    return found


def _check_sequences(file: Path, fields: Mapping[str, str], settings: Mapping[str, Any]) -> None:
    """Refuse parts for a sequential model without the sequences, which RecBole makes of no part."""
    item = settings["ITEM_ID_FIELD"]
    column = f"{item}{settings['LIST_SUFFIX']}"
    about = "the items before the one to predict, which RecBole does not make of benchmark_filename"
    if fields.get(column) != "token_seq":
        raise InputError(
            f"{file}: expected a column {column}:token_seq, {about}, got {', '.join(fields)}; add "
            f"it, and set alias_of_item_id: [{column}], or drop benchmark_filename"
        )
    loaded = (settings["load_col"] or {}).get("inter", "*")
    if loaded != "*" and column not in loaded:
        raise InputError(
            f"load_col: expected {column} in inter, {about}, got {loaded}; add it, and set "
            f"alias_of_item_id: [{column}]"
        )
    if column not in (settings["alias_of_item_id"] or ()):
        raise InputError(
            f"alias_of_item_id: expected {column} in it, as it holds items, got "
            f"{settings['alias_of_item_id']}; set alias_of_item_id: [{column}]"
        )


def _check_file(file: Path, encoding: str, separator: str, wanted: set[str]) -> dict[str, str]:
    try:
        text = file.read_bytes().decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: expected {encoding} text, got other bytes at {error.start}; convert the "
            "file, or set encoding to what it is in"
        ) from None
    except LookupError:
        raise InputError(f"encoding: expected one such as utf-8, got {encoding!r}") from None
    header, _, body = text.partition("\n")
    columns = header.rstrip("\r").split(separator)
    fields = _fields(file, columns)
    if missing := wanted - fields.keys():
        raise InputError(
            f"{file}: expected the columns {', '.join(sorted(wanted))}, got {', '.join(fields)}; "
            f"add {', '.join(sorted(missing))} or set USER_ID_FIELD and ITEM_ID_FIELD"
        )
    if not body.strip():
        raise InputError(f"{file}: expected interactions below the header, got none")
    _check_lines(file, body, separator, len(columns))
    return fields


def _fields(file: Path, columns: list[str]) -> dict[str, str]:
    fields = dict(column.rpartition(":")[::2] for column in columns)
    if len(fields) < len(columns) or any(type_ not in _TYPES for type_ in fields.values()):
        raise InputError(
            f"{file}: expected a header of distinct name:type columns with types "
            f"{', '.join(_TYPES)}, got {columns!r}; see RecBole's atomic files"
        )
    return fields


def _check_lines(file: Path, body: str, separator: str, columns: int) -> None:
    lines = body.removesuffix("\n").split("\n")
    # Quickly first: most files are as they should be, and some are large.
    if '"' not in body and {line.count(separator) for line in lines} == {columns - 1}:
        return
    for number, line in enumerate(lines, start=2):
        fields = line.rstrip("\r").split(separator)
        if fields == [""] and columns > 1:  # skipped by RecBole's reader
            continue
        if len(fields) != columns:
            raise InputError(
                f"{file}: expected {columns} columns in every line, got {len(fields)} in line "
                f"{number}; mend or remove the line"
            )
        # One that opens a field would swallow what follows; elsewhere it is text like any other.
        if any(field.startswith('"') and field.count('"') % 2 for field in fields):
            raise InputError(
                f"{file}: expected paired quotes, got one alone in line {number}; mend the line"
            )
