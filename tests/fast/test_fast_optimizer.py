from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from recbole.trainer import Trainer
from torch import nn

from recbole_sr.fast.compiler import stepping_without_compiler
from recbole_sr.fast.optimizer import fused, row_gradients
from recbole_sr.training.trainer import inject_trainer

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_is_the_same_optimiser_up_to_rounding(name, weight_decay):
    start = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    plain, quick = (nn.Parameter(start.clone()) for _ in range(2))
    make = OPTIMIZERS[name]
    steps = [
        make([plain], lr=0.01, weight_decay=weight_decay),
        fused(make([quick], lr=0.01, weight_decay=weight_decay)),
    ]
    assert all(group["fused"] for group in steps[1].param_groups)
    assert type(steps[1]) is stepping_without_compiler(make)
    for step in range(20):
        gradient = torch.randn(50, 8, generator=torch.Generator().manual_seed(step))
        plain.grad, quick.grad = gradient.clone(), gradient.clone()
        for optimizer in steps:
            optimizer.step()
    torch.testing.assert_close(quick, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"betas": (0.5, 0.7), "eps": 0.1, "maximize": True}])
def test_sparse_adam_in_one_pass_is_torchs(settings):
    torch.manual_seed(0)
    tables = [nn.Embedding(50, 8, sparse=True, dtype=torch.float64) for _ in range(2)]
    tables[1].load_state_dict(tables[0].state_dict())
    theirs, made = (torch.optim.SparseAdam(t.parameters(), lr=0.01, **settings) for t in tables)
    ours = fused(made)
    for _ in range(20):
        ids = torch.randint(50, (30,))  # some rows twice, some not at all
        weights = torch.randn(30, 8, dtype=torch.float64)
        for table, optimizer in zip(tables, (theirs, ours), strict=True):
            optimizer.zero_grad()
            ((table(ids) * weights).sum() + table(ids[:3]).square().sum()).backward()
            optimizer.step()
    torch.testing.assert_close(tables[1].weight, tables[0].weight, rtol=1e-12, atol=1e-14)
    states = [optimizer.state_dict()["state"][0] for optimizer in (ours, theirs)]
    torch.testing.assert_close(*states, rtol=1e-12, atol=1e-14)
    again = torch.optim.SparseAdam(tables[1].parameters())
    again.load_state_dict(ours.state_dict())  # a state of ours is one of torch's


def test_sparse_adam_is_torchs_where_tables_and_batches_differ_in_size_and_type():
    """Its tables share the memory of a step, which a larger batch outgrows."""
    torch.manual_seed(0)
    shapes = (50, 8, torch.float64), (30, 8, torch.float64), (40, 4, torch.float32)
    plain, quick = (
        nn.ModuleList(nn.Embedding(n, d, sparse=True, dtype=kind) for n, d, kind in shapes)
        for _ in range(2)
    )
    quick.load_state_dict(plain.state_dict())
    theirs = torch.optim.SparseAdam(plain.parameters(), lr=0.01)
    ours = fused(torch.optim.SparseAdam(quick.parameters(), lr=0.01))
    for step in range(12):
        if step == 6:  # a copy has no memory of its own yet
            ours = deepcopy({"tables": quick, "optimizer": ours})
            quick, ours = ours["tables"], ours["optimizer"]
        for tables, optimizer in ((plain, theirs), (quick, ours)):
            optimizer.zero_grad()
            torch.manual_seed(step)
            for table in tables:
                ids = torch.randint(len(table.weight), (1 + 7 * step % 20,))
                table(ids).pow(3).sum().backward()
            optimizer.step()
    for one, other in zip(plain.parameters(), quick.parameters(), strict=True):
        torch.testing.assert_close(other, one)


def test_an_optimiser_without_a_fused_step_is_left_as_it_is():
    optimizer = torch.optim.RMSprop([nn.Parameter(torch.ones(2))])
    assert fused(optimizer) is optimizer


@pytest.mark.parametrize(("learner", "is_fused"), [("adam", True), ("rmsprop", False)])
def test_the_trainer_takes_the_fused_one(learner, is_fused, experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, learner=learner, weight_decay=0.1)
    (group,) = made_trainer(made).optimizer.param_groups
    assert bool(group.get("fused")) is is_fused
    assert group["weight_decay"] == 0.1
    assert group["lr"] == tiny["learning_rate"]


def made_trainer(made):
    return inject_trainer(Trainer)(made.config, made.model)


class Twice(nn.Module):
    """Looks its table up twice, and may also use it whole."""

    def __init__(self, whole, rows=9, **options):
        super().__init__()
        self.table = nn.Embedding(rows, 3, **options)
        self.whole = whole

    def forward(self, first, second):
        loss = (self.table(first) * self.table(second)).sum()
        return loss + self.table.weight.square().sum() if self.whole else loss


