"""What the theory says about rank, checked on a small random graph with the package's functions."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from recbole_sr.objectives.losses import LOSSES
from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.rank_target import MAX_WEIGHT, RankTarget
from recbole_sr.objectives.regularizers import REGULARIZERS, effective_rank
from recbole_sr.objectives.stable_rank import stable_rank

pytestmark = pytest.mark.usefixtures("one_thread")  # the matrices are tiny
USERS, ITEMS, WIDTH = 60, 40, 8


def train(phase, negatives=0, steps=200, seed=0):
    """Stable rank of the unit rows of both tables after training on a graph with popular items.

    As in RecBole, the tables start small and no positive of a user is its negative.
    """
    generator = torch.Generator().manual_seed(seed)
    popularity = 0.6 / (1 + torch.arange(ITEMS) / 3)
    liked = torch.rand(USERS, ITEMS, generator=generator) < popularity
    user, item = liked.nonzero(as_tuple=True)
    free = (~liked).float()[user]
    tables = {
        side: (0.1 * torch.randn(n, WIDTH, generator=generator)).requires_grad_()
        for side, n in (("user", USERS), ("item", ITEMS))
    }
    optimizer = torch.optim.Adam(tables.values(), lr=0.05)
    for _ in range(steps):
        vectors = [tables["user"][user], tables["item"][item]]
        if negatives:
            drawn = torch.multinomial(free, negatives, replacement=True, generator=generator)
            vectors.append(tables["item"][drawn.T])
        loss = phase.loss.function(*vectors)
        if phase.regularizes:
            loss = loss + phase.penalty({side: [x] for side, x in tables.items()})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {side: stable_rank(normalize(x.detach())).item() for side, x in tables.items()}


def align(regularizers=None, target=None):
    return Phase("main", regularizers or {}, loss=LOSSES["align"], rank_target=target)


def test_alignment_alone_collapses_both_tables_to_rank_one():
    ranks = train(align())
    assert ranks["user"] == pytest.approx(1, abs=0.05)
    assert ranks["item"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "name", [name for name, entry in REGULARIZERS.items() if entry.reads == "rows"]
)
def test_a_regulariser_keeps_alignment_from_collapsing(name):
    assert min(train(align({name: 1.0})).values()) > WIDTH / 3


@pytest.mark.parametrize("target", [2.0, 4.0])
def test_a_target_holds_the_stable_rank_where_it_is_asked_for(target):
    held = RankTarget({"user": target, "item": target})
    ranks = train(align(target=held), steps=600)
    assert ranks["user"] == pytest.approx(target, rel=0.1)
    assert ranks["item"] == pytest.approx(target, rel=0.1)
    assert all(0 < weight < MAX_WEIGHT for weight in held.weights.values())


@pytest.mark.parametrize("loss", ["bpr", "ssm"])
def test_more_negatives_raise_the_rank_of_users(loss):
    def rank(negatives):
        phase = Phase("main", loss=LOSSES[loss])
        return sum(train(phase, negatives, 100, seed)["user"] for seed in (0, 1, 2)) / 3

    ranks = [rank(negatives) for negatives in (1, 4, 16)]
    assert ranks == sorted(ranks)
    assert ranks[2] > ranks[0] + 0.1


def test_standard_normal_tables_start_near_the_width():
    n = 5000
    x = torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(0))
    assert stable_rank(x).item() == pytest.approx(WIDTH / (1 + (WIDTH / n) ** 0.5) ** 2, rel=0.03)


def test_isotropic_rows_have_every_rank_of_the_width():
    x = torch.eye(WIDTH).repeat(7, 1)
    assert stable_rank(x).item() == pytest.approx(WIDTH, rel=1e-5)
    assert effective_rank(x).neg().exp().item() == pytest.approx(WIDTH, rel=1e-5)
