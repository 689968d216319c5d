"""A loss, regulariser or initialisation is its function and one entry in a registry, no more."""

from __future__ import annotations

import inspect

import pytest
import torch

from recbole_sr.config.options import Options
from recbole_sr.errors import InputError
from recbole_sr.init.initialization import INITIALIZATIONS, Initialization
from recbole_sr.init.initialization import parameters as settable
from recbole_sr.objectives.losses import LOSSES, Loss
from recbole_sr.objectives.regularizers import REGULARIZERS, Regularizer

PLAIN = {"sr_init": "model", "sr_warm_epochs": 0, "sr_main_regularizers": {}}
PLAIN |= {"sr_init_als_iterations": 0, "sr_uniformity_rows": None}


class Counted:
    """A function that notes the shapes of what it is given."""

    def __init__(self, function):
        self.function = function
        self.shapes = []

    def __call__(self, *given, **parameters):
        self.shapes.append([tuple(x.shape) for x in given])
        return self.function(*given, **parameters)


@pytest.fixture
def train(experiment, tiny):
    """Train BPR for an epoch without what its recipe adds; the experiment and its report."""

    def run(**settings):
        made = experiment("BPR", "tiny", **{**tiny, **PLAIN, "epochs": 1, **settings})
        return made, made.train(saved=False, verbose=False)["sr"]

    return run


def hinge(user, positive, negatives):
    return (1 + (user * negatives).sum(-1) - (user * positive).sum(-1)).clamp_min(0).mean()


def squared_distance(user, positive):
    return (user - positive).square().sum(-1).mean()


def norm(x):
    return x.square().sum(-1).mean()


def test_a_new_loss_trains(train, monkeypatch):
    mine = Counted(hinge)
    monkeypatch.setitem(LOSSES, "mine", Loss(mine))
    made, report = train(sr_loss="mine", train_neg_sample_args={"sample_num": 2})
    assert len(mine.shapes) == len(made.train_data)
    (pairs, width), positives, negatives = mine.shapes[0]
    assert (positives, negatives) == ((pairs, width), (2, pairs, width))
    assert 0 < report["epochs"][0]["train_loss"] < 2 * len(mine.shapes)


def test_a_new_loss_without_negatives_trains_and_none_are_sampled(train, monkeypatch):
    mine = Counted(squared_distance)
    monkeypatch.setitem(LOSSES, "mine", Loss(mine, needs_negatives=False))
    made, _ = train(sr_loss="mine")
    assert "neg_item_id" not in next(iter(made.train_data))
    assert [len(shapes) for shapes in mine.shapes] == [2] * len(made.train_data)


def test_a_new_losss_parameters_are_keys(train, monkeypatch):
    given = []

    def mine(user, positive, temperature):
        given.append(temperature)
        return squared_distance(user, positive)

    loss = Loss(mine, needs_negatives=False, parameters=("temperature",))
    monkeypatch.setitem(LOSSES, "mine", loss)
    train(sr_loss="mine", sr_temperature=0.5)
    assert set(given) == {0.5}


def test_a_new_losss_weights_are_those_of_its_warm_phase(monkeypatch):
    loss = Loss(squared_distance, needs_negatives=False, warm_weights={"stable_rank": 0.7})
    monkeypatch.setitem(LOSSES, "mine", loss)
    options = Options.from_mapping({"sr_loss": "mine"})
    assert options.schedule().warm.regularizers == {"stable_rank": 0.7}


def test_a_new_regulariser_of_rows_trains(train, monkeypatch):
    mine = Counted(norm)
    monkeypatch.setitem(REGULARIZERS, "mine", Regularizer(mine, "rows", 0.5))
    made, report = train(sr_warm_epochs=1, epochs=2, sr_warm_regularizers={"mine": None})
    assert [phase["regularizers"] for phase in report["phases"]] == [{"mine": 0.5}, {}]
    assert len(mine.shapes) == 2 * len(made.train_data)  # of each side
    assert all(len(shapes) == 1 for shapes in mine.shapes)


