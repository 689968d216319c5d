"""The right values, which RecBole by itself does not give on every stack; each mend has some."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import recbole
import recbole.config
import scipy.sparse as sp
import torch
from recbole.data import create_dataset
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import LightGCN

from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.models.inject import repaired
from recbole_sr.recbole_compat import mends

ML_100K = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"


def blank(path, columns, rows):
    """Empty the given columns in the given rows of an atomic file."""
    lines = path.read_text().splitlines()
    for row in rows:
        cells = lines[row].split("\t")
        lines[row] = "\t".join("" if i in columns else cell for i, cell in enumerate(cells))
    path.write_text("\n".join(lines) + "\n")


def test_missing_features_of_ml_100k_are_filled_not_left(tmp_path):
    folder = tmp_path / "gaps"
    folder.mkdir()
    for suffix in ("inter", "user", "item"):
        shutil.copy(ML_100K / f"ml-100k.{suffix}", folder / f"gaps.{suffix}")
    blank(folder / "gaps.user", columns={2, 3}, rows=range(1, 100))
    blank(folder / "gaps.item", columns={2, 3}, rows=range(1, 50))
    users = (folder / "gaps.user").read_text().replace("age:token", "age:float", 1)
    (folder / "gaps.user").write_text(users)
    blank(folder / "gaps.user", columns={1}, rows=range(200, 300))
    columns = {
        "inter": ["user_id", "item_id"],
        "user": ["user_id", "age", "gender", "occupation"],
        "item": ["item_id", "release_year", "class"],
    }
    config = Config("BPR", "gaps", config_dict={"data_path": str(tmp_path), "load_col": columns})
    data = Dataset(config)
    data._change_feat_format()
    ids = {data.token2id("user_id", str(user)) for user in range(1, 100)}
    assert (data.user_feat["gender"][sorted(ids)] == 0).all()
    for feat in (data.user_feat, data.item_feat):
        for field in feat.columns:
            values = feat[field]
            assert values.double().isfinite().all(), field
            if values.dtype == torch.int64:
                assert values.min() >= 0, field
                assert values.max() < data.num(field), field
    known = [float(line.split("\t")[1]) for line in users.splitlines()[1:]]
    del known[199:299]
    missing = data.user_feat["age"][data.token2id("user_id", "250")].item()
    assert missing == pytest.approx(np.mean(known), rel=1e-5)


@pytest.fixture
def made(tmp_path):
    """A data set of RecBole's from the lines of its files."""

    def make(model, files, **settings):
        (tmp_path / "made").mkdir()
        for suffix, lines in files.items():
            (tmp_path / "made" / f"made.{suffix}").write_text("\n".join(lines) + "\n")
        given = {"data_path": str(tmp_path), "load_col": None, **settings}
        return create_dataset(Config(model, "made", config_dict=given))

    return make


INTER = ["user_id:token\titem_id:token", "u1\ti1", "u1\ti2", "u2\ti1"]
VECTORS = ["item_id:token\tvec:float_seq\ttags:token_seq", "i1\t1 5\ta b", "i2\t\t", "i3\t3\tb"]


def test_rows_without_a_user_or_an_item_are_those_that_are_dropped(made):
    lines = [*INTER[:2], "\ti9", *INTER[2:], "u8\t", "u3\ti2"]
    data = made("BPR", {"inter": lines})
    ids = {field: data.field2id_token[field] for field in ("user_id", "item_id")}
    found = [
        tuple(str(ids[field][getattr(row, field)]) for field in ids)
        for row in data.inter_feat.itertuples()
    ]
    assert found == [("u1", "i1"), ("u1", "i2"), ("u2", "i1"), ("u3", "i2")]


def test_missing_sequences_are_empty_and_no_token_comes_of_them(made):
    data = made("FM", {"inter": INTER, "item": VECTORS})
    assert list(map(str, data.field2id_token["tags"])) == ["[PAD]", "a", "b"]
    data._change_feat_format()
    first, second, third = (data.token2id("item_id", f"i{i}") for i in (1, 2, 3))
    assert data.item_feat["tags"][[first, second, third]].tolist() == [[1, 2], [0, 0], [2, 0]]
    assert data.item_feat["vec"][[first, second, third]].tolist() == [[1, 5], [0, 0], [3, 0]]


def test_a_sequence_is_normalised_over_all_its_numbers(made):
    data = made("FM", {"inter": INTER, "item": VECTORS}, normalize_field=["vec"])
    found = dict(zip(data.item_feat["item_id"], data.item_feat["vec"], strict=True))
    assert found[data.token2id("item_id", "i1")].tolist() == [0, 1]
    assert found[data.token2id("item_id", "i3")].tolist() == [0.5]


