"""What torchrun starts: the command line, and what happens where a process is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from unittest.mock import MagicMock

import psutil
import pytest
import torch
from resuming import assert_equal, final, left_behind, lines, run_file
from several import free_port
from tiny_data import write_tiny
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from recbole_sr.distributed import torchrun as launcher
from recbole_sr.distributed.launch import torchrun
from recbole_sr.runs import checkpoint

pytestmark = pytest.mark.timeout(900)  # several processes that each import torch, several times

PROGRAM = ["-m", "recbole_sr"]
LONG = {"epochs": 8, "stopping_step": 99, "train_batch_size": 16}


def start(folder, arguments, *options, size=2):
    """Begin in a folder; what is said goes to ``said``."""
    command = [sys.executable, *PROGRAM]
    if size:
        launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={size}"]
        command = [*launcher, *(options or ["--standalone"]), *PROGRAM]
    folder.mkdir(exist_ok=True)
    with open(folder / "said", "a") as said:
        return subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            stdout=said,
            stderr=said,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )


def end_well(started, folder):
    assert started.wait(300) == 0, said(folder)


def said(folder):
    return (folder / "said").read_text()


def result(folder):
    (file,) = folder.glob("saved/*/result.json")
    return json.loads(file.read_text())


def sentences(folder):
    return re.findall("^recbole-sr: (.*)$", said(folder), re.MULTILINE)


@pytest.fixture
def tiny_arguments(tmp_path):
    """A command line that trains on the small data set."""

    def make(model="BPR", **more):
        settings = {**write_tiny(tmp_path / f"data-{model}"), **more}
        settings.pop("state")
        return ["-m", model, "-d", "tiny", *(f"--{key}={x}" for key, x in settings.items())]

    return make


def wait_for_epochs(folder, number):
    """Until so many epochs have ended; the processes by their rank."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        files = list(folder.glob("saved/*/metrics.jsonl"))
        if files and len(files[0].read_text().splitlines()) >= number:
            return
        time.sleep(0.02)
    raise AssertionError(said(folder))


def ranks(started):
    found = {}
    for process in psutil.Process(started.pid).children(recursive=True):
        if "RANK" in (environment := process.environ()):
            found[int(environment["RANK"])] = process
    return found


@pytest.mark.slow
def test_the_command_ends_with_the_metrics_of_one_process(tmp_path):
    arguments = ["-m", "LightGCN", "-d", "ml-100k", "--epochs=2", "--log_wandb=False"]
    for folder, size in (("one", None), ("two", 2)):
        end_well(start(tmp_path / folder, arguments, size=size), tmp_path / folder)
    assert result(tmp_path / "two") == result(tmp_path / "one")
    for place in ("log/LightGCN", "log_tensorboard", "saved"):
        one, two = (sorted(tmp_path.joinpath(name, place).iterdir()) for name in ("one", "two"))
        assert len(two) == len(one), place
    assert said(tmp_path / "two").count("test result") == 1


@pytest.mark.slow
def test_two_agents_are_one_run(tmp_path, tiny_arguments):
    port = free_port()
    arguments = tiny_arguments(epochs=2)
    end_well(start(tmp_path / "one", arguments, size=None), tmp_path / "one")
    where = ("--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={port}")
    agents = [
        start(tmp_path / "two", arguments, *where, f"--node-rank={node}", size=1)
        for node in range(2)
    ]
    for agent in agents:
        end_well(agent, tmp_path / "two")
    assert result(tmp_path / "two") == result(tmp_path / "one")


@pytest.mark.slow
def test_recboles_keys_start_the_same(tmp_path, tiny_arguments):
    arguments = tiny_arguments(epochs=2)
    for folder, more in (("one", []), ("two", ["--nproc=2"])):
        end_well(start(tmp_path / folder, [*arguments, *more], size=None), tmp_path / folder)
    assert result(tmp_path / "two") == result(tmp_path / "one")
    settings = left_behind(tmp_path / "two").read("environment.json")
    assert settings["launch"]  # it was torchrun's


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["data", "columns"])
def test_a_killed_process_ends_the_others_and_the_run_goes_on(parallel, tmp_path, tiny_arguments):
    arguments = tiny_arguments(**LONG, sr_parallel=parallel)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    end_well(start(whole, arguments), whole)
    started = start(killed, arguments)
    wait_for_epochs(killed, 3)
    processes = ranks(started)
    processes[1].kill()
    processes[0].wait(60)  # far below sr_timeout
    assert started.wait(60) == 1
    (sentence,) = sentences(killed)
    assert re.search("another process has ended.*go on by: recbole-sr resume saved", sentence)
    for size in (3 if parallel == "data" else 4, None):  # on copies
        other = tmp_path / f"on {size}"
        shutil.copytree(killed, other)
        end_well(start(other, ["resume", str(run_file(other))], size=size), other)
        assert len(lines(other)) == LONG["epochs"]
        ours, theirs = (checkpoint.read(run_file(x))["state_dict"] for x in (other, whole))
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4)
    end_well(start(killed, ["resume", str(run_file(killed))]), killed)
    assert_equal(final(killed), final(whole))
    assert lines(killed) == lines(whole)
    assert left_behind(killed).read("result.json") == left_behind(whole).read("result.json")


@pytest.mark.slow
def test_a_process_that_is_silent_ends_the_others(tmp_path, tiny_arguments):
    started = start(tmp_path / "run", tiny_arguments(**LONG, sr_timeout=3))
    wait_for_epochs(tmp_path / "run", 2)
    processes = ranks(started)
    processes[1].suspend()
    begin = time.monotonic()
    processes[0].wait(60)
    assert time.monotonic() - begin > 2
    processes[1].kill()
    assert started.wait(60) == 1
    (sentence,) = sentences(tmp_path / "run")
    assert "another process has not answered within sr_timeout" in sentence


@pytest.mark.slow
def test_torchrun_starts_the_run_again_to_the_same_bits(tmp_path, tiny_arguments):
    arguments = tiny_arguments(**LONG)
    whole, again = tmp_path / "whole", tmp_path / "again"
    end_well(start(whole, arguments), whole)
    started = start(again, arguments, "--standalone", "--max-restarts=1")
    wait_for_epochs(again, 3)
    os.kill(ranks(started)[0].pid, signal.SIGKILL)
    end_well(started, again)
    assert "goes on with epoch" in said(again)
    assert_equal(final(again), final(whole))
    assert lines(again) == lines(whole)


TWO = """
import json
import sys
from recbole_sr import run_recbole_sr

if __name__ == "__main__":
    for model in ("BPR", "LightGCN"):
        with open("settings.json") as file:
            run_recbole_sr(model, "tiny", config_dict=json.load(file))
"""


@pytest.mark.slow
def test_each_run_of_a_program_is_started_again_as_itself(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(TWO)
    monkeypatch.setattr(sys.modules[__name__], "PROGRAM", [str(program)])
    settings = {**write_tiny(tmp_path / "data"), **LONG}
    results = {}
    for name in ("whole", "again"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps(settings))
        started = start(folder, [], "--standalone", "--max-restarts=1")
        if name == "again":
            ends = time.monotonic() + 120
            while time.monotonic() < ends:
                files = list(folder.glob("saved/LightGCN*/metrics.jsonl"))
                if files and len(files[0].read_text().splitlines()) >= 3:
                    break
                time.sleep(0.02)
            os.kill(ranks(started)[0].pid, signal.SIGKILL)
        end_well(started, folder)
        files = sorted(folder.glob("saved/*/result.json"))
        assert [file.parent.name.split("-")[0] for file in files] == ["BPR", "LightGCN"]
        results[name] = [json.loads(file.read_text()) for file in files]
    assert results["again"] == results["whole"]
    assert len(list((tmp_path / "again" / "saved").glob("*.run.pth"))) == 2  # none began anew


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("BPR", {"learning_rate": "1e38", "epochs": 3}, "expected (a finite|finite)"),
        ("SGL", {}, "torchrun: expected one process for SGL"),
        ("KGAT", {}, "trainer of its own, KGATTrainer"),
        ("BPR", {"enable_scaler": True}, "enable_scaler: expected False with several"),
    ],
)
def test_one_sentence_ends_all(model, more, words, tmp_path, tiny_arguments):
    folder = tmp_path / "run"
    started = start(folder, [*tiny_arguments(model, **more), "--nproc=2"], size=0)
    assert started.wait(120) == 2
    (sentence,) = sentences(folder)
    assert re.search(words, sentence)
    assert "Traceback" not in said(folder)


