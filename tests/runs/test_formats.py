"""Files of other versions load, or are refused by their format in one sentence."""

from __future__ import annotations

import pytest
import torch

from recbole_sr import load_data_and_model, resume, run_recbole_sr
from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint


@pytest.fixture
def saved(tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1})
    (run,) = (tmp_path / "saved").glob("*.run.pth")
    return run, run.with_name(run.name.replace(".run", ""))


def rewrite(file, monkeypatch, number, settings):
    state = checkpoint.read(file)
    state["config"] |= settings
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", number)
        checkpoint.write(state, file)


def test_a_model_of_the_first_format_loads(saved, monkeypatch):
    _, model = saved
    weights = checkpoint.read(model)["state_dict"]
    removed = {"sr_similarity": "dot", "sr_switch_rank": None, "sr_rank_tolerance": 0.01}
    rewrite(model, monkeypatch, 1, removed)
    config, loaded, *_ = load_data_and_model(str(model))
    assert all(torch.equal(loaded.state_dict()[name], weights[name]) for name in weights)
    assert not removed.keys() & config.final_config_dict.keys()


def test_a_setting_is_read_by_its_former_name(saved, monkeypatch):
    rewrite(saved[1], monkeypatch, 1, {"sr_init_sweeps": 3})
    config, *_ = load_data_and_model(str(saved[1]))
    assert config.options.sr_init_als_iterations == 3
    assert "sr_init_sweeps" not in config.final_config_dict


def test_a_setting_that_no_longer_exists_is_refused_by_name(saved, monkeypatch):
    rewrite(saved[1], monkeypatch, 1, {"sr_similarity": "cosine"})
    with pytest.raises(InputError, match="unknown key 'sr_similarity'"):
        load_data_and_model(str(saved[1]))


def test_a_run_of_the_first_format_is_refused(saved, monkeypatch):
    rewrite(saved[0], monkeypatch, 1, {})
    with pytest.raises(InputError, match="expected a run saved in format 3, got 1, of an earlier"):
        resume(str(saved[0]))


def test_a_file_of_a_newer_version_is_refused(saved, monkeypatch):
    for file, read in zip(saved, (resume, load_data_and_model), strict=True):
        rewrite(file, monkeypatch, 4, {})
        with pytest.raises(InputError, match="expected format 3 or earlier, got 4, of a newer"):
            read(str(file))
