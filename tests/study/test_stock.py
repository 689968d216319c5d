from __future__ import annotations

import os
import pickle

import pytest
import torch
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer

from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.baseline import StockConfig, StockExperiment
from recbole_sr.study.trial import OFF

# What torch says of RecBole's checkpoints.
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")


@pytest.fixture
def made(tiny):
    return StockExperiment(StockConfig("BPR", "tiny", config_dict={**tiny, **OFF, "epochs": 3}))


def test_the_classes_are_recboles_own(made):
    assert type(made.model) is BPR


def test_the_run_is_that_of_plain_recbole_bit_for_bit(made, stock, tiny):
    result = made.train(saved=True, verbose=False, folder="run")
    plain = stock("BPR", "tiny", **tiny, epochs=3)
    assert result["best_valid_score"] == plain.best_valid_score
    assert result["best_valid_result"] == plain.best_valid_result
    lines = RunFolder("run").epochs()
    assert [line["train_loss"] for line in lines] == plain.losses
    assert list(RunFolder("run").read("spectra.json")) == ["start", "end"]
    assert all(line["train_seconds"] > 0 and line["valid_seconds"] > 0 for line in lines)


def test_the_best_model_is_tested_and_no_file_is_read(made, monkeypatch):
    def read(*_, **__):
        raise AssertionError("torch.load")

    monkeypatch.setattr(torch, "load", read)
    scores, trainer = iter([0.1, 0.9, 0.2]), {}
    valid_epoch, evaluate = Trainer._valid_epoch, Trainer.evaluate

    def best_in_the_middle(self, *args, **kwargs):
        _, result = valid_epoch(self, *args, **kwargs)
        trainer[len(trainer)] = result
        return next(scores), result

    monkeypatch.setattr(Trainer, "_valid_epoch", best_in_the_middle)
    result = made.train(saved=True, verbose=False, folder="run")
    assert result["best_valid_result"] == trainer[1]
    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    again = Trainer(made.config, made.model)
    again.eval_collector.data_collect(made.train_data)
    assert again.evaluate(made.valid_data, load_best_model=False) == trainer[1]


class Payload:
    def __reduce__(self):
        return os.mkdir, ("made",)


def test_no_pickle_of_recboles_is_read(tiny, tmp_path):
    (tmp_path / "saved").mkdir()
    for name in ("tiny-Dataset.pth", "tiny-for-BPR-dataloader.pth"):
        (tmp_path / "saved" / name).write_bytes(pickle.dumps(Payload()))
    StockExperiment(StockConfig("BPR", "tiny", config_dict={**tiny, **OFF, "epochs": 1}))
    assert not (tmp_path / "made").exists()
