"""From events as users have them, in a file or a frame, to a data set that RecBole reads."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_sr.errors import InputError, check_output
from recbole_sr.recbole_compat.atomic_file import cell
from recbole_sr.runs.files import replacing, write_whole
from recbole_sr.serve.reading import CHUNK, Columns, Events
from recbole_sr.serve.usable import EXACT, IDS, UsableEvents

__all__ = ["Prepared", "prepare"]

# RecBole's default name and type of each column, by our argument that names the user's.
_FIELDS = {
    "user": ("user_id", "token"),
    "item": ("item_id", "token"),
    "rating": ("rating", "float"),
    "time": ("timestamp", "float"),
}
_MARK = "# Written by recbole-sr prepare, which replaces this file and its .inter when run again."
_SPLIT = 3  # interactions that a user needs to be in training, validation and test
_UNITS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_LATEST = 1e10  # seconds since 1970, in the year 2286; later times are of a smaller unit
_TOPK = 10  # RecBole's default
_SPARSE = 2e-3  # share of all pairs up to which DirectAU with popularity ranked higher
_LARGE = 500_000  # interactions from which it takes the file for about a million
_MOST_FOR_WIDTH = 500_000  # interactions, beyond which the search for clusters takes longest


@dataclass(frozen=True)
class Prepared:
    """What was read and written; as text, a report of a few lines.

    Attributes:
        source: the file of events, or "the frame".
        read: lines of events.
        dropped: lines that were left out, by the argument whose column has no usable value there.
        merged: interactions that were left out as a later one has the same user and item.
        ignored: names of the columns that were not read.
        users: how many are left.
        items: how many are left.
        interactions: how many are left.
        times: what the times were taken for, and the first and last; empty without times.
        ratings: the lowest and the highest; None without ratings.
        inter: the atomic file.
        replaced: whether it took the place of an older one.
        properties: the property file beside it.
        command: trains a model on the data set.
        sparse_command: trains what ranks higher on sparse data; empty where the data are not.
        width: of tables, where users seem to form a few clusters; else None.
    """

    source: str
    read: int
    dropped: dict[str, int]
    merged: int
    ignored: list[str]
    users: int
    items: int
    interactions: int
    times: str
    ratings: tuple[float, float] | None
    inter: Path
    replaced: bool
    properties: Path
    command: str
    sparse_command: str
    width: int | None

    @property
    def density(self) -> float:
        """Share of all pairs of a user and an item that are in the data, above 0, at most 1."""
        return self.interactions / (self.users * self.items)

    def __str__(self) -> str:
        """The report that the command prints."""
        kept = "latest" if self.times else "last"
        lines = [
            f"read {self.source}: {self.read:,} events, {sum(self.dropped.values()):,} dropped, "
            f"{self.merged:,} merged (the {kept} of a repeated pair is kept)",
            f"{'replaced' if self.replaced else 'wrote'} {self.inter}: {self.users:,} users, "
            f"{self.items:,} items, {self.interactions:,} interactions, density "
            f"{100 * self.density:.3g} %",
            f"train a first model by:\n  {self.command}",
            *self._sparse(),
            *self._narrow(),
            f"train one to serve, in the end on all interactions, by:\n  {self.command} "
            "--sr_final=True",
        ]
        if self.ratings:
            low, high = map(_text, self.ratings)
            lines.insert(
                1,
                f"ratings are {low} to {high}; a ranking model learns from all alike: for the best "
                f"alone, add --val_interval=\"{{rating: '[{high},inf)'}}\"",
            )
        if self.times:
            lines.insert(1, f"times are {self.times}")
        if self.ignored:
            lines.insert(1, f"ignored columns: {', '.join(self.ignored)[:500]}")
        return "\n".join(lines)

    def _narrow(self) -> list[str]:
        if self.width is None:
            return []
        return [
            "users seem to form a few clusters, for which narrower tables may rank higher:\n  "
            f"{self.command} --embedding_size={self.width}"
        ]

    def _sparse(self) -> list[str]:
        if not self.sparse_command:
            return []
        return [f"on data as sparse as these this may rank higher:\n  {self.sparse_command}"]


def prepare(
    events: str | os.PathLike[str] | pd.DataFrame,
    output: str | os.PathLike[str],
    *,
    user: Hashable,
    item: Hashable,
    time: Hashable | None = None,
    rating: Hashable | None = None,
    encoding: str | None = None,
) -> Prepared:
    """Write a data set that RecBole reads, and a property file to train on it.

    Ids are texts and stay as they are: ``007`` and ``NA`` are ids. Lines whose id is empty, has a
    line break or a zero byte, or whose time or rating cannot be read, are dropped, and a warning
    counts them. Of several lines with one user and item the latest is kept, or without times the
    last. With times, the lines are written in their order.

    Args:
        events: a frame, or a file: CSV or TSV whose first line names the columns, separated by
            comma, tab, semicolon or bar, also as ``.gz``, ``.bz2``, ``.xz`` or ``.zip``; or
            ``.parquet``, which needs pyarrow.
        output: the data set's folder, which is made where there is none. The data set is called
            after it: ``FOLDER/NAME`` gets ``NAME.inter`` and the property file ``NAME.yaml``. Files
            of these names are replaced only if this function wrote them.
        user: the column of users.
        item: the column of items.
        time: the column of times: numbers, which are kept as they are, or ISO dates, in UTC where
            they have no zone, which become seconds since 1970.
        rating: the column of ratings, which are numbers.
        encoding: of a text file; None is UTF-8, with or without a byte order mark.

    Returns:
        Counts of what was read, dropped, merged and written, and the command to train a model.

    Raises:
        InputError: a file or a column cannot be used, or no user has three items, for training,
            validation and test, and lacks another.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> frame = pd.DataFrame({"who": [1, 1, 1, 2, 2, 2], "what": list("abcadd")})
        >>> with TemporaryDirectory() as folder:
        ...     done = prepare(frame, f"{folder}/shop", user="who", item="what")
        >>> done.users, done.items, done.interactions, done.merged
        (2, 4, 5, 1)
    """
    columns: Columns = {"user": user, "item": item}
    columns |= {k: name for k, name in (("rating", rating), ("time", time)) if name is not None}
    source = "the frame" if isinstance(events, pd.DataFrame) else str(events)
    inter, properties = _targets(output, events)
    reading = UsableEvents()
    table = Events(events, columns, encoding)
    frame = reading.usable(source, table)
    left = _merged(frame)
    counts = {key: np.unique(left[key], return_counts=True)[1] for key in IDS}
    users, items = len(counts["user"]), len(counts["item"])
    limit, items_left = _limit(left)
    _check_testable(
        counts["user"], items, limit or items, f"{user!r} names users and {item!r} items"
    )
    settings = _settings(inter, [*columns], items_left)
    if limit:
        settings["user_inter_num_interval"] = f"[0,{limit})"
    prepared = Prepared(
        source=source,
        read=reading.read,
        dropped=reading.dropped,
        merged=len(frame) - len(left),
        ignored=table.ignored,
        users=users,
        items=items,
        interactions=len(left),
        times=_described(left["time"], bool(reading.dates)) if "time" in left else "",
        ratings=_ends(left["rating"]) if "rating" in left else None,
        inter=inter,
        replaced=inter.exists(),
        properties=properties,
        command=_command(properties, settings),
        sparse_command=_sparse_command(properties, settings, users * items, len(left)),
        width=_width(left),
    )
    inter.parent.mkdir(parents=True, exist_ok=True)
    # First the file with the mark, without which the other would be a stranger's.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    write_whole(properties, "\n".join([_MARK, *lines, ""]))
    _write(inter, left, reading.numbers)
    if reading.dropped:
        getLogger().warning(f"{source}: dropped events: {reading.lost()}")
    _warn_of_rare(prepared, counts, limit)
    return prepared


def _targets(output: str | os.PathLike[str], events: Any) -> tuple[Path, Path]:
    """The atomic file and the property file; none of another's making, nor the one to be read."""
    path = Path(os.path.abspath(output))
    if not (name := path.name):
        raise InputError(f"{output}: expected a folder with a name, got the root; give another")
    if any("\ud800" <= letter <= "\udfff" for letter in str(path)):  # bytes that are no text
        raise InputError(
            f"{os.fsencode(path)!r}: expected a folder whose path is UTF-8, as a property file is "
            "to hold it, got other bytes; give another"
        )
    inter, properties = (Path(output, f"{name}.{suffix}") for suffix in ("inter", "yaml"))
    if inter.parent.is_dir():
        check_output(properties, _MARK.encode())
        check_output(inter, b"user_id:token" if properties.exists() else b"")
        is_file = not isinstance(events, pd.DataFrame) and os.path.exists(events)
        if is_file and inter.exists() and os.path.samefile(events, inter):
            raise InputError(f"{inter}: expected another file than the input; give another folder")
    return inter, properties


