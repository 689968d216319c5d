"""One run of a study, in a process of its own.

A process of its own, because RecBole configures logging, random numbers and torch for a whole
process: no run then sees what an earlier one left, and one that crashes ends alone. It ends when
its standard input does, as that of a study that is killed: a run that went on would be in its way.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from time import monotonic, perf_counter
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt
from typing_extensions import NotRequired, TypedDict

from recbole_sr.config.files import read_shipped
from recbole_sr.config.plain import to_plain
from recbole_sr.errors import InputError
from recbole_sr.runs.files import replacing
from recbole_sr.runs.folder import MORE, Count, Epoch, RunFolder

__all__ = ["OFF", "STOCK", "UNFINISHED", "Trial", "run_name"]

STOCK = "stock"
UNFINISHED = "not finished in the time that it had"
OFF: dict[str, Any] = {**read_shipped("off.yaml")[0], "sr_fast": False}
_REQUEST, _RESULT, _OUTPUT = "request.json", "result.json", "output.txt"
_NOT_JUDGED = (
    "no epoch that counts was evaluated, or no test: a study needs a validation and a test part, "
    "and an eval_step that reaches the main phase"
)
_NOT_FINITE = "a score is not a finite number: lower learning_rate"
GLANCE = 0.2  # seconds between looks at whether to stop
# A run imports from where its study does, whatever lies in the working folder. It ignores Ctrl-C,
# which the terminal sends to it too: it ends with its study.
_CHILD = (
    "import sys; sys.path[:] = sys.argv[2:]; import signal; "
    "signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from recbole_sr.study.trial import main; main(sys.argv[1])"
)


def run_name(run: Mapping[str, Any]) -> str:
    """The name of a run's folder, from its model, data set, variant and seed."""
    return "{model}-{dataset}-{variant}-{seed}".format_map(run)


class _Seconds(TypedDict):
    start_up: float
    training: float
    evaluation: float
    total: float


