from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_alone_in_an_empty_folder_knows_its_properties(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", ".", str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    shipped = {
        path.relative_to(tmp_path / "installed" / "recbole_sr" / "properties")
        for path in tmp_path.glob("installed/recbole_sr/properties/**/*.yaml")
    }
    assert shipped == {
        p.relative_to(ROOT / "properties") for p in ROOT.glob("properties/**/*.yaml")
    }
    read = (
        "import sys; sys.path.insert(0, 'installed'); from recbole_sr.config.config import Config;"
        "print(*(Config(name, 'ml-100k')['sr_init'] for name in ('DGCF', 'BPR')))"
    )
    printed = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True)
    assert printed.stdout.split() == ["model", "spectral"], printed.stderr
