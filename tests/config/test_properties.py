"""The shipped property files: each cell of the study's grid by one command."""

from __future__ import annotations

import pytest

from recbole_sr import run_recbole_sr
from recbole_sr.config.config import Config
from recbole_sr.config.shipped import properties_folder
from recbole_sr.errors import InputError
from recbole_sr.objectives.losses import LOSSES

GRID = {
    "model": ("model", {}),
    "bpr": ("bpr", {}),
    "ssm": ("ssm", {}),
    "align": ("align", {}),
    "directau": ("align", {"uniformity": 1.0}),
    "directau_large": ("align", {"uniformity": 3.0}),
    "directau_sparse": ("align", {"uniformity": 1.0}),
}
# What the warm phase of the stable rank weighs beside each loss.
WEIGHT = {loss: 0.3 if name == "align" else 0.03 for loss, (name, _) in GRID.items()}
WARM = {"none": None, "stable_rank": "stable_rank", "uniformity": "uniformity", "spectral": None}
# Weights and rows of the main phase, by file of main/, and which of them is a model's default.
MAIN = {
    "alignment": ({"alignment": 1.0, "uniformity": 2.0}, 512),
    "uniformity": ({"uniformity": 0.1}, 512),
}
BY_DEFAULT = {"BPR": "alignment", "LightGCN": "uniformity"}
ALS_ITERATIONS = {"BPR": 2, "LightGCN": 0}
MODELS = [*BY_DEFAULT]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("warm", WARM)
@pytest.mark.parametrize("loss", GRID)
def test_a_loss_and_a_warm_start_make_a_cell_of_the_grid(loss, warm, model):
    files = [f"loss/{loss}.yaml", f"warm/{warm}.yaml"]
    config = Config(model, "ml-100k", files)
    name, main = GRID[loss]
    machine = config.options.schedule()
    assert machine.main.regularizers == main
    assert config.options.sr_loss == name
    assert config.options.sr_init == ("spectral" if warm == "spectral" else "model")
    if WARM[warm] is None:
        assert not machine.warming
    else:
        weight = 1.0 if warm == "uniformity" else WEIGHT[loss]
        assert machine.warm.regularizers == {WARM[warm]: weight}
        assert [machine.begin_epoch(epoch).name for epoch in (4, 5)] == ["warm", "main"]
    sampled = config["train_neg_sample_args"]["sample_num"]
    assert sampled == {"model": 1, "bpr": 1, "ssm": 16, "align": "none"}[name]


@pytest.mark.parametrize("model", [*MODELS, "DGCF"])
def test_directau_for_sparse_data_begins_with_small_norms(model):
    options = Config(model, "ml-100k", ["loss/directau_sparse.yaml"]).options
    assert (options.sr_init, options.sr_init_margin, options.popularity) == ("spectral", 0.1, 0.1)
    assert options.sr_warm_epochs == options.sr_init_als_iterations == 0


@pytest.mark.parametrize("model", [*MODELS, "DGCF"])
@pytest.mark.parametrize("loss", sorted(GRID.keys() - {"directau_sparse"}))
def test_a_loss_alone_begins_as_the_model_does_by_default(loss, model):
    alone, default = Config(model, "ml-100k", [f"loss/{loss}.yaml"]), Config(model, "ml-100k")
    for key in ("sr_init", "sr_warm_epochs"):
        assert alone[key] == default[key]
    assert alone["sr_warm_regularizers"] == {"stable_rank": WEIGHT[loss]}


@pytest.mark.parametrize(
    ("model", "start", "warm_epochs"),
    [
        ("BPR", "spectral", 0),
        ("CFKG", "spectral", 0),
        ("CKE", "spectral", 0),
        ("ENMF", "spectral", 0),
        ("LightGCN", "spectral", 0),
        ("KGCN", "spectral", 0),
        ("KGNNLS", "spectral", 0),
        ("KTUP", "spectral", 0),
        ("LINE", "spectral", 0),
        ("NCL", "spectral", 0),
        ("NGCF", "spectral", 0),
        ("NeuMF", "spectral", 0),
        ("SGL", "spectral", 0),
        ("SimpleX", "spectral", 0),
        ("SpectralCF", "spectral", 0),
        ("DGCF", "model", 0),
    ],
)
def test_what_a_model_does_by_default(model, start, warm_epochs):
    options = Config(model, "ml-100k").options
    assert (options.sr_init, options.sr_warm_epochs) == (start, warm_epochs)


@pytest.mark.parametrize("warm", WARM)
@pytest.mark.parametrize("loss", GRID)
def test_every_cell_runs(loss, warm, tiny):
    settings = {**tiny, "epochs": 6, "stopping_step": 100, "train_batch_size": 1024}
    files = [f"loss/{loss}.yaml", f"warm/{warm}.yaml"]
    result = run_recbole_sr("BPR", "tiny", files, settings, saved=False)
    assert len(result["sr"]["epochs"]) == 6
    assert (result["sr"]["switch_epoch"] == 5) is (WARM[warm] is not None)