@pytest.mark.parametrize("whole", [False, True], ids=["rows", "whole table"])
@pytest.mark.parametrize(
    "options", [{}, {"padding_idx": 0}, {"scale_grad_by_freq": True}, {"max_norm": 1.0}]
)
def test_row_gradients_are_the_gradients(whole, options):
    model = Twice(whole, **options)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        ids = torch.randint(0, 9, (2, 5), generator=generator)
        model.zero_grad()
        model(*ids).backward()
        expected = model.table.weight.grad.clone()
        model.zero_grad()
        with row_gradients(model):
            model(*ids).backward()
            model.zero_grad()
            model(*ids.flip(1)).backward()
            model.zero_grad()
            model(*ids).backward()
        assert not model.table.weight.grad.is_sparse
        torch.testing.assert_close(model.table.weight.grad, expected)


def test_rows_that_are_changed_in_place_or_shared_by_two_modules_have_their_gradients():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Embedding(5, 2, padding_idx=0)
            self.second = nn.Embedding(5, 2)
            self.second.weight = self.first.weight

        def forward(self, ids):
            rows = self.first(ids)
            rows *= 2
            return (rows * self.second(ids)).sum()

    model = Tied()
    nn.init.normal_(model.first.weight)
    ids = torch.tensor([[0, 1, 1], [3, 0, 4]])
    model(ids).backward()
    expected = model.first.weight.grad.clone()
    model.zero_grad()
    with row_gradients(model):
        model(ids).backward()
    torch.testing.assert_close(model.first.weight.grad, expected)
    assert model.first.weight.grad[0].any()  # padding's of the module that does not know of it


@pytest.mark.parametrize("rows", [9, 999])  # the whole table is cleared, and the rows alone
def test_row_gradients_add_up_where_they_are_not_cleared(rows):
    model = Twice(False, rows)
    first, second, third = torch.randint(0, 9, (3, 2, 5))
    model(*first).backward()
    model(*second).backward()
    expected = model.table.weight.grad.clone()
    model.zero_grad()
    with row_gradients(model):
        model(*third).backward()
        model.zero_grad()
        model(*first).backward()
        model(*second).backward()
        torch.testing.assert_close(model.table.weight.grad, expected)
        model.zero_grad()
        model(*third).backward()
    once_more = model.table.weight.grad.clone()
    model.zero_grad()
    model(*third).backward()
    torch.testing.assert_close(once_more, model.table.weight.grad)


def test_row_gradients_keep_their_memory_and_leave_nothing_on_the_model():
    model = Twice(False)
    ids = torch.tensor([[1, 2], [3, 4]])
    with row_gradients(model):
        model(*ids).backward()
        first = model.table.weight.grad
        model.zero_grad()
        model(*ids).backward()
        assert model.table.weight.grad.data_ptr() == first.data_ptr()
    assert "forward" not in vars(model.table)
    assert vars(model.table.weight) == {}
    model.zero_grad()
    model(*ids).backward()
    assert model.table.weight.grad.data_ptr() != first.data_ptr()


def test_only_the_rows_of_the_step_before_are_cleared():
    model = Twice(False, rows=99)
    ids = torch.tensor([[1, 2], [3, 4]])
    with row_gradients(model):
        model(*ids).backward()
        kept = model.table.weight.grad
        model.zero_grad()
        kept[8] = 7.0  # not of the batch: a clearing of the whole table would show
        model(*ids.flip(1)).backward()
        assert (model.table.weight.grad[8] == 7).all()
        assert not model.table.weight.grad[[0, 5, 6, 7]].any()


@pytest.mark.parametrize("settings", [{}, {"clip_grad_norm": {"max_norm": 0.01}}], ids=str)
@pytest.mark.parametrize("warm_epochs", [0, 2])
def test_training_is_that_of_dense_gradients(warm_epochs, settings, experiment, tiny, monkeypatch):
    def weights():
        made = experiment(
            "BPR", "tiny", **tiny, **settings, epochs=2, sr_warm_epochs=warm_epochs, learner="sgd"
        )
        made.train(saved=False, verbose=False)
        return made.model.state_dict()

    rows = weights()
    monkeypatch.setattr("recbole_sr.training.trainer.row_gradients", lambda *_: nullcontext())
    for name, value in weights().items():
        torch.testing.assert_close(rows[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("warm_epochs", [0, 2])
def test_sparse_adam_moves_the_batchs_rows_alone(warm_epochs, experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, learner="sparse_adam", sr_warm_epochs=warm_epochs)
    trainer = made_trainer(made)
    (batch,) = list(made.train_data)[:1]
    before = made.model.item_embedding.weight.detach().clone()
    trainer._train_epoch([batch], 0)
    moved = (made.model.item_embedding.weight != before).any(1).nonzero().squeeze(1)
    assert set(moved.tolist()) == set(torch.cat([batch["item_id"], batch["neg_item_id"]]).tolist())
