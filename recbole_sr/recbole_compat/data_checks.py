"""Data checked where RecBole reads and splits them, so that nothing is lost without a word.

pandas takes texts such as NA for missing values, and RecBole's filters may leave nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset
from recbole.utils import EvaluatorType, FeatureType, ModelType

from recbole_sr.errors import InputError
from recbole_sr.recbole_compat.atomic_file import MISSING, AtomicFile

__all__ = ["FILTERS", "check_data", "parse_intervals"]

_TOKENS = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
_LISTS = (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ)
_LARGEST = float(np.finfo(np.float32).max)
_NAMED = 3  # lines that a message names
_INTERVALS = [f"{name}_num_interval" for name in ("user_inter", "item_inter", "entity_kg")]
_INTERVALS += ["relation_kg_num_interval", "val_interval"]
FILTERS = (*_INTERVALS, "filter_inter_by_user_or_item", "rm_dup_inter")
_IDS = {
    "inter": ("USER_ID_FIELD", "ITEM_ID_FIELD"),
    "user": ("USER_ID_FIELD",),
    "item": ("ITEM_ID_FIELD",),
    "kg": ("HEAD_ENTITY_ID_FIELD", "RELATION_ID_FIELD", "TAIL_ENTITY_ID_FIELD"),
    "link": ("ITEM_ID_FIELD", "ENTITY_ID_FIELD"),
}
_OF_A_GRAPH = ("kg", "link")


def check_data() -> None:
    """Have each data set that RecBole makes checked."""
    _check_files_when_read()
    _check_filters()
    _check_links()
    _check_aliases()
    _check_given_sequences()
    _check_parts_when_split()


def _check_files_when_read() -> None:
    """Refuse a damaged file by name, line and column; leave out lines without ids, and say so."""
    load = Dataset._load_feat

    def load_checked(self: Any, path: str, source: Any) -> pd.DataFrame | None:
        kind = str(getattr(source, "value", source))
        chosen, dropped = self._get_load_and_unload_col(source)
        config = self.config
        ids = [config[key] for key in _IDS.get(kind, ()) if config[key]]
        if chosen == set():  # nothing is read
            if kind in _OF_A_GRAPH:
                raise InputError(
                    f"load_col: expected columns of {kind} for {config['model']}, which reads a "
                    f"knowledge graph, got none; add {kind}: [{', '.join(ids)}], or drop load_col"
                )
            return load(self, path, source)
        file = AtomicFile(Path(path), config["encoding"], config["field_separator"])
        file.check()
        file.choose(kind, ids, chosen, dropped)
        if kind in ("user", "item"):
            _check_shared_names(self, file, ids)
        try:
            frame = load(self, path, source)
        except ValueError:
            _find_bad_number(file, config["seq_separator"])
            raise
        if frame is None:
            return None
        _keep_quoted(file, ids, frame)
        numbers = [name for name in file.read if file.is_number(name)]
        if any(_has_infinite(frame[name]) for name in numbers):
            _find_bad_number(file, config["seq_separator"])
        for name in numbers:
            if _has_none(frame[name]) and not self.benchmark_filename_list:
                raise InputError(
                    f"{file.path}: expected numbers as {name}, got none; fill the column in, or "
                    "take it out of load_col"
                )
        frame = _without_missing(self, file, ids, frame)
        if kind in ("user", "item", "link"):
            _compare_ids(self, file, kind, ids, frame)
        return frame

    Dataset._load_feat = load_checked


def _check_filters() -> None:
    """Read each interval, where RecBole drops another line, and refuse filters of everything.

    A list of tokens that holds numbers would silently leave out those that are meant.
    """
    filter_values, reset_index = Dataset._filter_by_field_value, Dataset._reset_index
    remap = Dataset._remap_ID_all

    def filter_checked(self: Any) -> None:
        for field, chosen in (self.config["val_interval"] or {}).items():
            kind = self.field2type.get(field)
            if kind in _LISTS:
                raise InputError(
                    f"val_interval ({field}): expected a column of single values, as RecBole "
                    f"compares whole lists, got one of type {kind.value}; drop it"
                )
            is_text = kind in _TOKENS
            texts = isinstance(chosen, list) and all(isinstance(value, str) for value in chosen)
            if is_text and not texts:
                raise InputError(
                    f"val_interval ({field}): expected a list of texts, as it has type token, got "
                    f"{chosen!r}; put each value in quotes"
                )
        filter_values(self)

    def refuse_empty(self: Any) -> None:
        given = [key for key in FILTERS if self.config[key] not in (None, "[0,inf)", False)]
        given += ["links to the knowledge graph"] if hasattr(self, "item2entity") else []
        for name in self.feat_name_list:
            if getattr(self, name).empty:
                raise InputError(
                    f"{', '.join(given) or 'data'}: expected some lines of {name} to be left, got "
                    "none; filter less, or correct the data"
                )

    def reset_checked(self: Any) -> None:
        refuse_empty(self)
        reset_index(self)

    def remap_checked(self: Any) -> None:
        refuse_empty(self)  # also by a knowledge graph's links
        remap(self)

    Dataset._parse_intervals_str = lambda self, text: text and parse_intervals(str(text))
    Dataset._filter_by_field_value = filter_checked
    Dataset._reset_index = reset_checked
    Dataset._remap_ID_all = remap_checked


def _check_links() -> None:
    """Say which interactions go with items whose entities are in no triple of the graph."""
    filter_link = KnowledgeBasedDataset._filter_link

    def filter_checked(self: Any) -> None:
        entities = self._get_entity_token()
        alone = [item for item, entity in self.item2entity.items() if entity not in entities]
        lost = self.inter_feat[self.iid_field].isin(alone)
        if lost.any():
            items = self.inter_feat[self.iid_field][lost]
            self.logger.warning(
                f"{self.dataset_name}.kg: {lost.sum()} of {len(lost)} interactions are left out, "
                f"as the entities of their {items.nunique()} items are in no triple of it, such as "
                f"{self.item2entity[items.iloc[0]]!r}"
            )
        filter_link(self)

    KnowledgeBasedDataset._filter_link = filter_checked


def parse_intervals(text: str) -> list[tuple[str, float, float, str]]:
    """The intervals of a filter: bracket, bounds, bracket.

    Raises:
        ValueError: says what an interval looks like.

    Example:
        >>> parse_intervals("[1,2];[5,inf)")
        [('[', 1.0, 2.0, ']'), ('[', 5.0, inf, ')')]

    """
    intervals = []
    for part in text.split(";"):
        match = re.fullmatch(r"\s*([\[(])([^,]+),([^,]+)([\])])\s*", part)
        left, low, high, right = match.groups() if match else ("", "nan", "nan", "")
        try:
            bounds = float(low), float(high)
        except ValueError:
            bounds = nan, nan
        if not bounds[0] <= bounds[1]:
            raise ValueError('an interval such as "[5,inf)", or several as in "[1,2];[5,inf)"')
        intervals.append((left, *bounds, right))
    return intervals


def _check_aliases() -> None:
    """Refuse aliases that RecBole would pass over, as they are no tokens."""
    set_alias = Dataset._set_alias

    def set_checked(self: Any, name: str, default: list[Any]) -> None:
        for field in self.config[f"alias_of_{name}"] or []:
            if self.field2type.get(field) not in _TOKENS:
                raise InputError(
                    f"alias_of_{name}: expected fields of type token or token_seq that are read, "
                    f"got {field!r}; correct it, or load_col"
                )
        set_alias(self, name, default)

    Dataset._set_alias = set_checked


def _check_given_sequences() -> None:
    """Refuse given histories that a sequential model cannot read, or would misread."""
    presets = SequentialDataset._benchmark_presets

    def presets_checked(self: Any) -> None:
        items = self.iid_field + self.config["LIST_SUFFIX"]
        if items not in self.inter_feat:
            raise InputError(
                f"benchmark_filename: expected the column {items}:token_seq in each part, from "
                f"which a sequential model reads histories, got {', '.join(self.inter_feat)}; add "
                "it to the files and to load_col"
            )
        if items not in self.alias["item_id"]:
            raise InputError(
                f"alias_of_item_id: expected {[items]}, without which an item has another number "
                f"there, got {self.config['alias_of_item_id']!r}; set it"
            )
        lengths = self.inter_feat[items].map(len)
        if not lengths.all():
            raise InputError(
                f"benchmark_filename: expected an item in each {items}, got none in "
                f"{(lengths == 0).sum()} of {len(lengths)} lines; take them out of the files"
            )
        if lengths.max() > self.max_item_list_len:
            raise InputError(
                f"MAX_ITEM_LIST_LENGTH: expected at least {lengths.max()}, the longest {items}, "
                f"got {self.max_item_list_len}; raise it, or shorten the lists"
            )
        self.item_id_list_field = items  # RecBole reads it by this name, whatever that of the items
        presets(self)

    SequentialDataset._benchmark_presets = presets_checked


def _check_parts_when_split() -> None:
    """Refuse a split without times or training data; count pairs that are in two of its parts.

    RecBole leaves out of a ranking what a user has in an earlier part, unless it is to be found.
    Users with one event have no row in sequential data; ``sr_single_events`` keeps those.
    """
    build = Dataset.build

    def build_checked(self: Any) -> list[Any]:
        by_time = self.config["eval_args"]["order"] == "TO" and not self.benchmark_filename_list
        if by_time and self.time_field not in self.inter_feat:
            raise InputError(
                f"TIME_FIELD: expected the column {self.time_field}, by which eval_args (order: TO)"
                f" sorts, got {', '.join(self.inter_feat)}; add it to load_col, or to the file"
            )
        sequential = self.config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        if by_time:
            if self.time_field in (self.config["discretization"] or ()):
                raise InputError(
                    f"discretization: expected other columns than {self.time_field}, by which "
                    "eval_args (order: TO) sorts, got it among them; drop it"
                )
            _count_merged_times(self)
        if sequential and not self.benchmark_filename_list:
            _check_names_of_histories(self)
            alone = ~self.inter_feat[self.uid_field].duplicated(keep=False)
            self.sr_single_events = self.inter_feat[alone]
        parts = build(self)
        if not len(parts[0].inter_feat):
            raise InputError(
                f"{self.dataset_name}: expected interactions to train on, for a sequential model "
                "several of a user, got none; correct eval_args (split) or the data"
            )
        repeats = sequential or self.config["repeatable"]
        if not repeats and self.config["eval_type"] == EvaluatorType.RANKING:
            _count_repeated_pairs(self, parts)
        return parts

    Dataset.build = build_checked


def _check_names_of_histories(data: Any) -> None:
    """Refuse columns that have the name of one that RecBole makes, and puts in their place."""
    columns = {name for part in data.feat_name_list for name in getattr(data, part).columns}
    fields = set(data.inter_feat) - {data.uid_field}
    lists = {f"{field}{data.config['LIST_SUFFIX']}" for field in fields}
    length = data.item_list_length_field
    if length in lists | columns:
        raise InputError(
            "ITEM_LIST_LENGTH_FIELD: expected a name that no column has, of the data or of "
            f"histories, got {length!r}; give another, or take the column out of load_col"
        )
    if clash := sorted(lists & columns):
        raise InputError(
            "LIST_SUFFIX: expected one that makes names of histories which no column of the data "
            f"has, got {clash[0]!r}; give another, or take the column out of load_col"
        )


def _check_shared_names(data: Any, file: AtomicFile, ids: Sequence[str]) -> None:
    """Refuse a column that another file has too: RecBole tells columns apart by name alone."""
    for name in file.read:
        if name in ids or name not in data.field2source:
            continue
        other = data.field2source[name].value
        types = {data.field2type[name].value, file.types[name]}
        if types not in ({"float"}, {"float_seq"}):
            raise InputError(
                f"{file.path}: expected columns of its own, got {name} of type "
                f"{' and '.join(sorted(types))}, which the file of {other} has, too; rename it, or "
                "take it out of load_col"
            )
        data.logger.warning(
            f"{file.path}: the file of {other} has a column {name}, too, and RecBole tells columns "
            "apart by name alone: models and filters read one of the two; rename it, or take it "
            "out of load_col"
        )


def _count_merged_times(data: Any) -> None:
    """Say how many times of a user are one, as RecBole keeps them as float32.

    RecBole's sorting is stable: a file whose lines are in the order of time keeps it.
    """
    times = data.inter_feat[[data.uid_field, data.time_field]]
    if data.time_field in (data.config["numerical_features"] or ()):  # has its bucket beside it
        times = times.assign(**{data.time_field: times[data.time_field].str[0]})
    times = times.drop_duplicates()
    kept = times.astype({data.time_field: np.float32})
    is_sorted = not (times.groupby([*map(kept.get, kept)])[data.time_field].diff() < 0).any()
    kept = kept.drop_duplicates()
    if (merged := len(times) - len(kept)) and not is_sorted:
        step = np.spacing(np.float32(times[data.time_field].abs().max()))
        data.logger.warning(
            f"{data.dataset_name}: {merged:,} of {len(times):,} times equal another of the same "
            f"user once RecBole has rounded them to {step:g}, and keep the file's order; sort its "
            f"lines by {data.time_field}, or subtract the earliest from all"
        )


def _count_repeated_pairs(data: Any, parts: Sequence[Any]) -> None:
    pairs = [
        part.inter_feat[data.uid_field] * data.item_num + part.inter_feat[data.iid_field]
        for part in parts
    ]
    repeated = [
        int(torch.isin(own, torch.cat(pairs[:at])).sum()) for at, own in enumerate(pairs) if at
    ]
    counts = [
        f"{count} of {len(own)} pairs in {name}"
        for name, count, own in zip(("validation", "test"), repeated, pairs[1:], strict=False)
        if count
    ]
    if counts:
        given = data.benchmark_filename_list
        key = "take them out of the files" if given else "set rm_dup_inter: first to keep one each"
        data.logger.warning(
            f"{data.dataset_name}: {', '.join(counts)} are in an earlier part, too, so that a "
            f"model has seen what it is to find; {key}, or repeatable: True if users are to be "
            "given again what they have"
        )


def _has_none(column: pd.Series) -> bool:
    """Whether no line has a number."""
    is_empty = column.map(len) == 0 if column.dtype == object else column.isna()
    return bool(is_empty.all())


def _has_infinite(column: pd.Series) -> bool:
    """Whether float32, in which RecBole keeps numbers, cannot hold one; lists have no missing."""
    if column.dtype == object:
        return not (np.abs(np.concatenate(column.to_list())) <= _LARGEST).all()
    return bool((column.abs() > _LARGEST).any())


def _find_bad_number(file: AtomicFile, separator: str) -> None:
    """Refuse the first cell that is no finite number where there should be one."""
    names = [name for name in file.read if file.is_number(name)]
    for line, cells in file.cells(names):
        for name, cell in zip(names, cells, strict=True):
            is_list = file.types[name] == "float_seq"
            for text in filter(None, cell.split(separator)) if is_list else [cell]:
                if not _is_number(text) and (is_list or text not in MISSING):
                    raise InputError(
                        f"{file.path}: expected a finite number as {name} in line {line}, got "
                        f"{text!r}; correct it"
                    )


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) <= _LARGEST
    except ValueError:
        return False


def _keep_quoted(file: AtomicFile, ids: Sequence[str], frame: pd.DataFrame) -> None:
    """Take an id in quotes, such as "NA", as it is, which pandas takes for missing."""
    for name in ids:
        if (missing := frame[name].isna()).any():
            frame[name] = np.where(missing, np.array([*file.quoted(name)], object), frame[name])


def _without_missing(
    data: Any, file: AtomicFile, ids: Sequence[str], frame: pd.DataFrame
) -> pd.DataFrame:
    """Leave out lines without ids; say where that is, and where more is missing than it seems."""
    missing = {
        name: frame[name].map(len) == 0 if file.types[name].endswith("seq") else frame[name].isna()
        for name in file.read
        if file.types[name] != "float_seq"  # which may well be empty
    }
    missing = {name: lines for name, lines in missing.items() if lines.any()}
    if not missing:
        return frame
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in missing}
    for (line, cells), *rows in zip(file.cells([*missing]), *missing.values(), strict=True):
        for name, cell, is_missing in zip(missing, cells, rows, strict=True):
            if is_missing:
                found[name].append((line, cell))
    for name, where in found.items():
        hint = "; pandas takes NA, null, nan and the like for missing: give such values other names"
        if name in ids:
            done = "are left out"
        elif file.is_number(name):
            done, hint = "are given the mean of the others", ""
        else:
            where = [(line, text) for line, text in where if text and text in MISSING]
            done = "are read as missing"
        if where:
            data.logger.warning(
                f"{file.path}: {len(where)} of {len(frame)} lines have no {name} and {done}: "
                f"{_listed(where)}{hint if any(text for _, text in where) else ''}"
            )
    if not set(ids) & found.keys():
        return frame
    frame = frame.drop(frame.index[frame[list(ids)].isna().any(axis=1)])
    if frame.empty:
        raise InputError(
            f"{file.path}: expected lines with {' and '.join(ids)}, got none; correct the file"
        )
    return frame


def _listed(where: Sequence[tuple[int, str]]) -> str:
    """The first lines, and what stands there if anything does."""
    named = [f"line {line}" + (f" ({text!r})" if text else "") for line, text in where[:_NAMED]]
    return ", ".join(named) + (", ..." if len(where) > _NAMED else "")


def _compare_ids(
    data: Any, file: AtomicFile, kind: str, ids: Sequence[str], frame: pd.DataFrame
) -> None:
    """Say which ids a file has twice, and which of the interactions it does not have."""
    used, known = data.inter_feat[ids[0]], frame[ids[0]]
    unknown = ~used.isin(known)
    twice = known[known.duplicated()]
    if unknown.all():
        raise InputError(
            f"{file.path}: expected some {ids[0]} of the interactions, got none of them; ids are "
            f"compared as texts, such as {used.iloc[0]!r} and {known.iloc[0]!r}"
        )
    if kind == "link":
        linked = frame[known.isin(used)].drop_duplicates()
        for name in ids:
            for token in linked[name][linked[name].duplicated()]:
                raise InputError(
                    f"{file.path}: expected each {name} once, as RecBole links one item to one "
                    f"entity, got {token!r} more than once; remove the other lines"
                )
    elif len(twice):
        data.logger.warning(
            f"{file.path}: {len(twice)} of {len(frame)} lines repeat the {ids[0]} of an earlier "
            f"line, such as {twice.iloc[0]!r}, and are left out"
        )
    if unknown.any():
        removed = kind == "link" or data.config["filter_inter_by_user_or_item"] is True
        removed &= not data.benchmark_filename_list
        data.logger.warning(
            f"{file.path}: {unknown.sum()} of {len(used)} interactions have no {ids[0]} of it, but "
            f"ones such as {used[unknown].iloc[0]!r}; they "
            f"{'are left out' if removed else 'have no features'}"
        )
