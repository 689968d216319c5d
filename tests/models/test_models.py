"""What every model of the registry must satisfy, model by model."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from contract import CONTRACT, EXPLICIT, Recording, derived, first_batch, seed, settings_of
from recbole.data.dataloader import KnowledgeBasedDataLoader
from recbole.data.interaction import cat_interactions
from recbole.utils import KGDataLoaderState

from recbole_sr.models.registry import SUPPORTED
from recbole_sr.models.sources import Encoded, Missing
from recbole_sr.objectives.phase import Phase
from recbole_sr.study.trial import OFF
from recbole_sr.training.experiment import load_data_and_model

pytestmark = pytest.mark.usefixtures("one_thread")

ACTIVE = Phase("warm", {"stable_rank": 1.0})
BOTH = ("user", "item")


class Some(Recording):
    """Reads a few rows, and not in the order of their ids, as uniformity does."""

    def choose(self, positions):
        return positions.flip(0)[:5]


@pytest.fixture(params=sorted(SUPPORTED))
def name(request):
    return request.param


@pytest.fixture
def settings(name, tiny):
    return settings_of(name, tiny)


@pytest.fixture
def made(name, settings, experiment):
    return experiment(name, "tiny", **settings, epochs=2, sr_warm_epochs=1)


def batch_of(made):
    if isinstance(made.train_data, KnowledgeBasedDataLoader):
        made.train_data.set_mode(KGDataLoaderState.RSKG)
    return first_batch(made)


def loss_of(model, batch):
    name = type(model).__name__
    if name == "NCL":
        model.e_step()
    if name == "MKR":
        return model.calculate_rs_loss(batch)
    loss = model.calculate_loss(batch, *([True] if name == "RecVAE" else []))
    return sum(loss) if isinstance(loss, tuple) else loss


def loss_in_training(model, batch):
    """The loss of a batch, with the same random draws each time."""
    seed()
    model.train()  # SGL draws its graphs here
    return loss_of(model, copy.deepcopy(batch))


def terms_of(model, batch):
    return model.sr_entry.terms(model, batch)


def scores_of(model, batch):
    model.eval()
    seed()
    with torch.no_grad():
        try:
            return model.full_sort_predict(batch)
        except NotImplementedError:
            return model.predict(batch)


def test_the_contract_has_a_row_for_every_model():
    assert CONTRACT.keys() == SUPPORTED.keys(), "write a row in tests/contract.py"


DERIVED = {name: row for name in EXPLICIT if (row := derived(SUPPORTED[name]))}


@pytest.mark.parametrize("name", sorted(DERIVED))
def test_a_row_from_an_entry_claims_what_the_row_written_for_the_model_does(name):
    assert DERIVED[name].claims == EXPLICIT[name].claims


@pytest.mark.parametrize("name", ["BPR", "CKE", "DeepFM", "FISM", "LightGCN", "NeuMF", "SASRec"])
def test_a_row_from_an_entry_has_the_rows_of_the_one_written_for_the_model(
    name, settings, experiment
):
    made = experiment(name, "tiny", **settings)
    model, batch = made.model.eval(), batch_of(made)
    for side in BOTH:
        found, expected = (
            rows[name].rows(model, batch, side, torch.arange(1, 9)) for rows in (DERIVED, EXPLICIT)
        )
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)


def test_off_is_stock_recbole_bit_for_bit(name, settings, experiment, stock):
    theirs = stock(name, "tiny", **settings, epochs=2)
    ours = experiment(name, "tiny", **settings, epochs=2, **OFF)
    theirs.assert_equal(ours.model, ours.train(saved=False, verbose=False))


def test_trains_in_both_phases_and_its_checkpoint_gives_the_same_scores(name, made, tmp_path):
    result = made.train(saved=True, verbose=False)
    assert [epoch["phase"] for epoch in result["sr"]["epochs"]] == ["warm", "main"]
    files = [path for path in (tmp_path / "saved").rglob("*.pth") if ".run." not in path.name]
    file = max(files, key=lambda path: path.stat().st_mtime_ns)
    batch = batch_of(made)
    _, loaded, *_ = load_data_and_model(str(file))
    assert type(loaded) is type(made.model)
    assert torch.equal(scores_of(loaded, batch), scores_of(made.model, batch))


def test_the_penalty_moves_what_it_claims(name, made):
    batch = batch_of(made)

    def gradients(phase):
        made.model.zero_grad()
        with made.model.sr_regularized(phase):
            loss_in_training(made.model, batch).backward()
        return {k: p.grad for k, p in made.model.named_parameters() if p.grad is not None}

    without, with_penalty = gradients(Phase("main")), gradients(ACTIVE)
    for parameter in CONTRACT[name].claims:
        assert parameter in with_penalty
        assert parameter not in without or not torch.equal(
            without[parameter], with_penalty[parameter]
        ), parameter


def test_a_loss_is_a_sum_where_the_registry_says_so(name, made):
    batch = batch_of(made)
    once = loss_in_training(made.model, batch)
    twice = loss_in_training(made.model, cat_interactions([batch, batch]))
    # Random draws, and parts that do not depend on the batch, leave the ratio between 0.9 and 2.1.
    assert (terms_of(made.model, batch) > 1) == (twice > 1.5 * once)


def test_a_weight_counts_as_much_in_a_sum_as_in_a_mean(name, made):
    model, batch = made.model, batch_of(made)
    own = loss_in_training(copy.deepcopy(model), batch)  # a step may change what the next one draws
    phase = Recording(ACTIVE.name, ACTIVE.regularizers)
    with model.sr_regularized(phase):
        regularized = loss_in_training(model, batch)
    expected = terms_of(model, batch) * ACTIVE.penalty(phase.rows)
    assert (regularized - own).item() == pytest.approx(expected.item(), rel=0.01)


@pytest.mark.parametrize("kind", [Recording, Some], ids=["all", "some"])
def test_the_rows_are_those_the_model_itself_computes(kind, name, made):
    model, batch, phase = made.model, batch_of(made), kind("main", {"uniformity": 1.0})
    model.train().eval()  # SGL draws its graphs in train()
    seed()
    with model.sr_regularized(phase):
        loss_of(model, batch)
    for side in BOTH:
        ids = [batch[f] for f in model.sr_columns[side].fields if f in batch]
        ids = torch.cat([found.flatten() for found in ids]).tolist() if ids else range(61)
        read = phase.choose(torch.tensor(sorted({*ids} - {0})))
        expected = CONTRACT[name].rows(model, batch, side, read)
        for ours, theirs in zip(phase.rows.get(side, []), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_nothing_is_left_on_the_model(name, made):
    model, batch = made.model, batch_of(made)
    clean = set(vars(model))
    made.train(saved=False, verbose=False)
    assert not [key for key in set(vars(model)) - clean if key.startswith(("sr_", "_sr_"))]
    assert not any(module._forward_hooks for module in model.modules())
    if name == "MKR":  # RecBole's own leftovers, which do not copy
        for key in [key for key, value in vars(model).items() if isinstance(value, torch.Tensor)]:
            delattr(model, key)
    assert torch.equal(scores_of(copy.deepcopy(model), batch), scores_of(model, batch))
    if name == "GCMC":  # RecBole's own lambda
        with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
            pickle.dumps(model)
        return
    twin = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert torch.equal(scores_of(twin, batch), scores_of(model, batch))


def test_the_monitor_measures_what_has_a_table_and_draws_nothing(name, made):
    before = torch.get_rng_state()
    ranks = made.model.sr_stable_rank()
    assert torch.equal(torch.get_rng_state(), before)
    assert made.model.training
    where = made.model.sr_entry
    # The others stand for what only a step computes.
    whole = {side for side in BOTH if not isinstance(where.side(side), (Encoded, Missing))}
    assert ranks.keys() == whole
    for rank in ranks.values():
        assert 1 <= rank <= 64
