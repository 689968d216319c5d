from __future__ import annotations

import math
import sys
from unittest.mock import MagicMock

import pytest
import torch
from recbole.trainer import Trainer
from recbole.utils import early_stopping

from recbole_sr.errors import InputError
from recbole_sr.study.trial import OFF
from recbole_sr.training.trainer import inject_trainer

QUIET = {"show_progress": False, "state": "ERROR"}


@pytest.mark.parametrize(
    ("model", "monitor"),
    [
        ("BPR", True),
        ("BPR", False),
        ("LightGCN", True),
        pytest.param("LightGCN", False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_off_is_stock_recbole_bit_for_bit(model, monitor, experiment, stock):
    settings = {"epochs": 2, **QUIET}
    theirs = stock(model, "ml-100k", **settings)
    ours = experiment(model, "ml-100k", **settings, **OFF, sr_monitor=monitor)
    theirs.assert_equal(ours.model, ours.train(saved=False, verbose=False))


@pytest.mark.parametrize("model", ["BPR", "LightGCN"])
def test_five_regularised_epochs_leave_a_higher_stable_rank(model, experiment, tiny):
    def ranks(warm_epochs):
        phases = {
            "sr_warm_epochs": warm_epochs,
            "sr_main_regularizers": {},
            "sr_init_als_iterations": 0,
        }
        run = experiment(model, "tiny", **tiny, epochs=5, **phases)
        return run.train(saved=False, verbose=False)["sr"]["epochs"][-1]["stable_rank"]

    plain, regularized = ranks(0), ranks(5)
    assert regularized["user"] > plain["user"]
    assert regularized["item"] > plain["item"]


def fit(experiment, scores, **settings):
    """Train with the validation scores given instead of measured ones."""
    made = experiment("BPR", "tiny", **settings)
    trainer = inject_trainer(Trainer)(made.config, made.model)
    given = iter(scores)
    trainer.evaluate = lambda *args, **kwargs: {"mrr@10": next(given)}
    return trainer, trainer.fit(made.train_data, made.valid_data, verbose=False, saved=False)


def test_a_warm_best_does_not_win(experiment, tiny):
    scores = [0.9, 0.8, 0.1, 0.3, 0.2]
    _, (best, result) = fit(experiment, scores, **tiny, epochs=5, sr_warm_epochs=2)
    assert best == 0.3
    assert result == {"mrr@10": 0.3}


def test_a_warm_phase_does_not_end_the_run(experiment, tiny):
    scores = [0.9, *[0.1] * 5, 0.2, 0.1]
    trainer, (best, _) = fit(
        experiment, scores, **tiny, epochs=8, sr_warm_epochs=6, stopping_step=1
    )
    assert [record.phase for record in trainer.epoch_records] == ["warm"] * 6 + ["main"] * 2
    assert best == 0.2


def test_early_stopping_counts_from_the_switch(experiment, tiny):
    scores = [0.9, 0.8, 0.5, 0.4, 0.4, 0.4, 0.4]
    trainer, _ = fit(experiment, scores, **tiny, epochs=50, sr_warm_epochs=2, stopping_step=2)
    assert len(trainer.epoch_records) == 2 + 4  # the best, then stopping_step + 1 misses


def test_recbole_still_stops_where_this_package_expects(experiment, tiny):
    assert early_stopping(0.1, 0.2, 10**9, max_step=math.inf)[2] is False


def test_metric_switch_follows_the_validation_scores(experiment, tiny):
    scores = [0.1, 0.2, 0.1, 0.2, 0.5, 0.6, 0.7]
    trainer, (best, _) = fit(
        experiment,
        scores,
        **tiny,
        epochs=7,
        sr_warm_epochs=5,
        sr_switch="metric",
        sr_patience=2,
        stopping_step=0,
    )
    assert trainer.schedule.switch_epoch == 4
    assert best == 0.7


def test_published_lets_a_warm_best_win(experiment, tiny):
    scores = [0.9, *[0.1] * 8]
    trainer, (best, _) = fit(experiment, scores, **tiny, epochs=9, sr_published=True)
    assert trainer.schedule.switch_epoch == 6
    assert best == 0.9


@pytest.mark.parametrize(
    ("given", "epochs"), [({}, 7), ({"sr_switch": "metric", "sr_patience": 3}, 6)]
)
def test_published_counts_misses_on_after_a_switch_by_epochs(given, epochs, experiment, tiny):
    settings = {**tiny, "epochs": 9, "sr_published": True, "stopping_step": 4, **given}
    if given:  # ends after three misses, and then as many as RecBole waits for
        settings["stopping_step"] = 1
    trainer, _ = fit(experiment, [0.9, *[0.1] * 8], **settings)
    assert len(trainer.epoch_records) == epochs


def test_published_starts_from_standard_normal_tables(experiment, tiny):
    ours = experiment("BPR", "tiny", **{**tiny, "embedding_size": 512}, sr_published=True)
    assert ours.model.user_embedding.weight.std().item() == pytest.approx(1, abs=0.02)


def test_evaluating_every_other_epoch(experiment, tiny):
    trainer, _ = fit(experiment, [0.1, 0.2], **tiny, epochs=4, sr_warm_epochs=1, eval_step=2)
    assert [record.valid_score for record in trainer.epoch_records] == [None, 0.1, None, 0.2]


def test_checkpoint_is_plain_data_that_recboles_own_load_reads(experiment, tiny, tmp_path):
    made = experiment("LightGCN", "tiny", **tiny, epochs=2, sr_warm_epochs=1)
    made.train(saved=True, verbose=False)  # RecBole loads the best model for the test
    (file,) = (path for path in (tmp_path / "saved").glob("*.pth") if ".run" not in path.name)
    checkpoint = torch.load(file, weights_only=True)
    assert checkpoint["config"]["model"] == "LightGCN"
    assert checkpoint["config"]["MODEL_TYPE"] == "GENERAL"
    assert checkpoint["schedule"]["warming"] is False


def test_the_bar_of_recbole_shows_every_epoch(experiment, tiny, capsys):
    made = experiment("BPR", "tiny", **{**tiny, "show_progress": True}, epochs=2, sr_warm_epochs=1)
    made.train(saved=False)
    shown = capsys.readouterr().err
    assert "Train     0" in shown
    assert "Train     1" in shown


def test_ranks_go_to_tensorboard(experiment, tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = experiment("BPR", "tiny", **tiny, epochs=3, sr_warm_epochs=1)
    result = made.train(saved=False, verbose=False)
    (folder,) = (tmp_path / "log_tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    seen = [event.value for event in events.Scalars("Stable_rank/user")]
    assert seen == pytest.approx([e["stable_rank"]["user"] for e in result["sr"]["epochs"]])


def test_ranks_go_to_wandb_by_recboles_step(experiment, tiny, monkeypatch):
    service = MagicMock()
    monkeypatch.setitem(sys.modules, "wandb", service)
    made = experiment("BPR", "tiny", **tiny, epochs=3, sr_warm_epochs=1, log_wandb=True)
    result = made.train(saved=False, verbose=False)
    logged = [call.args[0] for call in service.log.call_args_list]
    for side in ("user", "item"):
        name = f"train/stable_rank/{side}"
        seen = {x["train_step"]: x[name] for x in logged if name in x}
        ranks = {e["epoch"]: e["stable_rank"][side] for e in result["sr"]["epochs"]}
        assert seen == ranks
    assert [x["train_step"] for x in logged if "train/train_loss" in x] == [0, 1, 2]


@pytest.fixture
def raised(experiment, tiny):
    """What an error becomes in a call of LightGCN's method, the first being 1."""

    def run(name, at, error):
        made = experiment("LightGCN", "tiny", **tiny, epochs=2, n_layers=1)
        method, calls = getattr(made.model, name), iter(range(1, 99))

        def fail(*args, **kwargs):
            if next(calls) == at:
                raise error
            return method(*args, **kwargs)

        setattr(made.model, name, fail)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at it
            made.train(saved=False, verbose=False)
        return caught.value

    return run


@pytest.mark.parametrize("name", ["calculate_loss", "full_sort_predict"])
def test_an_error_in_the_first_step_or_evaluation_names_model_and_keys(name, raised):
    error = KeyError("n")
    caught = raised(name, 1, error)
    assert isinstance(caught, InputError)
    assert "LightGCN with embedding_size: 8, n_layers: 1: RecBole cannot use" in str(caught)
    assert caught.__cause__ is error


@pytest.mark.parametrize(
    ("name", "at", "error"),
    [
        ("calculate_loss", 3, KeyError("a bug")),
        ("full_sort_predict", 3, KeyError("a bug")),
        ("calculate_loss", 1, OSError("disk full")),
    ],
)
def test_a_later_error_and_one_of_files_stay_what_they_are(name, at, error, raised):
    assert raised(name, at, error) is error


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")]
)
@pytest.mark.parametrize("at", [1, 3])
def test_too_little_memory_is_said_in_a_sentence(at, error, raised):
    caught = raised("calculate_loss", at, error)
    assert isinstance(caught, InputError)
    assert "expected to fit into memory" in str(caught)
