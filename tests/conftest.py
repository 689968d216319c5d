"""Shared by all tests: clean surroundings, a small data set, stock RecBole to compare with."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import recbole.config
import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_tensorboard, get_trainer, init_seed

from recbole_sr.config import Config
from recbole_sr.quick_start import _prepare
from recbole_sr.repairs import repaired


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path, monkeypatch):
    """RecBole writes into the working folder and reads sys.argv; neither may leak between tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["test"])
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
    """Settings for a data set of 40 users and 60 items in two taste groups; trains in a blink.

    Its columns and files serve models of every family: times, ratings, features, a graph.
    """
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(40):
        liked = draw.choice(30, size=12, replace=False) + 30 * (user % 2)
        lines += [
            f"u{user}\ti{item}\t{(user + item) % 5}\t{time}" for time, item in enumerate(liked)
        ]
    users = [f"u{user}\t{'FM'[user % 2]}" for user in range(40)]
    items = [f"i{item}\tc{item % 4} d{item // 30}" for item in range(60)]
    graph = [f"e{item}\tr{item % 2}\tg{item % 5}" for item in range(60)]
    graph += [f"e{item}\tr2\te{(item + 1) % 60}" for item in range(60)]
    files = {
        "inter": lines,
        "user": ["user_id:token\tgender:token", *users],
        "item": ["item_id:token\tclass:token_seq", *items],
        "link": ["item_id:token\tentity_id:token", *(f"i{item}\te{item}" for item in range(60))],
        "kg": ["head_id:token\trelation_id:token\ttail_id:token", *graph],
        "ent": ["ent_id:token\tent_emb:float_seq", *(f"i{i}\t{'0.5 ' * 8}" for i in range(60))],
    }
    for suffix, rows in files.items():
        (folder / f"tiny.{suffix}").write_text("\n".join(rows) + "\n")
    return {
        "data_path": str(tmp_path / "data"),
        "load_col": {"inter": ["user_id", "item_id"]},
        "train_batch_size": 64,
        "embedding_size": 8,
        "learning_rate": 0.01,
        "show_progress": False,
        "state": "ERROR",
    }


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
        return _prepare(Config(model, dataset, config_dict=settings))

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
        net = repaired(get_model(model))(config, train._dataset).to(config["device"])
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
