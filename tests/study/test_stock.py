from __future__ import annotations

import os
import pickle

import pytest
import torch
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer

from recbole_sr.errors import InputError
from recbole_sr.models.registry import NON_GRADIENT
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


@pytest.mark.parametrize("mode", ["full", "uni5"])
@pytest.mark.parametrize("model", sorted(NON_GRADIENT.keys() - {"Pop"}))
def test_a_model_without_gradients_is_recboles_own(model, mode, stock, tiny, tmp_path):
    settings = {
        **tiny,
        "epochs": 1,
        "topk": [3],
        "valid_metric": "MRR@3",
        "eval_args": {"mode": mode},
    }
    plain = stock(model, "tiny", **settings)
    settings |= {**OFF, "epochs": 30, "eval_step": 5}  # its trainer has a single epoch, too
    made = StockExperiment(StockConfig(model, "tiny", config_dict=settings))
    assert type(made.model).__module__.startswith("recbole.")
    before = set(tmp_path.rglob("*.pth"))
    result = made.train(saved=True, verbose=False, folder="run")
    assert result["best_valid_result"] == plain.best_valid_result
    assert result["test_result"] == plain.test_result
    assert set(tmp_path.rglob("*.pth")) == before  # RecBole's pickles hold EASE's whole table
    (line,) = RunFolder("run").epochs()
    assert line["valid_score"] == result["best_valid_score"]


def test_popularity_is_how_often_an_item_was_interacted_with(tiny):
    made = StockExperiment(StockConfig("Pop", "tiny", config_dict={**tiny, **OFF}))
    result = made.train(saved=True, verbose=False, folder="run")
    items = made.train_data.dataset.inter_feat["item_id"].tolist()
    counts = [items.count(item) for item in range(made.model.n_items)]
    assert made.model.item_cnt.flatten().tolist() == counts
    assert made.model.max_cnt.item() == max(counts)
    assert 0 < result["test_result"]["mrr@10"] < 1


@pytest.mark.parametrize(
    ("model", "key", "sentence"),
    [
        ("EASE", {"reg_weigth": 1.0}, "unknown key 'reg_weigth'"),
        ("ItemKNN", {"k": 0}, "k: expected at least 1, got 0"),
        ("DIN", {}, "model: DIN cannot be regularised"),
        ("EASY", {}, "got 'EASY'"),
    ],
)
def test_a_wrong_key_of_a_model_without_gradients_is_refused(model, key, sentence, tiny):
    with pytest.raises(InputError, match=sentence):
        StockConfig(model, "tiny", config_dict={**tiny, **OFF, **key})
