"""``sr_keep_untrained``: the untrained model is the best one where no epoch ranks as high."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from contract import settings_of
from resuming import without_seconds

from recbole_sr import compare, load_data_and_model, recommend, report, resume, run_recbole_sr
from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint
from recbole_sr.training.console import closing_lines
from recbole_sr.training.experiment import prepare
from recbole_sr.training.trainer import PhasedTrainer

KEEP = {"sr_keep_untrained": True, "sr_init": "spectral", "sr_warm_epochs": 0}
WORSE = {"learning_rate": 10.0, "epochs": 3}  # what is learned is lost with the first steps


def weights(file):
    return load_data_and_model(file)[1].state_dict()


def train(tiny, **settings):
    return run_recbole_sr("BPR", "tiny", config_dict={**tiny, **KEEP, **settings})


@pytest.fixture
def scored(monkeypatch):
    """The scores that the next evaluations come to, the untrained model's first."""
    left = []
    own = PhasedTrainer.evaluate

    def evaluate(self, *args, **kwargs):
        found = own(self, *args, **kwargs)
        return {**found, self.valid_metric: left.pop(0)} if left else found

    monkeypatch.setattr(PhasedTrainer, "evaluate", evaluate)
    return left


def test_it_is_kept_where_no_epoch_ranks_higher(tiny):
    result = train(tiny, **WORSE)
    method = result["sr"]
    assert method["best_epoch"] == -1
    assert len(method["epochs"]) == 3
    assert result["best_valid_score"] == method["initial_valid_score"]
    assert result["best_valid_score"] > max(epoch["valid_score"] for epoch in method["epochs"])
    initial = prepare(Config("BPR", "tiny", config_dict={**tiny, **KEEP})).model.state_dict()
    best = weights(method["checkpoint"])
    assert all(torch.equal(best[name], initial[name]) for name in initial)
    untrained = train(tiny, epochs=0)
    assert untrained["test_result"] == result["test_result"]
    assert untrained["best_valid_result"] == result["best_valid_result"]
    outcome = json.loads((Path(method["run_folder"]) / "result.json").read_text())
    assert outcome["best_epoch"] == -1
    lines = closing_lines(result, "mrr@10", 1.0)
    assert any("the untrained model (none of 3), valid mrr@10" in line for line in lines)
    report([method["run_folder"]], "report.html")
    assert "the untrained model (none of 3)" in Path("report.html").read_text("utf-8")


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize(
    ("scores", "best"), [([0.4, 0.3, 0.4], 1), ([0.4, 0.5, 0.2], 0), ([0.4, 0.3, 0.2], -1)]
)
def test_an_epoch_that_ranks_as_high_is_taken(scores, best, saved, tiny, scored):
    scored.extend(scores)
    given = {**tiny, **KEEP, "epochs": 2}
    result = run_recbole_sr("BPR", "tiny", config_dict=given, saved=saved)
    assert result["sr"]["best_epoch"] == best
    assert result["best_valid_score"] == max(scores)
    if saved:
        assert checkpoint.read_model(result["sr"]["checkpoint"]).epoch == best


def test_patience_counts_from_the_untrained_model(tiny):
    result = train(tiny, **{**WORSE, "epochs": 9, "stopping_step": 2})
    assert len(result["sr"]["epochs"]) == 3


def test_training_is_the_same_with_and_without(tiny):
    with_it, without = (
        train(tiny, **{**WORSE, "sr_keep_untrained": keep})["sr"] for keep in (True, False)
    )
    assert without["best_epoch"] >= 0
    for mine, theirs in zip(with_it["epochs"], without["epochs"], strict=True):
        assert mine["train_loss"] == theirs["train_loss"]
        assert mine["valid_score"] == theirs["valid_score"]


@pytest.mark.parametrize(
    "model", ["LightGCN", "NCL", "CKE", "KGAT", "MultiDAE", "LDiffRec", "FM", "TransRec"]
)
def test_it_serves_models_of_every_kind(model, tiny, scored):
    scored.extend([0.9, 0.8, 0.7])
    init = {"sr_init": "transitions"} if model == "TransRec" else {}
    given = {**settings_of(model, tiny), **KEEP, **init, "epochs": 2}
    result = run_recbole_sr(model, "tiny", config_dict=given)
    assert result["sr"]["best_epoch"] == -1
    assert checkpoint.read_model(result["sr"]["checkpoint"]).epoch == -1


def test_less_may_be_better(tiny):
    given = {**settings_of("FM", tiny), **KEEP, "epochs": 2, "learning_rate": 10.0}
    given |= {"metrics": ["RMSE"], "valid_metric": "RMSE"}
    result = run_recbole_sr("FM", "tiny", config_dict=given)
    assert result["sr"]["best_epoch"] == -1
    assert result["best_valid_score"] < min(x["valid_score"] for x in result["sr"]["epochs"])


