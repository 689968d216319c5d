"""Trials as tasks of a Ray cluster: what each leaves comes back to the study's folder."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recbole_sr.errors import InputError, first_line
from recbole_sr.study.trial import GLANCE, Trial

__all__ = ["Cluster", "joined"]

_RETRIES = 3  # of a task whose worker is lost
_ANSWER = 5  # seconds in which a cluster's head answers, where Ray itself would try for minutes


class Cluster:
    """A Ray cluster that this process has joined.

    A trial takes one processor core. Every machine has this package, and its data under the same
    path.

    Attributes:
        size: processor cores, so many trials run at a time.

    """

    def __init__(self, ray: Any):
        self._ray = ray
        self._task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run)
        self.size = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(self, trial: Trial, folder: Path, stopped: threading.Event) -> dict[str, Any]:
        """Run a trial somewhere, and write here what it left, its result last.

        Args:
            trial: what to run.
            folder: where to, on this machine.
            stopped: once set, the task is cancelled and ``KeyboardInterrupt`` raised.

        Returns:
            As :meth:`Trial.run`; a trial whose worker is lost again and again has failed.

        """
        task = self._task.remote(trial, os.getcwd())
        while not self._ray.wait([task], timeout=GLANCE)[0]:
            if stopped.is_set():
                self._ray.cancel(task, force=True)
                raise KeyboardInterrupt
        try:
            return trial.receive(self._ray.get(task), folder)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error  # what a task has raised is a traceback
            return trial.fail(f"Ray: {first_line(cause)}", folder)


@contextmanager
def joined(address: str) -> Iterator[Cluster]:
    """Join a cluster for as long as the block lasts.

    Args:
        address: of its head, as Ray writes it; ``auto`` finds one on this machine, ``local`` starts
            one of this machine's cores.

    Raises:
        InputError: Ray is not installed, or there is no cluster.

    """
    try:
        import ray
    except ImportError:
        raise InputError(
            "--ray: expected the package ray, got none; pip install 'recbole_sr[ray]'"
        ) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a study reports to nobody
    try:
        _check_answers(address)
        ray.init(address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"--ray: expected the address of a Ray cluster, got {address!r} ({first_line(error)}); "
            "start one by `ray start --head`, or give --ray local"
        ) from None
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse a ``host:port`` where nothing answers; leave other addresses to Ray.

    Raises:
        ConnectionError, UnicodeError: nothing answers, or that is no name of a machine.

    """
    host, _, port = address.rpartition(":")
    if port.isdigit() and "://" not in address:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(str(error)) from None


def _run(trial: Trial, working_folder: str) -> dict[str, bytes]:
    """On a worker: the files that the trial leaves, by their names."""
    if Path(working_folder).is_dir():  # paths of settings may be relative
        os.chdir(working_folder)
    with TemporaryDirectory() as folder:
        trial.run(Path(folder))
        files = (file for file in Path(folder).rglob("*") if file.is_file())
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
