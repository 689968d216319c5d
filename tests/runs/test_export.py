from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint

STOCK = """
import sys, types
import numpy, torch
sys.modules["ray"] = types.ModuleType("ray")  # imported by quick_start, for searches alone
sys.modules["ray"].tune = None
if numpy.lib.NumpyVersion(numpy.__version__) < "2.0.0":
    sys.modules["recbole_sr"] = None  # as where it is not installed
from recbole.quick_start import load_data_and_model
if numpy.lib.NumpyVersion(numpy.__version__) >= "2.0.0":  # where RecBole does not run by itself
    from recbole.model.general_recommender import LightGCN
    from recbole_sr.recbole_compat.mends import mend, mend_model
    mend()
    mend_model(LightGCN)
config, model, _, train, _, _ = load_data_and_model(sys.argv[1])
assert {type(config).__module__.split(".")[0], type(model).__module__.split(".")[0]} == {"recbole"}
assert not [key for key in config.final_config_dict if key.startswith("sr_")]
torch.save(model.state_dict(), "stock.pth")
"""


@pytest.fixture
def exported(experiment, tiny, tmp_path):
    made = experiment("LightGCN", "tiny", **tiny, epochs=2, sr_warm_epochs=1, sr_save_step=0)
    made.train(saved=True, verbose=False)
    (file,) = (tmp_path / "saved").glob("*.pth")
    assert main(["export", str(file), "-o", "exported.pth"]) == 0
    return file, tmp_path / "exported.pth"


def test_stock_recbole_loads_an_export(exported, tmp_path):
    ours, file = exported
    trusting = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    command = [sys.executable, "-W", "ignore", "-c", STOCK, str(file)]
    ended = subprocess.run(command, env=trusting, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    stock = torch.load("stock.pth", map_location="cpu", weights_only=True)
    weights = checkpoint.read(ours)["state_dict"]
    assert all(torch.equal(stock[name], weights[name]) for name in weights)


def test_an_export_is_not_read_back(exported):
    with pytest.raises(InputError, match="holds more than tensors and plain data"):
        checkpoint.read(exported[1])


def test_a_model_that_recbole_would_score_in_another_way_is_refused(
    experiment, tiny, tmp_path, capsys
):
    given = {"epochs": 1, "sr_save_step": 0, "sr_loss": "align", "sr_popularity": 0.1}
    experiment("BPR", "tiny", **{**tiny, **given}).train(saved=True, verbose=False)
    (file,) = (tmp_path / "saved").glob("*.pth")
    assert main(["export", str(file), "-o", "exported.pth"]) != 0
    assert "expected sr_popularity: 0, as RecBole scores by dot products" in capsys.readouterr().err
    assert not (tmp_path / "exported.pth").exists()
