"""What is around a run: files that are none, signals, pipes, disks, folders that are gone."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_sr.cli import main
from recbole_sr.errors import InputError, check_file, check_output
from recbole_sr.runs import checkpoint
from recbole_sr.study.trial import Trial


@pytest.fixture
def odd(tmp_path):
    """Paths of what is no regular file, by kind; reading two of them would never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "circle").symlink_to("circle")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket")
    yield {
        "pipe": "a pipe",
        "link": "a pipe",
        "folder": "a folder",
        "socket": "a socket",
        "/dev/zero": "a device",
        "circle": "Too many levels of symbolic links",
        "none": "No such file or directory",
        "pipe/file": "Not a directory",
        "long" * 75: "File name too long",
        "a\0b": "embedded null byte",
    }
    listening.close()


def test_only_a_regular_file_is_read(odd):
    for path, found in odd.items():
        with pytest.raises(InputError) as refusal:
            check_file(path)
        assert str(refusal.value) == f"{path}: expected a file, got {found}; check the path"


@pytest.mark.parametrize("path", ["", None, 3])
def test_what_is_no_path_is_not_read(path):
    with pytest.raises(InputError) as refusal:
        check_file(path)
    assert str(refusal.value) == f"expected the path of a file, got {path!r}; give one"


READERS = {
    "config files": ["--config_files"],
    "spectrum": ["spectrum"],
    "grid": ["compare", "--tune"],
    "export": ["export", "-o", "new.pth"],
    "resume": ["resume"],
}


@pytest.mark.parametrize("command", READERS.values(), ids=READERS.keys())
def test_a_command_reads_only_regular_files(command, odd, capsys):
    for path in filter(None, odd):
        assert main([*command, path]) == 2
        assert capsys.readouterr().err.startswith(f"recbole-sr: error: {path}: expected a")


@pytest.fixture
def train(tiny):
    """Arguments of a short run."""
    settings = {**tiny, "epochs": 4, "sr_init": "model", "sr_warm_epochs": 0}
    return ["-d", "tiny", *(f"--{key}={value}" for key, value in settings.items())]


def said(capsys):
    return capsys.readouterr().err.strip().splitlines()[-1]


def stopping(monkeypatch, place, error, calls=1):
    """Let the function at ``place`` raise at a call."""
    module, _, name = place.rpartition(".")
    holder = __import__(module, fromlist=[name]) if module != "os" else os
    function, count = getattr(holder, name), iter(range(1, 1000))

    def stopped(*args, **kwargs):
        if next(count) >= calls:
            raise error
        return function(*args, **kwargs)

    monkeypatch.setattr(holder, name, stopped)


def test_an_interrupt_says_how_to_go_on_and_that_goes_on(train, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stopping(patch, "recbole_sr.training.trainer.EpochRecord", KeyboardInterrupt(), calls=3)
        assert main(train) == 130
    sentence = said(capsys)
    (file,) = Path("saved").glob("*.run.pth")
    assert sentence == f"recbole-sr: interrupted; go on by: recbole-sr resume {file}"
    assert checkpoint.read_run(file).epoch == 2
    assert main(["resume", str(file)]) == 0


def test_an_interrupt_before_training_says_to_start_again(train, monkeypatch, capsys):
    stopping(monkeypatch, "recbole_sr.training.experiment.create_dataset", KeyboardInterrupt())
    assert main(train) == 130
    assert said(capsys) == "recbole-sr: interrupted; start it again"


def test_an_interrupted_study_says_how_to_go_on(train, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trial, "run", interrupted)
    shared = [text for text in train if not text.startswith("--sr_")]
    assert main(["compare", *shared, "--seeds", "1"]) == 130
    assert said(capsys) == "recbole-sr: interrupted; go on by the same command with --resume"


@pytest.mark.parametrize("folder", ["log", "log_tensorboard", "saved"])
def test_a_file_in_place_of_a_folder_is_named(folder, train, capsys):
    Path(folder).touch()
    assert main(train) == 2
    sentence = said(capsys)
    assert sentence.startswith("recbole-sr: error: ")
    assert folder in sentence


def test_a_disk_that_fills_while_training_leaves_the_saved_run(train, monkeypatch, capsys):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        stopping(patch, "os.fsync", full, calls=16)
        assert main(train) == 2
    sentence = said(capsys)
    (file,) = Path("saved").glob("*.run.pth")
    assert sentence == (
        "recbole-sr: error: No space left on device; free some space; "
        f"go on by: recbole-sr resume {file}"
    )
    assert not list(Path().rglob("*.tmp"))
    assert main(["resume", str(file)]) == 0


def test_a_limit_on_the_size_of_files_is_said(train, capsys):
    wide = [text.replace("embedding_size=8", "embedding_size=2000") for text in train]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        code = main(wide)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2
    assert "File too large; raise the limit on the size of files" in said(capsys)


def test_a_working_folder_that_is_gone_is_said(tmp_path, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert main(["models"]) == 2
    os.chdir(tmp_path)
    assert "the working folder: expected one that is there" in said(capsys)


def test_an_argument_that_is_no_utf8_is_refused(capsys):
    assert main(["-d", "\udcff"]) == 2
    assert "expected an argument in UTF-8" in said(capsys)


def test_a_byte_order_mark_is_no_part_of_a_property_file(capsys):
    Path("marked.yaml").write_text("epochs: 3\n", "utf-8-sig")
    assert main(["config", "--config_files", "marked.yaml"]) == 0
    assert "marked.yaml" in capsys.readouterr().out


def command(*arguments, **more):
    line = [sys.executable, "-m", "recbole_sr", *arguments]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def test_a_closed_pipe_ends_a_command_quietly():
    with command("models") as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_names_beyond_ascii_are_printed_where_there_is_only_ascii(tmp_path):
    ascii_alone = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C"}
    out, error = command("config", "--checkpoint_dir=\u00e9", env=ascii_alone).communicate()
    assert b"\\xe9" in out, error


OUTPUTS = {"export": ["export", "input.pth"], "report": ["report", "."]}


@pytest.mark.parametrize("command", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_an_output_takes_the_place_of_nothing_else(command, odd, tmp_path, capsys):
    kept = ["input.pth", "./input.pth", "metrics.jsonl", "result.json", "a.run.pth", "notes.html"]
    for name in kept:
        Path(name).write_text("kept")
    Path("to it.pth").symlink_to("input.pth")
    others = ["to it.pth", "pipe", "link", "folder", "socket", "/dev/zero", "circle", "long" * 75]
    before = sorted(path.lstat().st_ino for path in tmp_path.iterdir())
    for name in kept + others:
        assert main([*command, "-o", name]) == 2
        assert capsys.readouterr().err.startswith(f"recbole-sr: error: {name}: ")
    assert sorted(path.lstat().st_ino for path in tmp_path.iterdir()) == before
    assert {Path(name).read_text() for name in kept} == {"kept"}


def test_an_output_replaces_one_of_its_kind():
    Path("page.html").write_text("<!DOCTYPE html>old")
    check_output("page.html", b"<!doctype html>")
    with pytest.raises(InputError, match=r"page\.html: expected a new file, got a file"):
        check_output("page.html")


def test_closed_streams_are_no_fault():
    command = f"exec '{sys.executable}' -m recbole_sr models <&- >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 0
