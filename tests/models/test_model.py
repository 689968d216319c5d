from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import recbole.model
import torch
from contract import Recording, first_batch, settings_of, uninjected
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import BPR, LightGCN
from recbole.utils import KGDataLoaderState, get_model
from references import stable_rank_reference

from recbole_sr.errors import InputError
from recbole_sr.fast import propagation
from recbole_sr.models.inject import inject
from recbole_sr.models.registry import MODELS as REGISTRY
from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.regularizers import negative_stable_rank

MODELS = ["BPR", "LightGCN"]  # test_models.py has all of them
BOTH = ("user", "item")
REFUSED = {name for name, reason in REGISTRY.items() if isinstance(reason, str)}


@pytest.fixture(params=MODELS)
def built(request, experiment, tiny):
    made = experiment(request.param, "tiny", **tiny)
    return made.model, first_batch(made)


@pytest.mark.parametrize("name", MODELS)
def test_the_subclass_keeps_name_and_identity(name):
    base = get_model(name)
    assert inject(base) is inject(base)
    assert inject(base).__name__ == name
    assert issubclass(inject(base), base)


def test_adds_no_parameter_buffer_or_random_draw(built):
    model, _ = built
    base = uninjected(model)
    assert set(model.state_dict()) == {name for name, _ in base.named_parameters(model)}


def test_outside_a_phase_the_loss_is_the_models_own(built):
    model, batch = built
    torch.manual_seed(0)
    ours = model.calculate_loss(batch)
    torch.manual_seed(0)
    assert torch.equal(ours, uninjected(model).calculate_loss(model, batch))


def test_a_phase_adds_the_penalty_of_the_distinct_rows_of_the_batch(built):
    model, batch = built
    own = model.calculate_loss(batch)
    with model.sr_regularized(Phase("warm", {"stable_rank": 0.7})):
        regularized = model.calculate_loss(batch)
    # An independent reading: BPR scores with its tables, LightGCN with what forward returns.
    if isinstance(model, LightGCN):
        users, items = model.forward()
    else:
        users, items = model.user_embedding.weight, model.item_embedding.weight
    user_ids = sorted(set(batch["user_id"].tolist()))
    item_ids = sorted(set(batch["item_id"].tolist()) | set(batch["neg_item_id"].tolist()))
    assert 0 not in user_ids + item_ids
    expected = 0.7 * (negative_stable_rank(users[user_ids]) + negative_stable_rank(items[item_ids]))
    torch.testing.assert_close(regularized - own, expected.expand_as(own) / 2)


def test_the_gradient_reaches_both_tables(built):
    model, batch = built

    def gradients(phase):
        model.zero_grad()
        with model.sr_regularized(phase):
            model.calculate_loss(batch).backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    without, with_penalty = gradients(Phase("main")), gradients(Phase("warm", {"stable_rank": 1.0}))
    for name in ("user_embedding.weight", "item_embedding.weight"):
        assert not torch.equal(without[name], with_penalty[name])


@pytest.mark.parametrize("side", BOTH)
def test_one_side_can_be_regularised_alone(side, experiment, tiny):
    made = experiment("BPR", "tiny", **tiny)
    model, batch = made.model, first_batch(made)
    with model.sr_regularized(Phase("warm", {"stable_rank": 1.0}, sides=[side])):
        difference = model.calculate_loss(batch) - BPR.calculate_loss(model, batch)
    gradient = torch.autograd.grad(
        difference, [model.user_embedding.weight, model.item_embedding.weight]
    )
    user, item = (g.abs().max() > 1e-6 for g in gradient)
    assert (user, item) == (side == "user", side == "item")


def test_padding_is_never_regularised(built):
    model, batch = built
    batch = copy.deepcopy(batch)
    batch["user_id"][0] = 0
    batch["item_id"][0] = 0
    phase = Recording("warm", {"stable_rank": 1.0})
    with model.sr_regularized(phase):
        model.calculate_loss(batch)
    rows = phase.rows
    assert len(rows["user"][0]) == len(set(batch["user_id"].tolist()) - {0})
    items = set(batch["item_id"].tolist()) | set(batch["neg_item_id"].tolist())
    assert len(rows["item"][0]) == len(items - {0})


def test_lightgcn_propagates_once_a_step(experiment, tiny, monkeypatch):
    made = experiment("LightGCN", "tiny", **tiny)
    calls = []
    propagate = propagation.mean_propagation
    monkeypatch.setattr(
        propagation, "mean_propagation", lambda *given: calls.append(1) or propagate(*given)
    )
    with made.model.sr_regularized(Phase("warm", {"stable_rank": 1.0})):
        made.model.calculate_loss(first_batch(made))
    assert len(calls) == 1


