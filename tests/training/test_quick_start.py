from __future__ import annotations

import json
import logging
import os
import pickle
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import recbole.model.general_recommender
import torch
from recbole.trainer import Trainer
from resuming import without_seconds

from recbole_sr import load_data_and_model, objective_function, recommend, run_recbole_sr
from recbole_sr.config.config import Config
from recbole_sr.config.options import Options
from recbole_sr.errors import InputError
from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.schedule import Schedule
from recbole_sr.runs import checkpoint
from recbole_sr.runs.epochs import EpochRecord
from recbole_sr.training.experiment import _advise, resume


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


@pytest.mark.parametrize("published", [False, True])  # whose warm epochs count
def test_a_main_phase_that_was_never_evaluated_is_told(published, caplog):
    records = [
        EpochRecord(epoch, phase, train_loss=0.7, train_seconds=1.0, valid_score=score)
        for epoch, (phase, score) in enumerate([("warm", 0.1), ("main", None)])
    ]
    schedule = Schedule(Phase("warm"), Phase("main"), warm_epochs=0)
    trainer = SimpleNamespace(schedule=schedule, epoch_records=records, valid_metric_bigger=True)
    _advise(SimpleNamespace(**vars(trainer), options=Options(sr_published=published)))
    assert ("No epoch of the main phase was evaluated" in caplog.text) is not published


@pytest.mark.parametrize("split", [{"LS": "test_only"}, {"LS": "valid_only"}, {"RS": [9, 0, 1]}])
@pytest.mark.parametrize("fast", [True, False])
def test_a_split_without_validation_or_test_trains_as_recboles(split, fast, tiny):
    args = {"split": split, "mode": "full", "order": "RO", "group_by": "user"}
    settings = {**tiny, "epochs": 2, "eval_args": args, "sr_fast": fast}
    result = run_recbole_sr("BPR", "tiny", config_dict=settings)
    assert len(result["sr"]["epochs"]) == 2
    assert (result["best_valid_result"] is None) is (split != {"LS": "valid_only"})
    assert (result["test_result"] is None) is (split == {"LS": "valid_only"})


def test_numbers_of_numpy_are_settings_like_others(tiny, tmp_path):
    settings = {**tiny, "epochs": np.int64(1), "learning_rate": np.float64(0.01)}
    run_recbole_sr("BPR", "tiny", config_dict=settings)
    (file,) = (path for path in (tmp_path / "saved").glob("*.pth") if ".run" not in path.name)
    assert load_data_and_model(str(file))[0]["learning_rate"] == 0.01


@pytest.mark.parametrize("kind", [np.array, torch.tensor, Decimal, Fraction])
def test_a_number_of_another_type_is_one_of_pythons(kind, tiny):
    made = Config("BPR", "tiny", config_dict={**tiny, "learning_rate": kind(0.25)})
    assert (type(made["learning_rate"]), made["learning_rate"]) == (float, 0.25)
    made = Config("BPR", "tiny", config_dict={**tiny, "topk": np.array([5, 10])})
    assert made["topk"] == [5, 10]


def test_paths_and_tuples_are_settings_as_texts_and_lists_are(tiny, tmp_path):
    settings = {**tiny, "epochs": 1, "topk": (3, 5), "checkpoint_dir": tmp_path / "elsewhere"}
    result = run_recbole_sr("BPR", "tiny", config_dict={**settings, "valid_metric": "MRR@5"})
    assert "mrr@3" in result["test_result"]
    assert Path(result["sr"]["checkpoint"]).parent == tmp_path / "elsewhere"


@pytest.mark.parametrize("key", [None, 3])
def test_a_key_that_is_no_text_is_refused(key, tiny):
    sentence = f"config_dict: expected the names of keys, got {key!r}; give texts"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        run_recbole_sr("BPR", "tiny", config_dict={**tiny, key: 1})


@pytest.mark.parametrize("given", ["epochs: 1", [1]])
def test_what_is_no_dictionary_of_keys_is_refused(given):
    sentence = f"config_dict: expected a dictionary of keys, got {given!r}; give one"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        run_recbole_sr("BPR", "tiny", config_dict=given)


