"""Numbers that go wrong, tables without information, and the same run twice."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from contract import first_batch
from tiny_data import write_tiny

from recbole_sr.errors import InputError
from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.regularizers import REGULARIZERS
from recbole_sr.runs import checkpoint
from recbole_sr.runs.folder import RunFolder
from recbole_sr.training.experiment import run_recbole_sr
from recbole_sr.training.trainer import PhasedTrainer

TWICE = """
import json, sys, torch
from recbole_sr.training.experiment import run_recbole_sr
torch.set_num_threads(1)
run_recbole_sr("BPR", "tiny", config_dict=json.loads(sys.argv[1]))
"""
TABLES = {"as drawn": None, "equal rows": 0.5, "zero rows": 0.0}


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("value", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("users", [1, 20])
@pytest.mark.parametrize("name", REGULARIZERS)
def test_gradients_are_finite(name, users, value, amp, experiment, tiny):
    made = experiment("BPR", "tiny", **tiny)
    batch = first_batch(made)[:20]
    if users == 1:
        batch.interaction["user_id"].fill_(1)
    if value is not None:
        fill(made.model, value)
    with (
        made.model.sr_regularized(Phase("warm", {name: 1.0})),
        torch.autocast("cpu", enabled=amp),
    ):
        loss = made.model.calculate_loss(batch)
    loss.backward()
    assert loss.isfinite()
    assert all(table.grad.isfinite().all() for table in made.model.parameters())


# Interactions come in the order of users, so that few of them are one user's.
BATCHES = {
    "whole batches": {},
    "one user": {"shuffle": False, "train_batch_size": 3},
    "one pair": {"train_batch_size": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("value", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize(
    ("model", "name"), [("LightGCN", "stable_rank"), *(("BPR", name) for name in REGULARIZERS)]
)
def test_whole_runs_stay_finite(name, model, value, batches, experiment, tmp_path):
    tiny = write_tiny(tmp_path / "data", users=8)  # batches of one pair are as many as there are
    weights = {"sr_warm_regularizers": {name: 1.0}, "sr_main_regularizers": {name: 0.1}}
    phases = {"epochs": 2, "sr_warm_epochs": 1, **weights}
    made = experiment(model, "tiny", **{**tiny, **phases, **BATCHES[batches]})
    users = [set(batch["user_id"].tolist()) for batch in made.train_data]
    assert (1 in map(len, users)) == (batches != "whole batches")
    if value is not None:
        fill(made.model, value)
    result = made.train(saved=False, verbose=False)
    assert all(table.isfinite().all() for table in made.model.parameters())
    assert all(math.isfinite(epoch["train_loss"]) for epoch in result["sr"]["epochs"])
    assert all(math.isfinite(x) for x in result["sr"]["epochs"][-1]["stable_rank"].values())


@torch.no_grad()
def fill(model, value):
    for table in model.parameters():
        table.fill_(value)


def last_good(tmp_path):
    (run,) = (tmp_path / "saved").glob("*.run.pth")
    return checkpoint.read(run), checkpoint.read(str(run).replace(".run.pth", ".pth"))


def test_a_loss_that_is_not_finite_leaves_the_last_good_states(tiny, tmp_path, monkeypatch):
    own = PhasedTrainer._check_nan

    def check_nan(self, loss):
        own(self, loss * math.nan if (self._epoch, self._batch) == (3, 1) else loss)

    monkeypatch.setattr(PhasedTrainer, "_check_nan", check_nan)
    with pytest.raises(InputError, match=r"epoch 3, batch 2, .*best model so far is saved/BPR"):
        run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 5, "sr_warm_epochs": 1})
    run, best = last_good(tmp_path)
    assert run["epoch"] == 3
    assert 1 <= best["epoch"] <= 2
    for state in (run, best):
        assert all(weight.isfinite().all() for weight in state["state_dict"].values())


@pytest.mark.parametrize("fast", [True, False])
def test_an_update_that_spoils_the_weights_leaves_the_last_good_model(fast, tiny, tmp_path):
    settings = {**tiny, "epochs": 3, "train_batch_size": 10**6, "sr_fast": fast}  # one step each
    settings |= {"learner": "sgd", "learning_rate": 1e30, "sr_monitor": False}
    with pytest.raises(InputError, match="epoch 0: expected finite weights, got NaN") as refusal:
        run_recbole_sr("BPR", "tiny", config_dict={**settings, "weight_decay": 1e30})
    assert "best model" not in str(refusal.value)
    assert not [path for path in (tmp_path / "saved").glob("*.pth") if ".run" not in path.name]


@pytest.mark.parametrize("spoilt", [math.nan, math.inf])
@pytest.mark.parametrize("mode", ["full", "uni5"])
@pytest.mark.parametrize("fast", [True, False])
def test_scores_that_are_not_finite_are_refused_and_no_best(mode, fast, spoilt, experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, epochs=1, sr_fast=fast, eval_args={"mode": mode})
    for name in ("full_sort_predict", "predict"):
        own = getattr(made.model, name)
        setattr(made.model, name, lambda batch, own=own: own(batch) * 0 + spoilt)
    with pytest.raises(InputError, match=f"BPR: expected numbers as scores, got {spoilt}"):
        made.train(saved=False, verbose=False)


def test_a_validation_score_that_is_nan_never_wins(tiny, tmp_path, monkeypatch):
    scores = iter([0.1, 0.2, math.nan, 0.1])
    evaluate = PhasedTrainer.evaluate

    def scored(self, *args, **kwargs):
        result = evaluate(self, *args, **kwargs)
        return {**result, "mrr@10": next(scores, 0.0)}

    monkeypatch.setattr(PhasedTrainer, "evaluate", scored)
    settings = {**tiny, "epochs": 4, "sr_warm_epochs": 0, "sr_init": "model"}
    result = run_recbole_sr("BPR", "tiny", config_dict=settings)
    assert result["best_valid_score"] == 0.2
    assert last_good(tmp_path)[1]["epoch"] == 1


RATED = {"load_col": {"inter": ["user_id", "item_id", "rating"]}, "sr_init": "model"}


def test_a_validation_score_that_is_not_defined_ends_the_run(tiny, experiment):
    """AUC of labels that are all alike."""
    made = experiment("FM", "tiny", **{**tiny, **RATED}, threshold={"rating": 9}, epochs=3)
    with pytest.raises(InputError, match="valid_metric: expected a number as auc of the valid"):
        made.train(saved=True, verbose=False)
    assert not made.model.training  # it has been evaluated, once


def test_ratings_in_place_of_labels_are_refused(tiny, experiment):
    with pytest.raises(InputError, match="LABEL_FIELD: expected labels from 0 to 1 as rating, got"):
        experiment("FM", "tiny", **{**tiny, **RATED}, LABEL_FIELD="rating")


def test_labels_that_are_text_are_refused(tiny, experiment):
    """RecBole numbers them from 1, so that "0" and "1" would be 1 and 2."""
    file = Path(tiny["data_path"], "tiny", "tiny.inter")
    file.write_text(file.read_text().replace("rating:float", "rating:token"))
    with pytest.raises(InputError, match=r"LABEL_FIELD: expected .* float, got rating of type tok"):
        experiment("FM", "tiny", **{**tiny, **RATED}, LABEL_FIELD="rating")


def test_labels_that_are_not_loaded_are_named(tiny, experiment):
    with pytest.raises(InputError, match=r"inter\): expected rating, the labels, for FM .*add rat"):
        experiment("FM", "tiny", **tiny, LABEL_FIELD="rating")


def test_a_threshold_that_no_model_reads_is_named(tiny, experiment, caplog):
    experiment("BPR", "tiny", **{**tiny, **RATED, "state": "WARNING"}, threshold={"rating": 2})
    (said,) = [record.message for record in caplog.records if "threshold" in record.message]
    assert said.startswith("threshold: BPR reads no labels, so that its loss counts all interac")
    assert said.endswith("set val_interval: {rating: '[2,inf)'}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("numerical_features", ["gender"]),
        ("normalize_field", ["gender"]),
        ("discretization", {"gender": {"method": "ED", "bucket": 5}}),
    ],
)
def test_text_in_place_of_numbers_is_refused(key, value, tiny, experiment):
    loaded = {"load_col": {**RATED["load_col"], "user": ["user_id", "gender"]}}
    with pytest.raises(InputError, match=f"{key}: expected columns of type float .*gender of type"):
        experiment("FM", "tiny", **{**tiny, **loaded}, threshold={"rating": 2}, **{key: value})


@pytest.mark.slow
def test_one_seed_in_two_processes_gives_the_same_bits(tiny, tmp_path):
    settings = {**tiny, "epochs": 3, "sr_warm_epochs": 1, "sr_fast": True}
    runs = [in_a_process(tmp_path / name, settings) for name in ("first", "second")]
    assert runs[0][0] == runs[1][0]
    first, second = (weights for _, weights in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def in_a_process(folder, settings):
    folder.mkdir()
    command = [sys.executable, "-W", "ignore", "-c", TWICE, json.dumps(settings)]
    subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL)
    (run,) = (folder / "saved").glob("*.run.pth")
    epochs = RunFolder(str(run).removesuffix(".run.pth")).epochs()
    numbers = [{key: line[key] for key in line if "seconds" not in key} for line in epochs]
    return numbers, checkpoint.read(run)["state_dict"]
