from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from recbole.model.general_recommender import BPR

from recbole_sr import run_recbole_sr
from recbole_sr.errors import InputError
from recbole_sr.runs.files import locked, write_whole
from recbole_sr.runs.folder import RunFolder
from recbole_sr.training.experiment import resume


@pytest.fixture
def ran(tiny, tmp_path):
    settings = {**tiny, "epochs": 3, "sr_warm_epochs": 2}
    result = run_recbole_sr("BPR", "tiny", config_dict=settings)
    (path,) = (path for path in (tmp_path / "saved").iterdir() if path.is_dir())
    return result, RunFolder(path)


def test_metrics_are_those_of_the_result(ran):
    result, folder = ran
    assert folder.epochs() == result["sr"]["epochs"]


def test_the_folder_has_the_name_of_the_checkpoint(ran):
    assert ran[1].path.with_name(ran[1].path.name + ".pth").is_file()


def test_settings_environment_and_result_are_plain_json(ran):
    result, folder = ran
    assert folder.read("settings.json")["sr_warm_epochs"] == 2
    assert folder.read("environment.json")["packages"]["torch"] == metadata.version("torch")
    assert folder.read("result.json")["test_result"] == result["test_result"]
    assert folder.read("result.json")["switch_epoch"] == 2


def test_spectra_of_start_switch_and_end_agree_with_the_stable_ranks(ran):
    result, folder = ran
    spectra = folder.read("spectra.json")
    assert list(spectra) == ["start", "switch", "end"]
    warm, main = result["sr"]["phases"]
    for moment, ranks in (
        ("start", warm["stable_rank"]["start"]),
        ("switch", main["stable_rank"]["start"]),
        ("end", main["stable_rank"]["end"]),
    ):
        for side in ("user", "item"):
            values = torch.tensor(spectra[moment][side])
            assert len(values) == 8
            assert values.equal(values.sort(descending=True).values)
            rank = (values.square().sum() / values[0].square()).item()
            assert rank == pytest.approx(ranks[side], rel=1e-4)


def test_a_run_that_is_not_saved_leaves_no_folder(tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1}, saved=False)
    assert not any(path.is_dir() for path in (tmp_path / "saved").iterdir())


def test_lines_can_be_read_while_the_run_goes_on(experiment, tiny, tmp_path):
    seen = []
    made = experiment("BPR", "tiny", **tiny, epochs=3, eval_step=2, sr_warm_epochs=1)
    loss = made.model.calculate_loss
    path = tmp_path / "run"

    def watched(batch):
        seen.append([line["epoch"] for line in RunFolder(path).epochs()])
        return loss(batch)

    made.model.calculate_loss = watched
    made.train(saved=True, verbose=False, folder=str(path))
    assert sorted({len(lines) for lines in seen}) == [0, 1, 2]
    assert [line["epoch"] for line in RunFolder(path).epochs()] == [0, 1, 2]


def test_a_resumed_run_has_the_lines_and_spectra_of_the_whole(ran, tmp_path):
    _, folder = ran
    before, spectra = folder.epochs(), folder.read("spectra.json")
    draft = folder.path / "spectra.json.123.tmp"  # as a killed process leaves it
    draft.write_text("{")
    (run_file,) = (tmp_path / "saved").glob("*.run.pth")
    resume(str(run_file))
    assert folder.epochs() == before
    assert folder.read("spectra.json").keys() == spectra.keys()
    assert not draft.exists()


def test_a_line_half_written_is_left_out(tmp_path):
    line = {"epoch": 0, "phase": "main", "train_loss": None, "train_seconds": 1.0}
    line |= {"valid_score": 0.5, "stable_rank": None}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + '\n{"epo')
    assert RunFolder(tmp_path).epochs() == [line]


def test_a_damaged_line_is_refused(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{epoch\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl: expected JSON as a run leaves it"):
        RunFolder(tmp_path).epochs()


def test_what_is_not_finite_is_null(tmp_path):
    RunFolder(tmp_path).write("a.json", {"x": [float("nan"), float("inf"), 1.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [None, None, 1.5]}


def test_a_file_is_on_the_disk_before_it_takes_its_place_and_its_folder_after(
    tmp_path, monkeypatch
):
    """A power cut then finds the old content or the new."""
    done, file = [], tmp_path / "a.json"
    sync, replace = os.fsync, Path.replace

    def synced(descriptor):
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        assert not done[0].is_file() or done[0].read_text() == "new"
        sync(descriptor)

    def replaced(draft, place):
        done.append(place)
        return replace(draft, place)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_whole(file, "new")
    draft, *others = done
    assert (draft.parent, draft.suffix) == (tmp_path, ".tmp")
    assert others == [file, tmp_path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write_whole(file, "old")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_processors_are_those_that_the_run_may_use():
    code = """
import os
import subprocess
import sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from recbole_sr.runs.folder import _environment
assert _environment({"device": "cpu"})["cpu_count"] == 1
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_warned_of(error, monkeypatch, caplog, tmp_path):
    def acquire(*args, **kwargs):
        raise OSError(error, "no locks")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with locked(tmp_path):
        pass
    assert "no locks there" in caplog.text


def test_other_faults_of_a_lock_are_not_hidden(monkeypatch, tmp_path):
    def acquire(*args, **kwargs):
        raise PermissionError(errno.EACCES, "not yours")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(PermissionError), locked(tmp_path):
        pass


@pytest.mark.parametrize("value", [len, {1, 2}, {"deep": [object()]}])
def test_a_setting_that_no_file_can_hold_is_named(value, tiny):
    class Own(BPR):
        pass

    with pytest.raises(InputError, match=r"^(mine|deep): expected texts, numbers, lists"):
        run_recbole_sr(Own, "tiny", config_dict={**tiny, "epochs": 1, "mine": value})
