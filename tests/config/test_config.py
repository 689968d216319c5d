from __future__ import annotations

import os
import pickle

import pytest
import recbole.config
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from recbole_sr.config.config import Config
from recbole_sr.config.files import Loader
from recbole_sr.errors import InputError


def test_precedence_is_recboles(tmp_path, monkeypatch):
    (tmp_path / "a.yaml").write_text("epochs: 11\nlearning_rate: 0.1\nsr_warm_epochs: 1\n")
    monkeypatch.setattr("sys.argv", ["run", "-m", "BPR", "--epochs=13"])
    given = {"learning_rate": 0.2, "epochs": 12}
    config = Config("BPR", "ml-100k", [str(tmp_path / "a.yaml")], given)
    assert (config["epochs"], config["learning_rate"], config["sr_warm_epochs"]) == (13, 0.2, 1)
    assert config["train_batch_size"] == 2048


RECBOLES_LOADER = recbole.config.Config._build_yaml_loader(None)


@example("1e-3")
@example("._5e+3")
@example("-2E5")
@example("1.e+3")
@given(st.text("0123456789eE+-_.:", max_size=8))
def test_a_file_has_numbers_as_recbole_reads_them(text):
    try:
        expected = yaml.load(text, Loader=RECBOLES_LOADER)  # noqa: S506 - of digits
    except (yaml.YAMLError, ValueError):
        return
    found = yaml.load(text, Loader=Loader)  # noqa: S506 - a subclass of SafeLoader
    assert (type(found), repr(found)) == (type(expected), repr(expected))


def test_the_dictionary_given_is_left_as_it_was():
    given = {"learning_rate": "0.2", "eval_args": {"mode": "full"}}
    assert Config("BPR", "ml-100k", config_dict=given)["learning_rate"] == 0.2
    assert given == {"learning_rate": "0.2", "eval_args": {"mode": "full"}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("~", None),
        ("[10,20]", [10, 20]),
        ("(1,2)", (1, 2)),
        ("[user,item]", ["user", "item"]),
        ("{stable_rank: 1e-2}", {"stable_rank": 0.01}),
        ("{'split': {'RS': [0.8,0.1,0.1]}}", {"split": {"RS": [0.8, 0.1, 0.1]}}),
        ("dataset/", "dataset/"),
        ("[5,inf)", "[5,inf)"),
        ("(0,inf]", "(0,inf]"),
        ("a=b", "a=b"),
        ("max", "max"),
    ],
)
def test_text_on_the_command_line_is_a_literal(text, value, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run", f"--xgb_model={text}"])
    assert Config("BPR", "ml-100k")["xgb_model"] == value


def test_text_is_never_evaluated(tmp_path, monkeypatch):
    text = f"__import__('os').mkdir({str(tmp_path / 'made')!r})"
    monkeypatch.setattr("sys.argv", ["run", f"--xgb_model={text}"])
    config = Config("BPR", "ml-100k", config_dict={"xgb_params": text})
    assert config["xgb_model"] == config["xgb_params"] == text
    assert not os.path.exists(tmp_path / "made")


def test_an_interval_stays_text_and_an_unfinished_list_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["run", "--user_inter_num_interval=[5,inf)"])
    assert Config("BPR", "ml-100k")["user_inter_num_interval"] == "[5,inf)"
    monkeypatch.setattr("sys.argv", ["run", "--sr_tables=[user"])
    with pytest.raises(InputError, match=r"sr_tables: expected a valid list, got '\[user'"):
        Config("BPR", "ml-100k")


def test_a_main_phase_that_no_evaluation_sees_is_refused():
    sentence = "eval_step: expected an evaluation after epoch 5, .* the last one after epoch 4 of 7"
    with pytest.raises(InputError, match=sentence):
        Config("DGCF", "ml-100k", config_dict={"epochs": 7, "eval_step": 4, "sr_warm_epochs": 5})


@pytest.mark.parametrize(
    "settings",
    [
        {"eval_step": 3},
        {"eval_step": 10},  # RecBole then evaluates after the last
        {"eval_step": 0},
        {"epochs": 4, "eval_step": 4},  # ends warm, which is said at the end
        {"eval_step": 4, "sr_published": True},  # warm epochs count there
        {"eval_step": 4, "sr_switch": "metric"},
        {"eval_step": 4, "eval_args": {"split": {"LS": "test_only"}}},
        {"eval_step": 4, "model": "RaCT", "train_stage": "actor_pretrain"},
    ],
)
def test_an_evaluation_that_comes_in_time_or_is_not_wanted_is_accepted(settings):
    settings = {"model": "DGCF", "epochs": 7, "sr_warm_epochs": 5, **settings}
    assert Config(dataset="ml-100k", config_dict=settings).options.sr_warm_epochs == 5


def test_a_name_in_the_wrong_case_is_understood():
    with pytest.raises(InputError, match="did you mean 'BPR'"):
        Config("bpr", "ml-100k")


def test_an_unknown_model_is_refused():
    with pytest.raises(InputError, match="got 'LightGCM'; did you mean 'LightGCN'"):
        Config("LightGCM", "ml-100k")


def test_every_key_is_shown_with_the_settings():
    assert "sr_warm_epochs" in str(Config("BPR", "ml-100k"))


def test_ml_100k_is_found_without_a_download():
    assert os.path.isfile(os.path.join(Config("BPR", "ml-100k")["data_path"], "ml-100k.inter"))


def test_a_sequential_model_with_cross_entropy_samples_no_negatives_by_default():
    assert Config("SASRec", "ml-100k")["train_neg_sample_args"]["distribution"] == "none"
    pairs = {"distribution": "uniform", "sample_num": 1}
    with pytest.raises(InputError, match="should be None when the loss_type is CE"):
        Config("SASRec", "ml-100k", config_dict={"train_neg_sample_args": pairs})
    config = Config("SASRec", "ml-100k", config_dict={"loss_type": "BPR"})
    assert config["train_neg_sample_args"]["sample_num"] == 1


def test_a_configuration_pickles():
    config = pickle.loads(pickle.dumps(Config("BPR", "ml-100k")))  # noqa: S301
    assert config["model"] == "BPR"


def test_the_gpus_that_the_environment_shows_are_the_default(monkeypatch):
    monkeypatch.setattr("recbole_sr.config.config._VISIBLE_GPUS", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert Config("BPR", "ml-100k")["gpu_id"] == "3"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert Config("BPR", "ml-100k", config_dict={"gpu_id": 1})["gpu_id"] == "1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_an_environment_that_shows_no_gpu_means_the_processor(monkeypatch):
    monkeypatch.setattr("recbole_sr.config.config._VISIBLE_GPUS", "")
    config = Config("BPR", "ml-100k")
    assert (config["gpu_id"], config["device"].type) == ("", "cpu")


def test_no_gpu_is_used_where_none_is_wanted(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    config = Config("BPR", "ml-100k", config_dict={"use_gpu": False, "gpu_id": "1"})
    assert (config["gpu_id"], config["device"].type) == ("", "cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_key_of_another_model_is_warned_of(caplog):
    Config("BPR", "ml-100k", config_dict={"n_layers": 3})
    assert "n_layers: has no effect, as BPR does not read it" in caplog.text
    caplog.clear()
    Config("LightGCN", "ml-100k", config_dict={"n_layers": 3, "wandb_project": None})
    assert not caplog.text


def test_one_file_is_no_list_of_files():
    with pytest.raises(InputError, match=r"config_file_list: .* give \['mine.yaml'\]"):
        Config("BPR", "ml-100k", config_file_list="mine.yaml")
