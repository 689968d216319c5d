from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from contract import settings_of
from test_report import mutants
from tiny_data import write_tiny

from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.runs.files import locked
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.compare import VARIANTS, _Study, compare
from recbole_sr.study.text import to_text
from recbole_sr.study.trial import OFF, STOCK, UNFINISHED, Trial, _experiment, _same_candidates
from recbole_sr.study.tuning import grid_points, tune


@pytest.fixture
def brief(tiny):
    return {**tiny, "epochs": 2}


def scores(comparison):
    """All that does not depend on how busy the machine is."""
    return [
        (row["variant"], row["runs"], row.get("test_result"), row.get("best_valid_result"))
        for row in comparison["rows"]
    ]


@pytest.mark.slow
def test_switched_off_the_study_finds_stock_recbole_itself(brief, tmp_path):
    comparison = compare(
        ["BPR"], ["tiny"], seeds=1, variants=["none"], config_dict=brief, output="study"
    )
    stock, ours = comparison["rows"]
    assert not comparison["failed"]
    for kind in ("best_valid_result", "test_result", "epochs"):
        assert ours[kind] == stock[kind]
    losses = [
        [line["train_loss"] for line in RunFolder(f"study/runs/{name}").epochs()]
        for name in ("BPR-tiny-stock-2020", "BPR-tiny-none-2020")
    ]
    assert losses[0] == losses[1]
    assert stock["seconds"]["total"]["mean"] > stock["seconds"]["training"]["mean"] > 0
    assert stock["peak_memory"]["mean"] > 2**20
    assert sum(stock["unsettled"].values()) == 1  # after two epochs
    assert json.loads(Path("study/comparison.json").read_text()) == comparison
    for name in ("comparison.md", "comparison.csv", "runs.csv", "report.html"):
        assert (tmp_path / "study" / name).stat().st_size > 0
    assert not list((tmp_path / "study").rglob("*.pth"))
    assert not list((tmp_path / "study").rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["CFKG", "FPMC", "FM"])
def test_models_of_every_family_can_be_compared(model, tiny, tmp_path):
    settings = {**settings_of(model, tiny), "epochs": 1}
    result = Trial(model, "tiny", "default", 2020, settings).run(tmp_path / "run")
    assert result["error"] is None
    assert len(set(result["split"])) == 3


@pytest.mark.slow
def test_a_failed_run_is_a_row_and_is_tried_again(brief, tmp_path):
    (tmp_path / "bad.yaml").write_text("sr_warm_epochs: 1\nlearning_rate: 1e30\n")
    settings = {"seeds": 1, "config_dict": brief, "output": "study"}
    comparison = compare(["BPR"], ["tiny"], variants=["bad.yaml"], **settings)
    stock, bad = comparison["rows"]
    assert (stock["runs"], bad["runs"], bad["failed"]) == (1, 0, 1)
    assert "expected a finite training loss" in comparison["failed"][0]["error"]
    (tmp_path / "bad.yaml").write_text("sr_warm_epochs: 1\n")
    mended = compare(["BPR"], ["tiny"], variants=["bad.yaml"], resume=True, **settings)
    assert [row["runs"] for row in mended["rows"]] == [1, 1]


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_table(brief, tmp_path):
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(brief))

    words = ["compare", "-m", "BPR", "-d", "tiny", "--seeds", "1", "--variants", "default"]
    words += ["--config_files", "all.yaml", "-o", "cut"]
    command = [sys.executable, "-m", "recbole_sr", *words]
    whole = compare(["BPR"], ["tiny"], seeds=1, config_file_list=["all.yaml"], output="whole")
    study = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    first = tmp_path / "cut/runs/BPR-tiny-stock-2020/result.json"
    while not (first.is_file() and "split" in first.read_text()):
        time.sleep(0.05)
    study.send_signal(signal.SIGKILL)
    study.wait()
    written = first.stat().st_mtime_ns
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert first.stat().st_mtime_ns == written  # what was finished is not run again
    assert scores(json.loads((tmp_path / "cut/comparison.json").read_text())) == scores(whole)


