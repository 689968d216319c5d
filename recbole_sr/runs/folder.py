"""What a run leaves behind: a folder of plain text files, readable while the run goes on."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from joblib import cpu_count
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor
from typing_extensions import NotRequired, TypedDict

from recbole_sr.config.plain import to_plain
from recbole_sr.errors import InputError, check_file
from recbole_sr.runs.files import write_whole
from recbole_sr.runs.spectrum import singular_values

__all__ = ["IDENTITY", "MORE", "Count", "Epoch", "RunFolder", "Settings", "Spectra", "to_json"]

# What of environment.json tells one run from another, not where it ran.
IDENTITY = ("run", "data", "format", "launch")
_PACKAGES = ("recbole_sr", "recbole", "torch", "numpy", "scipy", "pandas")

MORE = ConfigDict(extra="allow", strict=True)
Count = Annotated[int, Field(ge=0, le=2**53)]
# What is not finite is null; a size or a time never is.
_Ranks = dict[str, float | None]
Spectra = dict[str, dict[str, list[float | None]]]


class Settings(TypedDict):
    """What a report needs of ``settings.json``, which holds every key of the run."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    model: str
    dataset: str
    seed: int
    valid_metric: str
    valid_metric_bigger: bool


class Epoch(TypedDict):
    """A line of ``metrics.jsonl``, as :class:`~recbole_sr.runs.epochs.EpochRecord`."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    epoch: Count
    phase: str
    train_loss: float | None
    train_seconds: float
    valid_score: float | None
    stable_rank: _Ranks | None
    valid_seconds: NotRequired[float | None]
    rank_weight: NotRequired[_Ranks | None]


_EPOCHS = TypeAdapter(list[Epoch])


class RunFolder:
    """The files of one run.

    ``metrics.jsonl`` has one line an epoch, appended and flushed as it ends. ``settings.json``,
    ``environment.json``, ``spectra.json`` (singular values of both tables, largest first, at
    ``start``, ``switch``, ``end`` and after each ``epoch N`` that ``sr_spectra_step`` asks for) and
    ``result.json`` are each written whole or not at all.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._written = 0

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: Any,
        identity: Mapping[str, Any] | None = None,
        resumed: bool = False,
    ) -> RunFolder:
        """Start a run's folder, with its settings and its environment.

        Args:
            path: made where it is missing; what an earlier run left there goes.
            config: the run's RecBole ``Config``.
            identity: what names the run and its data, for ``environment.json``.
            resumed: keep the spectra, which a run that continues does not see again.

        Raises:
            InputError: the run that continues is not the one whose folder it is.

        """
        folder = cls(path)
        folder.path.mkdir(parents=True, exist_ok=True)
        identity = identity or {}
        if resumed and (folder.read("environment.json") or identity).get("run") != identity["run"]:
            raise InputError(
                f"{path}: expected the folder of the run that is resumed, got another run's; move "
                "it away"
            )
        for name in ("metrics.jsonl", "result.json"):
            (folder.path / name).unlink(missing_ok=True)
        if not resumed:
            folder.write("spectra.json", {})
        folder.write("settings.json", to_plain(config.final_config_dict))
        folder.write("environment.json", {**identity, **_environment(config)})
        return folder

    def add_epochs(self, records: Sequence[Any]) -> None:
        """Append the epochs that are not in ``metrics.jsonl`` yet.

        Args:
            records: every :class:`~recbole_sr.runs.epochs.EpochRecord` of the run so far.

        """
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            for record in records[self._written :]:
                file.write(to_json(asdict(record)) + "\n")
        self._written = len(records)

    def add_spectra(self, moment: str, tables: Mapping[str, Tensor]) -> None:
        """Note the singular values of both tables.

        Args:
            moment: ``start``, ``switch``, ``end`` or ``epoch N``.
            tables: by side, ``(N, D)``.

        """
        values = {side: singular_values(table).tolist() for side, table in tables.items()}
        self.write("spectra.json", {**(self.read("spectra.json") or {}), moment: values})

    def write(self, name: str, data: Any) -> None:
        """Write a JSON file whole."""
        write_whole(self.path / name, to_json(data, indent=1) + "\n")

    def read(self, name: str, kind: Any = dict[str, Any]) -> Any:
        """The content of a JSON file; None where it is not there (yet).

        Args:
            name: of the file.
            kind: the type that it has to have, such as :class:`Settings`.

        Raises:
            InputError: the file is no JSON, or of another type.

        """
        file = self.path / name
        return _parse(_content(file), file, TypeAdapter(kind)) if os.path.lexists(file) else None

    def epochs(self) -> list[Epoch]:
        """The lines of ``metrics.jsonl``; one that is still being written is left out.

        Raises:
            InputError: a finished line is no JSON, or no epoch.

        """
        file = self.path / "metrics.jsonl"
        content = _content(file) if os.path.lexists(file) else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        return list(_parse(b"[%s]" % b",".join(lines), file, _EPOCHS))


def to_json(data: Any, indent: int | None = None) -> str:
    """Plain data and numpy's numbers as JSON, where NaN and infinity are null."""
    text = json.dumps(data, default=np.generic.item)
    return json.dumps(json.loads(text, parse_constant=lambda _: None), indent=indent)


def _content(file: Path) -> bytes:
    check_file(file, "a file as a run leaves it")
    return file.read_bytes()


def _parse(content: bytes, file: Path, kind: TypeAdapter[Any]) -> Any:
    try:
        found = json.loads(content.decode(), parse_constant=lambda _: None, parse_float=_finite)
        return kind.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        found = f"{place}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        found = f"{content[:40]!r} ({error})"
    raise InputError(
        f"{file}: expected JSON as a run leaves it, got {found}; give another run, or run it again"
    )


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


def _environment(config: Any) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": str(config["device"]),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None  # a source tree that was never installed
