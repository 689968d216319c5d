"""What a run says on the screen; the file of its log has all of it.

The loggers of this package speak to the screen. RecBole's, which is the root, speaks to the file,
its warnings to both.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import psutil
from recbole.utils import get_gpu_usage, init_logger, set_color

from recbole_sr.runs.epochs import EpochRecord, describe_best, describe_ranks

__all__ = [
    "closing_lines",
    "describe_data",
    "describe_environment",
    "describe_epoch",
    "describe_scores",
    "open_log",
    "screen",
    "shows_bars",
    "warnings_alone",
    "write_nothing",
]

Amount = Literal["quiet", "normal", "verbose"]
_amount: ContextVar[Amount] = ContextVar("amount", default="normal")
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
# RecBole's warnings about how a model works, by module and first words: nothing can be done.
_WITHOUT_ADVICE = (("dataset", "Max value of "),)


@contextmanager
def screen(amount: Amount) -> Iterator[None]:
    """How much the runs inside the block show.

    Args:
        amount: ``quiet``: warnings and errors; ``verbose``: all that goes to the file.

    """
    token = _amount.set(amount)
    try:
        yield
    finally:
        _amount.reset(token)


class _Shown(logging.Filter):
    """Lets this package's records to the screen, and warnings that can be acted on."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return _amount.get() != "quiet" and bool(super().filter(record))
        text = str(record.msg)
        return not any(record.module == at and text.startswith(x) for at, x in _WITHOUT_ADVICE)


