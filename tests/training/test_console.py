"""What a run says on the screen, and what only in the file of its log."""

from __future__ import annotations

import io
import json
import logging
import shlex
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch
from contract import settings_of
from recbole.utils import set_color
from resuming import without_seconds

from recbole_sr import run_recbole_sr
from recbole_sr.cli import COMMANDS, main
from recbole_sr.config.config import Config
from recbole_sr.training import console
from recbole_sr.training.console import screen, shows_bars
from recbole_sr.training.experiment import prepare

# How the log of RecBole shows settings, a model, an epoch.
FOR_THE_FILE = (
    *("sr_init_power = 1.0", "(user_embedding): Embedding(", "epoch 1 training [time"),
    "Running environment: all processors ",
)


@pytest.fixture
def alone(monkeypatch):
    """A process whose logging nobody has set up, as a user's; pytest listens to the root."""
    root, level = logging.getLogger(), logging.getLogger().level
    yield lambda: monkeypatch.setattr(root, "handlers", [])  # once the test itself runs
    root.setLevel(level)


@pytest.fixture
def train(alone, tiny, capsys, one_thread):  # a busy machine is warned of, were there more
    """Runs the command on the small data set; its output and the text of the log's file."""

    def run(*flags, model="BPR", **settings):
        keys = {**tiny, "state": "INFO", "epochs": 2, **settings}
        del keys["show_progress"]
        Path("keys.yaml").write_text(json.dumps(keys))
        alone()
        arguments = ["-m", model, "-d", "tiny", "--config_files", "keys.yaml", *flags]
        assert main(arguments) == 0
        out, err = capsys.readouterr()
        (log,) = Path("log", model).iterdir()
        return out, err, log.read_text()

    return run


def test_the_screen_gets_what_matters_and_the_file_everything(train):
    out, err, log = train()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "BPR on tiny; initialisation: spectral"
    assert "tiny: 40 users, 60 items, 480 interactions; for training" in err
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line[:8] for line in epochs] == ["epoch 0,", "epoch 1,"]
    for what in ("main phase: train loss ", "valid mrr@10 0.", " s; stable rank: user "):
        assert all(what in line for line in epochs)
    assert not any(text in err for text in (*FOR_THE_FILE, "Train     0", "warning"))
    assert len(lines) < 30
    assert err.isascii()
    assert all(text in log for text in (*FOR_THE_FILE, *lines))


def test_nothing_waits(train, monkeypatch):
    """RecBole measures the processor's load at the end of a run, for a second."""
    monkeypatch.setattr(time, "sleep", MagicMock(side_effect=AssertionError))
    train()


def test_ranks_are_shown_where_something_is_made_of_them(train):
    """A model that trains as in RecBole has them at the start and the end alone."""
    _, err, _ = train(config_files=["off.yaml"])
    lines = [line for line in err.splitlines() if "stable rank: " in line]
    assert [line.split(":")[0] for line in lines] == ["at start", "at end"]
    folder = dict(line.split(": ", 1) for line in err.splitlines() if ": " in line)["run folder"]
    epochs = Path(folder, "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(epoch)["stable_rank"]["item"] >= 1 for epoch in epochs)


def test_a_split_without_a_test_part_has_no_test_result(train):
    _, err, _ = train(eval_args={"split": {"LS": "valid_only"}, "order": "RO"})
    (line,) = [line for line in err.splitlines() if "test result" in line]
    assert line.endswith(": none")


def test_it_ends_with_files_that_are_there_and_commands_that_run(train, tmp_path, capsys):
    _, err, _ = train()
    end = dict(line.split(": ", 1) for line in err.splitlines() if ": " in line)
    assert end["test result"].startswith("recall@10 ")
    assert "of 2, valid mrr@10 0." in end["best epoch"]
    assert end["untrained initialisation"].startswith("valid mrr@10 0.")
    assert float(end["seconds"]) < 300
    assert Path(end["checkpoint"]).is_file()
    assert Path(end["run folder"], "settings.json").is_file()
    assert Path(end["log"]).is_file()
    commands = err[err.index("next:\n") :].splitlines()[1:]
    assert [shlex.split(command)[1] for command in commands] == [
        "report",
        "recommend",
        "embeddings",
    ]
    for command in commands:
        _, name, *arguments = shlex.split(command)
        if name in COMMANDS:
            assert main([name, *arguments]) == 0
    assert (tmp_path / "report.html").is_file()


def test_quiet_is_warnings_and_the_test_result(train):
    out, err, log = train("--quiet", sr_warm_epochs=9)
    assert out.startswith("test result: recall@10 ")
    assert out.count("\n") == 1
    (warning,) = err.splitlines()
    assert warning.startswith("warning: The run ended in the warm phase")
    assert "epoch 1, warm phase" in log


def test_verbose_is_all_that_the_file_has(train):
    out, err, log = train("--verbose")
    assert out == ""
    assert all(text in err for text in FOR_THE_FILE)
    assert "INFO  test result: recall@10" in err
    assert len(err.splitlines()) == len(log.splitlines())


def test_quiet_and_verbose_exclude_one_another(capsys):
    with pytest.raises(SystemExit):
        main(["--quiet", "--verbose"])
    assert "not allowed with argument --quiet" in capsys.readouterr().err


def test_state_is_the_level_of_screen_and_file(train):
    _, err, log = train(state="WARNING", sr_warm_epochs=9)
    assert [line.split(":")[0] for line in err.splitlines()] == ["warning"]
    assert [line.split()[5] for line in log.splitlines()] == ["WARNING"]


def test_a_warning_about_how_a_model_works_goes_to_the_file(train):
    _, err, log = train(model="DMF")
    assert "Max value of item's history interaction records" in log
    assert "Max value" not in err


def test_a_program_that_has_set_up_logging_keeps_it(alone, tiny, capsys):
    alone()
    own = logging.StreamHandler(sys.stdout)
    logging.basicConfig(level=logging.ERROR, handlers=[own])
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "state": "INFO", "epochs": 1})
    assert logging.getLogger().handlers == [own]
    assert capsys.readouterr() == ("", "")


