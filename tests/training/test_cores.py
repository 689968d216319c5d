"""Threads that wait for each other on a busy machine are named; an idle machine is left alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from recbole_sr.training import cores
from recbole_sr.training.cores import Cores


class Machine:
    """Four cores, of which this process and others take some; time passes when it is told to."""

    def __init__(self, own, others):
        self.own, self.others, self.seconds = own, others, 0.0

    def perf_counter(self):
        return self.seconds

    def cpu_count(self):
        return 4

    def cpu_times(self):
        return SimpleNamespace(idle=(4 - self.own - self.others) * self.seconds, iowait=0.0)

    def Process(self):  # noqa: N802 - psutil's name
        return SimpleNamespace(
            cpu_times=lambda: SimpleNamespace(user=self.own * self.seconds, system=0.0)
        )


@pytest.fixture
def machine(monkeypatch):
    def make(threads, own, others):
        made = Machine(own, others)
        monkeypatch.setattr(cores, "psutil", made)
        monkeypatch.setattr(cores, "perf_counter", made.perf_counter)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        return made

    return make


@pytest.mark.parametrize(
    ("threads", "own", "others", "advised"),
    [
        (4, 3.9, 0.1, None),
        (4, 1.0, 0.2, None),
        (2, 2.0, 2.0, None),
        (1, 0.2, 3.8, None),
        (4, 3.0, 1.0, 3),
        (4, 1.0, 3.0, 1),
        (4, 0.0, 4.0, 1),
        (2, 1.0, 3.0, 1),
    ],
)
def test_who_lacks_a_core_is_told_how_many_there_are(threads, own, others, advised, machine):
    clock = machine(threads, own, others)
    watched = Cores()
    clock.seconds = 0.5
    assert watched.advice() is None
    clock.seconds = 2.0
    advice = watched.advice()
    assert advised is None if advice is None else advice.endswith(f"OMP_NUM_THREADS={advised}")
    assert advice is None or advice.startswith(f"Other programs take {others} of 4 cores")
    clock.seconds = 4.0
    assert watched.advice() is None  # once is enough


def test_a_run_says_it(machine, experiment, tiny, caplog):
    clock = machine(4, 1.0, 3.0)
    made = experiment("BPR", "tiny", **{**tiny, "state": "WARNING"}, epochs=2)

    def passes(*_):
        clock.seconds += 2.0

    made.model.loss.register_forward_pre_hook(passes)
    made.train(saved=False, verbose=False)
    assert [r.message for r in caplog.records if "OMP_NUM_THREADS" in r.message] == [
        "Other programs take 3.0 of 4 cores, and torch's 4 threads wait for each other, which can "
        "cost more than the training: set OMP_NUM_THREADS=1"
    ]
