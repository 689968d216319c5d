from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from recbole.trainer import Trainer

from recbole_sr import load_data_and_model, objective_function, run_recbole_sr
from recbole_sr.epoch_record import EpochRecord
from recbole_sr.errors import InputError
from recbole_sr.objective import Phase
from recbole_sr.quick_start import _advise
from recbole_sr.schedule import Schedule


def test_result_has_recboles_keys_and_the_phases(tiny):
    result = run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 3, "sr_warm_epochs": 2})
    assert set(result) == {
        "best_valid_score",
        "valid_score_bigger",
        "best_valid_result",
        "test_result",
        "sr",
    }
    report = result["sr"]
    assert report["switch_epoch"] == 2
    assert [epoch["phase"] for epoch in report["epochs"]] == ["warm", "warm", "main"]
    assert set(report["epochs"][0]) == {
        "epoch",
        "phase",
        "train_loss",
        "train_seconds",
        "valid_seconds",
        "valid_score",
        "stable_rank",
        "rank_weight",
    }
    warm, main = report["phases"]
    assert (warm["name"], warm["first_epoch"], warm["last_epoch"]) == ("warm", 0, 1)
    assert (main["name"], main["first_epoch"], main["last_epoch"]) == ("main", 2, 2)
    assert warm["stable_rank"]["end"] == main["stable_rank"]["start"]
    assert main["stable_rank"]["end"] == report["epochs"][-1]["stable_rank"]
    assert result["best_valid_score"] == report["epochs"][2]["valid_score"]


def test_without_a_warm_phase_there_is_no_switch(tiny):
    result = run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1, "sr_warm_epochs": 0})
    assert result["sr"]["switch_epoch"] is None
    assert [phase["name"] for phase in result["sr"]["phases"]] == ["main"]


@pytest.mark.parametrize(
    ("scores", "undone"),
    [([0.1, 0.4, 0.3, 0.2], True), ([0.1, 0.2, 0.2, 0.1], False), ([0.1, 0.2, 0.3, 0.1], False)],
)
def test_a_main_phase_that_undoes_the_warm_one_is_told(scores, undone, tiny, monkeypatch, caplog):
    score = iter(scores)
    monkeypatch.setattr(Trainer, "_valid_epoch", lambda *_, **__: (next(score), {}))
    settings = {**tiny, "epochs": 4, "sr_init": "model", "sr_warm_epochs": 2}
    with caplog.at_level(logging.WARNING):
        run_recbole_sr("BPR", "tiny", config_dict=settings, saved=False)
    assert ("No epoch of the main phase ranked as well as epoch 1" in caplog.text) is undone


@pytest.mark.parametrize(("scores", "undone"), [([0.1, 0.2], True), ([0.2, 0.1], False)])
def test_what_undoes_the_warm_phase_where_smaller_is_better(scores, undone, caplog):
    records = [
        EpochRecord(epoch, phase, train_loss=0.7, train_seconds=1.0, valid_score=score)
        for epoch, (phase, score) in enumerate(zip(("warm", "main"), scores, strict=True))
    ]
    schedule = Schedule(Phase("warm"), Phase("main"), warm_epochs=0)
    _advise(SimpleNamespace(schedule=schedule, epoch_records=records, valid_metric_bigger=False))
    assert ("ranked as well as epoch 0" in caplog.text) is undone


def test_a_run_that_ends_warm_says_so(tiny, caplog):
    with caplog.at_level(logging.WARNING):
        settings = {**tiny, "epochs": 2, "sr_warm_epochs": 5}
        result = run_recbole_sr("BPR", "tiny", config_dict=settings)
    assert result["sr"]["switch_epoch"] is None
    assert "ended in the warm phase" in caplog.text


@pytest.mark.parametrize("model", ["BPR", "LightGCN"])
def test_load_data_and_model_reads_a_checkpoint_back(model, experiment, tiny, tmp_path):
    made = experiment(model, "tiny", **tiny, epochs=2, sr_warm_epochs=1)
    made.train(saved=True, verbose=False)
    (file,) = (path for path in (tmp_path / "saved").glob("*.pth") if ".run" not in path.name)
    config, loaded, dataset, train_data, _, test_data = load_data_and_model(str(file))
    assert type(loaded) is type(made.model)
    assert config.options.sr_warm_epochs == 1
    assert dataset.inter_num == made.dataset.inter_num
    batch = next(iter(train_data))
    made.model.eval()
    assert torch.equal(loaded.predict(batch), made.model.predict(batch))
    assert len(test_data.dataset) == len(made.test_data.dataset)


def test_objective_function_serves_hyper_tuning(tiny):
    trial = {**tiny, "model": "BPR", "dataset": "tiny", "epochs": 2, "sr_warm_epochs": "1"}
    result = objective_function(trial, saved=False)
    assert result["model"] == "BPR"
    assert result["sr"]["switch_epoch"] == 1


def test_same_seed_same_bits(tiny):
    settings = {**tiny, "epochs": 2, "sr_warm_epochs": 1}
    first, second = (run_recbole_sr("BPR", "tiny", config_dict=settings) for _ in range(2))
    for result in (first, second):
        for epoch in result["sr"]["epochs"]:
            del epoch["train_seconds"], epoch["valid_seconds"]
    assert first == second


def test_distributed_training_is_refused(tiny):
    with pytest.raises(InputError, match="nproc: expected 1, got 2"):
        run_recbole_sr("BPR", "tiny", config_dict={**tiny, "nproc": 2})
