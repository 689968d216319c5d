"""Trainers and settings of RecBole that do more than one pass over pairs."""

from __future__ import annotations

import pytest
import torch
from contract import PRETRAINING, first_batch, settings_of
from recbole.trainer import Trainer

from recbole_sr.errors import InputError
from recbole_sr.objectives.phase import Phase
from recbole_sr.study.trial import OFF

WARM = Phase("warm", {"stable_rank": 1.0})


def train(experiment, name, tiny, **settings):
    made = experiment(name, "tiny", **{**settings_of(name, tiny), "epochs": 2, **settings})
    return made, made.train(saved=True, verbose=False)


def saved(tmp_path, name, epoch=2):
    (file,) = tmp_path.glob(f"saved/{name}-*/{name}-tiny-{epoch}.pth")
    return str(file)


def test_ract_goes_through_its_three_stages(experiment, tiny, tmp_path):
    _, actor = train(experiment, "RaCT", tiny, sr_warm_epochs=1)
    file = saved(tmp_path, "RaCT")
    assert torch.load(file, weights_only=True)["config"]["train_stage"] == "actor_pretrain"
    stage = {"pre_model_path": file}
    train(experiment, "RaCT", tiny, **stage, train_stage="critic_pretrain", **OFF)
    _, tuned = train(experiment, "RaCT", tiny, **stage, train_stage="finetune", sr_warm_epochs=1)
    for result in (actor, tuned):
        assert [epoch["phase"] for epoch in result["sr"]["epochs"]] == ["warm", "main"]
    assert tuned["best_valid_result"] is not None


def test_a_stage_in_which_the_representations_are_frozen_says_so(experiment, tiny, tmp_path):
    train(experiment, "RaCT", tiny)
    stage = {"pre_model_path": saved(tmp_path, "RaCT"), "train_stage": "critic_pretrain"}
    with pytest.raises(InputError, match="or those parameters are frozen; set sr_tables or sr_w"):
        train(experiment, "RaCT", tiny, **stage, sr_warm_epochs=1)


@pytest.mark.parametrize(
    ("first", "second", "key", "more"),
    [
        ("FISM", "NAIS", "pretrain_path", {"sr_init": "model"}),
        ("BPR", "ConvNCF", "pre_model_path", {"train_method": "after_pretrain"}),
    ],
)
def test_a_model_begins_with_the_tables_of_another(
    first, second, key, more, experiment, tiny, tmp_path
):
    width = {"embedding_size": settings_of(second, tiny)["embedding_size"], "sr_save_step": 0}
    taught, _ = train(experiment, first, tiny, **width)
    (file,) = (tmp_path / "saved").glob(f"{first}-*.pth")
    settings = {**settings_of(second, tiny), **width, key: str(file), **more}
    begun = experiment(second, "tiny", **settings).model
    given, own = taught.model.state_dict(), begun.state_dict()
    shared = [name for name in given if name in own and "embedding" in name]
    assert shared
    best = torch.load(file, weights_only=True)["state_dict"]
    assert all(torch.equal(own[name], best[name]) for name in shared)


def test_s3rec_regularises_items_in_pretraining_and_both_in_finetuning(experiment, tiny, tmp_path):
    made, _ = train(experiment, "S3Rec", tiny, sr_warm_epochs=1)
    batch = first_batch(made)
    tuned = {"train_stage": "finetune", "pre_model_path": saved(tmp_path, "S3Rec")}
    second, result = train(experiment, "S3Rec", tiny, **tuned, sr_warm_epochs=1)
    assert result["best_valid_result"] is not None
    for model, sides in ((made.model, {"item"}), (second.model, {"user", "item"})):
        model.train()
        with model.sr_regularized(WARM):
            model.calculate_loss(batch)
            assert set(model.sr_seen) - {"recommendation"} == sides


def test_recvae_regularises_its_encoder_and_its_decoder_epochs(experiment, tiny, monkeypatch):
    steps = []
    epoch = Trainer._train_epoch

    def count(self, *args, **kwargs):
        loss = epoch(self, *args, **kwargs)
        steps.append(dict(self.model.sr_seen))
        return loss

    monkeypatch.setattr(Trainer, "_train_epoch", count)
    settings = {"n_enc_epochs": 2, "n_dec_epochs": 1, "epochs": 1, "sr_warm_epochs": 1}
    train(experiment, "RecVAE", tiny, **settings)
    assert [step["user"] for step in steps] == [1, 2, 3]  # one batch each, counted on


def test_ncl_adds_to_the_part_of_the_loss_that_its_warm_up_keeps(experiment, tiny):
    model = experiment("NCL", "tiny", **settings_of("NCL", tiny)).model
    made = experiment("NCL", "tiny", **settings_of("NCL", tiny))
    batch = first_batch(made)
    model.e_step()
    own = model.calculate_loss(batch)
    with model.sr_regularized(WARM):
        ours = model.calculate_loss(batch)
    assert len(ours) == len(own) == 3
    assert ours[0] != own[0]
    assert (ours[1], ours[2]) == (own[1], own[2])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("KTUP", {"train_rec_step": 1, "train_kg_step": 1}),
        ("KGAT", {}),
        ("MKR", {"kge_interval": 2}),
        ("CKE", {}),
    ],
)
def test_phases_count_the_epochs_of_models_with_two_tasks(name, settings, experiment, tiny):
    _, result = train(experiment, name, tiny, **settings, epochs=4, sr_warm_epochs=3)
    assert [epoch["phase"] for epoch in result["sr"]["epochs"]] == ["warm"] * 3 + ["main"]


SETTINGS = {
    "validation every other epoch": {"eval_step": 2},
    "clipped gradients": {"clip_grad_norm": {"max_norm": 0.5}},
    "mixed precision": {"enable_amp": True},
    "dynamic negatives": {
        "train_neg_sample_args": {
            "distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 4,
        },
    },
    "three negatives": {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 3}},
    **{learner: {"learner": learner} for learner in ("sgd", "adagrad", "rmsprop", "adamw")},
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("name", ["BPR", "NeuMF"])
@pytest.mark.usefixtures("one_thread")
def test_recboles_settings_work_in_both_phases_and_are_stocks_when_off(
    name, settings, experiment, stock, tiny
):
    made, result = train(experiment, name, tiny, **settings, sr_warm_epochs=1)
    assert [epoch["phase"] for epoch in result["sr"]["epochs"]] == ["warm", "main"]
    theirs = stock(name, "tiny", **tiny, **settings, epochs=2)
    made = experiment(name, "tiny", **tiny, **settings, epochs=2, **OFF)
    theirs.assert_equal(made.model, made.train(saved=False, verbose=False))


def test_pretraining_that_would_save_nothing_is_refused(experiment, tiny):
    with pytest.raises(InputError, match=r"save_step: expected at most pretrain_epochs, 2, .* 3;"):
        experiment("S3Rec", "tiny", **{**settings_of("S3Rec", tiny), "save_step": 3})


def test_pretraining_saves_every_save_step(experiment, tiny, tmp_path):
    train(experiment, "RaCT", tiny, **{**PRETRAINING, "pretrain_epochs": 4, "save_step": 2})
    names = {path.name for path in tmp_path.glob("saved/RaCT-*/*.pth")}
    assert names == {"RaCT-tiny-2.pth", "RaCT-tiny-4.pth"}
