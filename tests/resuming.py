"""Runs to interrupt, and what they leave behind, to be compared bit for bit."""

from __future__ import annotations

import torch

from recbole_sr.runs import checkpoint
from recbole_sr.runs.folder import RunFolder

FEWER = {"train_batch_size": 64}  # batches, where each takes long; an epoch keeps several
# Each family of trainers, and each kind of state that a model keeps.
CASES = {
    "RecVAE": {"n_enc_epochs": 2, "n_dec_epochs": 1},  # two optimisers
    "NCL": {"warm_up_step": 2, **FEWER},  # a fit of its own, centroids
    "KGAT": FEWER,  # attention, two loaders
    "MKR": {"kge_interval": 2, **FEWER},
    "KTUP": {"train_rec_step": 1, "train_kg_step": 1, **FEWER},
    "CKE": FEWER,
    "RaCT": {"pretrain_epochs": 5},
    "S3Rec": {"pretrain_epochs": 5, "train_batch_size": 128},
    "MultiVAE": {},  # annealing counters
    "MacridVAE": {},
    "DiffRec": {},  # a history of losses
    "LDiffRec": {},
    "LINE": {},  # an order drawn in the model
    "SGL": FEWER,  # graphs drawn each epoch
    "SASRec": FEWER,
    "FM": {},
}
# ``kill -9`` so many times: each trainer, and models whose state is of another kind.
KILLS = {
    "BPR": 12,
    **dict.fromkeys(
        (
            "LightGCN", "MultiVAE", "DiffRec", "SASRec", "FM", "RecVAE", "RaCT", "NCL", "CKE",
            "KGAT", "MKR", "S3Rec",
        ),
        2,
    ),
}  # fmt: skip
NAMES = ("saved_model_file", "run")
SECONDS = ("train_seconds", "valid_seconds")


def run_file(folder):
    (file,) = (folder / "saved").glob("*.run.pth")
    return file


def drop_seconds(epoch):
    return {key: value for key, value in epoch.items() if key not in SECONDS}


def without_seconds(result):
    """A run's result, but for its times and the names of its files."""
    epochs = [drop_seconds(epoch) for epoch in result["sr"]["epochs"]]
    return {**result, "sr": {**result["sr"], "epochs": epochs, "checkpoint": "", "run_folder": ""}}


def final(folder):
    """All that the finished run would go on from, the random states included."""
    state = checkpoint.read(run_file(folder))
    state["epoch_records"] = [drop_seconds(record) for record in state["epoch_records"]]
    assert state["finished"]
    return {key: value for key, value in state.items() if key not in NAMES}


def left_behind(folder):
    """The run's folder."""
    return RunFolder(str(run_file(folder)).removesuffix(".run.pth"))


def lines(folder):
    return [drop_seconds(line) for line in left_behind(folder).epochs()]


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
