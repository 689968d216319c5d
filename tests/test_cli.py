"""The command line: a command's own options, properties, and what training prints."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from importlib.metadata import version
from itertools import chain

import pytest

from recbole_sr.cli import main
from recbole_sr.config.arguments import parse
from recbole_sr.config.names import refuse_unread
from recbole_sr.config.options import Options

SAMPLING = "{'distribution': 'uniform', 'sample_num': 4}"


@pytest.fixture
def parser():
    made = argparse.ArgumentParser()
    made.add_argument("--seeds", type=int)
    made.add_argument("--variants", nargs="+")
    made.add_argument("--baseline")
    made.add_argument("--config_files")
    return made


@pytest.mark.parametrize("place", range(4))
def test_a_property_with_spaces_is_one_wherever_it_stands(place, parser):
    options = [["--seeds", "2"], ["--variants", "a.yaml", "b.yaml"], ["--baseline", "c.yaml"]]
    options.insert(place, [f"--train_neg_sample_args={SAMPLING}"])
    given, properties = parse(parser, list(chain(*options)))
    assert properties == {"train_neg_sample_args": SAMPLING}
    assert (given.seeds, given.variants, given.baseline) == (2, ["a.yaml", "b.yaml"], "c.yaml")


def test_an_option_may_be_joined_to_its_value(parser):
    given, properties = parse(parser, ["--config_files=a.yaml b.yaml", "--epochs=3"])
    assert given.config_files == "a.yaml b.yaml"
    assert properties == {"epochs": "3"}


@pytest.mark.parametrize("stray", ["--epochs", "epochs=3"])
def test_what_is_neither_is_refused(stray, parser, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(parser, ["--seeds", "2", stray])
    assert ended.value.code == 2
    assert f"expected --key=value for every property, got '{stray}'" in capsys.readouterr().err


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "recbole_sr", *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("typo", "sentence"),
    [
        ("sr_warm_epoch", "unknown key 'sr_warm_epoch'; did you mean 'sr_warm_epochs'?"),
        (
            "learning_rat",
            "unknown key 'learning_rat': neither RecBole nor one of its models reads it; did you "
            "mean 'learning_rate'?",
        ),
    ],
)
def test_a_typo_fails_at_once_and_names_the_key(typo, sentence):
    start = time.perf_counter()
    ended = run(f"--{typo}=1")
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1] == f"recbole-sr: error: {sentence}"
    assert "Traceback" not in ended.stderr
    assert time.perf_counter() - start < 60  # a hang, not a speed


def test_a_typo_in_a_property_file_fails_before_torch_is_imported(tmp_path):
    (tmp_path / "mine.yaml").write_text("learning_rat: 1e-3\n")
    code = (
        "import sys; from recbole_sr.cli import main; "
        "main(['--config_files', 'mine.yaml']); print('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "unknown key 'learning_rat'" in ended.stderr
    assert ended.stdout == "False\n"


@pytest.mark.parametrize("key", ["ip", "port", "group_offset", "neg_sampling", "time-aware"])
def test_a_key_that_some_part_of_recbole_reads_is_left_to_the_settings(key):
    refuse_unread([key])


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
    assert "epoch 2, main phase" in ended.stderr
    assert "epoch 3" not in ended.stderr
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


@pytest.mark.parametrize(
    ("stray", "says"),
    [
        (["--epochs"], "got '--epochs'; write --epochs=VALUE"),
        (["--epochs", "--topk", "[5]"], "got '--epochs --topk [5]'; write --epochs=VALUE"),
        (["--verbos"], "got '--verbos'; did you mean --verbose?"),
        (["-m", "BPR", "compare"], "got 'compare'; put the command compare first"),
        (
            ["--config_files", "a.yaml", "b.yaml"],
            "got 'b.yaml'; put several files in quotes, as in --config_files \"a.yaml b.yaml\"",
        ),
        (["--epochs", "3"], "got '--epochs 3'; write --epochs=3"),
        (["epochs=3"], "got 'epochs=3'"),
        (["resum", "file"], "got 'resum file'; did you mean the command resume?"),
    ],
)
def test_a_stray_argument_is_refused(stray, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(stray)
    assert ended.value.code == 2
    assert f"expected --key=value for every property, {says}\n" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "needed"), [("minutes", "quick"), ("trials", "tune")])
def test_an_option_of_another_is_refused_without_it(option, needed, capsys):
    assert main(["compare", f"--{option}", "3"]) == 2
    assert f"--{option}: expected --{needed} beside it, without" in capsys.readouterr().err


def test_a_run_is_resumed(tiny, tmp_path):
    settings = [f"--{key}={value}" for key, value in tiny.items()]
    assert main(["-d", "tiny", *settings, "--epochs=2", "--sr_warm_epochs=1"]) == 0
    (file,) = (tmp_path / "saved").glob("*.run.pth")
    assert main(["resume", str(file)]) == 0


def test_resuming_nothing_is_refused(capsys):
    assert main(["resume", "none.run.pth"]) == 2
    assert "none.run.pth: expected a checkpoint of recbole_sr" in capsys.readouterr().err
