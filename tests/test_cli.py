from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from recbole_sr.cli import main
from recbole_sr.options import Options


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "recbole_sr", *arguments], capture_output=True, text=True
    )


def test_a_typo_fails_at_once_and_names_the_key():
    start = time.perf_counter()
    ended = run("--sr_warm_epoch=1")
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1] == (
        "recbole-sr: error: unknown key 'sr_warm_epoch'; did you mean 'sr_warm_epochs'?"
    )
    assert "Traceback" not in ended.stderr
    assert time.perf_counter() - start < 60  # a hang, not a speed


def test_runs_as_recboles_users_know_it(tiny, tmp_path):
    (tmp_path / "a.yaml").write_text(f"data_path: {tiny['data_path']}\nembedding_size: 8\n")
    (tmp_path / "b.yaml").write_text("load_col: {inter: [user_id, item_id]}\nepochs: 9\n")
    ended = run(
        "-m", "LightGCN", "-d", "tiny", "--config_files", "a.yaml b.yaml",
        "--epochs=3", "--sr_warm_epochs=1",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    for text in ("switch epoch", "at start", "at switch", "at end", "test result"):
        assert text in ended.stderr
    assert "epoch 2 training" in ended.stderr
    assert "epoch 3 training" not in ended.stderr
    assert "will not be used" not in ended.stderr


def test_help_documents_every_key(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for key in [*Options.model_fields, "--model", "--dataset", "--config_files"]:
        assert key in shown


def test_version_is_that_of_the_installed_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"recbole-sr {version('recbole_sr')}\n"


@pytest.mark.parametrize("stray", ["--epochs", "3", "epochs=3"])
def test_a_stray_argument_is_refused(stray, capsys):
    with pytest.raises(SystemExit) as ended:
        main([stray])
    assert ended.value.code == 2
    assert "expected --key=value" in capsys.readouterr().err


def test_a_run_is_resumed(tiny, tmp_path):
    settings = [f"--{key}={value}" for key, value in tiny.items()]
    assert main(["-d", "tiny", *settings, "--epochs=2", "--sr_warm_epochs=1"]) == 0
    (file,) = (tmp_path / "saved").glob("*.run.pth")
    assert main(["resume", str(file)]) == 0


def test_resuming_nothing_is_refused(capsys):
    assert main(["resume", "none.run.pth"]) == 2
    assert "none.run.pth: expected a checkpoint of recbole_sr" in capsys.readouterr().err
