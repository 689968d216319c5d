"""Exact resume for each family of trainers and each kind of state a model keeps."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from contract import settings_of
from recbole.utils import get_model, get_trainer
from resuming import CASES, KILLS, assert_equal, final, lines, run_file, without_seconds

from recbole_sr.models.registry import SUPPORTED
from recbole_sr.training.experiment import resume, run_recbole_sr
from recbole_sr.training.trainer import PhasedTrainer

DYNAMIC = {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 4}
ALWAYS = {"epochs": 5, "sr_warm_epochs": 3, "train_batch_size": 32, "stopping_step": 99}
# One of each kind of model, and what is another on RecBole's own path: two optimisers, an order
# that the model draws, graphs that it draws and multiplies.
STOCK = ("RecVAE", "LINE", "SGL", "CKE", "SASRec", "FM")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Asserts that a run cut in the middle of both phases ends as one that was not cut."""

    def check(model, settings):
        whole = begin(tmp_path / "whole", model, settings, monkeypatch)
        folder = tmp_path / "cut"
        stop_at(1, monkeypatch, lambda: begin(folder, model, settings, monkeypatch))
        stop_at(3, monkeypatch, lambda: go_on(folder))
        assert without_seconds(go_on(folder)) == without_seconds(whole)
        assert_equal(final(folder), final(tmp_path / "whole"))
        assert lines(folder) == lines(tmp_path / "whole")

    return check


def begin(folder, model, settings, monkeypatch):
    folder.mkdir()
    monkeypatch.chdir(folder)
    return run_recbole_sr(model, "tiny", config_dict=settings)


def go_on(folder):
    for generator in (torch.manual_seed, np.random.seed, random.seed):
        generator(99)  # another process would start from other states
    return resume(str(run_file(folder)))


def stop_at(epoch, monkeypatch, run):
    """Raise, as Ctrl-C does, in the second batch of an epoch."""
    own = PhasedTrainer._check_nan

    def check_nan(self, loss):
        own(self, loss)
        if (self._epoch, self._batch) == (epoch, 2):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PhasedTrainer, "_check_nan", check_nan)
        with pytest.raises(KeyboardInterrupt):
            run()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_each_family_continues_to_the_same_bits(name, interrupted, tiny):
    interrupted(name, {**settings_of(name, tiny), **ALWAYS, **CASES[name]})


@pytest.mark.slow
@pytest.mark.parametrize("name", STOCK)
def test_each_kind_of_model_continues_to_the_same_bits_by_recboles_own_path(
    name, interrupted, tiny
):
    interrupted(name, {**settings_of(name, tiny), **ALWAYS, **CASES[name], "sr_fast": False})


def test_every_trainer_is_killed_and_interrupted():
    def trainers(models):
        return {get_trainer(get_model(name).type, name) for name in models}

    assert trainers(KILLS) == trainers(SUPPORTED)
    assert trainers(["BPR", *CASES]) == trainers(SUPPORTED)


MIXED = {"enable_amp": True}
SETTINGS = [
    (name, settings, fast)
    for name in ("BPR", "LightGCN")
    for settings in ({"train_neg_sample_args": DYNAMIC}, MIXED, {"sr_init": "spectral"})
    for fast in (True, False)
    if (name, settings, fast) != ("LightGCN", MIXED, False)  # refused
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings", "fast"), SETTINGS)
def test_settings_continue_to_the_same_bits(name, settings, fast, interrupted, tiny):
    interrupted(name, {**tiny, **ALWAYS, **settings, "sr_fast": fast})
