"""Tables as files: CSV, JSON lines or parquet, by the file's name."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from recbole_sr.errors import InputError, check_file, check_output, check_place
from recbole_sr.runs.files import replacing

__all__ = ["check_table", "read_lines", "write_table"]

_TEXTS: dict[str, Callable[[pd.DataFrame], str]] = {
    ".csv": lambda table: table.to_csv(index=False),
    ".tsv": lambda table: table.to_csv(index=False, sep="\t"),
    ".jsonl": lambda table: table.to_json(orient="records", lines=True, force_ascii=False),
}
_PARQUET = ".parquet"


def check_table(file: Path, is_former: Callable[[list[str]], bool]) -> None:
    """Refuse a name that says no kind of table, or a file that cannot be written.

    Args:
        file: the name.
        is_former: whether a table of these columns may be replaced.

    Raises:
        InputError: names the file.

    """
    kind = _kind(file)
    if kind not in (*_TEXTS, _PARQUET) or (kind == _PARQUET and _packed(file)):
        raise InputError(
            f"{file}: expected a name that ends in {', '.join(_TEXTS)}, one of these and .gz, or "
            f"{_PARQUET}, got {file.name!r}; give such a name"
        )
    if kind == _PARQUET and not find_spec("pyarrow"):
        raise InputError(
            f"{file}: expected pyarrow for parquet, got none; pip install 'recbole_sr[parquet]', "
            "or write .csv"
        )
    if is_former(_columns(file)):
        check_place(file)
    else:
        check_output(file)


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table whole, in the form that the file's name says; a link stays one."""
    with replacing(os.path.realpath(file)) as target:
        if _kind(file) == _PARQUET:
            table.to_parquet(target, index=False)
            return
        text = _TEXTS[_kind(file)](table).encode()
        target.write(gzip.compress(text) if _packed(file) else text)


def read_lines(file: str) -> list[str]:
    """The lines of a text in UTF-8, without empty ones.

    Raises:
        InputError: there is no such file, or it is no text.

    """
    check_file(file, "a file of ids, one a line")
    try:
        text = Path(file).read_text("utf-8-sig")  # with or without a byte order mark
    except UnicodeError:
        raise InputError(f"{file}: expected text in UTF-8, got other bytes; convert it") from None
    return [line for line in text.split("\n") if line]  # of all ways to end one, as Python reads


def _columns(file: Path) -> list[str]:
    """The names of a table's columns; none where there is no such table."""
    if not file.is_file():  # a pipe would wait for its writer
        return []
    with suppress(ValueError, OSError, EOFError, zlib.error):
        if _kind(file) == _PARQUET:
            from pyarrow import parquet

            return list(parquet.read_schema(file).names)
        if _kind(file) == ".jsonl":
            return list(pd.read_json(file, lines=True, nrows=1).columns)
        return list(pd.read_csv(file, nrows=0, sep="\t" if _kind(file) == ".tsv" else ",").columns)
    return []


def _kind(file: Path) -> str:
    return (file.with_suffix("") if _packed(file) else file).suffix.lower()


def _packed(file: Path) -> bool:
    return file.suffix.lower() == ".gz"
