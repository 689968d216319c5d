"""Entries of the registry: what they may say, and which one a class has."""

from __future__ import annotations

import abc
import copy
import pickle
from configparser import ConfigParser
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from contract import Recording, first_batch, settings_of
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import BPR, EASE, NGCF, LightGCN, NeuMF, Pop
from recbole.model.knowledge_aware_recommender import KGIN
from recbole.utils import get_model

import recbole_sr
from recbole_sr import load_data_and_model, resume, run_recbole_sr
from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.fast.propagation import PROPAGATIONS, accelerate
from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.inject import inject, repaired, with_representations
from recbole_sr.models.registry import MODELS, SUPPORTED, entry_of, named, replaceable_loss
from recbole_sr.models.sources import Missing, Propagated, Table, parameter, resolve
from recbole_sr.objectives.losses import LOSSES
from recbole_sr.objectives.phase import Phase

ITEMS_ALONE = ModelEntry(Missing("not to be regularised"), Table("item_embedding"))


class MyBPR(BPR):
    """Calculates more than the model that it extends."""

    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) + self.item_embedding.weight.square().mean()


class MyLightGCN(LightGCN):
    pass


class MyKGIN(KGIN):
    pass


class MyPop(Pop):
    pass


class MyOwnMyBPR(MyBPR):
    @classmethod
    def sr_representations(cls):
        return ITEMS_ALONE


class AbstractBPR(BPR, abc.ABC):
    """Has a metaclass of its own."""


def test_the_public_name_of_an_entry_is_representations():
    assert recbole_sr.Representations is ModelEntry


def test_a_model_of_recbole_has_the_entry_under_its_name():
    for name, entry in SUPPORTED.items():
        assert named(name) is entry
        assert entry_of(get_model(name)) is entry
    assert entry_of(inject(BPR)) is SUPPORTED["BPR"]


def test_the_supported_models_are_those_without_a_reason_to_refuse_them():
    assert SUPPORTED.keys() == {name for name, entry in MODELS.items() if type(entry) is ModelEntry}
    reasons = [reason for name, reason in MODELS.items() if name not in SUPPORTED]
    assert all(type(reason) is str and "\n" not in reason for reason in reasons)


@pytest.mark.parametrize("own", [MyBPR, MyLightGCN, MyKGIN])
def test_a_subclass_inherits_all_of_an_entry_but_what_it_may_have_changed(own):
    theirs, ours = entry_of(own.__mro__[1]), entry_of(own)
    assert ours == replace(theirs, sole_loss=False, propagation=None)
    assert replaceable_loss(own) == theirs.loss if theirs.loss else True
    assert entry_of(inject(own)) == ours


def test_a_subclass_of_a_subclass_inherits_too_and_may_say_otherwise():
    deeper = type("Deeper", (MyBPR,), {"__module__": __name__})
    assert entry_of(deeper) == entry_of(MyBPR)
    assert entry_of(MyOwnMyBPR) is ITEMS_ALONE
    assert entry_of(type("Deeper", (MyOwnMyBPR,), {})) is ITEMS_ALONE


def test_a_subclass_is_repaired_as_its_model_is():
    (*_, mixin) = SUPPORTED["KGIN"].repairs
    assert issubclass(repaired(MyKGIN), mixin)
    assert issubclass(repaired(MyKGIN), MyKGIN)


def test_a_subclasss_own_code_runs_beside_a_replaced_loss(experiment, tiny):
    made = experiment(MyBPR, "tiny", **tiny)
    model, batch = made.model, first_batch(made)
    with model.sr_regularized(Phase("main", loss=LOSSES["bpr"])):
        loss = model.calculate_loss(batch)
    torch.testing.assert_close(loss, MyBPR.calculate_loss(model, batch))


@pytest.mark.parametrize("own", [MyBPR, MyLightGCN])
def test_a_subclass_trains_in_both_phases(own, tiny):
    settings = {**tiny, "epochs": 2, "sr_warm_epochs": 1, "sr_loss": "bpr"}
    result = run_recbole_sr(own, "tiny", config_dict=settings)
    assert [epoch["phase"] for epoch in result["sr"]["epochs"]] == ["warm", "main"]


