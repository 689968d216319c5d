from __future__ import annotations

import os
import pickle

import pytest
import torch

from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint

STATE = {"config": {"model": "BPR"}, "weights": torch.arange(5.0)}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.pth"
    checkpoint.write(STATE, path)
    return path


def test_reads_what_it_wrote(file):
    state = checkpoint.read(file)
    assert state["config"] == STATE["config"]
    assert torch.equal(state["weights"], STATE["weights"])


def test_a_write_that_fails_leaves_the_old_file_whole(file, monkeypatch):
    before = file.read_bytes()

    def full_disk(state, opened):
        opened.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(STATE, file)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == ["a.pth"]


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made",)


def test_a_hostile_pickle_is_refused_without_running(tmp_path):
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Hostile()))
    torch.save({"config": Hostile()}, tmp_path / "zipped.pth")
    for name in ("bare.pth", "zipped.pth"):
        with pytest.raises(InputError, match="expected a checkpoint of recbole_sr"):
            checkpoint.read(tmp_path / name)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kept", [0, 1, 10, 100, -1, -10, -100, -500])
def test_a_truncated_file_is_refused_in_one_sentence(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError) as refusal:
        checkpoint.read(file)
    assert "\n" not in str(refusal.value)


def test_flipped_bytes_are_refused_or_change_nothing(file):
    whole = file.read_bytes()
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            state = checkpoint.read(file)
        except InputError:
            continue
        assert state["config"] == STATE["config"]
        assert torch.equal(state["weights"], STATE["weights"])


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "b.pth").write_bytes(content)
    with pytest.raises(InputError, match="expected a checkpoint of recbole_sr"):
        checkpoint.read(tmp_path / "b.pth")


def test_a_missing_file_and_other_data_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        checkpoint.read(tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="got other data"):
        checkpoint.read(tmp_path / "list.pth")


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        (torch.full((2, 2), torch.nan), "NaN or infinity"),
        (torch.full((2, 2), 1j), "torch.complex64"),  # torch would drop a part of it
        (torch.ones(2, 2, dtype=torch.int32), "torch.int32"),
    ],
)
def test_weights_that_are_not_finite_or_of_another_type_are_refused(weights, found):
    model = torch.nn.Linear(2, 2, bias=False)
    with pytest.raises(InputError, match=f"a.pth: expected finite torch.float32 .* got {found}"):
        checkpoint.load_weights(model, {"weight": weights}, "a.pth")
