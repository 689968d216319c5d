"""One run of a study, in a process of its own: ``python -m recbole_sr.study.trial FOLDER``.

A process of its own, because RecBole configures logging, random numbers and torch for a whole
process: no run then sees what an earlier one left, and one that crashes ends alone. It ends when
its standard input does, as that of a study that is killed: a run that went on would be in its way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole_sr.config.files import read_shipped
from recbole_sr.config.plain import to_plain
from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder

__all__ = ["OFF", "STOCK", "Trial"]

STOCK = "stock"
OFF: dict[str, Any] = {**read_shipped("off.yaml")[0], "sr_fast": False}
_REQUEST, _RESULT, _OUTPUT = "request.json", "result.json", "output.txt"
_NOT_JUDGED = (
    "no epoch that counts was evaluated, or no test: a study needs a validation and a test part, "
    "and an eval_step that reaches the main phase"
)
_GLANCE = 0.2  # seconds between looks at whether to stop


@dataclass(frozen=True)
class Trial:
    """What to run.

    Attributes:
        model: RecBole's name of it.
        dataset: name of the data set.
        variant: ``stock`` is plain RecBole; any other name is a row of the comparison.
        seed: of the split, the initial tables and the order of batches.
        settings: property values, the variant's included.

    """

    model: str
    dataset: str
    variant: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.model}-{self.dataset}-{self.variant}-{self.seed}"

    def config(self, **more: Any) -> Any:
        """The RecBole configuration of this trial.

        Raises:
            InputError: a setting cannot work.

        """
        from recbole_sr.config.config import Config
        from recbole_sr.study.baseline import StockConfig

        kind = StockConfig if self.variant == STOCK else Config
        off = OFF if self.variant == STOCK else {}
        settings = {**self.settings, **more, **off, "seed": self.seed}
        return kind(self.model, self.dataset, config_dict=settings)

    def request(self) -> dict[str, Any]:
        """All of it as plain data, as ``request.json`` has it: a tuple is a list there."""
        return dict(to_plain(asdict(self)))

    def run(
        self, folder: Path, threads: int | None = None, stopped: threading.Event | None = None
    ) -> dict[str, Any]:
        """Run in a process of its own.

        Args:
            folder: where to.
            threads: of its computations; None, or ``OMP_NUM_THREADS`` set: as it finds it.
            stopped: once set, the run is ended and ``KeyboardInterrupt`` raised, for threads, which
                no interrupt reaches.

        Returns:
            The trial, ``error`` (None, or the last line the run printed), and where it went well
            RecBole's result dictionary, ``metric``, ``epochs``, ``switch_epoch``, ``seconds`` and
            ``split``, which is the same for runs on the same split.

        """
        run = RunFolder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _RESULT).unlink(missing_ok=True)
        run.write(_REQUEST, self.request())
        code = _start(folder, threads, stopped or threading.Event())
        result = run.read(_RESULT)
        if code or result is None:
            said = (folder / _OUTPUT).read_text("utf-8", errors="replace").strip().splitlines()
            nothing = f"ended with exit code {code} and printed nothing"
            result = {**self.request(), "error": said[-1] if said else nothing}
            run.write(_RESULT, result)
        return result

    def finished(self, folder: Path) -> dict[str, Any] | None:
        """The result in ``folder``; None where no run has ended well there.

        Raises:
            InputError: the run that ended there had other settings.
        """
        run = RunFolder(folder)
        result = run.read(_RESULT)
        # A run writes RecBole's results first; "error" is there once a trial is complete.
        if result is None or result.get("error", "") is not None:
            return None
        if run.read(_REQUEST) != self.request():
            raise InputError(
                f"{folder}: expected a run with the settings of this study, got one with others; "
                "restore the settings, remove that folder, or give another --output"
            )
        return result

    def take_over(self, done: Path, folder: Path) -> None:
        """Copy this trial's run from ``done`` to ``folder``, its result last; nothing if it failed.

        Raises:
            InputError: the run that ended in either had other settings.

        """
        result = self.finished(done)
        if result and not self.finished(folder):
            all_but_it = shutil.ignore_patterns(_RESULT)
            shutil.copytree(done, folder, ignore=all_but_it, dirs_exist_ok=True)
            RunFolder(folder).write(_RESULT, result)


def _start(folder: Path, threads: int | None, stopped: threading.Event) -> int:
    """Run this module on ``folder``; the exit code, negative for a signal."""
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "recbole_sr.study.trial", str(folder)]
    environment = {**os.environ, "PYTHONPATH": path}
    if threads:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    with (
        open(folder / _OUTPUT, "wb") as output,
        subprocess.Popen(  # noqa: S603 - this interpreter, this module
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment
        ) as process,
    ):
        while not stopped.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_GLANCE)
        raise KeyboardInterrupt  # stopped or interrupted, the block closes stdin: the run ends


def _end_with_the_study() -> None:
    os.read(0, 1)  # by descriptor: at exit Python may not wait for the lock of ``sys.stdin``
    os._exit(1)


def main(folder: Path) -> None:
    """Run the trial that ``request.json`` in a folder describes."""
    from recbole_sr.runs.snapshot import fingerprint

    sys.argv[1:] = []  # RecBole's Config reads it
    threading.Thread(target=_end_with_the_study, daemon=True).start()
    start = perf_counter()
    run = RunFolder(folder)
    trial = Trial(**run.read(_REQUEST))
    config = trial.config(checkpoint_dir=str(folder), show_progress=False)
    experiment = _experiment(trial, config)
    start_up = perf_counter() - start
    loaders = (experiment.train_data, experiment.valid_data, experiment.test_data)
    split = [fingerprint(loader._dataset) for loader in loaders]
    outcome = experiment.train(saved=True, verbose=False, folder=str(folder))
    method = outcome.pop("sr", {"switch_epoch": None})
    for checkpoint in folder.glob("*.pth"):  # a study keeps numbers, not weights
        checkpoint.unlink()
    records = run.epochs()
    result = {
        **trial.request(),
        "error": None if outcome["best_valid_result"] and outcome["test_result"] else _NOT_JUDGED,
        **outcome,
        "metric": config["valid_metric"].lower(),
        "epochs": len(records),
        "switch_epoch": method["switch_epoch"],
        "seconds": _seconds(records, start_up, perf_counter() - start),
        "split": split,
    }
    run.write(_RESULT, result)


def _experiment(trial: Trial, config: Any) -> Any:
    if trial.variant == STOCK:
        from recbole_sr.study.baseline import StockExperiment

        return StockExperiment(config)
    from recbole_sr.training.experiment import prepare

    return prepare(config)


def _seconds(records: list[dict[str, Any]], start_up: float, total: float) -> dict[str, float]:
    """Where the time went; ``other`` is the rest: the final test, checkpoints, monitors."""
    known = {
        "start_up": start_up,
        "training": sum(record["train_seconds"] for record in records),
        "evaluation": sum(record["valid_seconds"] or 0 for record in records),
    }
    return {**known, "other": total - sum(known.values()), "total": total}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
