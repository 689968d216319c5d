"""A model to serve: trained once more on all interactions, as the best one was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from contract import settings_of

from recbole_sr import load_data_and_model, objective_function, recommend, resume, run_recbole_sr
from recbole_sr.cli import main
from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder
from recbole_sr.training.console import closing_lines
from recbole_sr.training.experiment import prepare
from recbole_sr.training.trainer import PhasedTrainer

BRIEF = {"epochs": 4, "stopping_step": 99}


def weights(file):
    return load_data_and_model(file)[1].state_dict()


def pairs(part):
    users, items = (part.inter_feat[name].tolist() for name in ("user_id", "item_id"))
    return sorted(zip(users, items, strict=True))


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("BPR", {}),
        ("BPR", {"sr_fast": False}),
        ("SASRec", {}),
        ("CKE", {}),
        ("FM", {}),
        ("MultiVAE", {}),
        ("BPR", {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "RO"}}),
    ],
)
def test_the_training_part_holds_all_interactions(model, settings, tiny):
    given = {**settings_of(model, tiny), **settings}
    parts, joined = (
        [loader._dataset for loader in prepare(Config(model, "tiny", config_dict=keys))[3:]]
        for keys in (given, {**given, "sr_train_on": "all"})
    )
    assert pairs(joined[0]) == sorted(pair for part in parts for pair in pairs(part))
    assert len(joined[0].inter_feat) > len(parts[0].inter_feat)
    assert [pairs(part) for part in joined[1:]] == [pairs(part) for part in parts[1:]]


@pytest.mark.parametrize(
    ("settings", "switch_epoch"),
    [
        ({}, None),
        ({"sr_warm_epochs": 2}, 2),
        ({"sr_warm_epochs": 3, "sr_switch": "metric", "sr_patience": 1, "learning_rate": 1e-9}, 2),
        ({"sr_published": True, "sr_warm_epochs": 1}, 2),
    ],
    ids=["one phase", "two phases", "switched by metric", "published"],
)
def test_it_is_trained_as_the_best_model_was(settings, switch_epoch, tiny):
    given = {**tiny, **BRIEF, "sr_init": "model", **settings}
    result = run_recbole_sr("BPR", "tiny", config_dict={**given, "sr_final": True})
    method = result["sr"]
    assert method["switch_epoch"] == switch_epoch
    epochs = method["best_epoch"] + 1
    assert method["final"]["epochs"] == epochs
    assert json.loads((Path(method["run_folder"]) / "final.json").read_text()) == method["final"]
    folder = Path(method["final"]["run_folder"])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    phases = [epoch["phase"] for epoch in method["epochs"]][:epochs]
    assert [line["phase"] for line in lines] == phases
    assert all(line["valid_score"] is None for line in lines)
    assert json.loads((folder / "result.json").read_text())["test_result"] is None
    by_hand = {**given, "sr_train_on": "all", "epochs": epochs, "sr_switch": "epochs"}
    if given.get("sr_switch") == "metric":
        by_hand["sr_warm_epochs"] = switch_epoch
    again = run_recbole_sr("BPR", "tiny", config_dict=by_hand)["sr"]["checkpoint"]
    final, other = weights(method["final"]["checkpoint"]), weights(again)
    assert all(torch.equal(final[name], other[name]) for name in final)
    best = weights(method["checkpoint"])
    assert not all(torch.equal(final[name], best[name]) for name in final)


def test_lists_and_resuming_read_it(tiny):
    result = run_recbole_sr("BPR", "tiny", config_dict={**tiny, **BRIEF, "sr_final": True})
    file = result["sr"]["final"]["checkpoint"]
    assert len(recommend(file, k=3, known="training")) == 40 * 3
    before = weights(file)
    again = resume(file.replace(".pth", ".run.pth"))
    lines = closing_lines(again, "mrr@10", 1.0, judged=False)
    assert "none, as all interactions were trained on" in lines[0]
    assert again["test_result"] is None
    assert all(torch.equal(before[name], own) for name, own in weights(file).items())


@pytest.mark.parametrize("ended", [True, False])
def test_resuming_the_whole_run_keeps_the_final_model(ended, tiny, monkeypatch):
    given = {**tiny, **BRIEF, "sr_final": True}
    whole = run_recbole_sr("BPR", "tiny", config_dict=given)["sr"]
    file = Path(whole["final"]["checkpoint"])
    assert file == Path(f"{whole['run_folder']}-final.pth")
    before, written = weights(str(file)), file.stat().st_mtime_ns
    if not ended:  # cut as the second training began, after its first state was saved
        with monkeypatch.context() as patched:
            cut_in_the_final_epoch(patched, whole["final"]["epochs"])
            with pytest.raises(KeyboardInterrupt):
                run_recbole_sr("BPR", "tiny", config_dict=given)
        (cut,) = (path for path in Path("saved").glob("*-final") if path != file.with_suffix(""))
        folder = Path(str(cut).removesuffix("-final"))
        assert not (folder / "final.json").exists()
        whole = {"run_folder": str(folder)}
    again = resume(f"{whole['run_folder']}.run.pth")["sr"]["final"]
    assert again["checkpoint"] == f"{whole['run_folder']}-final.pth"
    found = json.loads((Path(whole["run_folder"]) / "final.json").read_text())
    assert found == again
    assert all(torch.equal(before[name], own) for name, own in weights(found["checkpoint"]).items())
    assert file.stat().st_mtime_ns == written
    assert len(list(Path("saved").glob("*-final"))) == (1 if ended else 2)


@pytest.mark.parametrize("where", ["claimed", "made"])
def test_a_final_training_cut_before_it_saved_keeps_its_name(where, tiny, monkeypatch):
    made = RunFolder.create

    def create(path, *more, **others):
        if str(path).endswith("-final"):
            if where == "made":
                made(path, *more, **others)
            raise KeyboardInterrupt
        return made(path, *more, **others)

    given = {**tiny, **BRIEF, "sr_final": True}
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "create", create)
        with pytest.raises(KeyboardInterrupt):
            run_recbole_sr("BPR", "tiny", config_dict=given)
    (run,) = (path for path in Path("saved").glob("*.run.pth"))
    for _ in range(2):  # the second finds it trained
        file = resume(str(run))["sr"]["final"]["checkpoint"]
        assert file == str(run).replace(".run.pth", "-final.pth")
    assert len(list(Path("saved").glob("*-final*/"))) == 1


def cut_in_the_final_epoch(monkeypatch, epochs):
    """Ctrl-C in the last epoch of the training on all interactions."""
    trained = PhasedTrainer._train_epoch

    def train(self, train_data, epoch, *more, **others):
        if self.config["sr_train_on"] == "all" and epoch == epochs - 1:
            raise KeyboardInterrupt
        return trained(self, train_data, epoch, *more, **others)

    monkeypatch.setattr(PhasedTrainer, "_train_epoch", train)


def test_ctrl_c_in_the_final_training_leads_back_to_the_whole_run(tiny, monkeypatch, capsys):
    cut_in_the_final_epoch(monkeypatch, 1)
    keys = {**tiny, "epochs": 1, "sr_final": True}
    arguments = [f"--{key}={value}" for key, value in keys.items()]
    assert main(["-m", "BPR", "-d", "tiny", *arguments]) == 130
    (file,) = (path for path in Path("saved").glob("*.run.pth") if "-final" not in path.name)
    assert f"go on by: recbole-sr resume {file}" in capsys.readouterr().err


def test_ctrl_c_before_the_final_training_leads_back_to_the_whole_run(tiny, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("recbole_sr.training.experiment.final_config", interrupted)
    keys = {**tiny, "epochs": 1, "sr_final": True}
    assert main(["-d", "tiny", *(f"--{key}={value}" for key, value in keys.items())]) == 130
    (file,) = Path("saved").glob("*.run.pth")
    assert f"go on by: recbole-sr resume {file}" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["BPR", "SASRec"])
def test_another_process_reads_it(model, tiny):
    """Whose sets of names are in another order."""
    given = {**settings_of(model, tiny), "epochs": 1, "sr_train_on": "all"}
    given["load_col"] = {
        **given["load_col"],
        "inter": ["user_id", "item_id", "rating", "timestamp"],
    }
    file = run_recbole_sr(model, "tiny", config_dict=given)["sr"]["checkpoint"]
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", f"import recbole_sr; recbole_sr.load_data_and_model({file!r})"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )


def test_nothing_is_left_behind_where_nothing_is_saved(tiny):
    given = {**tiny, **BRIEF, "sr_final": True}
    method = run_recbole_sr("BPR", "tiny", config_dict=given, saved=False)["sr"]
    assert method["final"]["checkpoint"] is None
    assert not list(Path("saved").glob("BPR*"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sr_final": True}, "sr_train_on: expected 'training' with sr_final: True, which needs"),
        (
            {"sr_warm_epochs": 2, "sr_switch": "metric"},
            "sr_train_on: expected 'training' with sr_switch: metric, .*set sr_switch: epochs",
        ),
    ],
)
def test_what_needs_validation_scores_is_refused_without(settings, says, tiny):
    with pytest.raises(InputError, match=says):
        Config("BPR", "tiny", config_dict={**tiny, **settings, "sr_train_on": "all"})


@pytest.mark.parametrize("settings", [{"sr_final": True}, {"sr_train_on": "all"}])
def test_a_trial_is_for_judging(settings, tiny):
    with pytest.raises(InputError, match="as trials are judged by validation and test"):
        objective_function({**tiny, "model": "BPR", "dataset": "tiny", **settings})


def test_a_run_without_a_best_epoch_has_no_final_model(tiny):
    given = {**tiny, **BRIEF, "sr_final": True}
    with pytest.raises(
        InputError, match=r"sr_final: expected validation scores, .* eval_step is 0"
    ):
        Config("BPR", "tiny", config_dict={**given, "eval_step": 0})
    given["eval_args"] = {"split": {"LS": "test_only"}, "order": "RO"}
    with pytest.raises(InputError, match=r"sr_final: expected a best epoch, .*set eval_step: 1"):
        run_recbole_sr("BPR", "tiny", config_dict=given)
