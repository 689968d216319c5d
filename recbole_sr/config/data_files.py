"""The files of a data set that settings ask for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

import recbole
from recbole.utils import ModelType

from recbole_sr.config.files import read_properties
from recbole_sr.errors import InputError
from recbole_sr.recbole_compat.atomic_file import AtomicFile

__all__ = ["FILE_SUFFIXES", "check_dataset", "checksums", "columns_of"]

FILE_SUFFIXES = ("inter", "user", "item", "kg", "link", "net")
_SHIPPED = "ml-100k"  # with RecBole
_CHUNK = 2**20  # bytes read at once


def check_dataset(settings: Mapping[str, Any]) -> None:
    """Check that the files are there that the settings ask for.

    RecBole goes on without a file of features; what is in the files is checked when it reads them.

    Args:
        settings: RecBole's final configuration. A data set that is not there is left to RecBole,
            which may know where to download it.

    Raises:
        InputError: names the key and the file.
    """
    folder, name = Path(settings["data_path"]), settings["dataset"]
    if not folder.is_dir():
        if name not in (known := _downloadable()):
            beside = [path.name for path in folder.parent.glob("*/")]
            likely = get_close_matches(name, [_SHIPPED, *beside, *known], n=1)
            raise InputError(
                f"dataset: expected a folder {folder}, seen from {Path.cwd()}, got none; correct "
                "dataset or data_path, or go to the folder that data_path is meant from"
                + (f"; did you mean {likely[0]!r}?" if likely else "")
            )
        return
    parts = settings["benchmark_filename"]
    asked = dict.fromkeys((f"{part}.inter" for part in parts or ()), "benchmark_filename")
    if not parts:
        asked["inter"] = "dataset"
    asked |= dict.fromkeys(settings["additional_feat_suffix"] or (), "additional_feat_suffix")
    if settings["MODEL_TYPE"] == ModelType.KNOWLEDGE:
        asked |= dict.fromkeys(("kg", "link"), f"model {settings['model']}")
    for suffix, columns in (settings["load_col"] or {}).items():
        if columns and suffix in ("user", "item"):
            asked[suffix] = "load_col"
    for suffix, key in asked.items():
        if not (file := folder / f"{name}.{suffix}").is_file():
            got = "something that is no file" if file.exists() else "no such file"
            raise InputError(
                f"{file}: expected the file that {key} asks for, got {got}; write it in RecBole's "
                "form of atomic files, or correct the key"
            )
    for suffix in ("user", "item"):
        file = folder / f"{name}.{suffix}"
        if os.path.lexists(file) and not file.is_file():
            raise InputError(f"{file}: expected a file, got something else; move it away")


def _downloadable() -> dict[str, Any]:
    folder = Path(recbole.__file__).parent / "properties" / "dataset"
    return read_properties([str(folder / name) for name in ("url.yaml", "kg_url.yaml")])


def checksums(settings: Mapping[str, Any]) -> dict[str, str]:
    """A checksum of each file of a data set, by its name, by which changed data are told.

    Args:
        settings: RecBole's final configuration.

    """
    sources = (*FILE_SUFFIXES, *(settings["additional_feat_suffix"] or ()))
    files = (file for source in sources for file in _files(settings, source))
    return {file.name: _checksum(file) for file in files}


def _checksum(file: Path) -> str:
    state = blake2b(digest_size=16)
    with file.open("rb") as data:
        while read := data.read(_CHUNK):
            state.update(read)
    return state.hexdigest()


def columns_of(settings: Mapping[str, Any], source: str) -> dict[str, str]:
    """The columns of a data set's file of a source, such as ``user``, and their types.

    There are none where there is no file.
    """
    found: dict[str, str] = {}
    for file in _files(settings, source):
        encoding, separator = settings.get("encoding"), settings["field_separator"]
        found |= AtomicFile(file, encoding, separator).columns()
    return found


def _files(settings: Mapping[str, Any], source: str) -> list[Path]:
    """The files of a source that are there: of interactions, the parts that are named."""
    folder, name = Path(settings["data_path"]), settings["dataset"]
    parts = [f"{part}.inter" for part in settings["benchmark_filename"] or ()]
    suffixes = parts if parts and source == "inter" else [source]
    files = (folder / f"{name}.{suffix}" for suffix in suffixes)
    return [file for file in files if file.is_file()]
