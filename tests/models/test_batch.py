"""What a phase reads of a batch: in the order of ids, and no table's rows twice."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from contract import Recording, first_batch, seed, uninjected
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.loss import BPRLoss
from recbole.utils import InputType
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import recbole_sr
from recbole_sr.fast.optimizer import row_gradients
from recbole_sr.models.batch import ModelBatch
from recbole_sr.objectives.losses import LOSSES
from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.regularizers import negative_stable_rank

pytestmark = pytest.mark.usefixtures("one_thread")

NEGATIVES = 3
ATEN = torch.ops.aten
GATHERS = {ATEN.embedding.default, ATEN.index_select.default, ATEN.index.Tensor}
DIRECT_AU = {"alignment": 1.0, "uniformity": 2.0}


class Gathered(TorchDispatchMode):
    """Counts by table how often torch gathers rows of it, whoever asks."""

    def __init__(self, model):
        super().__init__()
        self.names = {p.data_ptr(): name.split("_")[0] for name, p in model.named_parameters()}
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in GATHERS and args[0].data_ptr() in self.names:
            self.counts[self.names[args[0].data_ptr()]] += 1
        return function(*args, **kwargs or {})


@pytest.fixture
def bpr(experiment, tiny):
    def make(negatives=1, **settings):
        sampling = {"distribution": "uniform", "sample_num": negatives}
        return experiment("BPR", "tiny", **{"train_neg_sample_args": sampling, **tiny, **settings})

    return make


@pytest.mark.parametrize("negatives", [1, NEGATIVES])
@pytest.mark.parametrize("fast", [False, True], ids=["torch", "fast"])
@pytest.mark.parametrize("rows", [None, 5], ids=["all rows", "some rows"])
def test_beside_the_models_own_loss_a_phase_looks_nothing_up(negatives, fast, rows, bpr):
    model = (made := bpr(negatives)).model
    phase = Phase("main", DIRECT_AU, uniformity_rows=rows)
    gradients = row_gradients(model) if fast else nullcontext()
    with model.sr_regularized(phase), gradients, Gathered(model) as gathered:
        model.calculate_loss(first_batch(made))
    assert gathered.counts == {"user": 1, "item": 2}  # of positives, and of negatives


@pytest.mark.parametrize("negatives", [1, NEGATIVES])
@pytest.mark.parametrize("loss", ["bpr", "ssm"])
def test_a_replaced_loss_and_the_penalties_look_everything_up_once(loss, negatives, bpr):
    model = (made := bpr(negatives)).model
    phase = Phase("main", DIRECT_AU, loss=LOSSES[loss])
    with model.sr_regularized(phase), Gathered(model) as gathered:
        model.calculate_loss(first_batch(made))
    assert gathered.counts == {"user": 1, "item": 2}


def test_a_replaced_loss_without_negatives_looks_each_side_up_once(bpr):
    model = (made := bpr(sr_loss="align", train_neg_sample_args=None)).model
    phase = Phase("main", DIRECT_AU, loss=LOSSES["align"])
    with model.sr_regularized(phase), Gathered(model) as gathered:
        model.calculate_loss(first_batch(made))
    assert gathered.counts == {"user": 1, "item": 1}


def test_the_rows_come_in_the_order_of_ids_each_once_without_padding(bpr):
    model = (made := bpr(NEGATIVES)).model
    batch = copy.deepcopy(first_batch(made))
    for field in ("user_id", "item_id", "neg_item_id"):
        batch[field].view(NEGATIVES, -1)[:, 3] = 0  # a pair is repeated once a negative
    phase = Recording("main", {"uniformity": 1.0})
    with model.sr_regularized(phase):
        model.calculate_loss(batch)
    fields = {"user": ["user_id"], "item": ["item_id", "neg_item_id"]}
    for side, table in (("user", model.user_embedding), ("item", model.item_embedding)):
        ids = sorted({int(i) for field in fields[side] for i in batch[field]} - {0})
        (rows,) = phase.rows[side]
        assert torch.equal(rows, table.weight[ids])


def test_vectors_that_are_used_again_have_the_gradient_of_those_looked_up_anew(bpr, monkeypatch):
    made = bpr(NEGATIVES)
    model, batch = made.model, first_batch(made)
    phase = Phase("main", {"stable_rank": 1.0, "alignment": 1.0})

    def gradients():
        model.zero_grad()
        with model.sr_regularized(phase):
            model.calculate_loss(batch).backward()
        return [p.grad.clone() for p in model.parameters()]

    again = gradients()
    monkeypatch.setattr("recbole_sr.models.sources._output_of", lambda *_: None)
    for ours, expected in zip(again, gradients(), strict=True):
        torch.testing.assert_close(ours, expected)


class Factorization(GeneralRecommender):
    """A matrix factorisation that does something to the vectors it has looked up."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.people = nn.Embedding(self.n_users, 8)
        self.things = nn.Embedding(self.n_items, 8)
        self.own_loss = nn.Identity()  # which no test calls

    @classmethod
    def sr_representations(cls):
        return recbole_sr.Representations(
            user=recbole_sr.Table("people"), item=recbole_sr.Table("things"), loss="own_loss"
        )

    def users_of(self, interaction):
        raise NotImplementedError

    def calculate_loss(self, interaction):
        users = self.users_of(interaction)
        items, others = (self.things(interaction[f]) for f in ("item_id", "neg_item_id"))
        return BPRLoss()((users * items).sum(-1), (users * others).sum(-1))


