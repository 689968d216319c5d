from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from recbole_sr.config.config import Config
from recbole_sr.config.options import Options
from recbole_sr.config.reference import page, property_file
from recbole_sr.config.shipped import properties_folder
from recbole_sr.errors import InputError
from recbole_sr.objectives.losses import LOSSES, sampled_softmax
from recbole_sr.objectives.regularizers import REGULARIZERS

ROOT = Path(__file__).parents[2]
YAML = (properties_folder() / "stable_rank.yaml").read_text()


@pytest.mark.parametrize(
    ("file", "made"),
    [("properties/stable_rank.yaml", property_file), ("docs/keys.md", page)],
)
def test_what_is_made_from_the_keys_is_up_to_date(file, made):
    assert (ROOT / file).read_text("utf-8") == made(), "run python -m recbole_sr.config.reference"


def test_the_property_file_has_the_defaults():
    assert yaml.safe_load(YAML) == Options().model_dump()


def test_the_property_file_explains_every_key_on_its_line():
    for key in Options.model_fields:
        assert re.search(
            rf"^{key}:.*# \((int|float|float or dict|str|bool|list|dict)\) .+\.$", YAML, re.M
        ), key


REFUSED = {
    "unknown key": (
        {"sr_warm_epoch": 1},
        "unknown key 'sr_warm_epoch'; did you mean 'sr_warm_epochs'?",
    ),
    "a key's former name": (
        {"sr_init_sweeps": 2},
        "unknown key 'sr_init_sweeps'; did you mean 'sr_init_als_iterations'?",
    ),
    "text for a number": (
        {"sr_warm_epochs": "five"},
        "sr_warm_epochs: expected a valid integer, got 'five'",
    ),
    "truth for a number": (
        {"sr_warm_epochs": True},
        "sr_warm_epochs: expected a valid integer, got True",
    ),
    "fraction": ({"sr_warm_epochs": 1.5}, "sr_warm_epochs: expected a valid integer, got 1.5"),
    "null": ({"sr_warm_epochs": None}, "sr_warm_epochs: expected a valid integer, got None"),
    "negative": (
        {"sr_warm_epochs": -1},
        "sr_warm_epochs: expected at least 0, got -1",
    ),
    "no patience": ({"sr_patience": 0}, "sr_patience: expected at least 1, got 0"),
    "unknown rule": (
        {"sr_switch": "loss"},
        "sr_switch: expected 'epochs' or 'metric', got 'loss'",
    ),
    "unknown regulariser": (
        {"sr_warm_regularizers": {"rank": 1.0}},
        "sr_warm_regularizers (rank): expected one of stable_rank, effective_rank, ",
    ),
    "not a mapping": (
        {"sr_main_regularizers": ["stable_rank"]},
        "sr_main_regularizers: expected a mapping such as {key: value}, got ['stable_rank']",
    ),
    "negative weight": (
        {"sr_warm_regularizers": {"stable_rank": -1.0}},
        "sr_warm_regularizers (stable_rank): expected at least 0, got -1.0",
    ),
    "NaN weight": (
        {"sr_warm_regularizers": {"stable_rank": float("nan")}},
        "sr_warm_regularizers (stable_rank): expected a finite number, got nan",
    ),
    "unknown side": (
        {"sr_tables": ["users"]},
        "sr_tables (0): expected 'user' or 'item', got 'users'",
    ),
    "no side": (
        {"sr_tables": []},
        "sr_tables: expected one or both of user and item, each once, got []",
    ),
    "a side twice": (
        {"sr_tables": ["user", "user"]},
        "sr_tables: expected one or both of user and item, each once",
    ),
    "text for truth": ({"sr_monitor": "yes"}, "sr_monitor: expected a valid boolean, got 'yes'"),
    "nothing to regularise": (
        {"sr_warm_epochs": 5, "sr_warm_regularizers": {}},
        "have no weight other than 0; give one a weight",
    ),
    "weights of nothing": (
        {"sr_warm_epochs": 5, "sr_warm_regularizers": {"stable_rank": 0.0, "uniformity": 0}},
        "have no weight other than 0; give one a weight",
    ),
    "metric without validation": (
        {"sr_warm_epochs": 5, "sr_switch": "metric", "eval_step": 0},
        "sr_switch: metric needs validation scores but eval_step is 0",
    ),
    "unknown loss": (
        {"sr_loss": "bce"},
        "sr_loss: expected one of model, bpr, ssm, align, got 'bce'",
    ),
    "no temperature": (
        {"sr_temperature": 0.0},
        "sr_temperature: expected greater than 0, got 0.0",
    ),
    "one row has no pair": (
        {"sr_uniformity_rows": 1},
        "sr_uniformity_rows: expected at least 2, got 1",
    ),
    "text for a target": (
        {"sr_target_rank": "high"},
        "sr_target_rank: expected null, a number above 1 (below 2**31), or such a number for user, "
        "item or both, got 'high'",
    ),
    "truth for a target": ({"sr_target_rank": True}, "sr_target_rank: expected null, a number"),
    "a target every matrix meets": (
        {"sr_target_rank": 1},
        "sr_target_rank: expected null, a number above 1",
    ),
    "no target": ({"sr_target_rank": {}}, "sr_target_rank: expected null, a number above 1"),
    "a target of one side out of range": (
        {"sr_target_rank": {"user": 8, "item": 0.5}},
        "sr_target_rank: expected null, a number above 1",
    ),
    "a target of an unknown side": (
        {"sr_target_rank": {"users": 8}},
        "sr_target_rank: expected null, a number above 1",
    ),
    "a target of a side that is not regularised": (
        {"sr_tables": ["item"], "sr_target_rank": {"user": 8}},
        "sr_target_rank: expected sides in sr_tables ['item'], got 'user'",
    ),
    "unknown start": (
        {"sr_init": "svd"},
        "sr_init: expected one of model, spectral, transitions, got 'svd'",
    ),
    "negative power": (
        {"sr_init_power": -0.5},
        "sr_init_power: expected at least 0, got -0.5",
    ),
    "no size": ({"sr_init_margin": 0.0}, "sr_init_margin: expected greater than 0, got 0.0"),
}