def _is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; a program without a console has no stream."""
    return bool(stream) and stream.isatty()


class _Lines(logging.Formatter):
    """Text alone; a warning or an error says that it is one. Colours are for a terminal.

    Args:
        stream: where the lines go.

    """

    def __init__(self, stream: Any):
        super().__init__()
        self._colored = _is_terminal(stream)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno >= logging.WARNING:
            color = "yellow" if record.levelno == logging.WARNING else "red"
            text = f"{set_color(record.levelname.lower(), color)}: {text}"
        return text if self._colored else _COLORS.sub("", text)


def open_log(config: Any) -> str | None:
    """Set up RecBole's log, with what a reader needs on the screen.

    RecBole's ``state`` is the level of both. Where the program has set up logging itself, that
    stays as it is, as in RecBole.

    Returns:
        Path of the log's file; None where there is none.
    """
    root, file = logging.getLogger(), None
    before = root.handlers[:]
    init_logger(config)
    for handler in root.handlers:
        if handler in before:
            continue
        if isinstance(handler, logging.FileHandler):
            file = os.path.relpath(handler.baseFilename)
        elif isinstance(handler, logging.StreamHandler) and _amount.get() != "verbose":
            handler.addFilter(_Shown("recbole_sr"))
            handler.setFormatter(_Lines(handler.stream))
    return file


@contextmanager
def warnings_alone() -> Iterator[None]:
    """Show the warnings that can be acted on, where nobody has set up logging; write no file."""
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.addFilter(_Shown("recbole_sr"))
    handler.setFormatter(_Lines(handler.stream))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def write_nothing(config: Any) -> None:
    """Have a process say and save nothing, as another one does it for all."""
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger().setLevel(logging.ERROR)
    for key in ("show_progress", "log_wandb", "save_dataset", "save_dataloaders"):
        config[key] = False


def shows_bars(config: Any) -> bool:
    """Whether to draw progress bars: on a terminal and in a notebook, or where the user says so."""
    if not config["show_progress"] or _amount.get() == "quiet":
        return False
    in_a_notebook = "ipykernel" in sys.modules
    return "show_progress" in config.origins or in_a_notebook or _is_terminal(sys.stderr)


def describe_data(dataset: Any) -> str:
    """The size of a data set, which its loaders, made of it, change."""
    users, items = dataset.user_num - 1, dataset.item_num - 1  # without padding
    return (
        f"{dataset.dataset_name}: {users:,} users, {items:,} items, "
        f"{dataset.inter_num:,} interactions"
    )


def describe_environment(device: Any) -> str:
    """What RecBole's ``get_environment`` has, which waits a second to see the processor's load."""
    used, whole = psutil.Process().memory_info().rss, psutil.virtual_memory().total
    gpu = get_gpu_usage(device) if device.type == "cuda" else "none"
    return (
        f"all processors {psutil.cpu_percent():.0f} % busy since the start, "
        f"memory {used / 2**30:.2f} of {whole / 2**30:.2f} GiB, GPU {gpu}"
    )


def describe_epoch(record: EpochRecord, metric: str, ranks: bool = True) -> str:
    """One line about a finished epoch.

    Args:
        record: of the epoch.
        metric: by which the best epoch is chosen.
        ranks: whether to name the tables' stable ranks.

    Example:
        >>> describe_epoch(EpochRecord(3, "main", 0.5, 1.25, 0.4081), "mrr@10")
        'epoch 3, main phase: train loss 0.5000, valid mrr@10 0.4081, 1.25 s'

    """
    said = [f"train loss {record.train_loss:.4f}"]
    if record.valid_score is not None:
        said.append(f"valid {metric} {record.valid_score:.4f}")
    said.append(f"{record.train_seconds + (record.valid_seconds or 0):.2f} s")
    seen = {"stable_rank": record.stable_rank, "rank_weight": record.rank_weight} if ranks else {}
    named = [describe_ranks(values, name) for name, values in seen.items() if values]
    numbers = "; ".join([", ".join(said), *named])
    return f"epoch {record.epoch}, {record.phase} phase: {numbers}"


def describe_scores(scores: Mapping[str, float] | None) -> str:
    """The metrics of an evaluation in one line.

    Example:
        >>> describe_scores({"recall@10": 0.2847, "mrr@10": 0.5174})
        'recall@10 0.2847, mrr@10 0.5174'

    """
    return ", ".join(f"{name} {score}" for name, score in (scores or {}).items()) or "none"


def closing_lines(
    result: Mapping[str, Any],
    metric: str,
    seconds: float,
    judged: bool = True,
    lists: bool = True,
    own_class: bool = False,
) -> list[str]:
    """What a run came to, where it is, and what can be done with it.

    Args:
        result: as :func:`~recbole_sr.training.experiment.run_recbole_sr` returns it.
        metric: by which the best epoch is chosen.
        seconds: what it took.
        judged: whether there are interactions that it was not trained on.
        lists: whether the model can recommend, which takes users and items alone.
        own_class: whether the model's class is not RecBole's, so that no command can load it.

    """
    method = result["sr"]
    final = method.get("final", {"checkpoint": None})
    switch, phases = method["switch_epoch"], method["phases"]
    best = method["best_epoch"]
    moments = [("start", phase["stable_rank"]["start"]) for phase in phases[:1]]
    moments += [("switch", phase["stable_rank"]["start"]) for phase in phases[1:]]
    moments += [("end", phase["stable_rank"]["end"]) for phase in phases[-1:]]
    score = f"valid {metric} {result['best_valid_score']:.4f}"
    lines = {
        "test result": describe_scores(result["test_result"])
        if judged
        else "none, as all interactions were trained on",
        "best epoch": describe_best(best, len(method["epochs"]), score),
        "untrained initialisation": _untrained(result, metric),
        "switch epoch": switch,
        **{f"at {moment}": describe_ranks(ranks) for moment, ranks in moments if ranks},
        "seconds": f"{seconds:.0f}",
        "checkpoint": method["checkpoint"],
        "run folder": method["run_folder"],
        "trained on all interactions, not tested": final["checkpoint"],
    }
    said = [f"{set_color(name, 'yellow')}: {x}" for name, x in lines.items() if x is not None]
    if method["checkpoint"] is None:
        return said
    folder, checkpoint = (
        _quoted(method["run_folder"]),
        _quoted(final["checkpoint"] or method["checkpoint"]),
    )
    commands = {
        f"report {folder}": method["epochs"],
        f"recommend {checkpoint} -k 10 -o top.csv": lists and not own_class,
        f"embeddings {checkpoint} -o embeddings": not own_class,
    }
    following = [f"  recbole-sr {command}" for command, works in commands.items() if works]
    return [*said, *([f"{set_color('next', 'yellow')}:"] if following else []), *following]


def _untrained(result: Mapping[str, Any], metric: str) -> str | None:
    """How well the untrained model ranks, and what keeps it where it could be the best one."""
    score, best = result["sr"]["initial_valid_score"], result["best_valid_score"]
    if score is None:
        return None
    text = f"valid {metric} {score:.4f}"
    wins = score > best if result["valid_score_bigger"] else score < best
    judged = result["sr"]["best_epoch"] is not None
    if wins and judged and all(phase["name"] == "main" for phase in result["sr"]["phases"]):
        text += ", better than every epoch; --sr_keep_untrained=True keeps it"
    return text


def _quoted(path: str) -> str:
    return shlex.quote(Path(path).as_posix())  # Windows reads slashes too, and needs no quotes then
