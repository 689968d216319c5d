from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study import quick
from recbole_sr.study.compare import compare
from recbole_sr.study.quick import within
from recbole_sr.study.trial import OFF, STOCK, UNFINISHED, Trial

MODELS = ("BPR", "Pop", "ItemKNN", "EASE")


class Machine:
    """Runs that take as long as they are said to, on a clock of their own."""

    def __init__(self, monkeypatch, start_up=2.0, epoch=1.0, items=100, **slow):
        self.start_up, self.epoch, self.items, self.slow = start_up, epoch, items, slow
        self.now, self.ran = 0.0, []
        monkeypatch.setattr(quick, "monotonic", lambda: self.now)
        monkeypatch.setattr(quick, "_free_bytes", lambda: 1e9)

    def run(self, trial, seconds, folder=None):
        epochs = min(trial.config()["epochs"], 30)  # early stopping ends it
        training = self.epoch * (1 if trial.model in MODELS[1:] else epochs)
        takes = self.slow.get(trial.model, self.start_up + training)
        self.ran.append((trial.model, trial.variant, trial.seed, min(takes, seconds)))
        self.now += min(takes, seconds)
        if takes > seconds:
            return {**trial.request(), "error": UNFINISHED}
        spent = {"start_up": self.start_up, "training": training, "evaluation": 0.0, "total": takes}
        sizes = {"sizes": [1000, 10, 10], "users": 50, "items": self.items}
        return {**trial.request(), "error": None, "seconds": spent, **sizes}


@pytest.fixture
def trials(tiny):
    def made(**settings):
        variants = [("BPR", STOCK), ("BPR", "default"), *((name, STOCK) for name in MODELS[1:])]
        own = {STOCK: {**tiny, **settings, **OFF}, "default": {**tiny, **settings}}
        return [Trial(model, "tiny", variant, 1, own[variant]) for model, variant in variants]

    return made


def test_with_time_for_all_there_are_five_seeds_of_all(trials, monkeypatch, tmp_path):
    machine = Machine(monkeypatch)
    results, left_out = within(10, trials(), 5, tmp_path, machine.run)
    assert len(results) == 5 * 5
    assert [sentence[:15] for sentence in left_out] == ["epochs: at most"]  # of 300
    assert machine.now < 600
    assert {result["seed"] for result in results} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("minutes", [0.01, 0.1, 0.5, 1, 2, 3, 5])
@pytest.mark.parametrize("epoch", [0.1, 1.0, 20.0])
def test_the_budget_is_kept_and_what_is_left_out_is_said(
    minutes, epoch, trials, monkeypatch, tmp_path
):
    machine = Machine(monkeypatch, epoch=epoch)
    results, left_out = within(minutes, trials(), 5, tmp_path, machine.run)
    assert machine.now <= 60 * minutes
    finished = [result for result in results if result["error"] is None]
    seeds = {result["seed"] for result in finished if result["variant"] == "default"}
    assert len(seeds) == 5 or left_out
    for seed in seeds:  # of whole pairs
        assert sum((one["model"], one["seed"]) == ("BPR", seed) for one in finished) == 2
    limits = {one["settings"].get("epochs") for one in finished if one["model"] == "BPR"}
    assert len(limits) <= 1  # all variants and seeds have as many


def test_the_epochs_fit_into_the_budget_of_one_seed(trials, monkeypatch, tmp_path):
    machine = Machine(monkeypatch, epoch=10.0)
    results, left_out = within(5, trials(), 5, tmp_path, machine.run)
    assert [one["error"] for one in results if one["model"] == "BPR"] == [None, None]
    # 300 s, less 12 s of measuring and 36 s of references; 0.8 of the half of that, less 2 s.
    assert left_out == [
        "epochs: at most 9 a run, as the budget allows; raise --minutes",
        "seeds: 1 of 5, as one takes about 220 s and 68 s are left; raise --minutes",
    ]
    again, _ = within(60, trials(), 5, tmp_path, machine.run)
    limits = {one["settings"]["epochs"] for one in again if one["model"] == "BPR"}
    assert limits == {9}  # a study that goes on keeps it: pairs are of equal runs
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(InputError, match=r"plan.json: expected JSON .*, got epochs"):
        within(60, trials(), 5, tmp_path, machine.run)


def test_a_reference_without_memory_or_time_is_left_out(trials, monkeypatch, tmp_path):
    machine = Machine(monkeypatch, items=50_000, ItemKNN=1e6)
    results, left_out = within(10, trials(), 5, tmp_path, machine.run)
    assert left_out[0] == (
        "EASE: left out, as it takes about 74.5 GiB of memory and 0.9 GiB are free"
    )
    of_knn = [result["error"] for result in results if result["model"] == "ItemKNN"]
    assert of_knn == [UNFINISHED]  # not tried again for each seed
    took = next(took for model, *_, took in machine.ran if model == "ItemKNN")
    assert took == 60 + 3  # a tenth, and what the measured run took


