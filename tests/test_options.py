from __future__ import annotations

import re

import pytest
import torch
import yaml

from recbole_sr.config import Config
from recbole_sr.errors import InputError
from recbole_sr.losses import alignment, sampled_softmax
from recbole_sr.options import Options
from recbole_sr.resources import properties_folder

YAML = (properties_folder() / "stable_rank.yaml").read_text()


def test_the_property_file_has_the_defaults():
    assert yaml.safe_load(YAML) == Options().model_dump()


def test_the_property_file_explains_every_key_on_its_line():
    for key in Options.model_fields:
        assert re.search(rf"^{key}:.*# \((int|float|str|bool|list|dict)\) .+\.$", YAML, re.M), key


REFUSED = {
    "unknown key": (
        {"sr_warm_epoch": 1},
        "unknown key 'sr_warm_epoch'; did you mean 'sr_warm_epochs'?",
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
        "sr_warm_epochs: expected greater than or equal to 0, got -1",
    ),
    "no patience": ({"sr_patience": 0}, "sr_patience: expected greater than or equal to 1, got 0"),
    "unknown rule": (
        {"sr_switch": "loss"},
        "sr_switch: expected 'epochs', 'metric' or 'rank', got 'loss'",
    ),
    "unknown regulariser": (
        {"sr_warm_regularizers": {"rank": 1.0}},
        "sr_warm_regularizers (rank): expected one of stable_rank, log_stable_rank, ",
    ),
    "not a mapping": (
        {"sr_main_regularizers": ["stable_rank"]},
        "sr_main_regularizers: expected a valid dictionary, got ['stable_rank']",
    ),
    "negative weight": (
        {"sr_warm_regularizers": {"stable_rank": -1.0}},
        "sr_warm_regularizers (stable_rank): expected greater than or equal to 0, got -1.0",
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
    "nothing to regularise": ({"sr_warm_regularizers": {}}, "are both empty; give one a weight"),
    "metric without validation": (
        {"sr_switch": "metric", "eval_step": 0},
        "sr_switch: metric needs validation scores but eval_step is 0",
    ),
    "rank without the monitor": (
        {"sr_switch": "rank", "sr_monitor": False},
        "sr_switch: rank needs the stable ranks of each epoch but sr_monitor is False",
    ),
    "a level every matrix is above": (
        {"sr_switch_rank": 1},
        "sr_switch_rank: expected greater than 1, got 1",
    ),
    "no tolerance": (
        {"sr_rank_tolerance": 0.0},
        "sr_rank_tolerance: expected greater than 0, got 0.0",
    ),
    "unknown loss": (
        {"sr_loss": "bce"},
        "sr_loss: expected 'model', 'bpr', 'ssm' or 'align', got 'bce'",
    ),
    "no temperature": (
        {"sr_temperature": 0.0},
        "sr_temperature: expected greater than 0, got 0.0",
    ),
    "unknown similarity": (
        {"sr_similarity": "euclid"},
        "sr_similarity: expected 'dot' or 'cosine', got 'euclid'",
    ),
    "one row has no pair": (
        {"sr_uniformity_rows": 1},
        "sr_uniformity_rows: expected greater than or equal to 2, got 1",
    ),
    "text for a target": (
        {"sr_target_rank": "high"},
        "sr_target_rank: expected null, a number above 1, or such a number for user, item or both, "
        "got 'high'",
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
    "published with a target": (
        {"sr_published": True, "sr_target_rank": 8},
        "sr_published: True fixes sr_target_rank at None but got 8",
    ),
    "published and regularised to the end": (
        {"sr_published": True, "sr_main_regularizers": {"uniformity": 1.0}},
        "sr_published: True fixes sr_main_regularizers at {} but got {'uniformity': 1.0}",
    ),
    "unknown start": (
        {"sr_init": "svd"},
        "sr_init: expected 'model' or 'spectral', got 'svd'",
    ),
    "negative power": (
        {"sr_init_power": -0.5},
        "sr_init_power: expected greater than or equal to 0, got -0.5",
    ),
    "no size": ({"sr_init_margin": 0.0}, "sr_init_margin: expected greater than 0, got 0.0"),
    "published from a spectral start": (
        {"sr_published": True, "sr_init": "spectral"},
        "sr_published: True fixes sr_init at model but got 'spectral'",
    ),
    "published and not": (
        {"sr_published": True, "sr_warm_regularizers": {"stable_rank": 0.5}},
        "sr_published: True fixes sr_warm_regularizers at {'stable_rank': 1.0}",
    ),
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
    started = {"sr_init": "spectral"}  # by BPR's own property file
    assert from_file.model_dump() == {**Options().model_dump(), **started, **wanted}


@pytest.mark.parametrize(
    ("key", "value", "with_it"),
    [
        ("sr_warm_regularizers", {"stable_rank": 0.1}, {"sr_warm_epochs": 5}),
        ("sr_switch", "metric", {"sr_warm_epochs": 5}),
        ("sr_init_margin", 2.0, {"sr_init": "spectral"}),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(key, value, with_it):
    model = "BPR" if "sr_warm_epochs" in with_it else "DGCF"
    (whether, wanted), *_ = with_it.items()
    with pytest.raises(InputError, match=rf"{key}: expected {whether} with it, .* {model} is .*"):
        Config(model, "ml-100k", config_dict={key: value})
    options = Config(model, "ml-100k", config_dict={key: value, **with_it}).options
    assert (getattr(options, key), getattr(options, whether)) == (value, wanted)


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
    machine = Options.from_mapping({"sr_published": True, "sr_loss": "align", **given}).schedule()
    assert machine.warm.regularizers == {"stable_rank": 1.0}
    assert machine.main.regularizers == {"uniformity": main}
    assert machine.warm.loss is machine.main.loss is alignment


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
    assert machine.warm.control is machine.main.control
    assert (machine.main.control.targets if targets else {}) == targets


def test_both_phases_share_the_loss_and_its_settings():
    options = Options(sr_loss="ssm", sr_temperature=0.2, sr_similarity="cosine")
    machine = options.schedule(negatives=16)
    vectors = torch.randn(5, 4), torch.randn(5, 4), torch.randn(16, 5, 4)
    for phase in (machine.warm, machine.main):
        assert phase.negatives == 16
        assert torch.equal(phase.loss(*vectors), sampled_softmax(*vectors, 0.2, "cosine"))


def test_options_cannot_be_changed_after_they_were_judged():
    with pytest.raises(ValueError, match="frozen"):
        Options().sr_warm_epochs = 9