def test_an_interrupted_run_keeps_it(tiny, monkeypatch):
    given = {**WORSE, "sr_save_step": 1}
    whole = train(tiny, **given)
    own = PhasedTrainer._train_epoch

    def stopped(self, train_data, epoch_idx, *args, **kwargs):
        if epoch_idx == 2:
            raise KeyboardInterrupt
        return own(self, train_data, epoch_idx, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(PhasedTrainer, "_train_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(tiny, **given)
    before = Path(whole["sr"]["checkpoint"]).name
    (file,) = (x for x in Path("saved").glob("*.run.pth") if not before.startswith(x.name[:-8]))
    assert without_seconds(resume(str(file))) == without_seconds(whole)


def test_a_run_is_tested_again_from_its_file(tiny):
    for settings in (WORSE, {"epochs": 0}):
        result = train(tiny, **settings)
        again = resume(f"{result['sr']['run_folder']}.run.pth")
        assert without_seconds(again) == without_seconds(result)


def test_the_final_model_is_the_initialisation_of_all_interactions(tiny):
    method = train(tiny, **WORSE, sr_final=True)["sr"]
    assert method["final"]["epochs"] == 0
    settings = {**tiny, **KEEP, "sr_keep_untrained": False, "sr_train_on": "all"}
    expected = prepare(Config("BPR", "tiny", config_dict=settings)).model.state_dict()
    final = weights(method["final"]["checkpoint"])
    assert all(torch.equal(final[name], expected[name]) for name in final)
    assert len(recommend(method["final"]["checkpoint"], k=3, known="training")) == 40 * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sr_keep_untrained": True, "model": "DGCF"}, "sr_keep_untrained: expected sr_init"),
        ({"epochs": 0, "sr_init": "model"}, "epochs: expected at least 1, as only an sr_init"),
        (
            {**KEEP, "epochs": 0, "sr_keep_untrained": False, "sr_warm_epochs": 2},
            "got 0 with sr_init",
        ),
        ({"epochs": -1}, "epochs: expected"),
    ],
)
def test_what_does_not_go_with_it_is_refused(settings, message, tiny):
    model = settings.get("model", "BPR")
    own = {name: value for name, value in settings.items() if name != "model"}
    with pytest.raises(InputError, match=message):
        Config(model, "tiny", config_dict={**tiny, **own})


PARTS = {"split": {"RS": [0.9, 0, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
WITHOUT = {
    "sr_warm_epochs: 2": {"sr_warm_epochs": 2},
    "sr_train_on: all": {"sr_train_on": "all"},
    "eval_step: 0": {"eval_step": 0},
    "an eval_args without a validation part": {"eval_args": PARTS},
}


@pytest.mark.parametrize(("why", "settings"), WITHOUT.items(), ids=WITHOUT)
def test_it_has_no_effect_where_its_score_does_not_count(why, settings, tiny, caplog):
    given = {**tiny, **KEEP, **WORSE, **settings}
    Config("BPR", "tiny", config_dict=given).log_recipe()
    assert f"sr_keep_untrained: True (config_dict) has no effect with {why}" in caplog.text
    assert run_recbole_sr("BPR", "tiny", config_dict=given)["sr"]["best_epoch"] in (None, 2)


def test_without_epochs_a_score_that_is_none_is_refused(tiny):
    given = {**settings_of("FM", tiny), **KEEP, "epochs": 0, "threshold": {"rating": -1}}
    with pytest.raises(InputError, match="valid_metric: expected a number as auc"):
        run_recbole_sr("FM", "tiny", config_dict=given)


def test_a_stage_that_pretrains_is_not_without_epochs(tiny):
    stage = {"train_stage": "actor_pretrain", "pretrain_epochs": 2, "save_step": 1}
    given = {**settings_of("RaCT", tiny), **KEEP, **stage, "epochs": 0}
    with pytest.raises(InputError, match="epochs: expected at least 1 with train_stage"):
        Config("RaCT", "tiny", config_dict=given)


def test_a_comparison_counts_it(tiny):
    Path("keep.yaml").write_text("sr_init: spectral\nsr_keep_untrained: True\nlearning_rate: 10\n")
    shared = {**tiny, "epochs": 2}
    found = compare(["BPR"], ["tiny"], seeds=2, variants=["keep.yaml"], config_dict=shared)
    row = next(row for row in found["rows"] if row["variant"] == "keep")
    assert row["best_epoch"]["mean"] == 0
    assert row["to_baseline"]["reached"] == 2
    assert row["to_baseline"]["epochs"]["mean"] == 0


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        ([], True),
        (["off.yaml"], False),
        (["warm/none.yaml"], False),
        (["warm/uniformity.yaml"], False),
    ],
)
def test_a_recipe_may_set_it(files, kept, tiny):
    assert Config("LDiffRec", "tiny", files, tiny).options.keeps_untrained == kept


@pytest.mark.parametrize(
    ("bigger", "best", "said"), [(1, 0.3, True), (1, 0.5, False), (0, 0.5, True)]
)
def test_a_run_says_where_it_would_have_been_better(bigger, best, said, tiny):
    result = train(tiny, epochs=1, sr_keep_untrained=False)
    result |= {"best_valid_score": best, "valid_score_bigger": bool(bigger)}
    result["sr"]["initial_valid_score"] = 0.4
    text = (
        "valid mrr@10 0.4000"
        + ", better than every epoch; --sr_keep_untrained=True keeps it" * said
    )
    assert any(line.endswith(text) for line in closing_lines(result, "mrr@10", 1.0))
    result["sr"]["phases"][0]["name"] = "warm"
    assert any(
        line.endswith("valid mrr@10 0.4000") for line in closing_lines(result, "mrr@10", 1.0)
    )
