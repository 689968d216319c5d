"""What is around a run: files that are none, signals, pipes, disks, folders that are gone."""

from __future__ import annotations

import os
import socket

import pytest

from recbole_sr.cli import main
from recbole_sr.errors import InputError, check_file


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
        "": "No such file or directory",
    }
    listening.close()


def test_only_a_regular_file_is_read(odd):
    for path, found in odd.items():
        with pytest.raises(InputError) as refusal:
            check_file(path)
        assert str(refusal.value) == f"{path}: expected a file, got {found}; check the path"


READERS = {
    "config files": ["--config_files"],
    "spectrum": ["spectrum"],
}


@pytest.mark.parametrize("command", READERS.values(), ids=READERS.keys())
def test_a_command_reads_only_regular_files(command, odd, capsys):
    for path in filter(None, odd):
        assert main([*command, path]) == 2
        assert capsys.readouterr().err.startswith(f"recbole-sr: error: {path}: expected a")
