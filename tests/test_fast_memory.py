from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from recbole_sr.fast import memory

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="the C library is not glibc",
)

# Page faults of later steps, each of which allocates and frees 128 MB in blocks of 16.
STEPS = """
import resource, torch
from recbole_sr.fast.memory import keep_freed_memory

def step():
    return len([torch.ones(4_000_000) for _ in range(8)])

kept = keep_freed_memory()
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def steps(**environment):
    inherited = {key: value for key, value in os.environ.items() if key not in memory._USERS_OWN}
    output = subprocess.run(
        [sys.executable, "-c", STEPS],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = output.stdout.split()
    return kept == "True", int(faults)


def test_later_steps_get_no_fresh_pages():
    kept, faults = steps()
    assert kept
    assert faults < 100  # 93,750 pages are written


def test_a_users_own_setting_is_left_alone():
    kept, _ = steps(MALLOC_TRIM_THRESHOLD_="1000000")
    assert not kept


@pytest.mark.parametrize(
    ("most", "asked"),
    [
        (2**31, [(-3, 2**30), (-1, 2**31 - 1)]),
        (2**25, [(-3, 2**30), (-3, 2**25), (-1, 2**31 - 1)]),  # an older glibc
        (0, [(-3, 2**30), (-3, 2**25)]),  # then not the other alone, which would do harm
    ],
)
def test_the_size_of_mapped_blocks_comes_first(most, asked, monkeypatch):
    calls = []

    def mallopt(parameter, size):
        calls.append((parameter, size))
        return parameter != memory._M_MMAP_THRESHOLD or size <= most

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    for name in memory._USERS_OWN:
        monkeypatch.delenv(name, raising=False)
    assert memory.keep_freed_memory() is (most > 0)
    assert calls == asked


@pytest.mark.parametrize("fast", [True, False])
def test_only_the_fast_path_asks_for_it(fast, experiment, tiny, monkeypatch):
    asked = []
    monkeypatch.setattr("recbole_sr.quick_start.keep_freed_memory", lambda: asked.append(1))
    experiment("BPR", "tiny", **tiny, sr_fast=fast)
    assert bool(asked) is fast