def test_a_subclasss_propagation_is_left_to_its_own_code(experiment, tiny):
    mixin = PROPAGATIONS["layer mean"]
    assert issubclass(accelerate(LightGCN, SUPPORTED["LightGCN"].propagation), mixin)
    assert isinstance(experiment("LightGCN", "tiny", **tiny).model, mixin)
    assert not isinstance(experiment(MyLightGCN, "tiny", **tiny).model, mixin)


@pytest.mark.parametrize("model", [Pop, EASE, MyPop])
def test_a_refused_model_is_refused_with_the_reason_also_as_a_subclass(model):
    name = "Pop" if model is MyPop else model.__name__
    with pytest.raises(InputError, match=f"model: {name} cannot be regularised: it learns no"):
        entry_of(model)


def test_a_class_of_recboles_that_is_not_listed_is_refused_with_a_suggestion():
    unknown = type("LightGCM", (), {"__module__": "recbole.model.general_recommender.lightgcm"})
    with pytest.raises(InputError, match="got 'LightGCM'; did you mean 'LightGCN'"):
        entry_of(unknown)
    with pytest.raises(InputError, match="got 'GeneralRecommender'"):
        entry_of(GeneralRecommender)


def test_a_class_that_extends_no_listed_model_is_told_how_to_declare_its_own():
    for parents in ((), (GeneralRecommender,)):
        with pytest.raises(InputError, match=r"model: expected Mine to say .*sr_representations"):
            entry_of(type("Mine", parents, {"__module__": "mine"}))


def test_a_namesake_of_recboles_model_does_not_get_its_entry():
    with pytest.raises(InputError, match="model: expected BPR to say where"):
        entry_of(type("BPR", (GeneralRecommender,), {"__module__": "mine"}))


def test_representations_that_are_given_take_the_place_of_the_registrys():
    own = with_representations(BPR, ITEMS_ALONE)
    assert entry_of(own) is ITEMS_ALONE
    assert entry_of(inject(own)) is ITEMS_ALONE
    assert entry_of(with_representations(MyOwnMyBPR, SUPPORTED["BPR"])) is SUPPORTED["BPR"]
    assert entry_of(BPR) is SUPPORTED["BPR"]  # which is as it was
    assert (own.__name__, issubclass(own, BPR)) == ("BPR", True)


def test_representations_that_are_given_are_what_is_regularised(experiment, tiny):
    own = with_representations(BPR, ITEMS_ALONE)
    made = experiment(own, "tiny", **tiny)
    phase = Recording("main", {"stable_rank": 1.0})
    with made.model.sr_regularized(phase):
        made.model.calculate_loss(first_batch(made))
    assert phase.rows.keys() == {"item"}


def test_representations_are_given_where_a_model_is_run(tiny):
    settings = {**tiny, "epochs": 1}
    given = {"config_dict": settings, "representations": ITEMS_ALONE}
    result = run_recbole_sr(BPR, "tiny", **given)
    assert result["sr"]["epochs"][0]["stable_rank"].keys() == {"item"}
    with pytest.raises(InputError, match="representations: expected a class as model"):
        run_recbole_sr("BPR", "tiny", **given)


def test_what_a_run_was_given_is_needed_to_read_what_it_saved(tiny):
    own = with_representations(BPR, ITEMS_ALONE)
    settings = {**tiny, "epochs": 1, "sr_init": "model"}
    result = run_recbole_sr(own, "tiny", config_dict=settings)["sr"]
    for file, read in (
        (result["checkpoint"], load_data_and_model),
        (f"{result['run_folder']}.run.pth", resume),
    ):
        for given, got in ((None, "None"), (BPR, "BPR")):
            with pytest.raises(InputError, match=f"representations that the run was .* got {got};"):
                read(file, given)
        with pytest.raises(InputError, match="model_class: expected a class, got 'BPR'"):
            read(file, "BPR")
    model = load_data_and_model(result["checkpoint"], own)[1]
    assert model.sr_entry is ITEMS_ALONE
    assert resume(f"{result['run_folder']}.run.pth", own)["sr"]["epochs"] == result["epochs"]


