"""Shared by all tests: clean surroundings, a small data set, stock RecBole to compare with."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass

import pytest
import recbole.config
import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_tensorboard, get_trainer, init_seed
from tiny_data import write_tiny

from recbole_sr.config.config import Config
from recbole_sr.models.inject import repaired
from recbole_sr.models.registry import NON_GRADIENT
from recbole_sr.recbole_compat.mends import mend
from recbole_sr.training.experiment import prepare

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
    torch.set_num_threads(1)

mend()  # tests compare with RecBole's own, which has to run here, too


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path, monkeypatch):
    """RecBole writes into the working folder and reads sys.argv; neither may leak between tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["test"])
    if "SR_TEST_GPU" not in os.environ:  # many tests ask for equal bits, which no GPU promises
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    writers = []
    monkeypatch.setattr(
        "recbole.trainer.trainer.get_tensorboard",
        lambda logger: writers.append(get_tensorboard(logger)) or writers[-1],
    )
    yield
    for writer in writers:  # they flush later, by a path relative to the working folder
        writer.close()
    for handler in logging.getLogger().handlers[:]:
        if isinstance(handler, logging.FileHandler):
            handler.close()
            logging.getLogger().removeHandler(handler)


@pytest.fixture
def tiny(tmp_path):
    """Settings for the small data set, which lies in ``data/tiny`` of the working folder."""
    return write_tiny(tmp_path / "data")


@pytest.fixture
def one_thread():
    """RecBole's LightGCN gives other bits from run to run on several threads, ours or not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def experiment():
    """A prepared experiment of ours."""

    def make(model, dataset, **settings):
        return prepare(Config(model, dataset, config_dict=settings))

    return make


@dataclass
class StockRun:
    """What a run of RecBole's own came to."""

    weights: dict
    losses: list
    best_valid_score: float
    best_valid_result: dict
    test_result: dict
    random_state: torch.Tensor

    def assert_equal(self, model, result):
        """Bit for bit, the random numbers drawn included."""
        assert torch.equal(torch.get_rng_state(), self.random_state)
        weights = model.state_dict()
        assert weights.keys() == self.weights.keys()
        assert all(torch.equal(weights[name], self.weights[name]) for name in weights)
        assert [epoch["train_loss"] for epoch in result["sr"]["epochs"]] == self.losses
        assert result["best_valid_score"] == self.best_valid_score
        assert result["best_valid_result"] == self.best_valid_result
        assert result["test_result"] == self.test_result


@pytest.fixture
def stock():
    """RecBole's own training of a model: the weights, losses and metrics to be equal to."""

    def run(model, dataset, **settings):
        config = recbole.config.Config(model, dataset, config_dict=settings)
        init_seed(config["seed"], config["reproducibility"])
        data = create_dataset(config)
        train, valid, test = data_preparation(config, data)
        init_seed(config["seed"], config["reproducibility"])
        kind = get_model(model)
        net = (kind if model in NON_GRADIENT else repaired(kind))(config, train._dataset).to(
            config["device"]
        )
        trainer = get_trainer(config["MODEL_TYPE"], model)(config, net)
        score, result = trainer.fit(train, valid, verbose=False, saved=False)
        return StockRun(
            weights=net.state_dict(),
            losses=list(trainer.train_loss_dict.values()),
            best_valid_score=score,
            best_valid_result=result,
            test_result=trainer.evaluate(test, load_best_model=False),
            random_state=torch.get_rng_state(),
        )

    return run
