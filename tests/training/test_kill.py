"""``kill -9`` at random moments: what is resumed ends as the run that nobody killed.

Each test here is one kill. They are spread over the run, from its first saved state to its end.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from contract import settings_of
from resuming import CASES, KILLS, assert_equal, final, left_behind, lines, run_file
from tiny_data import write_tiny

from recbole_sr.runs import checkpoint
from recbole_sr.training.experiment import resume, run_recbole_sr

LONGER = {"epochs": 6, "sr_warm_epochs": 3, "stopping_step": 99, "train_batch_size": 32}
PRETRAINED = {"RaCT", "S3Rec"}

# A process that has imported everything, of which each run is a fork. An optimiser's first step
# imports torch._dynamo, which takes longer than a run.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["recbole_sr.training.experiment", "torch._dynamo"])


@dataclass
class Whole:
    """A run that nobody killed; ``seconds`` from its first saved state to its end."""

    folder: Path
    model: str
    settings: dict
    seconds: float


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """By model, a run that nobody kills."""
    return cache(lambda model: run_whole(model, tmp_path_factory.mktemp(model)))


def run_whole(model, folder):
    settings = {**settings_of(model, write_tiny(folder)), **LONGER, **CASES.get(model, {})}
    if model in PRETRAINED:
        settings["pretrain_epochs"] = LONGER["epochs"]
    process = start(folder, run_recbole_sr, model, "tiny", None, settings)
    begin = time.perf_counter()
    end_well(process, folder)
    return Whole(folder, model, settings, time.perf_counter() - begin)


def start(folder, function, *args):
    """Begin in a process of its own; back when the first state is saved."""
    process = PROCESSES.Process(target=in_folder, args=(folder, function, *args))
    process.start()
    while process.is_alive() and not list(folder.glob("saved/*.run.pth")):
        time.sleep(0.002)
    return process


def in_folder(folder, function, *args):
    os.chdir(folder)
    with open("stderr", "w") as file:
        os.dup2(file.fileno(), 2)
    sys.argv = ["run"]  # RecBole reads the arguments of pytest, too
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    function(*args)


def end_well(process, folder):
    process.join()
    assert process.exitcode == 0, (folder / "stderr").read_text()


def kill(whole, folder, seconds):
    """Whether ``kill -9``, so long after the first saved state, came before the end of the run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    process = start(folder, run_recbole_sr, whole.model, "tiny", None, whole.settings)
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def best(folder):
    """The checkpoint of the best model."""
    name = checkpoint.read(run_file(folder))["saved_model_file"]
    return checkpoint.read(folder / "saved" / name)["state_dict"]


def assert_whole_lines(folder, whole):
    """No epoch is doubled, and none is cut in the middle of its line."""
    file = left_behind(folder).path / "metrics.jsonl"
    assert not file.is_file() or file.read_text()[-1:] in ("", "\n")
    found = lines(folder)
    assert found == lines(whole.folder)[: len(found)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "number"), [(model, number) for model in KILLS for number in range(KILLS[model])]
)
def test_a_killed_run_continues_to_the_same_bits(model, number, whole, tmp_path):
    whole = whole(model)
    share = (number + np.random.default_rng(number).uniform()) / KILLS[model]
    seconds, folder = share * whole.seconds, tmp_path / "killed"
    while not kill(whole, folder, seconds):
        seconds *= 0.8  # this machine was faster this time
    assert_whole_lines(folder, whole)
    end_well(start(folder, resume, str(run_file(folder))), folder)
    assert_equal(final(folder), final(whole.folder))
    assert_equal(best(folder), best(whole.folder))
    assert lines(folder) == lines(whole.folder)
    assert [line["epoch"] for line in lines(folder)] == list(range(LONGER["epochs"]))
    for name in ("result.json", "spectra.json"):
        assert left_behind(folder).read(name) == left_behind(whole.folder).read(name)
    assert not list(folder.rglob("*.tmp"))
