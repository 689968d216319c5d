"""The values of events that can be used: ids as numbers, ratings, seconds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_sr.errors import InputError
from recbole_sr.recbole_compat.atomic_file import cell

__all__ = ["EXACT", "IDS", "UsableEvents"]

IDS = ("user", "item")
_FORMS = {"time": " (all are to be ISO dates, as 2024-01-31 10:00, or all numbers)"}
_LARGEST = float(np.finfo(np.float32).max)  # RecBole keeps numbers as float32
EXACT = 2**53  # the whole numbers that a float tells apart
_ZONED = re.compile(r"[T ].*(?:Z|[+-][\d:]+)$")  # as at the end of 2015-02-13T10:00:00+01:00
_UTC = re.compile(r"(?<=\d) ?(?:UTC|GMT)$")  # as other programs write Z
_PLAIN = "biufM"  # kinds of columns of numbers and dates; others are read as text


class UsableEvents:
    """Makes numbers of events, and counts those that cannot be used.

    Attributes:
        numbers: of the ids, in the order in which they come.
        read: how many events.
        dropped: how many are not usable, by the first column that makes them so.
        dates: whether times are ISO dates, by the first events that have any.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, dict[str, int]] = {key: {} for key in IDS}
        self.read = 0
        self.dropped: dict[str, int] = {}
        self.dates: bool | None = None
        self._examples: dict[str, str] = {}

    def usable(self, source: str, chunks: Iterable[pd.DataFrame]) -> pd.DataFrame:
        """The usable ones: numbers of the ids, ratings, seconds.

        Raises:
            InputError: there is none.
        """
        parts = [self._part(chunk) for chunk in chunks]
        if not any(map(len, parts)):
            raise InputError(
                f"{source}: expected usable events, got {self.lost() or 'none at all'}; "
                "name other columns, or correct the data"
            )
        return pd.concat(parts, ignore_index=True)

    def lost(self) -> str:
        """What was dropped, and what was expected of it, for a sentence."""
        return "; ".join(
            f"{count:,} without a usable {key}{self._examples.get(key, '')}{_FORMS.get(key, '')}"
            for key, count in self.dropped.items()
        )

    def _part(self, chunk: pd.DataFrame) -> pd.DataFrame:
        self.read += len(chunk)
        made = pd.DataFrame({key: self._made(str(key), chunk[key]) for key in chunk})
        usable = np.ones(len(chunk), bool)
        for key, values in made.items():
            # Missing is -1 among numbers of ids.
            lost = usable & (values < 0 if key in IDS else values.isna()).to_numpy()
            if lost.any():
                self._drop(str(key), chunk[key][lost])
            usable &= ~lost
        return made[usable]

    def _drop(self, key: str, column: pd.Series) -> None:
        self.dropped[key] = self.dropped.get(key, 0) + len(column)
        if text := next(filter(None, map(str, column.dropna())), None):
            self._examples.setdefault(key, f", such as {text[:40]!r}")

    def _made(self, key: str, column: pd.Series) -> NDArray[Any]:
        if key in IDS:
            return self._ids(key, column)
        if column.dtype.kind not in _PLAIN:
            column = pd.Series([*map(_text, column)], dtype=object)
        if key == "time" and self.dates is None:
            self.dates = _are_dates(column)  # still None where no event has a time so far
        return _seconds(column) if key == "time" and self.dates else _floats(column)

    def _ids(self, key: str, column: pd.Series) -> NDArray[Any]:
        """The numbers of the ids, or -1 where there is none that a file can hold."""
        known = self.numbers[key]
        try:
            places, values = pd.factorize(column)
        except TypeError:  # lists, say, cannot be told from each other
            places, values = pd.factorize(column.map(partial(_token, key)))
        found = [-1] * (len(values) + 1)  # the last one for missing values, whose place is -1
        for place, value in enumerate(values):
            text = value if isinstance(value, str) else _token(key, value)
            if text in known or cell(text):
                found[place] = known.setdefault(text, len(known))
        return np.array(found, np.int32)[places]


def _text(value: Any) -> str:
    """The text of a number, or a boolean's: one beside missing ones is an object, not a number."""
    return str(int(value) if isinstance(value, bool | np.bool_) else value)


def _token(key: str, value: Any) -> str:
    """The text of an id of another type."""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)  # of a column of whole numbers with some missing
    if isinstance(value, (float, bytes, list, dict, np.ndarray)):
        raise InputError(
            f"{key}: expected ids that are texts or whole numbers, got {str(value)[:40]!r}; make "
            "the column text where it comes from"
        )
    return str(value)


def _are_dates(column: pd.Series) -> bool | None:
    """Whether most times are dates; None where there is no usable one."""
    if column.dtype.kind in _PLAIN:
        return column.dtype.kind == "M"
    dates, numbers = (np.isfinite(read(column)).sum() for read in (_seconds, _floats))
    return bool(dates > numbers) if dates or numbers else None


def _floats(column: pd.Series) -> NDArray[np.float64]:
    """Numbers that RecBole can hold, NaN for anything else."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where(np.abs(numbers) <= _LARGEST, numbers, np.nan)


def _seconds(column: pd.Series) -> NDArray[np.float64]:
    """Seconds since 1970 of ISO dates, NaN for anything else."""
    if column.dtype.kind not in _PLAIN:
        column = column.str.replace(_UTC, "Z", regex=True)
    # Apart, as pandas 2 gives a date without a zone that of the one before it.
    zoned = np.fromiter((bool(_ZONED.search(str(value))) for value in column), bool, len(column))
    seconds = np.full(len(column), np.nan)
    for own in (zoned, ~zoned):
        dates = pd.to_datetime(column[own], format="ISO8601", utc=True, errors="coerce")
        since = dates.to_numpy("datetime64[us]") - np.datetime64(0, "us")
        seconds[own] = since / np.timedelta64(1, "s")
    return seconds