def _merged(frame: pd.DataFrame) -> pd.DataFrame:
    """The latest of each pair, or the last.

    Sorted by time: near times are one in float32, and then the order of the lines decides.
    """
    if "time" in frame:
        frame = frame.sort_values("time", kind="stable")
    return frame.drop_duplicates([*IDS], keep="last")


def _check_testable(items_of_users: NDArray[Any], items: int, limit: int, check: str) -> None:
    """Refuse data in which no user can be tested: with too few items, or with all of them.

    Args:
        items_of_users: how many items each user has: ``(N,)``.
        items: how many there are.
        limit: as many items, or more, keep a user out.
        check: what the reader may have confused.

    """
    if ((items_of_users >= _SPLIT) & (items_of_users < limit)).any():
        return
    fewest, most = items_of_users.min(), items_of_users.max()
    expected = f"a user with {_SPLIT} items, one for training, validation and test each"
    if most >= _SPLIT:
        expected = f"a user with {_SPLIT} items or more, but not with every item of the data"
    raise InputError(
        f"user: expected {expected}, got {fewest} to {most} of {items} items for each of "
        f"{len(items_of_users)} users; check that {check}"
    )


def _described(times: pd.Series, are_dates: bool) -> str:
    if are_dates:
        kind, factor = "ISO dates, written as seconds since 1970", 1.0
    else:
        fitting = ((name, size) for name, size in _UNITS.items() if times.max() < size * _LATEST)
        unit, factor = next(fitting, ("seconds", 1.0))
        kind = f"numbers, taken as {unit}"
    try:
        ends = [
            str(datetime.fromtimestamp(end / factor, timezone.utc).date())
            for end in (times.min(), times.max())
        ]
    except (ValueError, OverflowError, OSError):
        ends = [f"{times.min():g}", f"{times.max():g}"]
    return f"{kind}: {ends[0]} to {ends[1]}"


