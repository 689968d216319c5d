"""The stable rank that the trainer sees is held at a target."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from recbole.trainer import Trainer

from recbole_sr.errors import InputError
from recbole_sr.training.trainer import inject_trainer

# Alignment and the target alone, without what the models' recipes add.
HELD = {
    "sr_loss": "align",
    "sr_warm_epochs": 0,
    "sr_main_regularizers": {},
    "sr_uniformity_rows": None,
    "sr_init_als_iterations": 0,
    "sr_target_rank": 4,
    "learning_rate": 0.05,
}


@pytest.fixture
def run(experiment, tiny):
    def train(model="BPR", **settings):
        made = experiment(model, "tiny", **{**tiny, "eval_step": 100, **settings})
        return made.train(saved=False, verbose=False)["sr"]

    return train


@pytest.mark.parametrize("model", ["BPR", pytest.param("LightGCN", marks=pytest.mark.slow)])
def test_a_target_is_held_and_its_weights_are_reported(model, run):
    report = run(model, **HELD, epochs=60)
    last = report["epochs"][-1]
    for side in ("user", "item"):
        assert last["stable_rank"][side] == pytest.approx(4, rel=0.25)
        assert last["rank_weight"][side] > 0
    collapsed = run(model, **{**HELD, "sr_target_rank": None}, epochs=60)["epochs"][-1]
    # the two taste groups share no item, so each collapses to a point of its own
    assert max(collapsed["stable_rank"].values()) < 2
    assert collapsed["rank_weight"] is None


def test_each_side_can_have_its_own_target(run):
    last = run(**{**HELD, "sr_target_rank": {"user": 2, "item": 5}}, epochs=40)["epochs"][-1]
    assert set(last["rank_weight"]) == {"user", "item"}
    assert last["stable_rank"]["item"] > last["stable_rank"]["user"] + 1


def test_the_weights_are_in_the_checkpoint_and_in_the_log(experiment, tiny, caplog):
    made = experiment("BPR", "tiny", **{**tiny, **HELD, "epochs": 2, "state": "INFO"})
    trainer = inject_trainer(Trainer)(made.config, made.model)
    with caplog.at_level(logging.INFO):
        trainer.fit(made.train_data, made.valid_data, saved=True)
    assert "rank weight: user" in caplog.text
    saved = torch.load(trainer.saved_model_file, weights_only=True)
    assert set(saved["schedule"]["rank_weights"]) == {"user", "item"}
    again = inject_trainer(Trainer)(made.config, made.model)
    again.schedule.load_state_dict(copy.deepcopy(saved["schedule"]))
    weights = again.schedule.main.rank_target.weights
    assert weights == pytest.approx(saved["schedule"]["rank_weights"])


@pytest.mark.parametrize("model", ["BPR", "LightGCN"])
@pytest.mark.parametrize("rank", [8, {"item": 9.5}])
def test_a_rank_above_the_width_of_the_tables_is_refused(model, rank, run):
    expected = "sr_target_rank: expected less than 8, the width of the"
    with pytest.raises(InputError, match=expected):
        run(model, sr_target_rank=rank)