def test_stable_rank_of_the_tables_leaves_padding_out_and_draws_nothing(built):
    model, _ = built
    before = torch.get_rng_state()
    ranks = model.sr_stable_rank()
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    tables = (
        model.forward()
        if isinstance(model, LightGCN)
        else (model.user_embedding.weight, model.item_embedding.weight)
    )
    for side, table in zip(BOTH, tables, strict=True):
        assert ranks[side] == pytest.approx(
            stable_rank_reference(table[1:].detach()).item(), rel=1e-4
        )


def test_an_epoch_in_which_nothing_was_regularised_fails(built):
    model, batch = built
    batch = copy.deepcopy(batch)
    for field in ("user_id", "item_id", "neg_item_id"):
        del batch.interaction[field]
    own = torch.ones(())
    with (
        pytest.raises(InputError, match="the warm phase regularised no user in a whole epoch"),
        model.sr_regularized(Phase("warm", {"stable_rank": 1.0})),
    ):
        assert model._sr_loss(lambda _: own, batch) is own


def test_nothing_is_left_on_the_model_even_after_an_error(built):
    model, batch = built
    clean = set(vars(model))

    def step():
        with model.sr_regularized(Phase("warm", {"stable_rank": 1.0})):
            model.calculate_loss(batch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step()
    assert set(vars(model)) == clean


def test_class_and_instance_pickle_and_deepcopy(built):
    model, batch = built
    assert pickle.loads(pickle.dumps(type(model))) is type(model)  # noqa: S301
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert type(twin) is type(model)
        assert torch.equal(twin.predict(batch), model.predict(batch))


def test_pickles_into_a_fresh_process(built, tmp_path):
    model, _ = built
    (tmp_path / "model.pickle").write_bytes(pickle.dumps((type(model), model)))
    read = (
        "import pickle; c, m = pickle.load(open('model.pickle', 'rb'));"
        "print(type(m) is c, c.__name__)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", read], capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == ["True", type(model).__name__]


def test_frozen_parameters_count_as_not_regularised(experiment, tiny):
    made = experiment("BPR", "tiny", **tiny)
    made.model.item_embedding.requires_grad_(False)
    with (
        pytest.raises(InputError, match="regularised no item in a whole epoch"),
        made.model.sr_regularized(Phase("warm", {"stable_rank": 1.0})),
    ):
        made.model.calculate_loss(first_batch(made))


def test_an_epoch_of_knowledge_graph_batches_alone_has_nothing_to_regularise(experiment, tiny):
    made = experiment("KTUP", "tiny", **settings_of("KTUP", tiny))
    made.train_data.set_mode(KGDataLoaderState.KG)
    with made.model.sr_regularized(Phase("warm", {"stable_rank": 1.0})):
        made.model.calculate_kg_loss(first_batch(made))


def test_several_matrices_of_a_side_count_by_their_mean(experiment, tiny):
    made = experiment("NeuMF", "tiny", **tiny)
    model, batch = made.model.eval(), first_batch(made)
    own = model.calculate_loss(batch)
    with model.sr_regularized(Phase("warm", {"stable_rank": 1.0}, sides=["user"])):
        regularized = model.calculate_loss(batch)
    users = batch["user_id"].unique()
    both = [negative_stable_rank(model.get_parameter(f"user_{x}_embedding.weight")[users])
            for x in ("mf", "mlp")]  # fmt: skip
    torch.testing.assert_close(regularized - own, sum(both) / 2)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_model_with_nothing_to_regularise_is_refused_with_a_reason(name):
    stand_in = type(name, (), {"__module__": "recbole.model"})
    with pytest.raises(InputError, match=f"model: {name} cannot be regularised: .*; run it with"):
        inject(stand_in)


def test_every_model_of_recbole_is_listed_or_refused():
    folder = Path(recbole.model.__file__).parent
    files = {file.stem for file in folder.glob("*_recommender/*.py")} - {"__init__"}
    assert {name.lower() for name in REGISTRY} == files


def test_a_class_of_ones_own_without_the_method_is_shown_the_method():
    own = type("Mine", (GeneralRecommender,), {"__module__": "mine"})
    with pytest.raises(InputError, match=r"def sr_representations\(cls\)"):
        inject(own)


@pytest.mark.parametrize("model", ["FISM", "RippleNet"])
def test_only_a_side_that_the_model_lacks_is_refused(model, experiment, tiny):
    settings = settings_of(model, tiny)
    with pytest.raises(InputError, match=rf"sr_tables: expected a side that {model} has, got"):
        experiment(model, "tiny", **settings, sr_tables=["user"])
    experiment(model, "tiny", **settings)


def test_a_setting_that_the_entry_is_wrong_for_is_refused(experiment, tiny):
    with pytest.raises(InputError, match=r"mf_train: expected True, .* got False"):
        experiment("NeuMF", "tiny", **tiny, mf_train=False)