@pytest.mark.parametrize(("settings", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_settings_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(InputError) as refusal:
        Options.from_mapping(settings)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_same_from_file_dictionary_and_command_line(tmp_path, monkeypatch):
    wanted = {
        "sr_warm_epochs": 3,
        "sr_tables": ["item"],
        "sr_warm_regularizers": {"stable_rank": 0.5},
    }
    (tmp_path / "mine.yaml").write_text(yaml.dump(wanted))
    from_file = Config("BPR", "ml-100k", [str(tmp_path / "mine.yaml")]).options
    from_dict = Config("BPR", "ml-100k", config_dict=wanted).options
    monkeypatch.setattr(
        "sys.argv",
        [
            "run",
            "--sr_warm_epochs=3",
            "--sr_tables=[item]",
            "--sr_warm_regularizers={stable_rank: 0.5}",
        ],
    )
    from_command_line = Config("BPR", "ml-100k").options
    assert from_file == from_dict == from_command_line
    recipe = {
        "sr_init": "spectral",
        "sr_init_als_iterations": 2,
        "sr_main_regularizers": {"alignment": 1.0, "uniformity": 2.0},
        "sr_uniformity_rows": 512,
    }
    assert from_file.model_dump() == {**Options().model_dump(), **recipe, **wanted}


def test_published_is_the_authors_recipe_with_its_extra_epoch():
    options = Config("BPR", "ml-100k", config_dict={"sr_published": True}).options
    machine = options.schedule()
    names = [machine.begin_epoch(epoch).name for epoch in range(8)]
    assert names == ["warm"] * 6 + ["main"] * 2
    assert machine.warm.regularizers == {"stable_rank": 1.0}
    assert not machine.main.active


@pytest.mark.parametrize(
    ("given", "main"), [({}, 1.0), ({"sr_main_regularizers": {"uniformity": 0.5}}, 0.5)]
)
def test_published_alignment_becomes_direct_au(given, main):
    given = {"sr_published": True, "sr_loss": "align", **given}
    machine = Config("BPR", "ml-100k", config_dict=given).options.schedule()
    assert machine.warm.regularizers == {"stable_rank": 1.0}
    assert machine.main.regularizers == {"uniformity": main}
    assert machine.warm.loss is machine.main.loss is LOSSES["align"]


@pytest.mark.parametrize(
    ("key", "value", "fixed"),
    [
        ("sr_target_rank", 8, "None"),
        ("sr_main_regularizers", {"uniformity": 1.0}, "{}"),
        ("sr_init", "spectral", "model"),
    ],
)
def test_published_and_a_contradicting_key_are_refused(key, value, fixed):
    with pytest.raises(InputError) as refusal:
        Config("BPR", "ml-100k", config_dict={"sr_published": True, key: value})
    sentence = f"sr_published: True fixes {key} at {fixed} but got {value!r}; drop one of the two"
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "targets"),
    [
        ({}, {}),
        ({"sr_target_rank": 8}, {"user": 8, "item": 8}),
        ({"sr_target_rank": 8.5, "sr_tables": ["item"]}, {"item": 8.5}),
        ({"sr_target_rank": {"user": 8}}, {"user": 8}),
    ],
)
def test_a_target_is_for_every_side_that_is_regularised_or_each_its_own(settings, targets):
    options = Options.from_mapping(settings)
    assert options.target_ranks == targets
    machine = options.schedule()
    assert machine.warm.rank_target is machine.main.rank_target
    assert (machine.main.rank_target.targets if targets else {}) == targets


def test_both_phases_share_the_loss_and_its_settings():
    machine = Options(sr_loss="ssm", sr_temperature=0.2).schedule()
    vectors = torch.randn(5, 4), torch.randn(5, 4), torch.randn(16, 5, 4)
    for phase in (machine.warm, machine.main):
        assert phase.loss.needs_negatives
        assert torch.equal(phase.loss.function(*vectors), sampled_softmax(*vectors, 0.2))


def test_null_as_a_weight_is_the_regularisers_own():
    options = Options.from_mapping({"sr_main_regularizers": {"uniformity": None, "alignment": 2}})
    weights = {"uniformity": REGULARIZERS["uniformity"].weight, "alignment": 2}
    assert options.sr_main_regularizers == weights


def test_options_cannot_be_changed_after_they_were_judged():
    with pytest.raises(ValueError, match="frozen"):
        Options().sr_warm_epochs = 9