def _settings(inter: Path, keys: Iterable[str], items: int) -> dict[str, Any]:
    """The properties of the data set, and what of RecBole's evaluation does not fit it."""
    settings: dict[str, Any] = {
        "dataset": inter.stem,
        "data_path": os.path.dirname(os.path.abspath(inter.parent)),
        "load_col": {"inter": [_FIELDS[key][0] for key in keys]},
    }
    if "time" in keys:
        settings["eval_args"] = {"order": "TO"}  # what a user did last is to be found
    if items < _TOPK:
        settings |= {"topk": [items], "valid_metric": f"MRR@{items}"}
    return settings


def _width(pairs: pd.DataFrame) -> int | None:
    if len(pairs) > _MOST_FOR_WIDTH:
        return None
    from recbole_sr.serve.width import narrow_width  # takes a second to import

    users, items = (np.unique(pairs[key], return_inverse=True)[1] for key in IDS)
    return narrow_width(users, items)


def _sparse_command(
    properties: Path, settings: Mapping[str, Any], pairs: int, interactions: int
) -> str:
    """DirectAU with popularity, by the file for so many interactions; empty for dense data."""
    if interactions > _SPARSE * pairs:
        return ""
    if interactions > _LARGE:
        large = _command(properties, settings, "loss/directau_large.yaml")
        return f"{large} --sr_popularity=0.1"
    return _command(properties, settings, "loss/directau_sparse.yaml")


def _command(properties: Path, settings: Mapping[str, Any], file: str = "") -> str:
    """Name the property file; or, as names of such files are separated by spaces, its contents."""
    if len(str(properties).split()) == 1:
        given = [f"--config_files={' '.join(filter(None, (str(properties), file)))}"]
    else:
        given = [f"--{key}={value}" for key, value in settings.items()]
        given += [f"--config_files={file}"] if file else []
    return shlex.join(["recbole-sr", "-m", "BPR", *given])


def _write(path: Path, frame: pd.DataFrame, tokens: Mapping[str, dict[str, int]]) -> None:
    cells = {key: [cell(text) for text in known] for key, known in tokens.items()}
    header = "\t".join(":".join(_FIELDS[str(key)]) for key in frame)
    with replacing(path) as file:
        file.write(f"{header}\n".encode())
        for start in range(0, len(frame), CHUNK):
            part = frame.iloc[start : start + CHUNK]
            columns = [
                [cells[str(key)][number] for number in column]
                if key in cells
                else map(_text, column.tolist())
                for key, column in part.items()
            ]
            lines = "\n".join(map("\t".join, zip(*columns, strict=True)))
            file.write(f"{lines}\n".encode())


def _ends(column: pd.Series) -> tuple[float, float]:
    """The lowest and the highest, as numbers of Python, whose text is the number alone."""
    return float(column.min()), float(column.max())


def _text(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < EXACT else repr(number)


def _limit(pairs: pd.DataFrame) -> tuple[int | None, int]:
    """The least number of items of users for whom no negative can be drawn, and the items left.

    Such users have every item, or every one that is left without others of them; None: no user.
    """
    limit, items = None, pairs["item"].nunique()
    while not pairs.empty:
        counts, items = pairs["user"].value_counts(), pairs["item"].nunique()
        if counts.max() < items:
            break
        limit = items
        pairs = pairs[pairs["user"].map(counts) < items]
    return limit, items


def _warn_of_rare(
    prepared: Prepared, counts: Mapping[str, NDArray[Any]], limit: int | None
) -> None:
    """Say where little can be learned or tested: hardly anything repeats, or users have it all."""
    few, once = int((counts["user"] < _SPLIT).sum()), int((counts["item"] < 2).sum())
    if 2 * few > prepared.users or 2 * once > prepared.items:
        getLogger().warning(
            f"{prepared.inter}: {few:,} of {prepared.users:,} users have fewer than {_SPLIT} "
            "interactions, too few for training, validation and test, and "
            f"{once:,} of {prepared.items:,} items have one alone; to leave these out, train with "
            f"--user_inter_num_interval='[{_SPLIT},inf)' --item_inter_num_interval='[2,inf)'"
        )
    if limit:
        full = int((counts["user"] >= limit).sum())
        getLogger().warning(
            f"{prepared.inter}: {full:,} of {prepared.users:,} users have every item, or every one "
            f"that is left without such users, so that no negative can be drawn; "
            f"{prepared.properties} leaves them out"
        )
