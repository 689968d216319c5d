"""A run owns its name, its folder is locked while it runs, and data have an identity."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from contract import settings_of
from tiny_data import write_tiny

from recbole_sr import load_data_and_model, resume, run_recbole_sr
from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint
from recbole_sr.runs.files import claim, locked, replacing

CLAIM = "from recbole_sr.runs.files import claim; print(claim('saved/BPR-now').name)"
HOLD = "from recbole_sr.runs.files import locked; import time\nwith locked('.'): time.sleep(60)"


def python(code, **more):
    return subprocess.Popen([sys.executable, "-c", code], text=True, **more)


def test_of_fifty_that_want_a_name_at_once_each_gets_its_own(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "BPR-now-7.pth").touch()  # a run whose folder is gone
    processes = [python(CLAIM, cwd=tmp_path, stdout=subprocess.PIPE) for _ in range(5)]
    names = [process.communicate()[0].strip() for process in processes]
    names += [claim(tmp_path / "saved" / "BPR-now").name for _ in range(45)]
    assert len(set(names)) == 50
    assert "BPR-now-7" not in names


@pytest.fixture
def one_second(monkeypatch):
    """A clock that stands still, and so gives every run the name of the one before."""
    for module in ("recbole.trainer.trainer", "recbole.utils.logger"):
        monkeypatch.setattr(f"{module}.get_local_time", lambda: "Jan-01-2026_00-00-00")


@pytest.mark.usefixtures("one_second")
def test_two_runs_of_one_second_share_no_file(tiny, tmp_path):
    results = [
        run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 2, "seed": seed})
        for seed in (1, 2)
    ]
    name = "BPR-Jan-01-2026_00-00-00"
    found = {path.name for path in (tmp_path / "saved").iterdir()}
    assert found == {f"{n}{end}" for n in (name, f"{name}-2") for end in ("", ".pth", ".run.pth")}
    for run, result in zip((name, f"{name}-2"), results, strict=True):
        written = json.loads((tmp_path / "saved" / run / "result.json").read_text())
        assert written["best_valid_score"] == result["best_valid_score"]


@pytest.mark.usefixtures("one_second")
def test_each_run_has_its_own_log(tiny, tmp_path):
    code = (
        "import json, sys; from recbole_sr import run_recbole_sr\n"
        "for module in ('recbole.trainer.trainer', 'recbole.utils.logger'):\n"
        "    __import__(module); sys.modules[module].get_local_time = lambda: 'now'\n"
        "settings = json.loads(sys.argv.pop())\n"
        "for _ in range(2): run_recbole_sr('BPR', 'tiny', config_dict=settings)\n"
    )
    settings = json.dumps({**tiny, "epochs": 1, "state": "INFO"})
    subprocess.run([sys.executable, "-c", code, settings], cwd=tmp_path, check=True)
    logs = list((tmp_path / "log" / "BPR").iterdir())
    assert len(logs) == 2
    assert all(log.read_text().count("test result") == 1 for log in logs)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(6))
def test_runs_started_at_once_are_the_runs_that_they_are_alone(number, together, tiny, tmp_path):
    settings = {**tiny, "epochs": 4, "checkpoint_dir": "alone"}
    surroundings = {**os.environ, "SETTINGS": json.dumps(settings)}
    assert python(ALONE.format(seed=number), cwd=tmp_path, env=surroundings).wait() == 0
    (result,) = (tmp_path / "alone").glob("*/result.json")
    records = [json.loads(path.read_text()) for path in together.glob("saved/*/settings.json")]
    assert sorted(record["seed"] for record in records) == list(range(6))
    (same,) = (
        path.with_name("result.json")
        for path in together.glob("saved/*/settings.json")
        if json.loads(path.read_text())["seed"] == number
    )
    assert json.loads(same.read_text()) == json.loads(result.read_text())
    assert len(list(together.glob("log/BPR/*.log"))) == 6


ALONE = """
import json, os, time, torch
torch.set_num_threads(1)
import recbole.trainer.trainer, recbole.utils.logger
for module in (recbole.trainer.trainer, recbole.utils.logger):
    module.get_local_time = lambda: "one-second"
