"""Timing side by side, and the experiments that are timed."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shutil
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from recbole.utils import get_trainer

from recbole_sr.config.config import Config
from recbole_sr.config.files import read_properties
from recbole_sr.study.statistics import paired
from recbole_sr.training.experiment import prepare
from recbole_sr.training.trainer import inject_trainer

__all__ = [
    "Run",
    "append_record",
    "beside_stock",
    "core",
    "data_folder",
    "data_sets",
    "epochs_to",
    "experiment",
    "gain",
    "interleaved",
    "median_epochs",
    "quiet",
    "ratio",
    "read_records",
    "record_parser",
    "recorded_run",
    "report",
    "scratch_folder",
    "spread",
    "study_settings",
    "test_ratio",
    "train",
    "turns",
]

RUNS = 5
_DATA = Path(os.environ.get("RECBOLE_DATA", "dataset")).absolute()  # runs change the folder


def data_sets(*default: str) -> list[str]:
    """The data sets to measure on."""
    return os.environ.get("RECBOLE_DATA_SETS", ",".join(default)).split(",")


def study_settings() -> dict[str, Any]:
    """What all runs of the studies share."""
    return read_properties([str(Path(__file__).parent / "studies" / "shared.yaml")])


@contextmanager
def scratch_folder() -> Iterator[None]:
    """A working folder for what RecBole writes, gone at the end."""
    folder, before = tempfile.mkdtemp(), os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def data_folder() -> str:
    """The folder of the data sets' folders."""
    return str(_DATA)


def quiet() -> None:
    """No warnings, no log, and none of our own arguments, which RecBole would read."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.argv = sys.argv[:1]


def record_parser(name: str, description: str | None, records: Path) -> argparse.ArgumentParser:
    """The arguments of a benchmark that keeps its runs in a file and can go on.

    Args:
        name: of the benchmark.
        description: what it does.
        records: the file, where nobody says another.

    """
    parser = argparse.ArgumentParser(prog=f"benchmarks.{name}", description=description)
    help = "print what the file has, and run nothing"
    parser.add_argument("--table", "--tables", action="store_true", help=help)
    path = {"type": lambda text: Path(text).absolute(), "metavar": "FILE"}  # runs change the folder
    parser.add_argument("-o", "--output", default=records, **path)
    return parser


def recorded_run(data_set: str) -> dict[str, Any]:
    """The settings of a run of which scores are all that is kept."""
    place = {} if data_set == "ml-100k" else {"data_path": data_folder()}
    return {
        **place,
        "metric_decimal_place": 6,
        "state": "ERROR",
        "show_progress": False,
        "sr_save_step": 0,
    }


def core(fewest: int) -> dict[str, str]:
    """The part of the data in which each user and each item has so many interactions."""
    return {f"{side}_inter_num_interval": f"[{fewest},inf)" for side in ("user", "item")}


def append_record(output: Path, record: Mapping[str, Any]) -> None:
    """Add a finished run to a file, as a line of JSON."""
    with output.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_records(output: Path) -> list[dict[str, Any]]:
    """The runs of such a file; none where there is no file."""
    return list(map(json.loads, output.read_text("utf-8").splitlines() if output.is_file() else ()))


def epochs_to(record: Mapping[str, Any], score: float) -> int | None:
    """Epochs until a validation score is reached, 0 untrained; None where it never is."""
    if record["best_epoch"] < 0:  # the untrained model was a candidate, and the best one
        return 0 if record["valid"] >= score else None
    reached = [epoch for epoch, found in enumerate(record["valid_scores"], 1) if found >= score]
    return reached[0] if reached else None


def median_epochs(found: Sequence[int | None]) -> str:
    """The median over the seeds that came there."""
    there = [each for each in found if each is not None]
    if not there:
        return "never"
    some = f" ({len(there)} of {len(found)})" if len(there) < len(found) else ""
    return f"{statistics.median(there):g}{some}"


def test_ratio(tested: Any, trained: Any) -> float:
    """Interactions of one loader for each one of another, by which the t-test is corrected."""
    return len(tested._dataset) / len(trained._dataset)


def spread(values: Sequence[float]) -> str:
    """The mean, and the standard deviation of several."""
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def gain(own: Sequence[float], theirs: Sequence[float], ratio: float) -> str:
    """How far paired scores are above others, in percent, and p of the corrected t-test."""
    test = paired(own, theirs, ratio)
    percent = f"{100 * test.difference / statistics.mean(theirs):+.1f} %"
    if test.p_value is None:  # of one seed
        return percent
    return f"{percent}, p {'< 0.001' if test.p_value < 0.001 else f'= {test.p_value:.3f}'}"


@dataclass
class Run:
    """A prepared experiment with its trainer."""

    config: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model: Any
    trainer: Any
    epoch: int = -1


def experiment(model: str, dataset: str, fast: bool, **settings: Any) -> Run:
    """Our pipeline's preparation; ``fast=False`` is stock RecBole bit for bit, as a test proves."""
    sys.argv = sys.argv[:1]
    warnings.simplefilter("ignore")
    folder = data_folder()
    bundled = dataset == "ml-100k" and not Path(folder, dataset).is_dir()
    given = {
        **({} if bundled else {"data_path": folder}),
        "load_col": {"inter": ["user_id", "item_id"]},
        "state": "ERROR",
        "show_progress": False,
        **read_properties(["off.yaml"]),
        "sr_monitor": False,
        "sr_fast": fast,
    }
    made = prepare(Config(model, dataset, config_dict={**given, **settings}))
    trainer_class = get_trainer(made.config["MODEL_TYPE"], made.config["model"])
    trainer = inject_trainer(trainer_class)(made.config, made.model)
    trainer.eval_collector.data_collect(made.train_data)
    return Run(made.config, made.train_data, made.valid_data, made.test_data, made.model, trainer)