def test_a_new_regulariser_may_be_measured_on_some_rows(train, monkeypatch):
    mine = Counted(norm)
    monkeypatch.setitem(REGULARIZERS, "mine", Regularizer(mine, "rows", 0.5, sampled=True))
    some = {"mine": 0.1, "uniformity": 0.1}  # the key wants one that it is known of
    train(sr_main_regularizers=some, sr_uniformity_rows=7)
    assert {shapes[0][0] for shapes in mine.shapes} == {7}


def test_a_new_regulariser_of_pairs_trains(train, monkeypatch):
    mine = Counted(squared_distance)
    monkeypatch.setitem(REGULARIZERS, "mine", Regularizer(mine, "pairs", 0.5))
    made, report = train(sr_main_regularizers={"mine": None})
    assert report["phases"][0]["regularizers"] == {"mine": 0.5}
    assert len(mine.shapes) == len(made.train_data)
    assert all(user == positive for user, positive in mine.shapes)


def test_a_new_regulariser_of_pairs_is_refused_where_pairs_are_not_what_a_model_scores(
    monkeypatch, experiment, tiny
):
    monkeypatch.setitem(REGULARIZERS, "mine", Regularizer(squared_distance, "pairs", 0.5))
    with pytest.raises(InputError, match="sr_main_regularizers: expected no mine for NeuMF"):
        experiment("NeuMF", "tiny", **tiny, sr_main_regularizers={"mine": 1.0})


def test_a_new_initialisation_fills_the_tables(train, monkeypatch):
    given = []

    def mine(tables, interactions, seed):
        given.append((interactions, seed))
        for table in (*tables.user, *tables.item):
            table.fill_(0.25)

    monkeypatch.setitem(INITIALIZATIONS, "mine", Initialization(mine))
    made, _ = train(sr_init="mine", learning_rate=1e-9)
    ((interactions, seed),) = given
    assert seed == made.config["seed"]
    assert interactions.shape == (40, 60)
    assert len(interactions.users) == len(interactions.items) == len(made.train_data._dataset)
    for table in (made.model.user_embedding.weight, made.model.item_embedding.weight):
        torch.testing.assert_close(table[1:], torch.full_like(table[1:], 0.25))


def test_a_new_initialisations_parameters_are_keys(monkeypatch, experiment, tiny):
    given = []
    mine = Initialization(lambda *_, power: given.append(power))
    monkeypatch.setitem(INITIALIZATIONS, "mine", mine)
    experiment("BPR", "tiny", **{**tiny, **PLAIN, "sr_init": "mine", "sr_init_power": 0.5})
    assert given == [0.5]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sr_loss", "mine"),
        ("sr_init", "mine"),
        ("sr_warm_regularizers", {"mine": 1.0}),
        ("sr_main_regularizers", {"mine": 1.0}),
    ],
)
def test_a_name_that_no_registry_has_is_refused(key, value):
    with pytest.raises(InputError, match=f"{key}.*mine"):
        Options.from_mapping({key: value})


def parameters(function):
    """The names of its parameters that have to be or can be given by keyword."""
    return set(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", LOSSES)
def test_a_losss_entry_says_what_its_function_takes(name):
    loss = LOSSES[name]
    vectors = {"user", "positive"} | ({"negatives"} if loss.needs_negatives else set())
    assert parameters(loss.function) == vectors | set(loss.parameters)
    assert {f"sr_{key}" for key in loss.parameters} <= set(Options.model_fields)
    weights = {**loss.warm_weights, **loss.published_main_weights}
    assert set(weights) <= set(REGULARIZERS)
    assert all(weight > 0 for weight in weights.values())


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_regularisers_entry_says_what_its_function_takes(name):
    regularizer = REGULARIZERS[name]
    read = {"rows": {"x"}, "pairs": {"user", "positive"}}[regularizer.reads]
    assert parameters(regularizer.function) == read | ({"peers"} if regularizer.shared else set())
    assert regularizer.weight > 0
    assert not regularizer.sampled or regularizer.reads == "rows"


@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_an_initialisation_takes_what_the_user_may_set(name):
    entry = INITIALIZATIONS[name]
    given = {"tables", entry.reads, "seed"}
    assert parameters(entry.fill) == given | set(settable(name))
    assert {f"sr_init_{key}" for key in settable(name)} <= set(Options.model_fields)
