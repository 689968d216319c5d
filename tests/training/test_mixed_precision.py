"""Mixed precision: the models that train in it stay finite, the others are refused."""

from __future__ import annotations

import pytest
import torch
from contract import CONTRACT, first_batch, settings_of
from recbole.model.general_recommender import LightGCN

from recbole_sr.errors import InputError
from recbole_sr.models.registry import SUPPORTED

MIXED = {"enable_amp": True, "epochs": 2, "sr_warm_epochs": 1}
BY_SR_FAST = {"LightGCN", "NGCF", "SGL"}
# One of each kind of model, and of each trainer whose steps are another's.
STOCK = ("BPR", "MultiVAE", "RecVAE", "CKE", "MKR", "S3Rec", "SASRec", "FM")
UNABLE = {name for name, entry in SUPPORTED.items() if entry.mixed_precision != "yes"}
# None of an operation: by torch's own products of sparse matrices, or its scatter.
NO_HALF = "BFloat16|Half|Expected self.dtype to be equal"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", sorted(UNABLE))
def test_a_model_without_half_precision_is_refused_before_training(name, fast, experiment, tiny):
    settings = {**settings_of(name, tiny), **MIXED, "sr_fast": fast}
    if fast and name in BY_SR_FAST:
        experiment(name, "tiny", **settings)
        return
    with pytest.raises(InputError, match=f"enable_amp: expected False for {name}") as error:
        experiment(name, "tiny", **settings)
    assert ("sr_fast: True" in str(error.value)) == (name in BY_SR_FAST)


def test_node_dropout_takes_ngcf_back_to_coordinates(experiment, tiny):
    settings = {**settings_of("NGCF", tiny), **MIXED, "node_dropout": 0.1}
    with pytest.raises(InputError, match=r"got True; drop the key$"):
        experiment("NGCF", "tiny", **settings)


def test_a_subclass_is_refused_as_it_keeps_recboles_propagation(experiment, tiny):
    own = type("LightGCN", (LightGCN,), {"__module__": "elsewhere"})
    with pytest.raises(InputError, match=r"got True; drop the key$"):
        experiment(own, "tiny", **tiny, **MIXED)


@pytest.mark.parametrize("name", sorted(UNABLE))
def test_what_is_refused_would_fail(name, experiment, tiny, monkeypatch):
    monkeypatch.setattr("recbole_sr.training.experiment.check_settings", lambda *_: None)
    made = experiment(name, "tiny", **settings_of(name, tiny), **MIXED, sr_fast=False)
    if name == "NCL":  # its trainer asks for mixed precision on GPUs alone
        made.model.e_step()
        with torch.autocast("cpu"):
            loss = sum(made.model.calculate_loss(first_batch(made)))
        with pytest.raises(RuntimeError, match=NO_HALF):
            loss.backward()
        return
    with pytest.raises(InputError, match=NO_HALF):
        made.train(saved=False, verbose=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fast"),
    [(name, True) for name in sorted(CONTRACT) if name not in UNABLE - BY_SR_FAST]
    + [(name, False) for name in STOCK],
)
def test_every_other_model_trains_in_mixed_precision(name, fast, experiment, tiny):
    settings = {**settings_of(name, tiny), **MIXED, "train_batch_size": 256, "sr_fast": fast}
    made = experiment(name, "tiny", **settings)
    made.train(saved=False, verbose=False)
    assert all(weight.isfinite().all() for weight in made.model.parameters())
