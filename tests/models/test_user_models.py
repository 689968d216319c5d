"""Models that are not RecBole's."""

from __future__ import annotations

import copy
import importlib
import pickle
import re

import numpy as np
import pytest
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.loss import BPRLoss
from recbole.utils import InputType
from torch import nn

import recbole_sr
from recbole_sr import (
    Missing,
    Propagated,
    Representations,
    Table,
    load_data_and_model,
    run_recbole_sr,
)
from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.models.inject import inject


class Undeclared(GeneralRecommender):
    """A matrix factorisation whose items are mapped; it keeps a numpy array beside its weights."""

    input_type = InputType.PAIRWISE
    other_parameter_name = ("popularity",)

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.people = nn.Embedding(self.n_users, 8)
        self.things = nn.Parameter(torch.randn(self.n_items, 8))
        self.map = nn.Linear(8, 8)
        self.dropout = nn.Dropout()  # which is never called
        self.popularity = np.zeros(self.n_items)

    def forward(self):
        return self.map(self.things)

    def calculate_loss(self, interaction):
        self.popularity[interaction["item_id"].cpu()] += 1
        users, items = self.people(interaction["user_id"]), self.forward()
        wanted, other = items[interaction["item_id"]], items[interaction["neg_item_id"]]
        return BPRLoss()((users * wanted).sum(-1), (users * other).sum(-1))

    def full_sort_predict(self, interaction):
        scores = self.people(interaction["user_id"]) @ self.forward().T
        return scores + torch.from_numpy(self.popularity).float().to(scores.device)


class Declared(Undeclared):
    @classmethod
    def sr_representations(cls):
        return recbole_sr.Representations(
            user=recbole_sr.Table("people"),
            item=recbole_sr.Propagated(lambda output: output),
        )


# The name of a model that has a property file.
Namesake = type("BPR", (Declared,), {"__module__": __name__})


class Wrong(Undeclared):
    @classmethod
    def sr_representations(cls):
        return recbole_sr.Representations(
            user=recbole_sr.Table("people"),
            item=recbole_sr.Encoded(lambda call, step: call.output, "never called", "map.nothing"),
        )


def test_a_class_that_says_where_its_representations_are_trains(tiny):
    result = run_recbole_sr(
        Declared, "tiny", config_dict={**tiny, "epochs": 2, "sr_warm_epochs": 1}
    )
    assert [epoch["phase"] for epoch in result["sr"]["epochs"]] == ["warm", "main"]
    assert set(result["sr"]["epochs"][0]["stable_rank"]) == {"user", "item"}


def test_its_checkpoint_loads_with_the_class_and_its_arrays_are_arrays(tiny, experiment, tmp_path):
    made = experiment(Declared, "tiny", **tiny, epochs=2, sr_warm_epochs=1)
    made.train(saved=True, verbose=False)
    (file,) = (tmp_path / "saved").glob("Declared-*[0-9].pth")
    _, loaded, *_, test_data = load_data_and_model(str(file), Declared)
    assert isinstance(loaded.popularity, np.ndarray)
    assert loaded.popularity.sum() > 0
    batch = next(iter(test_data))[0]
    assert torch.equal(loaded.full_sort_predict(batch), made.model.full_sort_predict(batch))


def test_its_checkpoint_without_the_class_says_what_is_missing(tiny, experiment, tmp_path):
    experiment(Declared, "tiny", **tiny, epochs=1).train(saved=True, verbose=False)
    (file,) = (tmp_path / "saved").glob("Declared-*[0-9].pth")
    with pytest.raises(InputError, match="RecBole has no Declared"):
        load_data_and_model(str(file))


def test_what_it_keeps_beside_its_weights_goes_where_it_computes(tiny, experiment):
    model = experiment(Declared, "tiny", **tiny).model.to("meta")
    model.load_other_parameter({"popularity": torch.ones(3), "centroids": torch.ones(2)})
    assert isinstance(model.popularity, np.ndarray)
    assert model.centroids.device.type == "meta"
    model.load_other_parameter(None)