@pytest.mark.slow
def test_a_run_ends_with_its_study(brief, tmp_path):
    settings = {**brief, "epochs": 100_000, "stopping_step": 100_000, "sr_save_step": 0}
    code = (
        "from pathlib import Path; from recbole_sr.study.trial import Trial; "
        f"Trial('BPR', 'tiny', 'default', 1, {settings!r}).run(Path('run'))"
    )
    study = subprocess.Popen([sys.executable, "-c", code])
    while not RunFolder("run").epochs():
        time.sleep(0.05)
    study.send_signal(signal.SIGKILL)
    study.wait()
    time.sleep(1)
    length = os.path.getsize("run/metrics.jsonl")
    time.sleep(1)
    assert os.path.getsize("run/metrics.jsonl") == length


@pytest.mark.slow
def test_runs_at_a_time_give_the_same_table(brief, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "grid.yaml").write_text("choice: {embedding_size: [4, 8]}\n")
    settings = {"seeds": 1, "config_dict": brief, "tune_file": "grid.yaml"}
    one, two = (
        compare(["BPR"], ["tiny"], variants=["default"], output=f"by {jobs}", jobs=jobs, **settings)
        for jobs in (1, 2)
    )
    assert not two["failed"]
    assert scores(two) == scores(one)


@pytest.fixture
def instead_of_runs(monkeypatch):
    """The trials that were asked for: each gives at once a score drawn from its settings."""
    asked = []

    def run(trial, folder, *_):
        asked.append(trial)
        score = {"mrr@10": random.Random(repr(trial.request())).random()}  # noqa: S311
        outcome = {"best_valid_score": score["mrr@10"], "valid_score_bigger": True}
        outcome |= {"best_valid_result": score, "test_result": score, "metric": "mrr@10"}
        seconds = dict.fromkeys(("start_up", "training", "evaluation", "total"), 1.0)
        outcome |= {"epochs": 2, "seconds": seconds, "split": [trial.seed], "error": None}
        outcome |= {"sizes": [80, 10, 10]}
        folder.mkdir(parents=True)
        RunFolder(folder).write("request.json", trial.request())
        RunFolder(folder).write("result.json", {**trial.request(), **outcome})
        return {**trial.request(), **outcome}

    monkeypatch.setattr(Trial, "run", run)
    monkeypatch.setattr(_Study, "write", lambda *_: None)  # the page is of real runs
    return asked


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_best_of_a_search_serves_all_seeds_and_is_the_first_seeds_run(
    jobs, instead_of_runs, brief, tmp_path
):
    (tmp_path / "grid.yaml").write_text("choice: {embedding_size: [4, 8, 16]}\n")
    settings = {"seeds": 3, "config_dict": brief, "tune_file": "grid.yaml", "jobs": jobs}
    settings |= {"variants": ["none", "default"], "output": "study"}
    comparison = compare(["BPR"], ["tiny"], **settings)
    assert [row["runs"] for row in comparison["rows"]] == [3, 3, 3]
    assert len(instead_of_runs) == 3 * (3 + 2)  # the first seed's are not run again
    for variant in (STOCK, "none", "default"):
        folder = tmp_path / "study" / "tuning" / f"BPR-tiny-{variant}-2020"
        trials = json.loads((folder / "trials.json").read_text())
        assert [one["settings"]["embedding_size"] for one in trials] == [4, 8, 16]
        best = max(range(3), key=lambda i: trials[i]["score"])
        runs = [
            RunFolder(tmp_path / "study" / "runs" / f"BPR-tiny-{variant}-{seed}")
            for seed in (2020, 2021, 2022)
        ]
        assert runs[0].read("result.json") == RunFolder(folder / str(best)).read("result.json")
        for run in runs:
            tuned = run.read("request.json")["settings"]
            assert tuned["embedding_size"] == trials[best]["settings"]["embedding_size"]
        size = trials[best]["settings"]["embedding_size"]
        said = f"BPR {variant} on tiny: embedding_size {size}, by validation the best of 3"
        assert said in comparison["tuned"]
        assert said in to_text(comparison).replace("\n  ", " ")


