"""Exact resume for each family of trainers and each kind of state a model keeps."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from contract import settings_of

from recbole_sr import checkpoint
from recbole_sr.quick_start import resume, run_recbole_sr
from recbole_sr.run_folder import RunFolder
from recbole_sr.trainer import PhasedTrainer

CASES = {
    "RecVAE": {"n_enc_epochs": 2, "n_dec_epochs": 1},  # two optimisers
    "NCL": {"warm_up_step": 2},  # a fit of its own, centroids
    "KGAT": {},  # attention, two loaders
    "MKR": {"kge_interval": 2},
    "KTUP": {"train_rec_step": 1, "train_kg_step": 1},
    "CKE": {},
    "RaCT": {"pretrain_epochs": 5},
    "S3Rec": {"pretrain_epochs": 5},
    "MultiVAE": {},  # annealing counters
    "MacridVAE": {},
    "DiffRec": {},  # a history of losses
    "LDiffRec": {},
    "LINE": {},  # an order drawn in the model
    "SGL": {},  # graphs drawn each epoch
    "SASRec": {},
    "FM": {},
}
DYNAMIC = {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 4}
ALWAYS = {"epochs": 5, "sr_warm_epochs": 3, "train_batch_size": 16, "stopping_step": 99}
NAMES = ("saved_model_file", "run_path")
SECONDS = ("train_seconds", "valid_seconds")
WAYS = [
    pytest.param(True, id="fast"),
    pytest.param(False, id="stock", marks=pytest.mark.slow),
]

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


def run_file(folder):
    (file,) = (folder / "saved").glob("*.run.pth")
    return file


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


def without_seconds(result):
    epochs = [drop_seconds(epoch) for epoch in result["sr"]["epochs"]]
    return {**result, "sr": {**result["sr"], "epochs": epochs}}


def drop_seconds(epoch):
    return {key: value for key, value in epoch.items() if key not in SECONDS}


def final(folder):
    """All that the finished run would go on from, the random states included."""
    state = checkpoint.read(run_file(folder))
    state["epoch_records"] = [drop_seconds(record) for record in state["epoch_records"]]
    assert state["finished"]
    return {key: value for key, value in state.items() if key not in NAMES}


def lines(folder):
    name = run_file(folder).name.removesuffix(".run.pth")
    return [drop_seconds(line) for line in RunFolder(folder / "saved" / name).epochs()]


def assert_equal(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_equal(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        for pair in zip(ours, theirs, strict=True):
            assert_equal(*pair)
    elif isinstance(ours, torch.Tensor):
        assert ours.layout == theirs.layout
        strided = ours.layout is torch.strided
        assert torch.equal(*(x if strided else x.to_dense() for x in (ours, theirs)))
    else:
        assert ours == theirs or (ours != ours and theirs != theirs)


@pytest.mark.parametrize("fast", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_each_family_continues_to_the_same_bits(name, fast, interrupted, tiny):
    interrupted(name, {**settings_of(name, tiny), **ALWAYS, **CASES[name], "sr_fast": fast})


MIXED = {"enable_amp": True}
# Not LightGCN in mixed precision by RecBole's own propagation: torch's sparse product of
# coordinates has no gradient in bfloat16.
SETTINGS = [
    (name, settings, fast)
    for name in ("BPR", "LightGCN")
    for settings in ({"train_neg_sample_args": DYNAMIC}, MIXED)
    for fast in (True, False)
    if (name, settings, fast) != ("LightGCN", MIXED, False)
]


@pytest.mark.parametrize(("name", "settings", "fast"), SETTINGS)
def test_settings_continue_to_the_same_bits(name, settings, fast, interrupted, tiny):
    interrupted(name, {**tiny, **ALWAYS, **settings, "sr_fast": fast})
