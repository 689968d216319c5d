"""The recipe in force: who set which key, what a run prints of it, and what has no effect."""

from __future__ import annotations

import logging

import pytest

from recbole_sr import cli
from recbole_sr.config.config import Config
from recbole_sr.config.recipe import DEFAULT, describe, idle_keys, table
from recbole_sr.errors import InputError


def config(model="BPR", files=None, **keys):
    return Config(model, "ml-100k", files, keys)


def test_each_key_has_the_origin_that_counts(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(
        "learning_rate: 0.1\nepochs: 3\ntopk: [5]\nvalid_metric: Recall@5\n"
    )
    monkeypatch.setattr("sys.argv", ["run", "--epochs=4"])
    origins = config(files=["mine.yaml", "loss/ssm.yaml"], topk=[5, 10]).origins
    assert origins["learning_rate"] == "mine.yaml"
    assert origins["epochs"] == "command line"
    assert origins["topk"] == "config_dict"
    assert origins["sr_loss"] == "loss/ssm.yaml"
    assert origins["sr_main_regularizers"] == "loss/model.yaml"
    assert origins["sr_init"] == "warm/spectral.yaml"
    assert "weight_decay" not in origins


def test_the_published_recipe_takes_the_place_of_the_models():
    made = config(sr_published=True)
    assert made.origins["sr_init"] == "sr_published: True"
    assert (made["sr_init"], made["sr_init_als_iterations"], made["sr_warm_epochs"]) == (
        "model",
        0,
        5,
    )
    assert idle_keys(made.options, made.origins, made.final_config_dict) == []


@pytest.mark.parametrize(("loss", "said"), [("align", True), ("bpr", False)])
def test_a_recipe_says_that_popularity_counts(loss, said):
    made = config(sr_loss=loss, sr_popularity=0.1)
    line = describe(made.options, made.final_config_dict, made.origins)[1]
    assert line.endswith("; scores: cosines + 0.1 of the logarithm of popularity") == said


def test_a_run_prints_its_recipe_in_at_most_six_lines(caplog, tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.yaml").write_text(f"{'abcdefghi'[number]}_field: 1\n")
    made = config(learning_rate=0.01)
    with caplog.at_level(logging.INFO):
        made.log_recipe()
    assert caplog.messages == [
        "BPR on ml-100k; initialisation: spectral",
        "no warm phase; main phase: the model's own loss + 1 alignment + 2 uniformity",
        "warm/spectral.yaml: sr_warm_epochs: 0, sr_init: spectral",
        "main/alignment.yaml: sr_main_regularizers: {'alignment': 1.0, 'uniformity': 2.0}, "
        "sr_uniformity_rows: 512",
        "model/BPR.yaml: sr_init_als_iterations: 2",
        "config_dict: learning_rate: 0.01",
    ]
    origins = {key: f"file {key}" for key in list(made.final_config_dict)[:9]}
    lines = describe(made.options, made.final_config_dict, origins)
    assert len(lines) == 6
    assert lines[2] == "keys from 6 more; `recbole-sr config` with the same arguments shows all"
    assert [line.partition(":")[0] for line in lines[3:]] == list(origins.values())[-3:]


def test_a_run_says_that_the_method_is_off_and_what_turns_it_on():
    for made in (config("DGCF"), config("BPR", ["off.yaml"])):
        name, second, *_ = describe(made.options, made.final_config_dict, {})
        model = name.partition(" ")[0]
        assert second.startswith(f"the method is off, and {model} trains as in RecBole; --config_f")
        assert "warm/stable_rank.yaml" in second
        assert "warm/spectral.yaml" in second
    for file in ("warm/stable_rank.yaml", "warm/spectral.yaml", "loss/directau.yaml"):
        assert not config("DGCF", [file]).options.off
    assert not config("DGCF", sr_target_rank=8).options.off
    assert not config("DGCF", sr_published=True).options.off
    assert config("DGCF", sr_main_regularizers={"uniformity": 0.0}).options.off


def test_warm_phases_are_described():
    warm = config("DGCF", sr_target_rank=8, sr_warm_epochs=5)
    first, second, *_ = describe(warm.options, warm.final_config_dict, {})
    assert first == "DGCF on ml-100k; initialisation: model"
    assert second == (
        "warm phase: the model's own loss + 0.03 stable_rank, stable rank held at 8, 5 epochs; "
        "main phase: the model's own loss, stable rank held at 8"
    )
    metric = config("DGCF", sr_switch="metric", sr_warm_epochs=9)
    assert (
        "until 5 evaluations without a better score"
        in describe(metric.options, metric.final_config_dict, {})[1]
    )


@pytest.mark.parametrize(
    ("model", "key", "value", "with_it"),
    [
        ("BPR", "sr_warm_regularizers", {"stable_rank": 0.1}, {"sr_warm_epochs": 5}),
        ("BPR", "sr_switch", "metric", {"sr_warm_epochs": 9}),
        ("DGCF", "sr_patience", 3, {"sr_switch": "metric"}),
        ("DGCF", "sr_init_margin", 1.0, {"sr_init": "spectral"}),
        ("DGCF", "sr_temperature", 0.5, {"sr_loss": "ssm"}),
        ("DGCF", "sr_target_step", 0.5, {"sr_target_rank": 4}),
        ("DGCF", "sr_uniformity_rows", 9, {"sr_main_regularizers": {"uniformity": 1.0}}),
        ("DGCF", "sr_uniformity_rows", 9, {"sr_warm_regularizers": {"uniformity": 1.0}}),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(model, key, value, with_it):
    (needed,) = with_it
    of_phases = model == "DGCF" and key != "sr_init_margin"
    files = ["warm/stable_rank.yaml"] if of_phases else []
    others = "sr_warm_regularizers" if key == "sr_uniformity_rows" else needed
    with pytest.raises(InputError, match=rf"{key}: expected {others}.* with it, .*or drop the key"):
        config(model, files, **{key: value})
    made = config(model, files, **{key: value}, **with_it)
    assert made[key] == value
    assert not [
        text
        for text in idle_keys(made.options, made.origins, made.final_config_dict)
        if text.startswith(key)
    ]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"sr_init": "model"},
            "sr_init_als_iterations: 2 (model/BPR.yaml) has no effect without sr_init: spectral",
        ),
        (
            {"sr_main_regularizers": {}},
            "sr_uniformity_rows: 512 (main/alignment.yaml) has no effect without "
            "sr_warm_regularizers: uniformity or sr_main_regularizers: uniformity",
        ),
        (
            {"sr_loss": "align"},
            "sr_main_regularizers: alignment is counted twice, as it is also the sr_loss",
        ),
        (
            {"sr_warm_epochs": 0, "sr_switch": "metric"},
            "sr_switch: metric (config_dict) has no effect without sr_warm_epochs",
        ),
        (
            {"sr_warm_epochs": 6, "sr_switch": "metric"},
            "sr_switch: metric (config_dict) has no effect, as sr_warm_epochs: 6 ends the warm "
            "phase before sr_patience: 5 can; raise sr_warm_epochs, or lower sr_patience",
        ),
        (
            {"sr_warm_epochs": 18, "sr_switch": "metric", "eval_step": 3},
            "sr_switch: metric (config_dict) has no effect, as sr_warm_epochs: 18 ends the warm "
            "phase before sr_patience: 5 can; raise sr_warm_epochs, or lower sr_patience",
        ),
        (
            {"benchmark_filename": ["a", "b", "c"], "eval_args": {"split": {"LS": "valid_only"}}},
            "eval_args: split: {'LS': 'valid_only'} (config_dict) has no effect, as "
            "benchmark_filename names the parts",
        ),
        (
            {"benchmark_filename": ["a", "b", "c"], "val_interval": {"rating": "[3,inf)"}},
            "val_interval: {'rating': '[3,inf)'} (config_dict) has no effect, as "
            "benchmark_filename names the parts",
        ),
    ],
)
def test_what_has_no_effect_is_said_before_training(keys, sentence, caplog):
    with caplog.at_level(logging.WARNING):
        config(**keys).log_recipe()
    assert caplog.messages == [sentence]