def test_no_setting_is_called_the_best_where_every_trial_failed(
    instead_of_runs, brief, tmp_path, monkeypatch
):
    monkeypatch.setattr(Trial, "run", lambda trial, folder, *_: trial.fail("no memory", folder))
    (tmp_path / "grid.yaml").write_text("choice: {embedding_size: [4, 8]}\n")
    given = {"seeds": 1, "config_dict": brief, "tune_file": "grid.yaml", "output": "study"}
    tuned = compare(["BPR"], ["tiny"], **given)["tuned"]
    assert tuned[1] == "BPR stock on tiny: embedding_size 4, the first, as none had a score, of 2"


def test_models_without_gradients_are_run_as_they_are(instead_of_runs, brief, tmp_path):
    (tmp_path / "grid.yaml").write_text("choice: {embedding_size: [4, 8]}\n")
    (tmp_path / "off.yaml").write_text("sr_warm_epochs: 0\n")
    settings = {"config_dict": {**brief, "sr_loss": "ssm", "reg_weight": 1e-3}, "seeds": 2}
    settings |= {"baseline": "off.yaml", "variants": ["default"], "tune_file": "grid.yaml"}
    comparison = compare(["LightGCN", "EASE", "Pop"], ["tiny"], **settings)
    rows = [(row["model"], row["variant"], row["verdict"]) for row in comparison["rows"]]
    assert rows[0] == ("LightGCN", "off", "baseline")
    assert rows[2:] == [("EASE", STOCK, "reference"), ("Pop", STOCK, "reference")]
    asked = [trial for trial in instead_of_runs if trial.model == "EASE"]
    assert [trial.seed for trial in asked] == [2020, 2021]
    for trial in asked:  # LightGCN's reg_weight is not EASE's, and EASE is not tuned
        assert trial.settings == {k: x for k, x in brief.items() if k != "embedding_size"} | OFF
        assert trial.config()["reg_weight"] == 250


def test_names_may_have_commas_between(instead_of_runs, brief, capsys):
    shared = [f"--{key}={value}" for key, value in brief.items()]
    names = ["-m", "BPR,LightGCN", "Pop", "-d", "tiny,", "--seeds", "1"]
    assert main(["compare", *names, *shared]) == 0, capsys.readouterr().err
    assert {trial.model for trial in instead_of_runs} == {"BPR", "LightGCN", "Pop"}
    assert {trial.dataset for trial in instead_of_runs} == {"tiny"}


def test_a_folder_that_no_run_is_in_is_named(instead_of_runs, brief, caplog):
    compare(["BPR"], ["tiny"], seeds=1, config_dict={**brief, "checkpoint_dir": "mine"})
    assert "checkpoint_dir: no effect, as the runs are in the study's folder" in caplog.text


def test_a_reference_takes_its_own_keys(instead_of_runs, brief):
    compare(["BPR", "EASE"], ["tiny"], seeds=1, config_dict={**brief, "reg_weight": 1.0})
    (ease,) = (trial for trial in instead_of_runs if trial.model == "EASE")
    assert ease.config()["reg_weight"] == 1.0