def test_a_class_with_a_metaclass_is_injected_pickles_and_trains(experiment, tiny):
    injected = inject(AbstractBPR)
    assert isinstance(injected, abc.ABCMeta)
    assert issubclass(injected, AbstractBPR)
    assert pickle.loads(pickle.dumps(injected)) is injected  # noqa: S301
    made = experiment(AbstractBPR, "tiny", **tiny, epochs=1)
    made.train(saved=False, verbose=False)
    batch = first_batch(made)
    for twin in (copy.deepcopy(made.model), pickle.loads(pickle.dumps(made.model))):  # noqa: S301
        assert type(twin) is injected
        assert torch.equal(twin.predict(batch), made.model.predict(batch))


def test_a_class_with_abstract_methods_left_is_not_built(experiment, tiny):
    class Unfinished(BPR, abc.ABC):
        @abc.abstractmethod
        def missing(self):
            """Not there."""

    with pytest.raises(TypeError, match="abstract"):
        experiment(Unfinished, "tiny", **tiny)


@pytest.fixture(params=sorted(SUPPORTED))
def name(request):
    return request.param


@pytest.fixture(scope="session")
def extras():
    settings = ConfigParser()
    settings.read(Path(__file__).parents[2] / "setup.cfg")
    return set(settings["options.extras_require"])


def test_an_entrys_values_are_among_those_that_are_known(name, extras):
    entry = SUPPORTED[name]
    assert entry.propagation in {None, *PROPAGATIONS}
    assert entry.mixed_precision in {"yes", "fast path", "no"}
    assert entry.mixed_precision != "fast path" or entry.propagation
    assert all(isinstance(repair, type) for repair in entry.repairs)
    assert entry.extra in {None, *extras}
    assert callable(entry.summed) or type(entry.summed) is bool
    assert not (entry.sole_loss and entry.loss is None)
    assert "\n" not in entry.note
    for source in (entry.user, entry.item):
        assert source.about
        assert not source.initialized or source.always


def test_an_entry_names_settings_and_parts_that_the_model_has(name, tiny, experiment):
    entry = SUPPORTED[name]
    made = experiment(name, "tiny", **settings_of(name, tiny))
    settings = [*entry.needs, *([entry.pretrained[0]] if entry.pretrained else [])]
    for key in settings:
        assert key in made.config.final_config_dict
    for side in ("user", "item"):
        source, column = entry.side(side), made.model.sr_columns[side]
        for path in filter(None, source.watched):
            resolve(made.model, path)
        for path in source.initialized:
            assert len(parameter(made.model, path)) >= column.total
    for path in entry.layers:
        assert parameter(made.model, path).ndim == 2
    if entry.loss is not None:
        assert isinstance(resolve(made.model, entry.loss), torch.nn.Module)


@pytest.mark.parametrize("kind", PROPAGATIONS)
def test_a_propagation_is_used_by_models_whose_code_it_replaces(kind):
    using = [get_model(name) for name, entry in SUPPORTED.items() if entry.propagation == kind]
    assert using
    replaced = {key for key, value in vars(PROPAGATIONS[kind]).items() if callable(value)}
    for parent in PROPAGATIONS[kind].__mro__[1:-1]:
        replaced |= {key for key, value in vars(parent).items() if callable(value)}
    for model in using:
        assert all(hasattr(model, key) for key in replaced)


def test_propagation_that_is_a_mean_over_linear_layers_is_said_of_both_sides():
    for entry in SUPPORTED.values():
        linear = [isinstance(x, Propagated) and x.linear for x in (entry.user, entry.item)]
        assert linear[0] == linear[1]


def test_every_field_of_an_entry_is_described():
    described = ModelEntry.__doc__.split("Attributes:")[1].split("Raises:")[0]
    for field in fields(ModelEntry):
        assert f"    {field.name}: " in described


@pytest.mark.parametrize("model", [BPR, LightGCN, NGCF])
def test_the_loss_that_can_be_replaced_is_the_entrys(model):
    assert replaceable_loss(model) == SUPPORTED[model.__name__].loss


def test_a_model_whose_loss_cannot_be_replaced_is_told_which_can():
    able = [name for name, entry in SUPPORTED.items() if entry.loss is not None]
    with pytest.raises(InputError, match="drop it, or use one of " + ", ".join(able)):
        replaceable_loss(NeuMF)


def test_a_subclass_is_configured_with_recboles_own_keys_of_its_model(tiny):
    config = Config(MyLightGCN, "tiny", config_dict={**tiny, "n_layers": 1})
    assert (config["n_layers"], config["model"]) == (1, "MyLightGCN")
