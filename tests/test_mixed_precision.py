"""Mixed precision: the models that train in it stay finite, the others are refused."""

from __future__ import annotations

import pytest
import torch
from contract import CONTRACT, first_batch, settings_of

from recbole_sr.errors import InputError
from recbole_sr.mixed_precision import _UNABLE

MIXED = {"enable_amp": True, "epochs": 2, "sr_warm_epochs": 1}
BY_SR_FAST = {"LightGCN", "NGCF", "SGL"}
# None of an operation: by torch's own products of sparse matrices, or its scatter.
NO_HALF = "BFloat16|Half|Expected self.dtype to be equal"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", sorted(_UNABLE))
def test_a_model_without_half_precision_is_refused_before_training(name, fast, experiment, tiny):
    settings = {**settings_of(name, tiny), **MIXED, "sr_fast": fast}
    if fast and name in BY_SR_FAST:
        experiment(name, "tiny", **settings)
        return
    with pytest.raises(InputError, match=f"enable_amp: expected False for {name}") as error:
        experiment(name, "tiny", **settings)
    assert ("sr_fast: True" in str(error.value)) == (name in BY_SR_FAST)
    assert ("GPUs alone" in str(error.value)) == (fast and name == "NCL")


def test_node_dropout_takes_ngcf_back_to_coordinates(experiment, tiny):
    settings = {**settings_of("NGCF", tiny), **MIXED, "node_dropout": 0.1}
    with pytest.raises(InputError, match=r"got True; drop the key$"):
        experiment("NGCF", "tiny", **settings)


@pytest.mark.parametrize("name", sorted(_UNABLE))
def test_what_is_refused_would_fail(name, experiment, tiny, monkeypatch):
    monkeypatch.setattr("recbole_sr.quick_start.check_mixed_precision", lambda config: None)
    made = experiment(name, "tiny", **settings_of(name, tiny), **MIXED, sr_fast=False)
    if name == "NCL":  # its trainer asks for mixed precision on GPUs alone
        made.model.e_step()
        with torch.autocast("cpu"):
            loss = sum(made.model.calculate_loss(first_batch(made)))
        with pytest.raises(RuntimeError, match=NO_HALF):
            loss.backward()
        return
    with pytest.raises(RuntimeError, match=NO_HALF):
        made.train(saved=False, verbose=False)


@pytest.mark.slow
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_every_other_model_trains_in_mixed_precision(name, fast, experiment, tiny):
    if name in _UNABLE and not (fast and name in BY_SR_FAST):
        pytest.skip("refused, as the tests above show")
    made = experiment(name, "tiny", **{**settings_of(name, tiny), **MIXED, "sr_fast": fast})
    made.train(saved=False, verbose=False)
    assert all(weight.isfinite().all() for weight in made.model.parameters())