def test_a_key_that_a_class_above_it_reads_is_known(tiny, tmp_path, monkeypatch, caplog):
    (tmp_path / "above.py").write_text(
        "from recbole.model.general_recommender import BPR\n"
        "class Above(BPR):\n"
        "    def __init__(self, config, dataset):\n"
        "        super().__init__(config, dataset)\n"
        "        self.mine = config['my_key']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    above = importlib.import_module("above").Above
    own = type("Own", (above,), {"sr_representations": Declared.sr_representations})
    own.__module__ = __name__
    assert Config(own, "tiny", config_dict={**tiny, "my_key": 1})["my_key"] == 1
    assert not caplog.messages
    Config(own, "tiny", config_dict={**tiny, "my_kye": 1})  # read in a way that nobody can see?
    assert "unknown key 'my_kye'" in caplog.text


def test_keys_of_a_class_without_source_are_let_through(tiny, monkeypatch, caplog):
    monkeypatch.delattr("__main__.__file__", raising=False)  # as in a notebook
    own = type("Own", (Declared,), {"__module__": "__main__"})
    name = "looked_up_" + "nowhere"
    assert Config(own, "tiny", config_dict={**tiny, name: 1})[name] == 1
    assert not caplog.messages


def test_it_pickles_and_copies(tiny, experiment):
    model = experiment(Declared, "tiny", **tiny).model
    assert type(pickle.loads(pickle.dumps(model))) is inject(Declared)  # noqa: S301
    assert type(copy.deepcopy(model)) is inject(Declared)


def test_a_class_that_does_not_say_is_shown_how(tiny):
    with pytest.raises(InputError, match=r"@classmethod def sr_representations\(cls\)") as refusal:
        run_recbole_sr(Undeclared, "tiny", config_dict=tiny)
    assert "\n" not in str(refusal.value)


def test_a_class_that_says_what_is_not_there_fails_at_once(tiny):
    says = r"sr_representations \(item\): expected the path of .* of Wrong, got 'map.nothing'"
    with pytest.raises(InputError, match=says):
        run_recbole_sr(Wrong, "tiny", config_dict={**tiny, "epochs": 1, "sr_warm_epochs": 1})


TABLES = {"user": Table("people"), "item": Table("things")}


def given(representations):
    return type("Mine", (Undeclared,), {"sr_representations": classmethod(representations)})


def test_an_error_within_the_class_method_is_the_cause(tiny):
    def broken(cls):
        raise TypeError("within")

    with pytest.raises(InputError, match=r"got an error \(within\)") as refusal:
        run_recbole_sr(given(broken), "tiny", config_dict=tiny)
    assert isinstance(refusal.value.__cause__, TypeError)


@pytest.mark.parametrize(
    ("representations", "says"),
    [
        (lambda cls: TABLES, "model: expected Mine.sr_representations to be .*, got a dict; corr"),
        (lambda: None, r"got an error \(.*takes 0 positional arguments but 1 was given\); correct"),
        (
            lambda cls: Representations(user=Missing("one"), item=Missing("other")),
            "Representations: expected a side that has some, got Missing for both; name",
        ),
        (
            lambda cls: Representations(Table("people", "others"), Table("things"), loss="loss"),
            r"\(loss\): expected one matrix of the users, .*, got rows of people, others; drop",
        ),
        (
            lambda cls: Representations(Table("people"), Missing("none"), loss="loss"),
            r"\(loss\): expected one matrix of the items, .*, got none: none; drop loss",
        ),
        (
            lambda cls: Representations(**TABLES, loss="los"),
            r"sr_representations \(loss\): expected the path of an attribute of .*, got 'los'",
        ),
        (
            lambda cls: Representations(**TABLES, layers=("map.weights",)),
            r"sr_representations \(layers\): expected the path of an attr.*, got 'map.weights'",
        ),
        (
            lambda cls: Representations(
                user=Table("people"), item=Propagated(lambda output: output, module="dropout")
            ),
            "the warm phase regularised no item in a whole epoch",
        ),
    ],
    ids=["dict", "arguments", "none", "two", "one side", "loss", "layers", "never called"],
)
def test_what_a_class_says_wrongly_of_itself_is_refused(representations, says, tiny):
    with pytest.raises(InputError, match=says):
        run_recbole_sr(
            given(representations), "tiny", config_dict={**tiny, "epochs": 1, "sr_warm_epochs": 1}
        )


def test_a_namesake_of_recboles_model_does_not_get_its_defaults(tiny):
    config = Config(Namesake, "tiny", config_dict=tiny)
    assert (config["model"], config.options.sr_init) == ("BPR", "model")


class RowByRow(Undeclared):
    """Computes the vectors of a batch's items row by row, once for each side of a pair."""

    def calculate_loss(self, interaction):
        users = self.people(interaction["user_id"])
        wanted, other = (
            self.map(self.things[interaction[name]]) for name in ("item_id", "neg_item_id")
        )
        return BPRLoss()((users * wanted).sum(-1), (users * other).sum(-1))

    @classmethod
    def sr_representations(cls):
        encoded = recbole_sr.Encoded(lambda call, step: call.output, "mapped items", "map")
        return recbole_sr.Representations(user=recbole_sr.Table("people"), item=encoded)


def test_rows_of_other_items_are_not_taken_for_negatives(tiny):
    settings = {**tiny, "epochs": 1, "sr_warm_epochs": 1, "sr_loss": "model"}
    given = re.escape("Encoded('mapped items'): expected ids of the batch's item_id, ")
    with pytest.raises(InputError, match=rf"{given}.* in neg_item_id alone \(such as [\d, ]+\)"):
        run_recbole_sr(RowByRow, "tiny", config_dict=settings)
    users = run_recbole_sr(RowByRow, "tiny", config_dict={**settings, "sr_tables": ["user"]})
    assert set(users["sr"]["epochs"][0]["stable_rank"]) == {"user"}
