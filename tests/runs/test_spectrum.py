from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer
from references import stable_rank_reference

from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint
from recbole_sr.runs.spectrum import TableSpectrum, singular_values, spectra
from recbole_sr.runs.tensors import read_tensors


def test_two_and_one():
    one = TableSpectrum.of("x", torch.diag(torch.tensor([2.0, 1.0])))
    assert one.singular_values == [2, 1]
    assert one.stable_rank == 1.25
    assert one.condition_number == 2
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert one.effective_rank == pytest.approx(math.exp(entropy))


def test_a_singular_table_has_no_condition_number():
    one = TableSpectrum.of("x", torch.ones(4, 1) * torch.tensor([[1.0, 0.0]]))
    assert one.condition_number is None
    assert one.effective_rank == pytest.approx(1)


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 99))
def test_bounds_and_agreement_with_the_reference(n, d, seed):
    table = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    one = TableSpectrum.of("x", table)
    assert len(one.singular_values) == min(n, d)
    assert 1 <= one.stable_rank <= one.effective_rank * (1 + 1e-9) <= min(n, d) * (1 + 1e-6)
    assert one.stable_rank == pytest.approx(stable_rank_reference(table.double()).item())


def test_a_table_that_is_not_finite_has_no_spectrum():
    assert singular_values(torch.tensor([[1.0, float("nan")], [0.0, 1.0]])).isnan().all()


def test_an_all_zero_table_has_rank_zero():
    one = TableSpectrum.of("x", torch.zeros(3, 2))
    assert (one.stable_rank, one.effective_rank, one.condition_number) == (0, 0, None)


def test_only_floating_matrices_have_a_spectrum():
    tensors = {"m": torch.eye(2), "v": torch.ones(3), "i": torch.ones(2, 2, dtype=torch.long)}
    tensors["s"] = torch.eye(2).to_sparse()
    assert [one.name for one in spectra(tensors)] == ["m"]


@pytest.fixture
def stock_checkpoint(tiny):
    """As RecBole itself saves it: a pickle that holds its Config."""
    config = Config("BPR", "tiny", config_dict=tiny)
    train, _, _ = data_preparation(config, create_dataset(config))
    trainer = Trainer(config, BPR(config, train.dataset))
    trainer._save_checkpoint(0, verbose=False)
    return trainer


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
def test_reads_the_tensors_of_recboles_own_checkpoint(stock_checkpoint):
    with pytest.raises(pickle.UnpicklingError):
        torch.load(stock_checkpoint.saved_model_file, weights_only=True)
    tensors = read_tensors(stock_checkpoint.saved_model_file)
    expected = stock_checkpoint.model.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_reads_a_checkpoint_of_ours(experiment, tiny, tmp_path):
    made = experiment("LightGCN", "tiny", **tiny, epochs=1)
    made.train(saved=True, verbose=False)
    (file,) = (path for path in (tmp_path / "saved").glob("*.pth") if ".run" not in path.name)
    assert "user_embedding.weight" in read_tensors(str(file))


class Hostile:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("where", ["config", "state_dict"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_checkpoint_is_not_run(where, protocol, tmp_path):
    target = tmp_path / "written"
    code = f"open({str(target)!r}, 'w').close()"
    state = {"config": {}, "state_dict": {"table": torch.eye(3)}}
    state[where]["hostile"] = Hostile(exec, code)
    file = tmp_path / "hostile.pth"
    torch.save(state, file, pickle_protocol=protocol)
    assert list(read_tensors(str(file))) == ["table"]
    assert not target.exists()
    torch.load(file, weights_only=False)  # the file really is hostile
    assert target.exists()


def test_a_bare_pickle_is_refused_unread(tmp_path):
    target = tmp_path / "written"
    file = tmp_path / "hostile.pth"
    file.write_bytes(pickle.dumps(Hostile(exec, f"open({str(target)!r}, 'w').close()")))
    with pytest.raises(InputError, match="got a file of another format"):
        read_tensors(str(file))
    assert not target.exists()


def test_a_damaged_file_is_refused(stock_checkpoint, tmp_path):
    file = tmp_path / "half.pth"
    with open(stock_checkpoint.saved_model_file, "rb") as whole:
        file.write_bytes(whole.read()[:2000])
    with pytest.raises(InputError, match="expected a checkpoint saved by RecBole"):
        read_tensors(str(file))


def test_a_damaged_directory_is_refused(stock_checkpoint, tmp_path):
    content = bytearray(Path(stock_checkpoint.saved_model_file).read_bytes())
    content[content.rfind(b"PK\x01\x02") + 1] ^= 255
    (tmp_path / "damaged.pth").write_bytes(content)
    with pytest.raises(InputError, match="expected a checkpoint saved by RecBole"):
        read_tensors(str(tmp_path / "damaged.pth"))


@pytest.mark.parametrize("whose", ["ours", "recbole's"])
def test_a_flipped_bit_is_refused(whose, stock_checkpoint, tmp_path):
    file = tmp_path / "flipped.pth"
    if whose == "ours":
        checkpoint.write({"state_dict": stock_checkpoint.model.state_dict()}, file)
    else:
        file.write_bytes(Path(stock_checkpoint.saved_model_file).read_bytes())
    content = bytearray(file.read_bytes())
    table = stock_checkpoint.model.user_embedding.weight.detach().numpy().tobytes()
    content[content.find(table) + 19] ^= 0x40
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged data"):
        read_tensors(str(file))


def test_other_data_are_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="a file without 'state_dict'"):
        read_tensors(str(tmp_path / "list.pth"))


def test_the_command_prints_a_table_and_json(stock_checkpoint, capsys):
    assert main(["spectrum", stock_checkpoint.saved_model_file]) == 0
    assert "user_embedding.weight" in capsys.readouterr().out
    assert main(["spectrum", stock_checkpoint.saved_model_file, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    table = stock_checkpoint.model.state_dict()[first["name"]]
    assert first["singular_values"] == pytest.approx(torch.linalg.svdvals(table).tolist())


def test_a_table_that_is_not_finite_is_null_in_json(tmp_path, capsys):
    torch.save({"state_dict": {"table": torch.full((2, 2), torch.nan)}}, tmp_path / "nan.pth")
    assert main(["spectrum", str(tmp_path / "nan.pth"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found[0]["singular_values"] == [None, None]


def test_a_missing_file_is_one_sentence(capsys):
    assert main(["spectrum", "nowhere.pth"]) == 2
    assert "nowhere.pth: expected a checkpoint, got No such file" in capsys.readouterr().err
