from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from recbole_sr.errors import InputError
from recbole_sr.recbole_compat import versions

SCRIPT = Path(__file__).parents[2] / "run_recbole_sr.py"
WITHOUT_RECBOLE = """
import importlib.util, runpy, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *_: None if name == "recbole" else find(name, *_)
sys.argv = {argv}
{start}
"""
SENTENCE = "recbole_sr needs RecBole; run: pip install --no-deps recbole==1.2.1"


@pytest.mark.parametrize(
    ("package", "version"),
    [("pandas", "4.0.0"), ("numpy", "1.25.2"), ("scipy", "2.0.0"), ("recbole", "1.2.0")],
)
def test_a_package_out_of_range_is_refused(package, version, monkeypatch):
    found = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: version if name == package else found(name)
    )
    with pytest.raises(InputError, match=f"recbole_sr needs {package} .* but found {version}"):
        versions.refuse_unsupported_packages()


def test_the_installed_packages_are_in_range():
    versions.refuse_unsupported_packages()


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        (["/bin/recbole-sr"], "import recbole_sr.cli"),
        (["-m"], "sys.orig_argv = ['python', '-m', 'recbole_sr']; import recbole_sr"),
        ([str(SCRIPT)], f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"),
    ],
    ids=["recbole-sr", "-m", "script"],
)
def test_a_command_without_recbole_says_how_to_install_it(argv, start):
    code = WITHOUT_RECBOLE.format(argv=argv, start=start)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"recbole-sr: {SENTENCE}\n"


def test_an_import_without_recbole_says_how_to_install_it():
    code = WITHOUT_RECBOLE.format(argv=["mine.py"], start="import recbole_sr")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1] == f"recbole_sr.errors.InputError: {SENTENCE}"
