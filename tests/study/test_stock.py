from __future__ import annotations

import os
import pickle

import pytest
import torch
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer

from recbole_sr.recbole_compat.versions import own_checkpoint_trusted
from recbole_sr.runs.folder import RunFolder
from recbole_sr.study.baseline import StockConfig, StockExperiment
from recbole_sr.study.trial import OFF

# What torch says when its switch is used, and of RecBole's checkpoints.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY"),
    pytest.mark.filterwarnings("ignore:Detected pickle protocol 4"),
]


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


def test_recbole_still_needs_help_to_load_its_own_checkpoint(made):
    trainer = Trainer(made.config, made.model)
    trainer.eval_collector.data_collect(made.train_data)
    trainer._save_checkpoint(0, verbose=False)
    with pytest.raises(pickle.UnpicklingError):
        trainer.evaluate(made.test_data)
    with own_checkpoint_trusted():
        assert trainer.evaluate(made.test_data)
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ
    with pytest.raises(pickle.UnpicklingError):
        torch.load(trainer.saved_model_file)