class _Outcome(TypedDict):
    """``result.json`` of a trial that ended well."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    error: None
    metric: str
    epochs: Count
    best_valid_score: float
    valid_score_bigger: bool
    best_valid_result: dict[str, float]
    test_result: dict[str, float]
    seconds: _Seconds
    split: list[int]
    # Studies before these were noted have none.
    sizes: NotRequired[Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]]
    stopping_step: NotRequired[NonNegativeInt]
    peak_memory: NotRequired[PositiveInt | None]
    untrained: NotRequired[float | None]
    users: NotRequired[PositiveInt]
    items: NotRequired[PositiveInt]


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
        return run_name(vars(self))

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
        self,
        folder: Path,
        threads: int | None = None,
        stopped: threading.Event | None = None,
        seconds: float = math.inf,
    ) -> dict[str, Any]:
        """Run in a process of its own.

        Args:
            folder: where to.
            threads: of its computations; None, or ``OMP_NUM_THREADS`` set: as it finds it.
            stopped: once set, the run is ended and ``KeyboardInterrupt`` raised, for threads, which
                no interrupt reaches.
            seconds: after which the run is ended.

        Returns:
            The trial, ``error`` (None, or a sentence: ``UNFINISHED``, that a score is missing or no
            number, or the last line the run printed), and where it went well RecBole's result
            dictionary, ``metric``, ``epochs``, ``stopping_step``, ``switch_epoch``, ``seconds``,
            ``peak_memory`` (bytes of main memory), ``split``, which is the same for runs on the
            same split, ``sizes``: interactions for training, validation and test, ``users`` and
            ``items``, how many there are, and ``untrained``, the validation score of the untrained
            model where it may be the best one.

        """
        run = RunFolder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _RESULT).unlink(missing_ok=True)
        run.write(_REQUEST, self.request())
        code = _start(folder, threads, stopped or threading.Event(), seconds)
        if code is None:
            _remove_weights(folder)
            return self.fail(UNFINISHED, folder)
        result: dict[str, Any] | None = run.read(_RESULT)
        if code or result is None:
            said = (folder / _OUTPUT).read_text("utf-8", errors="replace").strip().splitlines()
            nothing = f"ended with exit code {code} and printed nothing"
            return self.fail(said[-1] if said else nothing, folder)
        return result

    def fail(self, error: str, folder: Path) -> dict[str, Any]:
        """Write a result that says why there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        result = {**self.request(), "error": error}
        RunFolder(folder).write(_RESULT, result)
        return result

    def receive(self, files: Mapping[str, bytes], folder: Path) -> dict[str, Any]:
        """Write the files that :meth:`run` left in a folder elsewhere, the result last.

        Args:
            files: their content by their path in that folder.
            folder: where to.

        """
        for name in sorted(files, key=lambda name: name == _RESULT):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as target:
                target.write(files[name])
        result: dict[str, Any] = RunFolder(folder).read(_RESULT)
        return result

    def finished(self, folder: Path) -> dict[str, Any] | None:
        """The result in ``folder``; None where no run has ended well there.

        Raises:
            InputError: the run that ended there had other settings, or its files are damaged.
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
        outcome: dict[str, Any] = run.read(_RESULT, _Outcome)
        for kind in ("best_valid_result", "test_result"):
            if outcome["metric"] not in outcome[kind]:
                raise InputError(
                    f"{folder / _RESULT}: expected {outcome['metric']} in {kind}, got "
                    f"{', '.join(outcome[kind])}; remove that folder, so that it is run again"
                )
        return {**outcome, **self.request()}

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


def _start(
    folder: Path, threads: int | None, stopped: threading.Event, seconds: float
) -> int | None:
    """Run this module on ``folder``; the exit code, negative for a signal; None: out of time."""
    command = [sys.executable, "-c", _CHILD, str(folder), *map(str, sys.path)]
    environment = dict(os.environ)
    if threads:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    with (
        open(folder / _OUTPUT, "wb") as output,
        subprocess.Popen(  # noqa: S603 - this interpreter, this module
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment
        ) as process,
    ):
        end = monotonic() + seconds
        while not stopped.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(GLANCE)
            if monotonic() > end:
                process.kill()
                return None
        raise KeyboardInterrupt  # stopped or interrupted, the block closes stdin: the run ends


def _remove_weights(folder: Path) -> None:
    """A study keeps numbers, and the weights of failed runs alone, whose messages name them."""
    for file in folder.glob("*.pth*"):  # also of one that was half written
        file.unlink()


def _end_with_the_study() -> None:
    os.read(0, 1)  # by descriptor: at exit Python may not wait for the lock of ``sys.stdin``
    os._exit(1)


def main(path: str) -> None:
    """Run the trial that ``request.json`` in a folder describes."""
    from recbole_sr.runs.identity import fingerprint

    sys.argv[1:] = []  # RecBole's Config reads it
    threading.Thread(target=_end_with_the_study, daemon=True).start()
    start = perf_counter()
    folder = Path(path)
    run = RunFolder(folder)
    trial = Trial(**run.read(_REQUEST))
    # What is removed at the end need not be saved to be continued.
    config = trial.config(checkpoint_dir=path, show_progress=False, sr_save_step=0)
    experiment = _experiment(trial, config)
    start_up = perf_counter() - start
    loaders = (experiment.train_data, experiment.valid_data, experiment.test_data)
    for loader in loaders[1:]:
        _same_candidates(loader, trial.seed)
    split = [fingerprint(loader._dataset) for loader in loaders]
    outcome = experiment.train(saved=True, verbose=False, folder=str(folder))
    method = outcome.pop("sr", {"switch_epoch": None})
    _remove_weights(folder)
    records = run.epochs()
    result = {
        **trial.request(),
        "error": _error(outcome["best_valid_result"], outcome["test_result"]),
        **outcome,
        "metric": config["valid_metric"].lower(),
        "epochs": len(records),
        "stopping_step": config["stopping_step"],
        "switch_epoch": method["switch_epoch"],
        # Scored without a word only where it may be the best one.
        "untrained": method.get("initial_valid_score"),
        "seconds": _seconds(records, start_up, perf_counter() - start),
        "peak_memory": _peak_memory(),
        "split": split,
        "sizes": [len(loader._dataset) for loader in loaders],
        "users": loaders[0]._dataset.user_num - 1,  # without RecBole's padding
        "items": loaders[0]._dataset.item_num - 1,
    }
    run.write(_RESULT, result)


def _error(*results: Mapping[str, float] | None) -> str | None:
    if not all(results):
        return _NOT_JUDGED
    scores = chain.from_iterable(result.values() for result in results if result)
    return None if all(map(math.isfinite, scores)) else _NOT_FINITE


def _same_candidates(loader: Any, seed: int) -> None:
    """Let a loader that samples candidates draw the same ones at each evaluation.

    RecBole draws them from numpy's global generator, whose state depends on the epochs before, so
    that each variant of a seed would rank its items among others. Training draws on undisturbed.
    """
    from recbole.data.dataloader import NegSampleEvalDataLoader

    if not isinstance(loader, NegSampleEvalDataLoader):
        return
    import numpy as np

    class Seeded(type(loader)):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            state = np.random.get_state()
            np.random.seed(seed)
            try:
                yield from super().__iter__()
            finally:
                np.random.set_state(state)

    loader.__class__ = Seeded


def _experiment(trial: Trial, config: Any) -> Any:
    if trial.variant == STOCK:
        from recbole_sr.study.baseline import StockExperiment

        return StockExperiment(config)
    from recbole_sr.training.experiment import prepare

    return prepare(config)


def _peak_memory() -> int | None:
    """The most main memory that this process has held, in bytes; None where nobody says."""
    with suppress(OSError, StopIteration):
        # Not from getrusage: there a child begins with the peak of the process that started it.
        lines = Path("/proc/self/status").read_text("utf-8", errors="replace").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def _seconds(records: list[Epoch], start_up: float, total: float) -> dict[str, float]:
    """Where the time went; ``other`` is the rest: the final test, checkpoints, monitors."""
    known = {
        "start_up": start_up,
        "training": sum(record["train_seconds"] for record in records),
        "evaluation": sum(record["valid_seconds"] or 0 for record in records),
    }
    return {**known, "other": total - sum(known.values()), "total": total}