@pytest.mark.slow
def test_a_sentence_ends_a_process_before_what_the_interpreter_does_last(
    tmp_path, tiny_arguments, monkeypatch
):
    program = tmp_path / "program.py"
    program.write_text(
        "import atexit, os, sys\n"
        "from recbole_sr.cli import main\n"
        "atexit.register(os.abort)  # as threads of gloo may\n"
        "sys.exit(main())\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PROGRAM", [str(program)])
    started = start(tmp_path / "run", tiny_arguments("SGL"))
    assert started.wait(120) == 1  # torchrun's own
    assert "exitcode  : 2 " in said(tmp_path / "run")
    assert "SIGABRT" not in said(tmp_path / "run")


@pytest.mark.slow
def test_torchrun_itself_is_told_another_number(tmp_path, tiny_arguments):
    (tmp_path / "three.yaml").write_text("nproc: 3\n")
    started = start(tmp_path, tiny_arguments(config_files="three.yaml"))
    assert started.wait(120) == 1  # torchrun's own
    (sentence,) = sentences(tmp_path)
    assert "nproc: expected 2, got 3" in sentence


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path, tiny_arguments):
    started = start(tmp_path, [*tiny_arguments(**LONG), "--nproc=2"], size=0)
    wait_for_epochs(tmp_path, 2)
    started.send_signal(signal.SIGINT)
    assert started.wait(60) == 130
    (sentence,) = sentences(tmp_path)
    assert re.search("interrupted; go on by: recbole-sr resume saved/BPR.*run.pth", sentence)
    assert "Traceback" not in said(tmp_path)


