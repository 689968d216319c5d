"""Importing RecBole's sequential models must not slow training down, nor a user's debugging end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from recbole.utils import get_model

from recbole_sr.fast import anomaly
from recbole_sr.fast.anomaly import no_stray_detection
from recbole_sr.training.trainer import PhasedTrainer

SEQUENCES = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}


@pytest.fixture
def detecting():
    get_model("SINE")  # its import would take the place of this setting
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        yield


@pytest.mark.usefixtures("detecting")
@pytest.mark.parametrize("fast", [True, False])
def test_a_sequential_model_trains_without_it(fast, tiny, experiment, monkeypatch):
    seen = []
    check = PhasedTrainer._check_nan

    def look(self, loss):
        seen.append(torch.is_anomaly_enabled())
        check(self, loss)

    monkeypatch.setattr(PhasedTrainer, "_check_nan", look)
    made = experiment("GRU4Rec", "tiny", **{**tiny, **SEQUENCES}, epochs=1, sr_fast=fast)
    made.train(saved=False, verbose=False)
    assert set(seen) == {not fast}
    assert torch.is_anomaly_enabled()
    assert not torch.is_anomaly_check_nan_enabled()


@pytest.mark.usefixtures("detecting")
def test_what_a_user_has_switched_on_stays(monkeypatch):
    monkeypatch.delitem(sys.modules, anomaly._CULPRIT, raising=False)
    with no_stray_detection():
        assert torch.is_anomaly_enabled()
        assert not torch.is_anomaly_check_nan_enabled()


def test_recbole_still_switches_it_on():
    get_model("SINE")
    module = sys.modules[anomaly._CULPRIT]
    assert "set_detect_anomaly(True)" in Path(module.__file__).read_text(encoding="utf-8")
