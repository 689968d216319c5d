"""The files that RecBole reads data from, checked line by line.

RecBole's reader shifts columns where a line has too many and fills them where it has too few.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_sr.errors import InputError, nearest

__all__ = ["MISSING", "AtomicFile", "cell"]

# What pandas reads as missing.
MISSING = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"}
MISSING |= {"1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
_TYPES = ("token", "token_seq", "float", "float_seq")
_CHUNK = 2**20  # characters read at once
_LONGEST = 2**17  # characters of a field that csv reads, exclusive


def cell(text: str) -> str:
    r"""How a token stands in a tab-separated file, so that it is read as it is.

    Returns:
        The token, in quotes if it has a tab or a quote or pandas takes it for missing; "" if no
        file can hold it: it is empty, too long, no Unicode, or has a line break or a zero byte.

    Example:
        >>> cell("i1"), cell("NA"), cell('7" pan'), cell("two\nlines")
        ('i1', '"NA"', '"7"" pan"', '')
    """
    if not 0 < len(text) < _LONGEST or re.search(r"[\0\n\r\ud800-\udfff]", text):
        return ""
    if text in MISSING or "\t" in text or '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return text


class AtomicFile:
    """An atomic file.

    Args:
        path: the file.
        encoding: utf-8 where none is given.
        separator: one character, or a regular expression, between two fields.

    Attributes:
        types: the type of each column by its name, in the file's order, once it is checked.
        read: names of the columns that RecBole reads, once they are chosen.

    Raises:
        InputError: names the file, the line and what was expected there, or the key.

    """

    def __init__(self, path: Path, encoding: str | None, separator: str):
        self.path, self._encoding, self._separator = path, encoding or "utf-8", separator
        self.types: dict[str, str] = {}
        self.read: list[str] = []
        if not isinstance(separator, str) or not separator:
            raise InputError(f"field_separator: expected text such as a tab, got {separator!r}")
        self._is_plain = len(separator) == 1
        try:
            re.compile(re.escape(separator) if self._is_plain else separator)
        except re.error as error:
            raise InputError(
                f"field_separator: expected one character, or a regular expression, got "
                f"{separator!r} ({error}); correct it"
            ) from None

    def columns(self) -> dict[str, str]:
        """The type of each column in its header, by its name; none where it is empty."""
        for lines in self._chunks():
            return self._header(lines[0])
        return {}

    def check(self) -> None:
        """Refuse what is no text with a header and as many columns in every line."""
        number = 0
        for lines in self._chunks():
            if not number:
                self.types = self._header(lines.pop(0))
                number = 1
            self._check_lines(lines, number + 1)
            number += len(lines)
        if next(self._rows(), None) is None:
            raise InputError(f"{self.path}: expected lines below the header, got none")

    def choose(
        self, kind: str, ids: Sequence[str], chosen: set[str] | None, dropped: set[str] | None
    ) -> None:
        """Refuse columns that are asked for and are not there, or are needed and not read."""
        there = ", ".join(self.types) or "none"
        for key, columns in (("load_col", chosen), ("unload_col", dropped)):
            if unknown := sorted(set(columns or ()) - self.types.keys()):
                raise InputError(
                    f"{key} ({kind}): expected columns of {self.path}, {there}, got "
                    f"{unknown[0]!r}; did you mean {nearest(unknown[0], self.types)!r}?"
                )
        self.read = [
            name
            for name in self.types
            if (chosen is None or name in chosen) and name not in (dropped or ())
        ]
        for name in ids:
            if name not in self.types:
                raise InputError(
                    f"{self.path}: expected the columns {', '.join(ids)}, got {there}; add {name}, "
                    "or set USER_ID_FIELD, ITEM_ID_FIELD and the like to their names"
                )
            if name not in self.read:
                raise InputError(
                    f"{'load_col' if chosen else 'unload_col'} ({kind}): expected {name} to be "
                    f"read, got {', '.join(self.read) or 'none'}; correct it"
                )
            if self.types[name] != "token":
                raise InputError(
                    f"{self.path}: expected {name} of type token, as ids are text, got "
                    f"{self.types[name]}; correct the header"
                )

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers."""
        return self.types[name].startswith("float")

    def cells(self, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """The line and the texts of these columns, line by line."""
        places = [list(self.types).index(name) for name in names]
        for line, _, fields in self._rows():
            yield line, [fields[place] for place in places]

    def quoted(self, name: str) -> Iterator[str | None]:
        """Line by line, a column's text if it stands in quotes, as pandas does not tell."""
        by, place = re.escape(self._separator), list(self.types).index(name)
        as_written = re.compile(rf'(?:^|{by})("(?:[^"]|"")*"|[^{by}]*)')
        for _, line, fields in self._rows():
            may_be = fields[place] and self._is_plain and '"' in line
            is_quoted = may_be and as_written.findall(line.rstrip("\n"))[place].startswith('"')
            yield fields[place] if is_quoted else None

    def _rows(self) -> Iterator[tuple[int, str, list[str]]]:
        """The lines below the header that pandas does not skip: number, text and fields."""
        lines = (line for chunk in self._chunks() for line in chunk)
        for number, line in enumerate(lines, start=1):
            fields = self._split(line)
            if number > 1 and not _is_skipped(fields):
                yield number, line, fields

    def _chunks(self) -> Iterator[list[str]]:
        """Its lines, some at a time, so that a large file costs no memory."""
        if not self.path.is_file():
            raise InputError(f"{self.path}: expected a file, got something else; replace it")
        try:
            with self.path.open(encoding=self._encoding) as text:
                while lines := text.readlines(_CHUNK):
                    yield lines
        except LookupError:
            raise InputError(
                f"encoding: expected one such as utf-8, got {self._encoding!r}"
            ) from None
        except UnicodeError:
            raise InputError(
                f"{self.path}: expected {self._encoding} text, got other bytes in line "
                f"{self._undecodable()}; convert the file, or set encoding to what it is in"
            ) from None
        except OSError as error:
            raise InputError(
                f"{self.path}: expected a file that can be read, got {error.strerror}; correct it"
            ) from None

    def _undecodable(self) -> int:
        with self.path.open("rb") as binary:
            for number, line in enumerate(binary, start=1):
                try:
                    line.decode(self._encoding)
                except UnicodeError:
                    return number
        return number

    def _header(self, line: str) -> dict[str, str]:
        self._refuse_zero_bytes([line], 1)
        if line.startswith("\ufeff"):
            raise InputError(
                f"{self.path}: expected a header, got a byte order mark before it; set encoding: "
                "utf-8-sig, or save the file without the mark"
            )
        columns = line.rstrip("\n").split(self._separator)
        types = dict(column.rpartition(":")[::2] for column in columns)
        named = all(name and ":" not in name for name in types)
        if not named or len(types) < len(columns) or not set(types.values()) <= set(_TYPES):
            raise InputError(
                f"{self.path}: expected a header of distinct name:type columns with types "
                f"{', '.join(_TYPES)}, got {columns!r}; see RecBole's atomic files, or correct "
                "field_separator"
            )
        return types

    def _check_lines(self, lines: list[str], first: int) -> None:
        columns = len(self.types)
        # Quickly first: most files are as they should be, and some are large.
        text, counts = "".join(lines), {line.count(self._separator) for line in lines}
        if '"' not in text and "\0" not in text and counts == {columns - 1} and self._is_plain:
            return
        self._refuse_zero_bytes(lines, first)
        for number, line in enumerate(lines, start=first):
            fields = self._split(line)
            # One that opens a field and does not close it would swallow what follows.
            if any("\n" in field for field in fields):
                raise InputError(
                    f"{self.path}: expected paired quotes, got one alone in line {number}; mend "
                    "the line"
                )
            if len(fields) != columns and not _is_skipped(fields):
                raise InputError(
                    f"{self.path}: expected {columns} columns in every line, got {len(fields)} in "
                    f"line {number}; mend or remove the line"
                )

    def _refuse_zero_bytes(self, lines: list[str], first: int) -> None:
        for number, line in enumerate(lines, start=first):
            if "\0" in line:
                raise InputError(
                    f"{self.path}: expected text, got a zero byte in line {number}; convert the "
                    "file, or set encoding to what it is in"
                )

    def _split(self, line: str) -> list[str]:
        """A line's fields as pandas reads them: by ``csv``, or by a regular expression."""
        if not self._is_plain:
            return re.split(self._separator, line.strip())
        if '"' not in line:
            return line.rstrip("\n").split(self._separator)
        try:
            return next(csv.reader([line.rstrip("\n") + "\n"], delimiter=self._separator))
        except csv.Error as error:
            raise InputError(
                f"{self.path}: expected fields that pandas can read, got {line[:20]!r}... "
                f"({error}); shorten it"
            ) from None


def _is_skipped(fields: Sequence[str]) -> bool:
    return len(fields) == 1 and not fields[0].strip()
