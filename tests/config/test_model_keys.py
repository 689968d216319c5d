"""Each key of each model: RecBole's default is taken, values of another kind are refused."""

from __future__ import annotations

import math

import pytest

from recbole_sr.config.config import Config
from recbole_sr.config.model_keys import check_model_keys, model_keys
from recbole_sr.config.names import refuse_unread
from recbole_sr.errors import InputError
from recbole_sr.models.registry import SUPPORTED

WRONG = {
    bool: ["x", 2, [], None],
    int: ["x", [1], {"a": 1}, -1, None, True, math.nan],
    float: ["x", [1.0], {"a": 1}, -2.0, math.nan, math.inf, None, True],
    str: [5, [], None, True],
    list: ["x", 5, {"a": 1}, [[1]], [None], None],
    type(None): [5, [[]], True],
}


@pytest.mark.parametrize("model", SUPPORTED)
def test_a_default_is_taken_and_another_kind_of_value_refused(model):
    defaults = model_keys(model)
    check_model_keys(model, defaults)
    for key, default in defaults.items():
        for wrong in WRONG[type(default)]:
            if (key, wrong) == ("fredom_type", None):  # whose default is the text None
                continue
            with pytest.raises(InputError, match=f"^{key}( |:)"):
                check_model_keys(model, {**defaults, key: wrong})


@pytest.mark.parametrize(
    ("model", "key", "right", "wrong"),
    [
        ("LightGCN", "n_layers", 0, 1001),
        ("LightGCN", "embedding_size", 1, 10**9),
        ("LightGCN", "reg_weight", 0, -1),  # a whole number is a number
        ("NeuMF", "dropout_prob", 0.999, 1),
        ("NeuMF", "mf_pretrain_path", "file.pth", 5),
        ("SimpleX", "margin", -1, -1.1),
        ("SimpleX", "aggregator", "user_attention", "sum"),
        ("KGCN", "aggregator", "sum", "mean"),
        ("SGL", "ssl_tau", 0.1, 0),
        ("FISM", "reg_weights", [1, 0.5], [1, 0.5, 0.1]),
        ("DiffRec", "time-aware", True, "x"),
        ("HRM", "pooling_type_layer_1", "average", "mean"),
        ("FEARec", "topk_factor", 0.5, 0),  # RecBole multiplies a logarithm by it
        ("CDAE", "loss_type", "MSE", "BPR"),
    ],
)
def test_ranges_and_choices(model, key, right, wrong):
    check_model_keys(model, {**model_keys(model), key: right})
    with pytest.raises(InputError, match=f"^{key}( |:)"):
        check_model_keys(model, {**model_keys(model), key: wrong})


def test_a_class_without_a_file_has_no_keys():
    assert model_keys("Nothing") == {}
    check_model_keys("Nothing", {"n_layers": "x"})


@pytest.mark.parametrize("name", SUPPORTED)
def test_no_default_of_recboles_is_a_key_that_nothing_reads(name):
    refuse_unread(Config(name, "ml-100k", config_dict={"state": "ERROR"}).internal_config_dict)