def failed(exit_code):
    return ChildFailedError("run.py", {1: ProcessFailure(1, 99, exit_code, "no file")})


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (None, 0, ""),
        (failed(2), 2, ""),
        (failed(-signal.SIGKILL), 137, "recbole-sr: process 1 was ended by SIGKILL\n"),
        (SignalException("told to end", signal.SIGINT), 130, ""),
    ],
)
def test_the_launcher_ends_with_the_code_of_the_first_that_failed(
    raised, code, words, monkeypatch, capsys
):
    monkeypatch.setattr(launcher, "torchrun", MagicMock(side_effect=raised and [raised]))
    assert launcher.main(["run.py"]) == code
    assert capsys.readouterr().err == words


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        ({"nproc": 2}, ["--nproc-per-node=2", "--standalone"]),
        ({"nproc": 2, "world_size": 2}, ["--nproc-per-node=2", "--standalone"]),
        (
            {"nproc": 2, "world_size": 6, "group_offset": 4, "ip": "h", "port": 7},
            [
                *("--nproc-per-node=2", "--nnodes=3", "--node-rank=2"),
                *("--master-addr=h", "--master-port=7"),
            ],
        ),
    ],
)
def test_recboles_keys_as_torchruns_options(keys, options):
    assert torchrun(keys, ["run.py"])[3:] == [*options, "run.py"]


def test_machines_with_other_numbers_of_processes_are_refused():
    with pytest.raises(ValueError, match="multiples of nproc"):
        torchrun({"nproc": 2, "world_size": 3}, [])