def train(run: Run, batches: Any = None) -> float:
    """One epoch more, or the batches given; the loss."""
    run.epoch += 1
    return run.trainer._train_epoch(batches or run.train_data, run.epoch)


def interleaved(contestants: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each, in turns."""
    return {name: statistics.median(seconds) for name, seconds in turns(contestants).items()}


def turns(contestants: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Seconds of each by the turn, after a warm-up; a busy moment hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(1 + RUNS):
        for name, run in contestants.items():
            start = perf_counter()
            run()
            if turn:
                seconds[name].append(perf_counter() - start)
    return seconds


def beside_stock(
    seconds: Mapping[str, Sequence[float]], scale: float = 1, digits: int = 2
) -> list[str]:
    """Three cells: the medians of ``stock`` and ``ours``, and how much faster ours is.

    The ratio is the median of the turns', with the least and the most of them.

    Args:
        seconds: by the turn, of both.
        scale: of the medians, such as 1000 for milliseconds.
        digits: of the medians, after the point.

    """
    stock, ours = seconds["stock"], seconds["ours"]
    medians = [f"{statistics.median(side) * scale:.{digits}f}" for side in (stock, ours)]
    return [*medians, ratio(stock, ours)]


def ratio(above: Sequence[float], below: Sequence[float], digits: int = 1) -> str:
    """The median of the ratios of turns, with the least and the most of them."""
    found = sorted(one / other for one, other in zip(above, below, strict=True))
    median, least, most = (
        f"{x:.{digits}f}" for x in (statistics.median(found), found[0], found[-1])
    )
    return f"{median} x ({least} to {most})"


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def report(title: str, head: list[str], rows: list[list[Any]]) -> None:
    """Print a table under its title and the machine."""
    print(f"\n## {title}\n\n{_machine()}\n\n{table(head, rows)}")


def _machine() -> str:
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {os.cpu_count()} cores, torch {torch.__version__} on "
        f"{torch.get_num_threads()} threads, load {load:.1f} at the end"
    )


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
