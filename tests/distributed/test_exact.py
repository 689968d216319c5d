"""Several processes train the model that one process trains, and measure it alike."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from contract import settings_of
from several import together, train_all
from tiny_data import write_tiny

from recbole_sr.config.config import Config
from recbole_sr.config.model_keys import model_keys
from recbole_sr.models.registry import SUPPORTED

SERVED = [name for name, entry in SUPPORTED.items() if entry.parallel]

OF_ITEMS = ["ItemCoverage", "GiniIndex", "ShannonEntropy", "AveragePopularity", "TailPercentage"]
SETTINGS = {
    "epochs": 2,
    "stopping_step": 99,
    "metrics": ["Recall", "NDCG", *OF_ITEMS],
    "topk": [3, 5],
    "valid_metric": "NDCG@5",
}
ALL = {"stable_rank": 0.3, "effective_rank": 0.2, "uniformity": 0.1, "alignment": 0.5}
NEGATIVES = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 3}}
WITH = {"sr_main_regularizers": {"stable_rank": 0.3, "uniformity": 0.1}}
pytestmark = pytest.mark.timeout(900)  # the first test of a number of processes trains for all

# By name: the model, and what is set beside off.yaml.
CASES = {
    "BPR": ("BPR", {}),
    "every regulariser": ("BPR", {"sr_main_regularizers": ALL, **NEGATIVES}),
    "sampled rows": ("BPR", {**WITH, "sr_uniformity_rows": 9}),
    "only sampled rows": (
        "BPR",
        {"sr_main_regularizers": {"uniformity": 0.1}, "sr_uniformity_rows": 9},
    ),
    "rank target": ("BPR", {"sr_target_rank": 3.0, "sr_target_step": 0.5}),
    "DirectAU": ("BPR", {"sr_loss": "align", "sr_main_regularizers": {"uniformity": 1.0}}),
    "popularity": ("BPR", {"sr_loss": "align", "sr_popularity": 0.1}),
    "LightGCN, popularity": ("LightGCN", {"sr_loss": "align", "sr_popularity": 0.1}),
    "SSM": ("BPR", {"sr_loss": "ssm", **NEGATIVES}),
    "negatives of the batch": (
        "BPR",
        {"sr_loss": "ssm", "sr_batch_negatives": 3, "sr_main_regularizers": ALL},
    ),
    "some of the batches": ("BPR", {"sr_main_regularizers": ALL, "sr_regularize_every": 2}),
    "two phases": ("BPR", {"sr_warm_epochs": 1, "sr_init": "spectral"}),
    "clipping": ("BPR", {"clip_grad_norm": {"max_norm": 0.01}, "learner": "sgd"}),
    "sparse Adam": ("BPR", {"learner": "sparse_adam", **WITH}),
    "RecBole's loaders": (
        "BPR",
        {
            "sr_fast": False,
            "metrics": ["GAUC", "NDCG"],
            "eval_args": {"mode": "uni5"},
            **WITH,
            **NEGATIVES,
        },
    ),
    "LightGCN": ("LightGCN", {"reg_weight": 0.1, "require_pow": True, **WITH}),
    "LightGCN, norms": ("LightGCN", {"reg_weight": 0.1, "sr_loss": "bpr", **NEGATIVES}),
    "LightGCN, negatives of the batch": ("LightGCN", {"sr_loss": "bpr", "sr_batch_negatives": 2}),
    "NGCF": ("NGCF", {"reg_weight": 0.1, "message_dropout": 0.3, **WITH}),
    "ENMF": ("ENMF", {"reg_weight": 0.1, "dropout_prob": 0.0, **WITH}),
    "NeuMF": ("NeuMF", {"dropout_prob": 0.0, **WITH, **NEGATIVES}),
}


# Of 400 pairs, the last batch has one, and of 40 users one, too: fewer than there are processes.
LAST = {
    f"{name}, last batch of one": (CASES[name][0], {**CASES[name][1], "train_batch_size": size})
    for name, size in {
        "every regulariser": 3 * 133,
        "LightGCN": 133,
        "LightGCN, norms": 3 * 133,
        "ENMF": 39,
        "NeuMF": 4 * 133,
    }.items()
}
# Each process has some columns of the tables.
COLUMNS = {
    f"{name}, by columns": (model, {**settings, "sr_parallel": "columns"})
    for name, (model, settings) in {**CASES, **LAST}.items()
    if model in ("BPR", "LightGCN") and name != "clipping"
}
EVERY = {**CASES, **LAST, **COLUMNS}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """By the number of processes, what each of them came to in some cases."""

    @cache
    def train(size, names):
        folder = tmp_path_factory.mktemp("several")
        tiny = {**write_tiny(folder / "data"), **SETTINGS}
        cases = {name: (EVERY[name][0], ["off.yaml"], {**tiny, **EVERY[name][1]}) for name in names}
        return together(size, folder, train_all, cases)

    return lambda size, cases: train(size, tuple(cases))


def assert_equal(several, alone, tolerance=1e-10):
    tables, epochs, scores, random_state = alone
    for own_weights, own_epochs, own_scores, own_state in several:
        assert own_scores == scores
        assert np.array_equal(own_state, random_state)
        for name, values in tables.items():
            assert np.array_equal(own_weights[name], several[0][0][name]), name
            assert np.abs(own_weights[name] - values).max() < tolerance, name
        for ours, theirs in zip(own_epochs, epochs, strict=True):
            # AFM calculates the value of its loss, though no gradient, in float32.
            assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-7)
            assert ours["valid_score"] == theirs["valid_score"]
            weights = (epoch["rank_weight"] or {} for epoch in (ours, theirs))
            assert next(weights) == pytest.approx(next(weights), rel=1e-9)


# What stands for the others where time is short.
FAST = (
    *("every regulariser", "sampled rows", "rank target", "clipping", "sparse Adam"),
    *("RecBole's loaders", "LightGCN", "NGCF", "ENMF", "NeuMF, last batch of one"),
    *("every regulariser, by columns", "LightGCN, by columns", "popularity, by columns"),
)


def assert_all_equal(several, alone):
    for name in alone:
        print(name)  # shown where it fails
        assert_equal([one[name] for one in several], alone[name])


# All cases of a number of processes are one test: two workers would train them twice.
def test_two_processes_are_one(trained):
    (alone,) = trained(None, FAST)
    assert_all_equal(trained(2, FAST), alone)


# By the number of processes; 8 columns are not for three.
MORE = {2: [*EVERY], 3: [*LAST], 4: ["every regulariser, by columns", "LightGCN, by columns"]}


@pytest.mark.slow
@pytest.mark.parametrize("size", MORE)
def test_any_number_of_processes_is_one(size, trained):
    (alone,) = trained(None, MORE[size])
    assert_all_equal(trained(size, MORE[size]), alone)


def without_dropout(model, settings):
    """Settings of a model's own with which no row of a batch draws random numbers."""
    config = Config(model, "tiny", ["off.yaml"], settings)
    rates = {key: config[key] for key in model_keys(model) if "dropout" in key}
    zero = {key: [0.0] * len(x) if isinstance(x, list) else 0.0 for key, x in rates.items()}
    return {**settings, **zero}


@pytest.mark.slow
def test_every_model_that_is_served(tmp_path):
    """In one process and in two."""
    tiny = write_tiny(tmp_path / "data")
    more = {"epochs": 2, "sr_main_regularizers": {"stable_rank": 0.3}}
    cases = {}
    for model in SERVED:
        settings = {**settings_of(model, tiny), **more, "sr_warm_epochs": 0, "sr_init": "model"}
        settings.pop("sr_warm_regularizers", None)
        cases[model] = (model, ["off.yaml"], without_dropout(model, settings))
    (alone,) = together(None, tmp_path, train_all, cases)
    assert_all_equal(together(2, tmp_path, train_all, cases), alone)