from recbole_sr import run_recbole_sr
while not os.path.exists(os.environ.get("START", ".")): time.sleep(0.01)
run_recbole_sr("BPR", "tiny", config_dict={{**json.loads(os.environ["SETTINGS"]), "seed": {seed}}})
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A folder in which six runs have started in one second, by one clock."""
    folder = tmp_path_factory.mktemp("together")
    settings = {**write_tiny(folder / "data"), "epochs": 4, "state": "ERROR"}
    surroundings = {**os.environ, "SETTINGS": json.dumps(settings), "START": "start"}
    runs = [python(ALONE.format(seed=n), cwd=folder, env=surroundings) for n in range(6)]
    time.sleep(20)
    (folder / "start").touch()
    assert [run.wait() for run in runs] == [0] * 6
    return folder


def test_a_draft_is_nobody_elses(tmp_path):
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write(b"1")
        second.write(b"2")
        assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "a").read_bytes() == b"1"  # the last to end


def test_a_folder_is_held_by_one_process_until_it_dies(tmp_path):
    process = python(HOLD, cwd=tmp_path)
    try:
        while not (tmp_path / ".lock").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        with pytest.raises(InputError, match="expected that nothing is writing there"):
            locked(tmp_path).__enter__()
    finally:
        process.kill()
        process.communicate()
    with locked(tmp_path):
        pass


@pytest.fixture
def ran(tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 2})
    (run,) = (tmp_path / "saved").glob("*.run.pth")
    return run, Path(str(run).replace(".run.pth", "")), Path(str(run).replace(".run", ""))


def test_a_run_that_is_running_is_not_resumed(ran):
    run, folder, _ = ran
    before = run.read_bytes()
    with locked(folder), pytest.raises(InputError, match="another process is; wait for it"):
        resume(str(run))
    assert run.read_bytes() == before


def test_a_run_that_was_moved_goes_on_where_it_is(ran, tmp_path):
    moved = tmp_path / "elsewhere"
    (tmp_path / "saved").rename(moved)
    resume(str(moved / ran[0].name))
    assert not (tmp_path / "saved").exists()


def test_a_run_does_not_write_into_a_folder_that_is_not_its_own(ran, tiny, tmp_path):
    run, folder, _ = ran
    shutil.rmtree(folder)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "result.json").write_text("mine")
    folder.symlink_to(foreign)
    with pytest.raises(InputError, match="expected the run's own folder, got a link"):
        resume(str(run))
    folder.unlink()
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1, "checkpoint_dir": "other"})
    (other,) = (path for path in (tmp_path / "other").iterdir() if path.is_dir())
    shutil.copytree(other, folder)
    before = (folder / "result.json").read_text()
    with pytest.raises(InputError, match="expected the folder of the run that is resumed, got"):
        resume(str(run))
    assert (foreign / "result.json").read_text() == "mine"
    assert (folder / "result.json").read_text() == before


@pytest.mark.parametrize("name", ["../victim.pth", "/victim.pth", "BPR-x/../../victim.pth"])
def test_a_best_model_elsewhere_is_refused(name, ran):
    state = checkpoint.read(ran[0])
    checkpoint.write({**state, "saved_model_file": name}, ran[0])
    with pytest.raises(InputError, match="as the run's best model, got"):
        resume(str(ran[0]))


def test_the_best_model_of_another_run_is_refused(ran, tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 2, "checkpoint_dir": "other"})
    (other,) = (path for path in (tmp_path / "other").glob("*.pth") if ".run" not in path.name)
    shutil.copy(other, ran[2])
    with pytest.raises(InputError, match="expected the best model of this run, got another run's"):
        resume(str(ran[0]))


def test_run_model_and_record_carry_one_identity(ran):
    run, folder, model = ran
    states = [checkpoint.read(run), checkpoint.read(model)]
    states.append(json.loads((folder / "environment.json").read_text()))
    assert all(state["format"] == checkpoint.FORMAT for state in states)
    for key in ("run", "data"):
        assert states[0][key]
        assert states[0][key] == states[1][key] == states[2][key]


def rewritten(change):
    def rewrite(folder):
        file = folder / "tiny.inter"
        header, *lines = file.read_text().splitlines(keepends=True)
        file.write_text(header + "".join(change(lines)))

    return rewrite


OTHER = {
    "lines sorted": rewritten(lambda lines: sorted(lines, reverse=True)),
    "a known pair more": rewritten(lambda lines: [*lines, lines[0]]),
    "a line less": rewritten(lambda lines: lines[:-1]),
    "an item renamed": rewritten(
        lambda lines: [line.replace("\ti1\t", "\tj1\t") for line in lines]
    ),
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_other_data_are_refused(change, ran, tiny):
    run, _, model = ran
    change(Path(tiny["data_path"]) / "tiny")
    for read, file in ((resume, run), (load_data_and_model, model)):
        with pytest.raises(InputError, match="the data that it was trained on, got other"):
            read(str(file))


def test_other_features_and_other_links_are_refused(experiment, tiny):
    settings = settings_of("CKE", tiny)
    made = experiment("CKE", "tiny", **settings, epochs=1)
    before = made.data_identity()
    folder = Path(settings["data_path"]) / "tiny"
    changed = {}
    for file in sorted(folder.glob("tiny.*")):
        whole = file.read_text()
        header, first, *rest = whole.splitlines(keepends=True)
        file.write_text("".join([header, *rest, first]))
        again = experiment("CKE", "tiny", **settings, epochs=1).data_identity()
        changed[file.suffix] = [name for name in before if again.get(name) != before[name]]
        file.write_text(whole)
    assert experiment("CKE", "tiny", **settings, epochs=1).data_identity() == before
    assert changed[".inter"]
    assert changed[".kg"]


def test_a_model_that_did_not_note_its_data_loads_with_a_word(ran, monkeypatch, caplog):
    state = checkpoint.read(ran[2])
    del state["run"], state["data"]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 2)
        checkpoint.write(state, ran[2])
    load_data_and_model(str(ran[2]))
    assert "did not note its data" in caplog.text


ENTRIES = (
    None, 5, -1, 10**30, "x", [], {}, [1], {"a": 1}, float("nan"), True, torch.ones(2), {1: 2},
    {"a": []}, MISSING := object(),
)  # fmt: skip


def broken(whole, depth, entries=ENTRIES):
    """The state with each entry, down to a depth, missing or of another type."""
    for key, value in whole.items():
        for entry in entries:
            state = {**whole, key: entry}
            if entry is MISSING:
                del state[key]
            yield f"{key}: {'missing' if entry is MISSING else entry!r}", state
        if depth and isinstance(value, dict):
            for name, part in broken(value, depth - 1, (None, -1, "x", MISSING)):
                yield f"{key}.{name}", {**whole, key: part}


def tracebacks(file, read, depth):
    """What of the broken files is neither read nor refused in one sentence that names the file."""
    whole, found, tried = checkpoint.read(file), [], 0
    content = file.read_bytes()
    for name, state in broken(whole, depth):
        tried += 1
        if name.startswith(("format", "checksum")):
            continue
        checkpoint.write(state, file)
        try:
            read(str(file))
        except InputError as refusal:
            named = name.startswith("config.") or str(file.parent) in str(refusal)  # by its key
            if not named or "\n" in str(refusal):
                found.append((name, str(refusal)))
        except Exception as error:
            found.append((name, repr(error)))
        file.write_bytes(content)
    return tried, found


READERS = {"run": (0, resume), "model": (2, load_data_and_model)}


@pytest.mark.parametrize("kind", READERS)
def test_an_entry_that_is_missing_or_of_another_type_is_refused(kind, ran, record_property):
    number, _ = READERS[kind]
    readers = {0: checkpoint.read_run, 2: checkpoint.read_model}
    tried, found = tracebacks(ran[number], readers[number], 0)
    record_property("tried", tried)
    assert tried > 100
    assert not found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", READERS)
def test_no_entry_however_deep_ends_in_a_traceback(kind, ran, record_property):
    number, read = READERS[kind]
    tried, found = tracebacks(ran[number], read, 1)
    record_property("tried", tried)
    assert not found