def test_a_value_that_cannot_be_copied_is_refused(tiny):
    with pytest.raises(InputError, match="topk: expected a text, a number, a list or a dictionary"):
        Config("BPR", "tiny", config_dict={**tiny, "topk": (k for k in (5, 10))})


def test_any_mapping_is_a_dictionary(tiny):
    split = MappingProxyType({"RS": [6, 2, 2]})
    given = MappingProxyType({**tiny, "eval_args": MappingProxyType({"split": split})})
    assert Config("BPR", "tiny", config_dict=given)["eval_args"]["split"] == {"RS": [6, 2, 2]}


@pytest.mark.parametrize("loaded", [{"inter": []}, {"item": ["item_id"]}])
def test_no_columns_of_interactions_are_refused(loaded, tiny):
    with pytest.raises(InputError, match="load_col: expected columns of inter among others"):
        run_recbole_sr("BPR", "tiny", config_dict={**tiny, "load_col": loaded})


class Payload:
    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.mark.parametrize("named", [True, False])
def test_no_pickle_that_a_checkpoint_leads_to_is_read(named, tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1})
    files = ["tiny-Dataset.pth", "tiny-for-BPR-dataloader.pth"]
    for name in files:
        (tmp_path / "saved" / name).write_bytes(pickle.dumps(Payload()))
    model, run = sorted((tmp_path / "saved").glob("BPR-*.pth"))
    for path in (model, run):
        state = checkpoint.read(path)
        keys = ("dataset_save_path", "dataloaders_save_path")
        paths = [f"saved/{name}" for name in files] if named else [None, None]
        state["config"].update(zip(keys, paths, strict=True))
        checkpoint.write(state, path)
    config, *_ = load_data_and_model(str(model))
    assert config["dataset_save_path"] is None
    resume(str(run))
    assert not Path("made").exists()


@pytest.mark.parametrize("key", ["dataset_save_path", "dataloaders_save_path"])
def test_a_pickle_that_is_asked_for_is_refused(key, tiny, tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(InputError, match=f"^{key}: expected none, as reading a pickle can run"):
        run_recbole_sr("BPR", "tiny", config_dict={**tiny, key: "a.pth"})
    assert not Path("made").exists()


def test_pickles_that_lie_there_are_named_and_not_read(tiny, tmp_path, caplog):
    (tmp_path / "saved").mkdir()
    names = ("tiny-Dataset.pth", "tiny-for-BPR-dataloader.pth")
    for name in names:
        (tmp_path / "saved" / name).write_bytes(pickle.dumps(Payload()))
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1, "state": "WARNING"})
    assert not Path("made").exists()
    assert all(f"saved/{name}: not read" in caplog.text for name in names)


@pytest.mark.parametrize(
    ("then", "now", "used"),
    [
        ("3", None, "3"),
        ("3", "1", "1"),
        ("", "1", ""),
        ("-1", None, "-1"),
        ("GPU-8f2e", None, "0"),
        ("GPU-8f2e", "MIG-77", "MIG-77"),
    ],
)
def test_a_checkpoint_of_a_gpu_is_read_without_one(then, now, used, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_sr.config.config._VISIBLE_GPUS", now)
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1, "sr_save_step": 0})
    (file,) = (tmp_path / "saved").glob("*.pth")
    state = checkpoint.read(file)
    state["config"].update(device="cuda", gpu_id=then)
    checkpoint.write(state, file)
    config, model, *_ = load_data_and_model(str(file))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == used
    assert {config["device"].type, model.device.type} == {"cpu"}


@pytest.mark.parametrize("shown", ["-1", "GPU-8f2e", "MIG-77"])
def test_a_run_serves_whatever_the_environment_calls_its_gpu(shown, tiny, monkeypatch):
    monkeypatch.setattr("recbole_sr.config.config._VISIBLE_GPUS", shown)
    settings = {**tiny, "epochs": 1, "sr_final": True}
    found = run_recbole_sr("BPR", "tiny", config_dict=settings)["sr"]["final"]
    assert load_data_and_model(found["checkpoint"])[0]["gpu_id"] == shown


def test_a_run_of_several_processes_is_served_by_one(tiny, tmp_path):
    made = run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1})["sr"]
    for suffix in (".pth", ".run.pth"):
        file = made["checkpoint"].removesuffix(".pth") + suffix
        state = checkpoint.read(file)
        state["config"].update(nproc=2, world_size=4, ip="10.0.0.1", port=29500, group_offset=2)
        checkpoint.write(state, file)
    assert len(recommend(made["checkpoint"], k=3))
    assert resume(made["checkpoint"].replace(".pth", ".run.pth"))["test_result"]