def test_a_run_out_of_time_is_ended_and_tried_again(brief, tmp_path):
    long = {**brief, "epochs": 100_000, "stopping_step": 100_000}
    trial = Trial("BPR", "tiny", STOCK, 1, {**long, **OFF})
    result = trial.run(tmp_path / "run", seconds=0.5)
    assert result["error"] == UNFINISHED
    assert not list((tmp_path / "run").glob("*.pth*"))  # a study keeps no weights
    assert trial.finished(tmp_path / "run") is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_study_that_is_ended_ends_the_runs_it_waits_for(number, brief, tmp_path):
    long = {**brief, "epochs": 100_000, "stopping_step": 100_000, "sr_save_step": 0}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"sr_init": "model", **long}))
    words = ["compare", "-m", "BPR", "-d", "tiny", "--baseline", "default", "--variants"]
    words += ["published", "--config_files", "all.yaml", "-o", "study", "--jobs", "2"]
    (tmp_path / "grid.yaml").write_text("choice: {learning_rate: [0.001, 0.01]}\n")
    words += ["--tune", "grid.yaml"]
    study = subprocess.Popen(
        [sys.executable, "-m", "recbole_sr", *words],
        start_new_session=True,
        # A shell lets its background jobs, as these tests may be one, ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    runs = [Path(f"study/tuning/BPR-tiny-{name}-2020/0") for name in ("default", "published")]
    try:
        while not all(RunFolder(run).epochs() for run in runs):
            assert study.poll() is None
            time.sleep(0.05)
        study.send_signal(number)
        assert study.wait(timeout=60) == (130 if number == signal.SIGINT else -number)
    finally:
        study.kill()
    time.sleep(1)  # until a run whose study was killed has noticed
    lengths = [os.path.getsize(run / "metrics.jsonl") for run in runs]
    time.sleep(1)
    assert [os.path.getsize(run / "metrics.jsonl") for run in runs] == lengths
    assert not list(tmp_path.glob("study/tuning/*/1"))  # nor begins those still to come


@pytest.mark.parametrize("part", ["runs", "tuning"])
def test_a_study_is_not_overwritten(part, tmp_path):
    (tmp_path / "study" / part).mkdir(parents=True)
    with pytest.raises(InputError, match="continue it with --resume"):
        compare(output="study")


def test_a_study_is_not_continued_on_other_data(instead_of_runs, brief, tmp_path):
    given = {"config_dict": brief, "output": "study", "resume": True}
    (tmp_path / "study").mkdir()  # as left by one that was cut before its first run
    (tmp_path / "study" / "data.json").write_text('{"tiny.inter": "another"}')
    compare(["BPR"], ["tiny"], seeds=1, **{**given, "resume": False})
    (tmp_path / "study" / "data.json").rename(tmp_path / "noted")
    compare(["BPR"], ["tiny"], seeds=2, **given)  # of a version that noted none
    assert (tmp_path / "study" / "data.json").read_bytes() == (tmp_path / "noted").read_bytes()
    ran = len(instead_of_runs)
    file = tmp_path / "data" / "tiny" / "tiny.inter"
    text = file.read_text()
    file.write_text(text.replace("u1\t", "u2\t"))  # as many lines, as many characters
    assert file.read_text() != text
    with pytest.raises(InputError, match=r"^study: expected the data that .* another tiny\.inter;"):
        compare(["BPR"], ["tiny"], seeds=3, **given)
    assert len(instead_of_runs) == ran
    file.write_text(text)
    compare(["BPR"], ["tiny"], seeds=3, **given)
    assert len(instead_of_runs) > ran


def test_a_study_that_is_not_there_is_not_continued(tmp_path):
    with pytest.raises(InputError, match=r"^study: expected a study to continue, got none; check"):
        compare(output="study", resume=True)
    assert not (tmp_path / "study").exists()


OUTCOME = {
    "error": None,
    "metric": "mrr@10",
    "best_valid_score": 0.1,
    "valid_score_bigger": True,
    "best_valid_result": {"mrr@10": 0.1},
    "test_result": {"mrr@10": 0.1},
    "epochs": 2,
    "seconds": {"start_up": 1, "training": 1, "evaluation": 1, "total": 3},
    "split": [1],
    "sizes": [8, 1, 1],
}


def test_a_finished_run_is_only_taken_for_the_same_settings(tmp_path):
    trial = Trial("BPR", "tiny", "default", 1, {"epochs": 3})
    folder = RunFolder(tmp_path)
    folder.write("request.json", asdict(trial))
    assert trial.finished(tmp_path) is None
    folder.write("result.json", {"best_valid_score": 0.1})  # killed before it was complete
    assert trial.finished(tmp_path) is None
    folder.write("result.json", OUTCOME)
    assert trial.finished(tmp_path)["best_valid_score"] == 0.1
    with pytest.raises(InputError, match="expected a run with the settings of this study"):
        replace(trial, settings={"epochs": 4}).finished(tmp_path)


@pytest.mark.parametrize("name", ["result.json", "request.json"])
def test_a_damaged_run_is_named_or_run_again(name, tmp_path):
    trial = Trial("BPR", "tiny", "default", 1, {"epochs": 3})
    folder = RunFolder(tmp_path)
    folder.write("request.json", asdict(trial))
    folder.write("result.json", {**asdict(trial), **OUTCOME})
    whole = trial.finished(tmp_path)
    for content in list(mutants(tmp_path / name)):
        (tmp_path / name).write_bytes(content)
        try:
            found = trial.finished(tmp_path)
        except InputError as refusal:
            named = str(tmp_path) in str(refusal)
        else:
            named = found is None or found.keys() >= whole.keys() - {"sizes"}
            json.dumps(found, allow_nan=False)
        assert named, content[:200]


def test_runs_that_share_a_folder_are_refused(tmp_path):
    for variant in ("b-c", "c"):
        (tmp_path / f"{variant}.yaml").write_text("sr_warm_epochs: 0\n")
    for name in ("a", "a-b"):
        shutil.copytree(write_tiny(tmp_path / "from" / name)["data_path"], tmp_path / "to" / name)
    with pytest.raises(InputError, match="got BPR-a-b-c-2020 for both BPR a b-c and BPR a-b c"):
        compare(datasets=["a", "a-b"], baseline="b-c.yaml", variants=["c.yaml"])


def test_two_studies_do_not_share_a_folder(tmp_path, instead_of_runs, brief):
    (tmp_path / "study").mkdir()
    with locked("study"), pytest.raises(InputError, match="study: expected that nothing is writ"):
        compare(["BPR"], ["tiny"], seeds=1, config_dict=brief, output="study")
    assert not instead_of_runs


def test_a_study_is_not_begun_over_other_files(tmp_path):
    (tmp_path / "comparison.md").write_text("mine")
    for resume in (False, True):
        with pytest.raises(InputError, match=r"comparison\.md: expected no such file, as no"):
            compare(output=".", resume=resume)
    assert (tmp_path / "comparison.md").read_text() == "mine"
    with pytest.raises(InputError, match="expected a folder, got a file"):
        compare(output="comparison.md")


def test_a_study_whose_runs_failed_says_why(brief, monkeypatch, capsys):
    def fail(trial, *_):
        return {**trial.request(), "error": "out of memory"}

    monkeypatch.setattr(Trial, "run", fail)
    shared = [f"--{key}={value}" for key, value in brief.items()]
    words = ["compare", "-m", "BPR", "-d", "tiny", "--seeds", "2", *shared, "-o", "study"]
    assert main(words) == 1
    told = capsys.readouterr()
    assert "out of memory" in told.out
    assert told.err.splitlines()[-1] == (
        "recbole-sr: error: 4 of 4 runs failed, the first (BPR-tiny-stock-2020) by: out of "
        "memory; mend that and go on by --resume"
    )
    assert "out of memory" in Path("study/report.html").read_text("utf-8")


def test_all_variants_of_a_seed_rank_the_same_candidates(tmp_path, brief):
    """Those of the baseline too, which trained for fewer epochs and drew other numbers."""
    settings = {**brief, "eval_args": {"mode": "uni5"}}
    drawn = []
    for variant, more in (("stock", {"epochs": 1}), ("none", {"epochs": 2})):
        trial = Trial("BPR", "tiny", variant, 3, {**settings, **more, **VARIANTS["none"]})
        made = _experiment(trial, trial.config())
        _same_candidates(made.test_data, 3)
        np.random.seed(len(drawn))
        drawn.append([batch[0]["item_id"].tolist() for batch in made.test_data])
        assert np.random.get_state()[1][0] == len(drawn) - 1  # training draws on undisturbed
    assert drawn[0] == drawn[1]


def test_a_run_imports_from_where_its_study_does(brief, tmp_path, monkeypatch):
    """Neither a folder in the way nor the order of PYTHONPATH is for a run to choose."""
    (tmp_path / "statistics.py").write_text("raise SystemExit('wrong module')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = Trial("BPR", "tiny", "none", 1, {**brief, "epochs": 1}).run(tmp_path / "run")
    assert result["error"] is None
    assert len(result["sizes"]) == 3
    assert not list((tmp_path / "run").glob("*.run.pth"))


def test_a_run_with_a_tuple_is_the_same_when_read_back(tmp_path):
    trial = Trial("NeuMF", "tiny", "default", 1, {"mlp_hidden_size": (64, 32)})
    folder = RunFolder(tmp_path)
    folder.write("request.json", asdict(trial))
    folder.write("result.json", OUTCOME)
    assert trial.finished(tmp_path)


def test_a_run_without_a_score_that_counts_is_a_failed_one(brief, tmp_path):
    late = {"sr_warm_epochs": 4, "sr_switch": "metric", "sr_patience": 1, "eval_step": 2}
    late |= {"epochs": 5, "learning_rate": 1e-9}  # switches after the second evaluation, the last
    (tmp_path / "late.yaml").write_text(yaml.safe_dump(late))
    comparison = compare(
        ["BPR"], ["tiny"], seeds=1, baseline="late.yaml", config_dict=brief, output="study"
    )
    assert comparison["rows"][0]["failed"] == 1
    assert "no epoch that counts was evaluated" in comparison["failed"][0]["error"]


def test_a_grid_may_hold_keys_that_stock_has_no_use_for(tmp_path):
    points = grid_points({"choice": {"sr_warm_epochs": [3, 5]}}, 4)
    study = _Study(tmp_path, {STOCK: OFF, "default": {}}, {}, 1, points, 1)
    study.check([("BPR", "ml-100k", STOCK), ("BPR", "ml-100k", "default")], resume=False)


def test_a_run_is_taken_over_whole_unless_it_failed(tmp_path):
    trial = Trial("BPR", "tiny", "default", 1, {"epochs": 3})
    done, folder = RunFolder(tmp_path / "done"), RunFolder(tmp_path / "runs" / trial.name)
    done.path.mkdir()
    done.write("request.json", asdict(trial))
    done.write("result.json", {"error": "out of memory"})
    trial.take_over(done.path, folder.path)
    assert not folder.path.exists()
    done.write("result.json", OUTCOME)
    trial.take_over(done.path, folder.path)
    assert trial.finished(folder.path) == trial.finished(done.path)


@pytest.mark.slow
def test_the_baseline_can_be_a_variant_so_that_stock_is_not_run(brief, tmp_path):
    """All runs may then share keys of the method, as a column of the grid shares its loss."""
    (tmp_path / "off.yaml").write_text("sr_warm_epochs: 0\n")
    shared = {**brief, "sr_loss": "ssm"}
    comparison = compare(
        ["BPR"], ["tiny"], seeds=1, baseline="off.yaml", config_dict=shared, output="study"
    )
    for run in (tmp_path / "study" / "runs").iterdir():
        assert RunFolder(run).read("request.json")["settings"]["sr_loss"] == "ssm"
    off, default = comparison["rows"]
    assert (off["variant"], off["runs"], off["verdict"]) == ("off", 1, "baseline")
    assert (default["variant"], default["runs"]) == ("default", 1)
    assert default["to_baseline"]["pairs"] == 1


REFUSED = {
    "unknown variant": ({"variants": ["publisht"]}, "got 'publisht'"),
    "a variant twice": ({"variants": ["none", "none"]}, "got 'none' twice"),
    "the baseline as a variant": ({"baseline": "none", "variants": ["none"]}, "got 'none' twice"),
    "stock as a variant": ({"variants": [STOCK]}, "got 'stock' twice"),
    "missing file": ({"variants": ["nowhere.yaml"]}, "nowhere.yaml: expected a YAML"),
    "method in shared settings": ({"config_dict": {"sr_warm_epochs": 1}}, "that all runs share"),
    "method in settings that none shares": (
        {"baseline": "model.yaml", "variants": ["none"], "config_dict": {"sr_loss": "ssm"}},
        "sr_loss: expected no sr_ key .* 'none' is to run without",
    ),
    "a file named stock": ({"variants": ["stock.yaml"]}, "another name than stock.yaml"),
    "no seed": ({"seeds": 0}, "seeds: expected 1 or more, got 0"),
    "no run at a time": ({"jobs": 0}, "jobs: expected 1 or more, got 0"),
    "a space of values": (
        {"tune_file": "values.yaml"},
        "with a list of values .*, got 'epochs': 5",
    ),
    "a space of lists": ({"tune_file": "lists.yaml"}, "with a list of values .*, got .*choice"),
    "a space to sample": (
        {"tune_file": "bounds.yaml"},
        "--tune: expected choice .*, got .*loguniform",
    ),
    "no space": ({"tune_file": "empty.yaml"}, "expected choice .*, got {}"),
    "a property misspelt": ({"tune_file": "misspelt.yaml"}, "unknown key 'epoch'"),
    "a split without a part": (
        {"config_dict": {"eval_args": {"split": {"LS": "test_only"}}}},
        "a validation and a test part, .* got none for valid",
    ),
    "a value of another kind": (
        {"config_dict": {"data_path": {"data"}}},
        "data_path: expected a valid string",
    ),
    "no trial": ({"tune_file": "grid.yaml", "tune_trials": 0}, "trials: expected 1 or more, got 0"),
    "a wrong value deep in the grid": (
        {"tune_file": "deep.yaml"},
        "embedding_size: expected at least 1, got 0",
    ),
    "no model": ({"models": []}, "model: expected a name, got none; give one"),
    "no data set": ({"datasets": []}, "dataset: expected a name, got none; give one"),
    "a model twice": ({"models": ["BPR", "BPR"]}, "model: expected distinct names"),
    "a data set twice": ({"datasets": ["ml-100k"] * 2}, "dataset: expected distinct names"),
    "unknown model": ({"models": ["LightGCM"]}, "LightGCM"),
    "unknown model among the settings": ({"config_dict": {"model": "LightGCM"}}, "LightGCM"),
    "a data set among the settings": ({"config_dict": {"dataset": 5}}, "dataset: expected a name"),
    "a data set that is not there": ({"datasets": ["nowhere"]}, "dataset: expected a folder .*now"),
    "all interactions": (
        {"config_dict": {"sr_train_on": "all"}, "baseline": "off.yaml"},
        "sr_train_on: expected 'training', as trials are judged",
    ),
    "a model to serve": (
        {"config_dict": {"sr_final": True}, "baseline": "off.yaml"},
        "sr_final: expected False, as trials are judged",
    ),
    "a model whose default is off": (
        {"models": ["BPR", "DGCF"]},
        "variants: expected one that does something for DGCF, .*give --variants warm/stable_rank",
    ),
    "a sequential model whose default is off": (
        {"models": ["SASRec"]},
        "for SASRec, .*give --variants warm/stable_rank.yaml, or warm/transitions.yaml",
    ),
    "a variant that the model cannot follow": (
        {"models": ["SASRec"], "variants": ["warm/spectral.yaml"]},
        "sr_init: expected 'model' for SASRec, which has no user table",
    ),
    "a last seed out of range": (
        {"config_dict": {"seed": 2**32 - 2}, "seeds": 3, "baseline": "off.yaml"},
        "seed: expected .*4294967296",
    ),
    "a model in a variant": ({"variants": ["named.yaml"]}, "named.yaml: expected no model in it"),
    "a seed in a variant": ({"variants": ["seed.yaml"]}, "seed.yaml: expected no seed in it"),
    "a seed in the grid": ({"tune_file": "seeds.yaml"}, "--tune: expected no seed in it"),
    "the method in the grid of none": (
        {"tune_file": "method.yaml", "baseline": "none"},
        "--tune: expected no sr_ key in it, as 'none'",
    ),
    "a grid of numbers": ({"tune_file": "numbers.yaml"}, "--tune: expected choice .*, got 1"),
    "another metric for a variant": (
        {"variants": ["recall.yaml"]},
        "valid_metric: expected the same for all runs, .* got 'MRR@10' and 'Recall@10'",
    ),
    "other lengths for a variant": ({"variants": ["top.yaml"]}, "topk: expected the same for all"),
    "sampled items for a variant": (
        {"variants": ["sampled.yaml"]},
        "eval_args: expected the same for all runs",
    ),
    "a metric in the grid": (
        {"tune_file": "metrics.yaml"},
        "valid_metric: expected the same for all runs",
    ),
    "an empty name": ({"output": ""}, "--output: expected a folder, got an empty name"),
}


@pytest.mark.parametrize(("given", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_before_anything_runs(given, sentence, tmp_path):
    (tmp_path / "model.yaml").write_text("sr_init: model\n")
    (tmp_path / "values.yaml").write_text("choice: {epochs: 5}\n")
    (tmp_path / "lists.yaml").write_text("choice: [1, 2]\n")
    (tmp_path / "bounds.yaml").write_text("loguniform: {learning_rate: [-6, -3]}\n")
    (tmp_path / "empty.yaml").write_text("\n")
    (tmp_path / "deep.yaml").write_text("choice: {embedding_size: [8, 0]}\n")
    (tmp_path / "named.yaml").write_text("model: LightGCN\n")
    (tmp_path / "misspelt.yaml").write_text("choice: {epoch: [1, 2]}\n")
    (tmp_path / "grid.yaml").write_text("choice: {epochs: [1, 2]}\n")
    (tmp_path / "seed.yaml").write_text("seed: 5\n")
    (tmp_path / "seeds.yaml").write_text("choice: {seed: [1, 2]}\n")
    (tmp_path / "method.yaml").write_text("choice: {sr_init: [spectral]}\n")
    (tmp_path / "numbers.yaml").write_text("choice: {1: [2]}\n")
    (tmp_path / "recall.yaml").write_text("valid_metric: Recall@10\n")
    (tmp_path / "top.yaml").write_text("topk: [5, 10]\n")
    (tmp_path / "sampled.yaml").write_text("eval_args: {mode: uni5}\n")
    (tmp_path / "metrics.yaml").write_text("choice: {valid_metric: [MRR@10, Recall@10]}\n")
    with pytest.raises(InputError, match=sentence):
        compare(**{"output": "study", **given})
    assert not (tmp_path / "study").exists()


class Bar:
    done = 0

    def update(self):
        self.done += 1

    def set_description(self, text):
        pass


def tuned(tmp_path, scores, trials=4, bigger=True):
    """Tune with the results given instead of runs; None is a run that failed."""
    given, asked, bar = iter(scores), [], Bar()

    def run(trial, folder):
        folder.mkdir(parents=True)
        asked.append((trial, folder))
        score = next(given)
        if score is None:
            return {"error": "out of memory"}
        return {"error": None, "best_valid_score": score, "valid_score_bigger": bigger}

    trial = Trial("BPR", "tiny", "default", 2020, {"epochs": 3})
    points = grid_points({"choice": {"embedding_size": [4, 8], "n_layers": [1, 2]}}, trials)
    found = tune(trial, points, tmp_path / "tuning", bar, run)
    assert bar.done == len(asked) == min(trials, 4)
    assert all(one == replace(trial, settings=one.settings) for one, _ in asked)
    return found, asked, json.loads((tmp_path / "tuning" / "trials.json").read_text())


@pytest.mark.parametrize("trials", [1, 3, 10])
def test_a_grid_is_tried_in_order_and_no_further_than_asked(trials, tmp_path):
    _, asked, written = tuned(tmp_path, [0.1] * 4, trials)
    points = [(size, layers) for size in (4, 8) for layers in (1, 2)][:trials]
    grid = [{"embedding_size": size, "n_layers": layers} for size, layers in points]
    assert [trial.settings for trial, _ in asked] == [{"epochs": 3, **point} for point in grid]
    assert [one["settings"] for one in written] == grid


def test_a_run_that_failed_after_its_best_score_is_not_the_best_of_a_grid(tmp_path):
    def run(trial, folder):
        folder.mkdir(parents=True)
        failed = trial.settings["embedding_size"] == 8
        return {"error": "no number" if failed else None, "best_valid_score": 0.1 + 0.1 * failed}

    trial = Trial("BPR", "tiny", "default", 2020, {})
    points = grid_points({"choice": {"embedding_size": [8, 4]}}, 2)
    best, _ = tune(trial, points, tmp_path / "tuning", Bar(), run)
    assert best.settings["embedding_size"] == 4


@pytest.mark.parametrize(
    ("scores", "bigger", "best"),
    [
        ([0.1, 0.3, 0.2, 0.3], True, 1),
        ([0.1, 0.3, 0.05, 0.3], False, 2),
        ([None, 0.3, None, 0.4], True, 3),
        ([None, 0.3, None, 0.4], False, 1),
        ([None] * 4, True, 0),
    ],
)
def test_the_best_of_a_grid_is_found_beside_runs_that_failed(scores, bigger, best, tmp_path):
    found, asked, written = tuned(tmp_path, scores, bigger=bigger)
    assert found == asked[best]
    assert [one["score"] for one in written] == scores
    assert [one["error"] is None for one in written] == [x is not None for x in scores]
