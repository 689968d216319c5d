"""The columns of a table of events, as text where it is text, some lines at a time."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from recbole_sr.errors import InputError, check_file, first_line, nearest

__all__ = ["CHUNK", "Columns", "Events"]

_SEPARATORS = ",\t;|"
_OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# What a file may raise that is no table, is cut short, or is packed in another way.
_UNREADABLE: tuple[type[Exception], ...] = (
    *(csv.Error, ValueError, EOFError, OSError, RuntimeError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)
CHUNK = 2**14  # lines at once, so that a large file costs little memory
_LONGEST_HEADER = 2**20

Columns = dict[str, Any]  # the user's names of columns, by ours


class Events:
    """The columns that are asked for, under our names, some lines at a time.

    Args:
        source: a frame, or the path of a file.
        columns: the user's names of columns, by ours.
        encoding: of a text file; None is UTF-8.

    Attributes:
        ignored: names of the other columns, from the first lines on.

    """

    def __init__(self, source: Any, columns: Columns, encoding: str | None):
        self.columns = columns
        self.ignored: list[str] = []
        self._source = source
        self._encoding = encoding or "utf-8"

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Frames whose columns are in the order of ``columns``.

        Raises:
            InputError: there is no such column, or the file is no table.

        """
        if isinstance(self._source, pd.DataFrame):
            self._check("the frame", [*self._source.columns])
            yield self._named(self._source).reset_index(drop=True)
            return
        if not isinstance(self._source, str | os.PathLike):
            raise InputError(
                "events: expected the path of a file, or a pandas DataFrame, got "
                f"{type(self._source).__name__}; give one"
            )
        path = Path(self._source)
        check_file(path, "a CSV, TSV or parquet file")
        is_parquet = path.suffix.lower() in (".parquet", ".pq")
        yield from self._of_parquet(path) if is_parquet else self._of_text(path)

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame[[*self.columns.values()]].set_axis([*self.columns], axis=1)

    def _check(self, source: str, there: Sequence[Any]) -> None:
        """Refuse a column that is not there, is there twice, or is meant to be two things."""
        used: dict[Any, str] = {}
        for key, name in self.columns.items():
            if name not in there:
                names = [str(one) for one in there]
                advice = f"did you mean {nearest(str(name), names)!r}?" if names else "give some"
                raise InputError(
                    f"{key}: expected a column of {source}, {', '.join(names)[:500] or 'none'}, "
                    f"got {name!r}; {advice}"
                )
            if there.count(name) > 1:
                raise InputError(
                    f"{key}: expected one column {name!r} in {source}, got {there.count(name)}; "
                    "rename the others"
                )
            if name in used:
                raise InputError(
                    f"{key}: expected another column than that of {used[name]}, got {name!r} for "
                    "both; correct one"
                )
            used[name] = key
        self.ignored = [str(name) for name in there if name not in used]

    def _of_parquet(self, path: Path) -> Iterator[pd.DataFrame]:
        try:
            from pyarrow import parquet
        except ImportError:
            raise InputError(
                f"{path}: expected the package pyarrow, which reads parquet, got none; run: pip "
                "install 'recbole_sr[parquet]'"
            ) from None
        with _readable(path), parquet.ParquetFile(path) as file:
            self._check(str(path), file.schema_arrow.names)
            for batch in file.iter_batches(columns=[*self.columns.values()]):
                # Otherwise missing values make floats of whole numbers, which merge long ids.
                yield self._named(batch.to_pandas(integer_object_nulls=True, ignore_metadata=True))

    def _of_text(self, path: Path) -> Iterator[pd.DataFrame]:
        """The columns of a text file.

        By ``csv``, as pandas takes NA for missing, and cuts or shifts long lines: in some of its
        versions without a word.
        """
        try:
            "".encode(self._encoding)
        except (LookupError, UnicodeError):
            raise InputError(
                f"encoding: expected one such as utf-8, got {self._encoding!r}"
            ) from None
        with _readable(path, self._encoding), _opened(path, self._encoding) as text:
            lines = _read_header(text)
            split = {by: next(csv.reader(lines, delimiter=by), []) for by in _SEPARATORS}
            if max(map(len, split.values())) < 2:
                raise InputError(
                    f"{path}: expected a first line of names of columns, separated by comma, tab, "
                    f"semicolon or bar, got {''.join(lines)[:80]!r}; convert the file"
                )
            asked = {*self.columns.values()}
            by = max(split, key=lambda by: (asked <= set(split[by]), len(split[by])))
            self._check(str(path), split[by])
            places = {key: split[by].index(name) for key, name in self.columns.items()}
            reader = csv.reader(text, delimiter=by, strict=True)
            line = 1 + len(lines)
            while rows := list(islice(reader, CHUNK)):
                _check_lengths(path, rows, len(split[by]), line)
                line = 1 + len(lines) + reader.line_num
                table = {key: [row[place] for row in rows if row] for key, place in places.items()}
                yield pd.DataFrame(table, dtype=object)


def _read_header(text: TextIO) -> list[str]:
    """The first line, and those after it up to the end of a name in quotes."""
    lines = [text.readline(_LONGEST_HEADER).removeprefix("\ufeff")]
    while (
        any(_is_open(lines, by) for by in _SEPARATORS)
        and sum(map(len, lines)) < _LONGEST_HEADER
        and (line := text.readline(_LONGEST_HEADER))
    ):
        lines.append(line)
    return [*lines[:-1], lines[-1].rstrip("\r\n")]


def _is_open(lines: Sequence[str], separator: str) -> bool:
    """Whether lines end within a field in quotes."""
    try:
        next(csv.reader(lines, delimiter=separator, strict=True), [])
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _check_lengths(path: Path, rows: Sequence[Sequence[str]], fields: int, line: int) -> None:
    if {*map(len, rows)} <= {0, fields}:
        return
    for row in rows:
        if len(row) not in (0, fields):
            raise InputError(
                f"{path}: expected {fields} fields in every line, as in the first, got {len(row)} "
                f"in line {line}; mend or remove the line"
            )
        line += 1 + "".join(row).count("\n")


@contextmanager
def _readable(path: Path, encoding: str = "") -> Iterator[None]:
    """Say of a file that cannot be read what it was taken for."""
    try:
        yield
    except InputError:
        raise
    except UnicodeError:
        raise InputError(
            f"{path}: expected {encoding} text, got other bytes; give its encoding, such as "
            "--encoding=latin-1, or another file"
        ) from None
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: expected a table in a CSV, TSV or parquet file, got what cannot be read as "
            f"one ({first_line(error)}); correct the file"
        ) from error


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    if (suffix := path.suffix.lower()) != ".zip":
        with _OPEN.get(suffix, open)(path, "rt", encoding=encoding, newline="") as text:
            yield text
        return
    with zipfile.ZipFile(path) as archive:
        if len(names := archive.namelist()) != 1:
            raise InputError(f"{path}: expected one file in it, got {len(names)}; unpack it")
        with archive.open(names[0]) as binary:
            yield io.TextIOWrapper(binary, encoding, newline="")
