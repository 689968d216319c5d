"""A run that was killed and resumed is the run that was not."""

from __future__ import annotations

import random
from copy import deepcopy

import numpy as np
import pytest
import torch
from resuming import run_file, without_seconds

from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint, snapshot
from recbole_sr.training.experiment import resume, run_recbole_sr

MODELS = ["BPR", "LightGCN"]


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def weights(folder):
    (file,) = (path for path in (folder / "saved").glob("*.pth") if ".run" not in path.name)
    return torch.load(file, weights_only=True)["state_dict"]


def in_folder(folder, monkeypatch, function, *args, **kwargs):
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    return without_seconds(function(*args, **kwargs))


def interrupt_at(epoch, monkeypatch):
    """Raise, as Ctrl-C does, in the middle of an epoch."""
    from recbole_sr.models.inject import RegularizedModel

    own, calls = RegularizedModel.calculate_loss, []

    def calculate_loss(self, *args, **kwargs):
        calls.append(1)
        if len(calls) > epoch * 6 + 3:  # the tiny data set has 6 batches or more
            raise KeyboardInterrupt
        return own(self, *args, **kwargs)

    monkeypatch.setattr(RegularizedModel, "calculate_loss", calculate_loss)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "more",
    [
        pytest.param(more, id=name, marks=[pytest.mark.slow] if more else [])
        for name, more in {
            "epochs": {},
            "metric": {"sr_switch": "metric", "sr_patience": 1},
            "rarely saved": {"sr_save_step": 3},
            "target rank": {"sr_target_rank": 4, "sr_init": "model"},
            "alignment": {
                "sr_loss": "align",
                "sr_main_regularizers": {"uniformity": 1.0},
                "sr_uniformity_rows": 8,
                "train_batch_size": 48,
            },
            "adagrad": {"learner": "adagrad", "eval_step": 2},
            "popularity": {
                "train_neg_sample_args": {"distribution": "popularity", "sample_num": 2}
            },
        }.items()
    ],
)
@pytest.mark.parametrize("epoch", [1, 4], ids=["in the warm phase", "in the main phase"])
def test_an_interrupted_run_continues_to_the_same_bits(
    model, more, epoch, tiny, tmp_path, monkeypatch
):
    settings = {**tiny, "epochs": 6, "sr_warm_epochs": 3, **more}
    whole = in_folder(
        tmp_path / "whole", monkeypatch, run_recbole_sr, model, "tiny", config_dict=settings
    )
    with monkeypatch.context() as patch:
        interrupt_at(epoch, patch)
        with pytest.raises(KeyboardInterrupt):
            in_folder(tmp_path / "cut", patch, run_recbole_sr, model, "tiny", config_dict=settings)
    for generator in (torch.manual_seed, np.random.seed, random.seed):
        generator(99)  # another process would start from other states
    resumed = in_folder(tmp_path / "cut", monkeypatch, resume, str(run_file(tmp_path / "cut")))
    assert resumed == whole
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_finished_run_is_tested_again_and_not_trained(tiny, tmp_path, monkeypatch):
    settings = {**tiny, "epochs": 3, "sr_warm_epochs": 1}
    whole = in_folder(tmp_path, monkeypatch, run_recbole_sr, "BPR", "tiny", config_dict=settings)
    before = run_file(tmp_path).read_bytes()
    assert without_seconds(resume(str(run_file(tmp_path)))) == whole
    assert run_file(tmp_path).read_bytes() == before


def test_a_finished_run_is_tested_again_by_metrics_that_count(tiny, tmp_path, monkeypatch):
    settings = {**tiny, "epochs": 1, "metrics": ["NDCG", "ItemCoverage", "GiniIndex"]}
    settings |= {"valid_metric": "NDCG@10"}
    whole = in_folder(tmp_path, monkeypatch, run_recbole_sr, "BPR", "tiny", config_dict=settings)
    assert without_seconds(resume(str(run_file(tmp_path)))) == whole


def test_a_best_model_of_another_epoch_is_named(tiny, caplog):
    """As after a kill, where a run goes on from an earlier epoch by other numbers."""
    made = run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 2})["sr"]
    file = made["checkpoint"]
    run = file.replace(".pth", ".run.pth")
    resume(run)
    assert "expected the best model" not in caplog.text
    state = checkpoint.read(file)
    checkpoint.write({**state, "epoch": 17, "best_valid_score": 0.9}, file)
    resume(run)
    assert "got that of epoch 17, of 0.9000" in caplog.text


def test_a_run_whose_best_model_is_gone_is_refused_and_loses_nothing(tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1})
    (model,) = (path for path in (tmp_path / "saved").glob("*.pth") if ".run" not in path.name)
    model.unlink()
    with pytest.raises(InputError, match="expected the best model so far"):
        resume(str(run_file(tmp_path)))
    assert list((tmp_path / "saved").glob("*/result.json"))


@pytest.mark.parametrize("fast", [True, False])
def test_a_run_that_saved_its_loaders_continues_to_the_same_bits(fast, tiny, tmp_path, monkeypatch):
    settings = {**tiny, "epochs": 3, "save_dataloaders": True, "sr_fast": fast}
    given = ("BPR", "tiny", None, settings)
    whole = in_folder(tmp_path / "whole", monkeypatch, run_recbole_sr, *given)
    with monkeypatch.context() as patch:
        interrupt_at(1, patch)
        with pytest.raises(KeyboardInterrupt):
            in_folder(tmp_path / "cut", patch, run_recbole_sr, *given)
    assert (
        in_folder(tmp_path / "cut", monkeypatch, resume, str(run_file(tmp_path / "cut"))) == whole
    )


