"""The stable rank that the trainer sees ends the warm phase, and is held at a target."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from recbole.trainer import Trainer

from recbole_sr.errors import InputError
from recbole_sr.trainer import inject_trainer

HELD = {"sr_loss": "align", "sr_warm_epochs": 0, "sr_target_rank": 4, "learning_rate": 0.05}

WARM = {"sr_init": "model", "sr_warm_epochs": 5}


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
        trainer.fit(made.train_data, made.valid_data, verbose=False, saved=True)
    assert "rank weight: user" in caplog.text
    saved = torch.load(trainer.saved_model_file, weights_only=True)
    assert set(saved["schedule"]["control"]) == {"user", "item"}
    again = inject_trainer(Trainer)(made.config, made.model)
    again.schedule.load_state_dict(copy.deepcopy(saved["schedule"]))
    assert again.schedule.main.control.weights == pytest.approx(saved["schedule"]["control"])


def test_the_level_of_the_stable_rank_ends_the_warm_phase(run):
    settings = {**WARM, "sr_loss": "align", "sr_warm_regularizers": {"stable_rank": 1e-3}}
    settings |= {"sr_main_regularizers": {"uniformity": 1.0}, "learning_rate": 0.05}
    report = run(**settings, sr_switch="rank", sr_switch_rank=2.5, epochs=40)
    switch = report["switch_epoch"]
    ranks = [max(epoch["stable_rank"].values()) for epoch in report["epochs"]]
    assert min(report["phases"][0]["stable_rank"]["start"].values()) > 2.5
    assert ranks[switch - 1] <= 2.5
    assert all(rank > 2.5 for rank in ranks[: switch - 1])
    assert ranks[-1] > 2.5  # uniformity brings it back


def test_a_settled_stable_rank_ends_the_warm_phase(run):
    settings = {**WARM, "sr_warm_regularizers": {"stable_rank": 1.0}, "learning_rate": 0.05}
    report = run(**settings, sr_switch="rank", sr_rank_tolerance=0.02, epochs=60)
    switch = report["switch_epoch"]
    before, after = (report["epochs"][epoch]["stable_rank"] for epoch in (switch - 2, switch - 1))
    for side in ("user", "item"):
        assert after[side] == pytest.approx(before[side], rel=0.02)


@pytest.mark.parametrize("model", ["BPR", "LightGCN"])
@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"sr_target_rank": 8}, "sr_target_rank"),
        ({"sr_target_rank": {"item": 9.5}}, "sr_target_rank"),
        ({**WARM, "sr_switch": "rank", "sr_switch_rank": 8}, "sr_switch_rank"),
    ],
)
def test_a_rank_above_the_width_of_the_tables_is_refused(model, settings, key, run):
    with pytest.raises(InputError, match=f"{key}: expected less than 8, the width of the"):
        run(model, **settings)