class InPlace(Factorization):
    def users_of(self, interaction):
        return self.people(interaction["user_id"]).mul_(3).relu_()


class InPlaceOfAView(Factorization):
    def users_of(self, interaction):
        users = self.people(interaction["user_id"])
        users[:, :4].zero_()
        return users


class WithoutGradient(Factorization):
    def users_of(self, interaction):
        with torch.no_grad():
            return self.people(interaction["user_id"])


class Detached(Factorization):
    def users_of(self, interaction):
        return self.people(interaction["user_id"]).detach_()


class OfACopy(Factorization):
    """Looks up the same numbers by another tensor of them, and others by none of the batch's."""

    def users_of(self, interaction):
        return self.people(interaction["user_id"].clone()) + self.people(
            interaction["user_id"].flip(0).clone()
        )


class Shifted(Factorization):
    """Looks up what is no row of the batch's users, of the same length."""

    def users_of(self, interaction):
        return self.people((interaction["user_id"] + 1) % self.n_users)


class TwiceOnceWithoutGradient(Factorization):
    def users_of(self, interaction):
        with torch.no_grad():
            self.people(interaction["user_id"])
        return self.people(interaction["user_id"])


WAYS = [InPlace, InPlaceOfAView, WithoutGradient, Detached, OfACopy, Shifted]
WAYS += [TwiceOnceWithoutGradient]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def odd(request, experiment, tiny):
    return experiment(request.param, "tiny", **tiny)


def test_rows_are_those_of_the_tables_whatever_a_model_does_to_what_it_looked_up(odd):
    model, batch = odd.model, first_batch(odd)
    phase = Recording("main", {"stable_rank": 1.0})
    with model.sr_regularized(phase):
        model.calculate_loss(batch)
    users = model.people.weight[batch["user_id"].unique()]
    items = torch.cat([batch["item_id"], batch["neg_item_id"]]).unique()
    assert torch.equal(*phase.rows["user"], users)
    assert torch.equal(*phase.rows["item"], model.things.weight[items])
    gradient = torch.autograd.grad(
        negative_stable_rank(*phase.rows["user"]), model.people.weight, retain_graph=True
    )
    expected = torch.autograd.grad(negative_stable_rank(users), model.people.weight)
    torch.testing.assert_close(gradient, expected)


def test_pairs_are_those_of_the_tables_whatever_a_model_does_to_what_it_looked_up(odd):
    model, batch = odd.model, first_batch(odd)
    seen = ModelBatch(model, model.sr_entry, batch, model.calculate_loss)
    with seen.watching():
        uninjected(model).calculate_loss(model, batch)
        users, items = seen.pairs()
    assert torch.equal(users, model.people.weight[batch["user_id"]])
    assert torch.equal(items, model.things.weight[batch["item_id"]])
    assert users.requires_grad
    assert items.requires_grad
    assert torch.equal(seen.negatives(), model.things.weight[batch["neg_item_id"]][None])


def test_vectors_of_a_model_in_training_mode_are_what_it_looked_up_before_dropout(experiment, tiny):
    class Dropped(Factorization):
        def users_of(self, interaction):
            return nn.functional.dropout(self.people(interaction["user_id"]), 0.5)

    made = experiment(Dropped, "tiny", **tiny)
    model, batch = made.model, first_batch(made)
    phase = Recording("main", {"stable_rank": 1.0})
    seed()
    with model.sr_regularized(phase), Gathered(model) as gathered:
        model.calculate_loss(batch)
    assert torch.equal(*phase.rows["user"], model.people.weight[batch["user_id"].unique()])
    assert gathered.counts["people.weight"] == 1


def test_nothing_of_a_batch_is_left_after_it(bpr):
    model = (made := bpr()).model
    with model.sr_regularized(Phase("main", DIRECT_AU)):
        model.calculate_loss(first_batch(made))
        assert model._sr_batch is None
        assert not any(module._forward_hooks for module in model.modules())