def main_phase(config):
    main = config.options.schedule().main
    return main.regularizers, main.uniformity_rows


@pytest.mark.parametrize("model", MODELS)
def test_the_recipe_of_a_model_is_its_default(model):
    default = Config(model, "ml-100k")
    assert main_phase(default) == MAIN[BY_DEFAULT[model]]
    assert default.options.sr_init_als_iterations == ALS_ITERATIONS[model]
    for files in ([f"main/{BY_DEFAULT[model]}.yaml"], ["warm/spectral.yaml"]):
        assert Config(model, "ml-100k", files).options == default.options


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sr_init", "model"),
        ("sr_loss", "ssm"),
        ("sr_warm_epochs", 3),
        ("sr_target_rank", 8),
        ("sr_main_regularizers", {"uniformity": 0.5}),
        ("sr_main_regularizers", {}),
        ("sr_init_als_iterations", 0),
    ],
)
def test_a_key_overrides_that_key_alone(key, value, model):
    default = Config(model, "ml-100k").options.model_dump()
    changed = Config(model, "ml-100k", config_dict={key: value}).options.model_dump()
    assert changed == {**default, key: value}


@pytest.mark.parametrize("model", MODELS)
def test_off_has_no_part_of_the_method(model):
    options = Config(model, "ml-100k", ["off.yaml"]).options
    machine = options.schedule()
    assert not machine.warming
    assert not machine.main.active
    assert options.initialization is None


@pytest.mark.parametrize("main", MAIN)
@pytest.mark.parametrize("start", [[], ["warm/none.yaml"], ["warm/stable_rank.yaml"]])
@pytest.mark.parametrize("model", ["NGCF", "DGCF"])
def test_a_file_of_main_changes_the_main_phase_alone(model, start, main):
    kept = Config(model, "ml-100k", [*start, f"main/{main}.yaml"])
    off = Config(model, "ml-100k", start)
    ours, plain = kept.options.schedule(), off.options.schedule()
    assert main_phase(kept) == MAIN[main]
    assert plain.main.regularizers == {}
    assert (ours.warming, ours.warm.regularizers) == (plain.warming, plain.warm.regularizers)
    for key in ("sr_loss", "sr_init", "learning_rate", "train_batch_size"):
        assert kept[key] == off[key]


def test_the_default_keeps_the_tables_apart(tiny):
    settings = {**tiny, "epochs": 10, "stopping_step": 100}

    def final_rank(**more):
        result = run_recbole_sr("BPR", "tiny", config_dict={**settings, **more}, saved=False)
        return result["sr"]["epochs"][-1]["stable_rank"]

    kept, off = final_rank(), final_rank(sr_main_regularizers={})
    assert kept["user"] > off["user"]
    assert kept["item"] > off["item"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("loss", "pairs"), [("bpr", 16384), ("ssm", 16384), ("directau", 8192)])
def test_the_published_recipe(loss, pairs, model):
    config = Config(model, "ml-100k", ["published/common.yaml", f"published/{loss}.yaml"])
    machine = config.options.schedule()
    names = [machine.begin_epoch(epoch).name for epoch in range(8)]
    assert names == ["warm"] * 6 + ["main"] * 2
    assert machine.warm.regularizers == {"stable_rank": 1.0}
    assert machine.main.regularizers == ({"uniformity": 1.0} if loss == "directau" else {})
    sampled = config["train_neg_sample_args"]["sample_num"]
    assert config["train_batch_size"] == pairs * (1 if sampled == "none" else sampled)
    assert config["eval_args"]["group_by"] == "none"
    assert config["reg_weight"] == 0
    assert config["valid_metric"] == "NDCG@20"


def test_there_is_a_file_for_every_loss():
    used = {
        GRID[file.name.removesuffix(".yaml")][0]
        for file in (properties_folder() / "loss").iterdir()
    }
    assert used == {"model", *LOSSES}


def test_a_file_of_the_user_comes_before_a_shipped_one_of_the_same_name(tmp_path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "bpr.yaml").write_text("epochs: 7\n")
    config = Config("BPR", "ml-100k", ["loss/bpr.yaml"])
    assert (config["epochs"], config.options.sr_loss) == (7, "model")


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"loss/bprr\.yaml: expected a YAML property file"):
        Config("BPR", "ml-100k", ["loss/bprr.yaml"])


@pytest.mark.parametrize("value", ["!!bool x", "!!timestamp x", "!!int ''", "!!float ''"])
def test_a_value_that_is_none_of_its_tag_is_refused(value, tmp_path):
    (tmp_path / "tagged.yaml").write_text(f"epochs: {value}\n")
    with pytest.raises(
        InputError, match=r"^tagged\.yaml: expected a YAML property file, got a tag"
    ):
        Config("BPR", "ml-100k", ["tagged.yaml"])
    with pytest.raises(InputError, match=r"^topk.*: expected .*!!"):
        Config("BPR", "ml-100k", config_dict={"topk": f"[{value}]"})
