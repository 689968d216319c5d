"""The oldest versions that setup.cfg allows."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLDEST = ROOT / "constraints-oldest.txt"
# Each meets another package: torch, numpy and scipy, pandas, pydantic, tabulate, faiss, matplotlib.
PARTS = (
    "init/test_initialization.py",
    "config/test_options.py",
    "objectives/test_regularizers.py",
    "study/test_report.py::test_any_names_are_drawn_as_they_are",
    "study/test_report.py::test_ticks_are_plain_numbers_and_a_star_stands_for_a_switch_alone",
    "training/test_resume.py::test_an_interrupted_run_continues_to_the_same_bits",
    "runs/test_run_folder.py",
    "objectives/test_stable_rank.py",
    "config/test_catalogue.py",
)


def oldest(requirements, bound):
    """Version by package, of lines such as ``torch >= 2.6, < 3``."""
    found = (re.match(rf"([\w-]+) ?{bound} ?([\w.]+)", line) for line in requirements.splitlines())
    return {match[1].lower(): match[2] for match in found if match}


def test_the_constraints_are_the_lower_bounds():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    needed = setup["options"]["install_requires"] + extras["recbole"] + extras["test"]
    bounds, pinned = oldest(needed, "[>=]="), oldest(OLDEST.read_text("utf-8"), "==")
    assert pinned.keys() == bounds.keys()
    assert all(f"{pinned[name]}.0".startswith(f"{bounds[name]}.") for name in bounds)


@pytest.fixture
def python(tmp_path):
    """The interpreter of a virtual environment with the oldest versions."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "oldest"], check=True)
    python = tmp_path / "oldest" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", OLDEST]
    if subprocess.run([*install, "texttable"], capture_output=True).returncode:
        pytest.skip("pip reaches no index to install the oldest versions from")
    subprocess.run([*install, f"{ROOT}[test]"], check=True)
    subprocess.run([*install, "--no-deps", "recbole"], check=True)
    return python


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_parts_that_meet_other_packages_pass_with_the_oldest_versions(python):
    tests = [ROOT / "tests" / part for part in PARTS]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:]
