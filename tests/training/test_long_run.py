"""Two hundred epochs: the memory stays flat, and only what has a line for each epoch grows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

import psutil
import pytest

RUN = """
import torch
from recbole_sr.training.experiment import run_recbole_sr
torch.set_num_threads(1)
settings = {"epochs": 200, "stopping_step": 200, "show_progress": False, "state": "INFO"}
# A tenth of the interactions in half as many batches; the tables are as large as ever.
settings |= {"eval_args": {"split": {"RS": [1, 1, 8]}}, "train_batch_size": 512}
run_recbole_sr("BPR", "ml-100k", config_dict=settings)
"""
EPOCHS, WARM_UP, STRETCH = 200, 30, 50
# The log and TensorBoard's events are RecBole's; resuming needs the records of all epochs.
GROWING = ("metrics.jsonl", ".log", ".tfevents", ".run.pth")
BYTES_AN_EPOCH = 1000


def watch(process, folder):
    """After each epoch: epoch, bytes of memory, bytes of each file."""
    held = psutil.Process(process.pid)
    seen = []
    while process.poll() is None:
        epoch = sum(len(file.read_bytes().splitlines()) for file in folder.rglob("metrics.jsonl"))
        if epoch and (not seen or epoch > seen[-1][0]):
            seen.append((epoch, held.memory_info().rss, sizes(folder)))
        time.sleep(0.02)
    return seen


def sizes(folder):
    """Bytes by path; drafts of files that are just being written are left out."""
    return {
        os.path.relpath(file, folder): os.path.getsize(file)
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".tmp"
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_200_epochs_of_bpr_hold_no_more_memory_and_grow_by_lines(tmp_path):
    """One run for all of it: the slow tests' workers would each make their own."""
    command = [sys.executable, "-W", "ignore", "-c", RUN]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    seen = [sample for sample in watch(process, tmp_path) if WARM_UP <= sample[0] < EPOCHS]
    assert process.returncode == 0
    assert len(seen) > 0.9 * (EPOCHS - WARM_UP)
    assert_memory_stays_flat([held for _, held, _ in seen])
    assert_only_files_with_a_line_for_each_epoch_grow(seen)


def assert_memory_stays_flat(memory):
    """Typically, and at most: saving a checkpoint takes some for a moment."""
    for of in (median, max):
        assert of(memory[-STRETCH:]) == pytest.approx(of(memory[:STRETCH]), rel=0.02), of.__name__


def assert_only_files_with_a_line_for_each_epoch_grow(seen):
    (first, _, before), (last, _, after) = seen[0], seen[-1]
    grown = {file for file, size in after.items() if size != before.get(file)}
    assert all(any(kind in file for kind in GROWING) for file in grown), grown
    assert all(after[file] - before[file] < BYTES_AN_EPOCH * (last - first) for file in grown)