def test_a_loader_of_other_generators_is_refused():
    loader = torch.utils.data.DataLoader([1], generator=torch.Generator())
    states = snapshot.random_states(torch.utils.data.DataLoader([1]))
    with pytest.raises(InputError, match=r"expected 0 random generators .*, got 1"):
        snapshot.restore_random_states(states, loader)


def test_no_state_is_saved_where_none_is_wanted(tiny, tmp_path, monkeypatch):
    settings = {**tiny, "epochs": 2, "sr_warm_epochs": 1}
    run_recbole_sr("BPR", "tiny", config_dict={**settings, "sr_save_step": 0})
    run_recbole_sr("BPR", "tiny", config_dict=settings, saved=False)
    assert not list((tmp_path / "saved").glob("*.run.pth"))


def test_a_models_checkpoint_is_not_a_run(tiny, tmp_path):
    run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1, "sr_save_step": 0})
    (file,) = (tmp_path / "saved").glob("*.pth")
    with pytest.raises(InputError, match=r"expected a saved run, \*\.run\.pth"):
        resume(str(file))


def test_generators_continue_exactly():
    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: S311

    loader = torch.utils.data.DataLoader([1, 2], generator=torch.Generator().manual_seed(1))
    states = snapshot.random_states(loader)
    expected = draw(), torch.rand(2, generator=loader.generator).tolist()
    snapshot.restore_random_states(states, loader)
    assert (draw(), torch.rand(2, generator=loader.generator).tolist()) == expected


def test_generators_of_another_device_go_on_by_other_numbers():
    """A GPU's has a state of 16 bytes."""
    loader = torch.utils.data.DataLoader([1, 2], generator=torch.Generator().manual_seed(1))
    states = {**snapshot.random_states(loader), "loader": [torch.zeros(16, dtype=torch.uint8)]}
    torch.manual_seed(3)
    snapshot.restore_random_states(states, loader)
    assert torch.equal(loader.generator.get_state(), torch.Generator().manual_seed(1).get_state())
    assert torch.equal(torch.get_rng_state(), states["torch"])


def test_memory_holds_what_changed_and_nothing_else():
    def model():
        net = torch.nn.Sequential(torch.nn.Linear(2, 2))
        net.counter, net.fixed, net.order = 0, torch.ones(3), np.arange(4)
        net[0].history, net[0].centroids = torch.zeros(2), None
        return net

    first = model()
    memory = snapshot.ModelMemory(first)
    assert memory.state_dict() == {}
    first.counter += 1
    first.order[:2] = [9, 8]
    first[0].history[1] = 5
    first[0].centroids = torch.ones(1)
    first.eval()
    state = memory.state_dict()
    assert set(state) == {":counter", ":order", "0:history", "0:centroids"}
    second = model()
    snapshot.ModelMemory(second).load_state_dict(state)
    assert second.counter == 1
    assert second.order.tolist() == [9, 8, 2, 3]
    assert second[0].history.tolist() == [0, 5]
    assert second[0].centroids.tolist() == [1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.float64(0.5), np.float64(0.25)),
        (np.float32(0.5), np.float32(0.1)),
        (np.int64(1), np.int64(7)),
        (np.bool_(False), np.bool_(True)),
        (np.array(2.0), np.array(3.0)),
        ({"step": 0, "seen": [1]}, {"step": 3, "seen": [1, 2], 4: ("a", None)}),
        ((0, 1.5), (1, 2.5)),
        ("first", "second"),
        ([], [[1, "a"], [2.5, None]]),
        (None, 1),
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_memory_of_every_kind_comes_back_from_a_file_as_it_was(before, after, tmp_path):
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    first.memory, second.memory = deepcopy(before), deepcopy(before)
    memory = snapshot.ModelMemory(first)
    assert memory.state_dict() == {}
    first.memory = deepcopy(after)
    checkpoint.write({"memory": memory.state_dict()}, tmp_path / "file")
    snapshot.ModelMemory(second).load_state_dict(checkpoint.read(tmp_path / "file")["memory"])
    assert type(second.memory) is type(after)
    assert second.memory == after


def test_memory_that_is_written_to_in_place_counts_as_changed():
    net = torch.nn.Linear(2, 2)
    net.seen, net.rows, net.objects = {"users": [1]}, [[1], [2]], np.array([{}, None])
    memory = snapshot.ModelMemory(net)
    net.seen["users"].append(2)
    net.rows[0][0] = 3
    net.objects[1] = "no numbers, so not of the memory"
    assert memory.state_dict() == {":seen": {"users": [1, 2]}, ":rows": [[3], [2]]}


def test_memory_comes_back_to_where_the_model_computes():
    net = torch.nn.Linear(2, 2, device="meta")
    net.history, net.kept, net.centroids = torch.zeros(2, device="meta"), torch.zeros(2), None
    state = {":history": torch.ones(2), ":kept": torch.ones(2), ":centroids": torch.ones(1)}
    snapshot.ModelMemory(net).load_state_dict(state)
    devices = [value.device.type for value in (net.history, net.kept, net.centroids)]
    assert devices == ["meta", "cpu", "meta"]
