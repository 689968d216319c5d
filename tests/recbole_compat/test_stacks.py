"""Data, weights, losses and scores are the same on another stack of packages, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
OTHER = "SR_OTHER_PYTHON"  # an interpreter with the other packages, and the same torch


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(OTHER not in os.environ, reason=f"{OTHER} names no other Python")
def test_another_stack_gives_the_same_bits(tmp_path):
    found = []
    for python in (sys.executable, os.environ[OTHER]):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        command = [python, TESTS / "recbole_compat" / "stack.py"]
        path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        ended = subprocess.run(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE
        )
        found.append(json.loads(ended.stdout))
    here, there = found
    assert len(here) >= 90
    assert not [name for name in here if "failed" in here[name]]
    assert here == there