def test_a_cut_sequence_has_its_own_length(made):
    head = "user_id:token\titem_id_list:token_seq\titem_id:token"
    part = [head, "u1\ti1 i2 i3\ti4", "u2\ti2\ti1", "u3\ti3 i1\ti2"]
    data = made(
        "SASRec",
        {f"{name}.inter": part for name in ("train", "valid", "test")},
        benchmark_filename=["train", "valid", "test"],
        alias_of_item_id=["item_id_list"],
        train_neg_sample_args=None,
    )
    assert list(data.inter_feat["item_length"]) == [3, 1, 2] * 3


def test_tensors_are_of_memory_that_can_be_written(made):
    data = made("BPR", {"inter": INTER})
    for field in data.inter_feat:  # as pandas 3 hands them out
        column = data.inter_feat[field].to_numpy(copy=True)
        column.flags.writeable = False
        data.inter_feat[field] = pd.Series(column, copy=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors = data._dataframe_to_interaction(data.inter_feat)
        batch = Interaction(data.inter_feat)  # as a user makes one from a frame
    assert tensors["user_id"].tolist() == batch["user_id"].tolist() == [1, 1, 2]


def test_scores_are_plain_numbers(experiment, tiny):
    settings = {**tiny, "epochs": 1, "metrics": ["NDCG", "GAUC"], "valid_metric": "NDCG@10"}
    result = experiment("BPR", "tiny", **settings).train(saved=False, verbose=False)
    for scores in (result["best_valid_result"], result["test_result"]):
        assert {type(score) for score in scores.values()} == {float}
        assert all(score == round(score, 4) for score in scores.values())


def test_numpys_old_names_are_there_once_settings_are_read():
    recbole.config.Config("BPR", "ml-100k", config_dict={"show_progress": False})
    assert vars(np)["float"] is np.float64
    assert vars(np)["str"] is np.str_
    assert np.dtype(vars(np)["long"]) == np.int64
    assert vars(np)["bool"] is np.bool_


def test_a_graph_is_built_by_any_scipy_also_for_a_subclass(experiment, tiny):
    class MyLightGCN(LightGCN):
        pass

    made = experiment("LightGCN", "tiny", **tiny)
    model = repaired(MyLightGCN)(made.config, made.train_data._dataset)
    users, items = model.n_users, model.n_items
    links = made.train_data._dataset.inter_matrix(form="csr").astype(np.float32)
    links.data[:] = 1
    whole = sp.block_array(
        [[sp.csr_array((users, users)), links], [links.T, sp.csr_array((items, items))]]
    )
    degree = np.asarray(whole.sum(1)).ravel() + 1e-7
    expected = whole.toarray() / np.sqrt(np.outer(degree, degree))
    np.testing.assert_allclose(model.norm_adj_matrix.to_dense().numpy(), expected, rtol=1e-5)


def test_mending_again_changes_nothing():
    before = Dataset._fill_nan, Dataset._load_feat, Dataset._dataframe_to_interaction
    mends.mend()
    assert (Dataset._fill_nan, Dataset._load_feat, Dataset._dataframe_to_interaction) == before


def test_other_packages_are_left_alone():
    code = """
import pandas as pd, recbole.data, scipy.sparse as sp
from recbole.model.general_recommender import LightGCN
before = [dict(vars(module)) for module in (pd, sp, pd.Series, sp.dok_matrix)]
from recbole_sr.recbole_compat.mends import mend, mend_model
mend()
mend_model(LightGCN)
assert [dict(vars(module)) for module in (pd, sp, pd.Series, sp.dok_matrix)] == before
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_nobody_is_told_to_run_the_code_of_a_pretrained_file(tmp_path):
    module = importlib.import_module("recbole.model.general_recommender.convncf")
    mends.read_no_code(module)
    torch.save({"config": Path}, tmp_path / "code.pth")
    with pytest.raises(InputError, match="got more than tensors and plain data") as refusal:
        module.torch.load(tmp_path / "code.pth")
    assert "weights_only" not in str(refusal.value)


@pytest.mark.parametrize(
    ("module", "message", "shown"),
    [
        ("recbole.trainer.trainer", "`torch.cuda.amp.GradScaler(args...)` is deprecated.", 0),
        ("recbole.model.general_recommender.gcmc", "torch.sparse.SparseTensor(indices, ...", 0),
        ("recbole.trainer.trainer", "another word of torch's", 1),
        ("mine.trainer.trainer", "`torch.cuda.amp.GradScaler(args...)` is deprecated.", 1),
        ("recbole.model.mine", "`torch.cuda.amp.GradScaler(args...)` is deprecated.", 1),
    ],
)
def test_warnings_of_recboles_own_calls_alone_are_dropped(module, message, shown):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mends.warnings_of_recboles_own_calls()
        warnings.warn_explicit(message, FutureWarning, "file.py", 1, module=module)
    assert len(caught) == shown
