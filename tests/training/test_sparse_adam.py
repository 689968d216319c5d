from __future__ import annotations

import pytest
import torch
from contract import CONTRACT, settings_of

from recbole_sr.errors import InputError

TRAINED = {"BPR", "CKE", "FPMC", "LINE"}


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_a_model_trains_or_is_refused_before_anything_moves(name, experiment, tiny):
    settings = {**settings_of(name, tiny), "learner": "sparse_adam"}
    made = experiment(name, "tiny", **settings, epochs=2, sr_warm_epochs=1)
    before = {key: value.clone() for key, value in made.model.named_parameters()}
    if name in TRAINED:
        result = made.train(saved=False, verbose=False)
        assert [epoch["phase"] for epoch in result["sr"]["epochs"]] == ["warm", "main"]
        moved = dict(made.model.named_parameters())
        assert not any(torch.equal(moved[key], value) for key, value in before.items())
        return
    said = rf"learner: expected one for whole gradients, as {name} has one for its parameter .+"
    with pytest.raises(InputError, match=said):
        made.train(saved=False, verbose=False)
    for key, value in made.model.named_parameters():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("key", ["clip_grad_norm", "weight_decay"])
def test_what_the_learner_would_fail_on_or_ignore_is_refused(key, experiment, tiny):
    value = {"clip_grad_norm": {"max_norm": 1.0}, "weight_decay": 0.1}[key]
    with pytest.raises(InputError, match=f"{key}: expected none with learner: sparse_adam"):
        experiment("BPR", "tiny", **tiny, learner="sparse_adam", **{key: value})


def test_a_table_looked_up_by_recbole_itself_is_refused(experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, learner="sparse_adam", sr_fast=False)
    with pytest.raises(InputError, match=r"parameter user_embedding\.weight"):
        made.train(saved=False, verbose=False)