def test_a_default_recipe_has_nothing_without_effect():
    for model in ("BPR", "LightGCN", "NeuMF", "DGCF", "SASRec", "FM"):
        made = config(model)
        assert idle_keys(made.options, made.origins, made.final_config_dict) == []


def test_the_table_has_every_key():
    made = config("LightGCN")
    rows = {key: cells for key, *cells in table(made.final_config_dict, made.origins)}
    assert rows.keys() == made.final_config_dict.keys()
    assert rows["sr_init"] == ["spectral", "warm/spectral.yaml"]
    assert rows["learning_rate"] == ["0.001", DEFAULT]


def test_the_command_prints_the_table_without_training(capsys, tmp_path):
    assert cli.main(["config", "-m", "LightGCN", "-d", "ml-100k", "--learning_rate=0.01"]) == 0
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert lines[0] == ["key", "value", "from"]
    assert ["learning_rate", "0.01", "command line"] in lines
    assert ["sr_init", "spectral", "warm/spectral.yaml"] in lines
    assert ["epochs", "300", "default"] in lines
    assert not list(tmp_path.iterdir())


def test_a_file_includes_others_below_its_own_keys(tmp_path):
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "top.yaml").write_text(
        "config_files: [beside.yaml, main/uniformity.yaml]\nsr_uniformity_rows: 64\n"
    )
    (tmp_path / "above" / "beside.yaml").write_text("epochs: 3\nsr_uniformity_rows: 8\n")
    made = config(files=["above/top.yaml"])
    assert (made["epochs"], made["sr_uniformity_rows"]) == (3, 64)
    assert made["sr_main_regularizers"] == {"uniformity": 0.1}
    assert made.origins["epochs"] == "beside.yaml"