@pytest.mark.parametrize(
    ("limit", "counted", "left"),
    [("8000", "anon 6000\nfile 1500\n", 2000), ("max", "anon 6000\n", 10**15), (None, "", 10**15)],
)
def test_memory_is_what_the_control_group_leaves(limit, counted, left, tmp_path, monkeypatch):
    files = [str(tmp_path / name) for name in ("limit", "stat")]
    if limit:
        for file, text in zip(files, (limit, counted), strict=True):
            Path(file).write_text(text)
    monkeypatch.setattr(quick, "_CONTROL_GROUPS", [(*files, "anon")])
    monkeypatch.setattr(quick.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**15))
    assert quick._free_bytes() == left


def test_a_budget_without_an_epoch_says_so(trials, monkeypatch, tmp_path):
    machine = Machine(monkeypatch, epoch=1000.0)
    results, left_out = within(1, trials(), 5, tmp_path, machine.run)
    assert results == []
    assert left_out == ["no run: one epoch of BPR takes more than 1 minutes"]


def test_a_budget_that_ends_in_the_warm_phase_trains_nothing(trials, monkeypatch, tmp_path):
    machine = Machine(monkeypatch, epoch=5.0)
    settings = {"sr_init": "model", "sr_warm_epochs": 20, "sr_main_regularizers": {}}
    results, left_out = within(2, trials(**settings), 5, tmp_path, machine.run)
    assert {result["model"] for result in results} == set(MODELS[1:])
    assert "and 21 are needed; raise --minutes to " in left_out[-1]
    enough = int(left_out[-1].split()[-3])
    machine = Machine(monkeypatch, epoch=5.0)
    (tmp_path / "plan.json").unlink(missing_ok=True)
    results, left_out = within(enough, trials(**settings), 5, tmp_path, machine.run)
    assert [one["error"] for one in results if one["model"] == "BPR"] == [None, None]


def test_a_first_run_that_fails_is_the_answer(trials, tmp_path):
    def run(trial, seconds, folder=None):
        return {**trial.request(), "error": "out of memory"}

    results, left_out = within(1, trials(), 5, tmp_path, run)
    assert ([one["error"] for one in results], left_out) == (["out of memory"], [])


REFUSED = {
    "no time": ({"minutes": 0}, "minutes: expected a number above 0, .*, got 0"),
    "no number": ({"minutes": float("nan")}, "minutes: expected a number above 0, .*, got nan"),
    "too many seeds": ({"seeds": 6}, "seeds: expected at most 5 within a time budget, got 6"),
    "runs at a time": ({"jobs": 2}, "jobs: expected one run at a time within a time budget"),
    "tuning": ({"tune_file": "grid.yaml"}, "--tune: expected none within a time budget"),
    "data sets": ({"datasets": ["a", "b"]}, "dataset: expected one within a time budget, got a, b"),
    "nothing to train": ({"models": ["EASE"]}, "model: expected one that is trained, got EASE"),
}


@pytest.mark.parametrize(("given", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_go_with_a_budget_is_refused(given, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        compare(output="study", **{"minutes": 1, **given})
    assert not (tmp_path / "study").exists()


def test_a_study_in_which_no_run_ends_does_not_end_well(tiny, capsys):
    shared = [f"--{key}={value}" for key, value in tiny.items()]
    assert main(["compare", "-d", "tiny", "--quick", "--minutes", "0.001", *shared]) == 1
    told = capsys.readouterr()
    assert "no run: one epoch of BPR takes more than 0.001 minutes" in told.out
    assert told.err.endswith("error: no run ended in time; raise --minutes\n")


@pytest.mark.slow
def test_a_quick_study_of_real_runs(tiny, capsys):
    shared = [f"--{key}={value}" for key, value in {**tiny, "epochs": 2}.items()]
    words = ["compare", "-d", "tiny", "--quick", "--minutes", "60", "--seeds", "1", *shared]
    assert main(words) == 0
    text = capsys.readouterr().out
    for model in MODELS:
        assert f"\n{model}" in text
    assert "no claim: paired seeds 1, needed 5" in text
    assert "left out" not in text
    study = RunFolder("comparison").read("comparison.json")
    assert [row["runs"] for row in study["rows"]] == [1] * 5
    assert all(row["peak_memory"]["mean"] > 2**20 for row in study["rows"])
    assert main([*words, "--resume"]) == 0
    again = RunFolder("comparison").read("comparison.json")
    assert again["rows"] == study["rows"]  # nothing is run again