def test_data_that_are_gone_are_missed_in_a_sentence(tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1, "sr_save_step": 0})
    (file,) = (tmp_path / "saved").glob("*.pth")
    (tmp_path / "data/tiny/tiny.inter").unlink()
    with pytest.raises(InputError, match=r"tiny\.inter: expected the file that dataset asks for"):
        load_data_and_model(str(file))


def test_a_score_of_numpys_is_written_down(tiny, tmp_path):
    settings = {**tiny, "epochs": 1, "metrics": ["GAUC"], "valid_metric": "GAUC"}
    result = run_recbole_sr("BPR", "tiny", config_dict=settings)
    (file,) = (tmp_path / "saved").glob("*/result.json")
    assert json.loads(file.read_text())["test_result"] == dict(result["test_result"])


def test_a_saved_run_is_no_models_checkpoint(tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1})
    (file,) = (tmp_path / "saved").glob("*.run.pth")
    with pytest.raises(InputError, match="got a saved run"):
        load_data_and_model(str(file))


@pytest.mark.parametrize("model", ["FISM", "BERT4Rec"])
def test_a_target_on_a_side_that_a_model_lacks_is_refused(model, tiny):
    settings = {**tiny, "load_col": None, "sr_target_rank": {"user": 4}}
    with pytest.raises(InputError, match=f"expected a side that {model} has, got 'user'"):
        run_recbole_sr(model, "tiny", config_dict=settings)


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
    assert without_seconds(first) == without_seconds(second)


def test_distributed_training_is_refused(tiny):
    with pytest.raises(InputError, match="nproc: expected 1, got 2"):
        run_recbole_sr("BPR", "tiny", config_dict={**tiny, "nproc": 2})


def test_a_class_named_like_one_of_recboles_is_not_taken_for_it(tiny, caplog):
    class BPR(recbole.model.general_recommender.BPR):
        def full_sort_predict(self, interaction):
            return -super().full_sort_predict(interaction)

    with caplog.at_level(logging.INFO):
        result = run_recbole_sr(BPR, "tiny", config_dict={**tiny, "epochs": 1})
    assert "recbole-sr recommend" not in caplog.text  # no command has the class
    file = result["sr"]["checkpoint"]
    with pytest.raises(InputError, match=r"BPR is none of RecBole's, got none; give it in Python"):
        recommend(file, ["u1"])
    ours, theirs = (recommend(file, ["u1"], 60, with_known=True, model_class=BPR) for _ in "ab")
    assert ours.equals(theirs)
    worst_first = load_data_and_model(file, BPR)[1]
    assert isinstance(worst_first, BPR)


def test_a_general_model_does_not_read_a_column_that_is_named_like_a_history(tiny, tmp_path):
    path = tmp_path / "data" / "tiny" / "tiny.inter"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{head}\titem_id_list:float", *(f"{x}\t0.5" for x in lines)]))
    settings = {**tiny, "epochs": 2, "sr_warm_epochs": 1, "sr_init": "model"}
    plain = run_recbole_sr("BPR", "tiny", config_dict=settings)
    load = {"inter": ["user_id", "item_id", "item_id_list"]}
    beside = run_recbole_sr("BPR", "tiny", config_dict={**settings, "load_col": load})
    assert beside["test_result"] == plain["test_result"]


@pytest.mark.parametrize("field", ["rank", "score"])
def test_ids_named_as_a_column_of_the_lists_are_refused(field, tiny, tmp_path):
    path = tmp_path / "data" / "tiny" / "tiny.inter"
    path.write_text(path.read_text().replace("user_id:token", f"{field}:token"))
    load = {"inter": [field, "item_id"]}
    settings = {**tiny, "epochs": 1, "USER_ID_FIELD": field, "load_col": load}
    result = run_recbole_sr("BPR", "tiny", config_dict=settings)
    with pytest.raises(InputError, match=f"^{field}: expected a column of ids of another name"):
        recommend(result["sr"]["checkpoint"], k=np.int64(2))
