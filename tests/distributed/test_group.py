"""Sums, gathers, gradients and random numbers of several processes."""

from __future__ import annotations

import pytest
import torch
from several import together
from torch import nn

from recbole_sr.distributed.gradients import GradientSum
from recbole_sr.distributed.group import ALONE, processes
from recbole_sr.distributed.random import RandomStates
from recbole_sr.errors import InputError
from recbole_sr.fast.optimizer import row_gradients

ROWS = 1000


class Model(nn.Module):
    """Two tables, one of which some processes do not look up, and a small layer."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table, self.other = nn.Embedding(ROWS, 4), nn.Embedding(ROWS, 4)
        self.layer, self.unused = nn.Linear(4, 1), nn.Linear(2, 2)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def forward(self, rank):
        ids = torch.arange(rank, 30 * (rank + 1), 3)
        loss = self.layer(self.table(ids)).square().sum()
        return loss + self.other(ids).square().sum() if rank else loss


def gradients(model):
    return [None if one.grad is None else one.grad.to_dense() for one in model.parameters()]


def exchange(sparse):
    """The gradients of each of three steps, in which the processes change places."""
    torch.set_default_dtype(torch.float64)
    model = Model()
    kind = torch.optim.SparseAdam if sparse else torch.optim.Adam
    tables = [*model.table.parameters(), *model.other.parameters()]
    optimizer = kind(tables if sparse else model.parameters())
    found = []
    with processes(lambda: 60.0) as group, row_gradients(model, optimizer) as rows:
        add = GradientSum(group, model.parameters())
        add.rows = rows
        for step in range(3):
            optimizer.zero_grad()
            model.layer.zero_grad()
            model((group.rank + step) % group.size).backward()
            add()
            found.append([None if x is None else x.clone().numpy() for x in gradients(model)])
    return found


def whole_gradients(size):
    torch.set_default_dtype(torch.float64)
    model = Model()
    sum(model(rank) for rank in range(size)).backward()
    return gradients(model)


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_added_up_and_cleared(sparse, tmp_path):
    found = together(3, tmp_path, exchange, sparse)
    before = torch.get_default_dtype()
    expected = whole_gradients(3)
    torch.set_default_dtype(before)
    for steps in zip(*found, strict=True):
        for of_processes in zip(*steps, strict=True):
            for gradient in of_processes[1:]:  # of this parameter: the same bits
                assert (gradient is None) is (of_processes[0] is None)
                assert gradient is None or (gradient == of_processes[0]).all()
        for ours, theirs in zip(steps[0], expected, strict=True):
            assert (ours is None) is (theirs is None)
            if theirs is not None:
                torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=0, atol=1e-12)


def tell():
    """What is told, and what is drawn."""
    with processes(lambda: 60.0) as group:
        told = group.first(lambda: {"rank": group.rank}), group.gathered(group.rank)

        def refuse():
            raise InputError(f"rank {group.rank}")

        with pytest.raises(InputError, match="rank 0"):
            group.first(refuse)
        x = torch.full((group.rank + 1, 2), float(group.rank), requires_grad=True)
        owners = torch.tensor([1, 0, 1])
        whole = group.whole(x, owners)
        (whole * torch.tensor([[1.0], [2.0], [3.0]])).sum().backward()
        torch.manual_seed(0)
        apart = RandomStates(group, torch.device("cpu"))
        own = torch.rand(3).tolist()
        apart.join(apart.moved or not group.leads)
        return told, whole.tolist(), x.grad.tolist(), own, torch.rand(3).tolist()


def test_what_processes_tell_each_other(tmp_path):
    first, second = together(2, tmp_path, tell)
    assert first[0] == second[0] == ({"rank": 0}, [0, 1])
    assert first[1] == second[1] == [[1, 1], [0, 0], [1, 1]]
    assert (first[2], second[2]) == ([[2, 2]], [[1, 1], [3, 3]])
    assert first[3] != second[3]
    assert first[4] == second[4]
    torch.manual_seed(0)
    assert [*first[3], *first[4]] == torch.rand(6).tolist()  # the first draws as one alone


def test_one_process_has_all(monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "a", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))  # as of a launcher that was told to start one
    with processes(lambda: 0.0) as group:
        assert group is ALONE
        assert group.leads
        assert group.first(lambda: 3) == 3
        assert group.gathered(3) == [3]