def test_what_is_given_by_name_is_not_from_a_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("model: LightGCN\ndataset: foo\nepochs: 3\n")
    origins = Config("BPR", "ml-100k", ["mine.yaml"]).origins
    assert origins["epochs"] == "mine.yaml"
    assert not origins.keys() & {"model", "dataset"}


@pytest.mark.parametrize(
    ("typed", "rows"),
    [
        ([], {"model": ("BPR", "default"), "dataset": ("ml-100k", "default")}),
        (["--config_files=mine.yaml"], {"model": ("LightGCN", "mine.yaml")}),
        (
            ["-m", "NGCF", "--config_files=mine.yaml"],
            {"model": ("NGCF", "command line"), "dataset": ("ml-100k", "default")},
        ),
    ],
)
def test_the_command_shows_who_named_the_model(typed, rows, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("model: LightGCN\n")
    assert cli.main(["config", *typed]) == 0
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    ]
    found = {key: (value, origin) for key, value, origin in lines[2:]}
    assert {key: found[key] for key in rows} == rows


@pytest.mark.parametrize("key", ["x-common", "eval_args.order", "EPOCHS", "épochs"])
def test_an_unknown_key_is_named_with_its_file(key, tmp_path):
    (tmp_path / "mine.yaml").write_text(f"{key}: 3\n")
    with pytest.raises(InputError, match=rf"^unknown key '{key}'.* \(in mine\.yaml\)$"):
        config(files=["mine.yaml"])


def test_files_that_include_each_other_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("config_files: b.yaml\n")
    (tmp_path / "b.yaml").write_text("config_files: a.yaml\n")
    with pytest.raises(InputError, match=r"a\.yaml: expected files that do not include each other"):
        config(files=["a.yaml"])