def test_a_resumed_run_says_so(train, capsys):
    train()
    (run,) = Path("saved").glob("*.run.pth")
    assert main(["resume", "--quiet", str(run)]) == 0
    assert capsys.readouterr().out.startswith("test result: ")
    assert main(["resume", str(run)]) == 0
    assert ": tested again\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "terminal", "amount", "expected"),
    [
        ({}, False, "normal", False),
        ({}, True, "normal", True),
        ({}, True, "quiet", False),
        ({"show_progress": True}, False, "normal", True),
        ({"show_progress": False}, True, "normal", False),
    ],
)
def test_bars_are_for_terminals(settings, terminal, amount, expected, monkeypatch):
    config = Config("BPR", "ml-100k", config_dict=settings)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with screen(amount):
        assert shows_bars(config) is expected


def test_bars_are_for_notebooks(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert shows_bars(Config("BPR", "ml-100k"))


def test_the_result_names_the_checkpoint_and_the_folder(tiny):
    settings = {**tiny, "epochs": 2}
    method = run_recbole_sr("BPR", "tiny", config_dict=settings)["sr"]
    saved = torch.load(method["checkpoint"], weights_only=True)
    assert saved["epoch"] == method["best_epoch"]
    found = json.loads(Path(method["run_folder"], "result.json").read_text())
    assert found["initial_valid_score"] == method["initial_valid_score"]
    method = run_recbole_sr("BPR", "tiny", config_dict=settings, saved=False)["sr"]
    assert method["checkpoint"] is None
    assert method["run_folder"] is None


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "NeuMF", "CKE"])
def test_scoring_the_initialisation_changes_no_number(model, tiny):
    settings = {**settings_of(model, tiny), "epochs": 2, "eval_args": {"mode": {"valid": "uni5"}}}
    scored, plain = (
        prepare(Config(model, "tiny", config_dict=settings)).train(saved=False, verbose=verbose)
        for verbose in (True, False)
    )
    assert scored["sr"].pop("initial_valid_score") is not None
    assert plain["sr"].pop("initial_valid_score") is None
    assert without_seconds(scored) == without_seconds(plain)


def test_a_program_without_a_console_trains(tiny, monkeypatch, alone):
    alone()
    monkeypatch.setattr(sys, "stderr", None)
    assert run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1})["test_result"]


@pytest.mark.parametrize("terminal", [True, False])
def test_colours_are_for_a_terminal(terminal, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    text = f"{set_color('checkpoint', 'yellow')}: a.pth"
    record = logging.LogRecord("recbole_sr", logging.WARNING, "", 0, text, None, None)
    said = console._Lines(stream).format(record)
    assert ("\x1b[" in said) == terminal
    assert terminal or said == "warning: checkpoint: a.pth"
