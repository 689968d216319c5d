from __future__ import annotations

import inspect
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import recbole
import torch
from recbole.config import Config as RecBoleConfig
from recbole.data.dataset import Dataset
from recbole.model.general_recommender import LightGCN

from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.recbole_compat import versions as compat

ML_100K = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"


@pytest.mark.parametrize(
    ("package", "version"), [("pandas", "3.0.0"), ("numpy", "2.1.0"), ("scipy", "1.13.0")]
)
def test_a_package_out_of_range_is_refused(package, version, monkeypatch):
    found = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: version if name == package else found(name)
    )
    with pytest.raises(InputError, match=f"recbole_sr needs {package} .* but found {version}"):
        compat.refuse_unsupported_packages()


def test_the_installed_packages_are_in_range():
    compat.refuse_unsupported_packages()


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Dataset._fill_nan, "fillna(value=0, inplace=True)"),
        (RecBoleConfig.compatibility_settings, "np.float_"),
        (LightGCN.get_norm_adj_mat, "A._update("),
    ],
    ids=["pandas", "numpy", "scipy"],
)
def test_the_reason_for_each_upper_bound_still_stands(where, text):
    assert text in inspect.getsource(where), "RecBole has changed: widen the range in setup.cfg"


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
