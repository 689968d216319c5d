from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch

from recbole_sr.objectives.losses import LOSSES, alignment, bpr
from recbole_sr.objectives.peers import NO_PEERS
from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.rank_target import RankTarget
from recbole_sr.objectives.regularizers import effective_rank, negative_stable_rank, uniformity

USERS, ITEMS, NEGATIVES = torch.eye(6, 4), torch.ones(6, 4), torch.full((2, 6, 4), 0.5)


@dataclass
class Recorded:
    """A batch of given vectors that notes what is asked of it, in order."""

    loss: object = field(default_factory=lambda: torch.tensor(3.0))
    terms: int = 1
    index: int = 0
    peers: object = NO_PEERS
    has_rows: bool = True
    asked: list = field(default_factory=list)

    def model_loss(self, replacement=None):
        self.asked.append("model_loss")
        if replacement is None:
            return self.loss
        return (
            replacement()
            if isinstance(self.loss, torch.Tensor)
            else (replacement(), *self.loss[1:])
        )

    def pairs(self):
        self.asked.append("pairs")
        return USERS, ITEMS

    def negatives(self):
        self.asked.append("negatives")
        return NEGATIVES

    def rows(self, sides, choose):
        self.asked.append("rows")
        chosen = choose(torch.arange(6))
        rows = {"user": [USERS[chosen]], "item": [ITEMS[chosen]]}
        return {side: rows[side] for side in sides} if self.has_rows else {}


def test_penalty_is_the_weighted_mean_over_the_sides():
    users, items = torch.randn(9, 4), torch.randn(5, 4)
    phase = Phase("warm", {"stable_rank": 0.6})
    expected = 0.6 * (negative_stable_rank(users) + negative_stable_rank(items)) / 2
    torch.testing.assert_close(phase.penalty({"user": [users], "item": [items]}), expected)
    one_side = phase.penalty({"item": [items]})
    torch.testing.assert_close(one_side, 0.6 * negative_stable_rank(items))


def test_penalties_add_up():
    x = torch.randn(9, 4)
    target = RankTarget({"item": 3.0}, step=1.0)
    target.load_state_dict({"item": 0.5})
    phase = Phase("main", {"effective_rank": 0.2, "uniformity": 0.3}, rank_target=target)
    log_rank = (-4 * negative_stable_rank(x)).log()
    expected = 0.2 * effective_rank(x) + 0.3 * uniformity(x)
    expected -= (0.5 + math.log(3) - log_rank).clamp_min(0) * log_rank
    torch.testing.assert_close(phase.penalty({"item": [x]}), expected)


def test_a_phase_without_weights_loss_or_target_is_not_active():
    assert not Phase("main").active
    assert not Phase("main", {"stable_rank": 0.0}).active
    assert Phase("main", {"stable_rank": 1e-9}).active
    assert not Phase("main", {"alignment": 0.0}).active
    assert Phase("main", {"alignment": 1e-9}).active
    assert not Phase("main", {"alignment": 1e-9}).regularizes  # it reads pairs, no side's rows
    assert Phase("main", loss=LOSSES["bpr"]).active
    assert not Phase("main", loss=LOSSES["bpr"]).regularizes
    assert Phase("main", rank_target=RankTarget({"user": 2.0})).regularizes


def test_uniformity_of_some_rows_is_that_of_rows_drawn_by_torch():
    x = torch.randn(50, 4)
    phase = Phase("main", {"uniformity": 1.0}, uniformity_rows=10)
    torch.manual_seed(0)
    value = phase.penalty({"user": [x]})
    torch.manual_seed(0)
    torch.testing.assert_close(value, uniformity(x[torch.randperm(50)[:10]]))
    assert not torch.equal(phase.penalty({"user": [x]}), value)  # others the next time


def test_rows_drawn_before_or_after_they_are_looked_up_are_the_same():
    table, ids = torch.randn(50, 4), torch.randperm(50)[:30]
    phase = Phase("main", {"uniformity": 1.0}, uniformity_rows=10)
    torch.manual_seed(0)
    after = phase.penalty({"user": [table[ids]]})
    torch.manual_seed(0)
    drawn = phase.choose(ids)
    assert len(drawn) == 10
    assert torch.equal(phase.penalty({"user": [table[drawn]]}), after)


def test_alignment_leaves_rows_and_penalty_to_uniformity():
    x, ids = torch.randn(50, 4), torch.arange(50)
    both = Phase("main", {"alignment": 0.5, "uniformity": 1.0}, uniformity_rows=10)
    alone = Phase("main", {"uniformity": 1.0}, uniformity_rows=10)
    drawn, penalties = [], []
    for phase in (both, alone):
        torch.manual_seed(0)
        drawn.append(phase.choose(ids))
        penalties.append(phase.penalty({"user": [x]}))
    assert len(drawn[0]) == 10
    assert torch.equal(*drawn)
    assert torch.equal(*penalties)


@pytest.mark.parametrize(
    "phase",
    [
        Phase("main", {"uniformity": 1.0}),
        Phase("main", {"uniformity": 1.0, "stable_rank": 0.1}, uniformity_rows=10),
        Phase("main", rank_target=RankTarget({"user": 2.0}), uniformity_rows=10),
        Phase("main", {"uniformity": 1.0}, uniformity_rows=30),
    ],
)
def test_no_rows_are_drawn_where_a_penalty_wants_all(phase):
    ids, before = torch.arange(30), torch.get_rng_state()
    assert torch.equal(phase.choose(ids), ids)
    assert torch.equal(torch.get_rng_state(), before)


def test_uniformity_of_some_rows_comes_near_that_of_all():
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    phase = Phase("main", {"uniformity": 1.0}, uniformity_rows=1000)
    assert phase.penalty({"user": [x]}).item() == pytest.approx(uniformity(x).item(), abs=0.05)


@pytest.mark.parametrize(
    "phase",
    [
        Phase("main", {"uniformity": 1.0}),
        Phase("main", {"uniformity": 1.0}, uniformity_rows=50),
        Phase("main", {"stable_rank": 1.0}, uniformity_rows=10),
    ],
    ids=["all rows", "no more than there are", "no uniformity"],
)
def test_no_random_number_is_drawn_without_need(phase):
    before = torch.get_rng_state()
    phase.penalty({"user": [torch.ones(50, 4)]})
    assert torch.equal(torch.get_rng_state(), before)


def test_without_anything_the_loss_is_the_models_own_and_nothing_else_is_read():
    batch = Recorded()
    assert Phase("main").training_loss(batch) is batch.loss
    assert batch.asked == ["model_loss"]


def test_penalties_of_some_batches_have_the_same_mean():
    weights = {"stable_rank": 0.5, "alignment": 0.2}
    always, some = Phase("main", weights), Phase("main", weights, every=3)
    batches = [Recorded(index=index) for index in range(6)]
    seldom = [some.training_loss(batch).item() for batch in batches]
    usual = [always.training_loss(Recorded(index=index)).item() for index in range(6)]
    assert [batch.asked for batch in batches][1:3] == [["model_loss"]] * 2
    assert seldom[1] == seldom[2] == seldom[4] == 3.0
    assert sum(seldom) == pytest.approx(sum(usual))
    assert seldom[0] == pytest.approx(3 + 3 * (usual[0] - 3))


@pytest.mark.parametrize("terms", [1, 64])
def test_the_penalties_count_as_often_as_the_models_loss_has_terms(terms):
    phase = Phase("warm", {"stable_rank": 0.7, "alignment": 0.2})
    batch = Recorded(terms=terms)
    added = 0.2 * alignment(USERS, ITEMS) + 0.35 * (
        negative_stable_rank(USERS) + negative_stable_rank(ITEMS)
    )
    torch.testing.assert_close(phase.training_loss(batch), 3 + terms * added)
    assert batch.asked == ["model_loss", "pairs", "rows"]  # what the model read can be read again


@pytest.mark.parametrize("terms", [1, 64])
def test_a_replaced_loss_is_a_mean_whatever_the_models_was(terms):
    phase = Phase("main", {"stable_rank": 0.7, "alignment": 0.2}, loss=LOSSES["bpr"])
    beside = Phase("main", {"stable_rank": 0.7, "alignment": 0.2}).training_loss(Recorded()) - 3
    expected = bpr(USERS, ITEMS, NEGATIVES) + beside
    torch.testing.assert_close(phase.training_loss(Recorded(terms=terms)), expected)


def test_negatives_are_read_only_where_the_loss_needs_them():
    for name, loss in LOSSES.items():
        batch = Recorded()
        Phase("main", loss=loss).training_loss(batch)
        assert ("negatives" in batch.asked) == loss.needs_negatives, name
        assert "rows" not in batch.asked


@pytest.mark.parametrize("loss", [None, LOSSES["align"]], ids=["model", "align"])
def test_penalties_are_added_to_the_first_part_of_a_tuple(loss):
    batch = Recorded(loss=(torch.tensor(3.0), torch.tensor(5.0)))
    first, second = Phase("warm", {"stable_rank": 1.0}, loss=loss).training_loss(batch)
    own = 3 if loss is None else alignment(USERS, ITEMS)
    spread = negative_stable_rank(USERS) + negative_stable_rank(ITEMS)
    torch.testing.assert_close(first, own + spread / 2)
    assert second is batch.loss[1]


@pytest.mark.parametrize(("side", "rows"), [("user", USERS), ("item", ITEMS)])
def test_only_the_sides_of_the_phase_are_penalised(side, rows):
    phase = Phase("warm", {"stable_rank": 1.0}, sides=[side])
    torch.testing.assert_close(phase.training_loss(Recorded()), 3 + negative_stable_rank(rows))


def test_a_batch_without_rows_adds_no_penalty():
    target = RankTarget({"user": 3.0})
    batch = Recorded(has_rows=False)
    phase = Phase("main", {"stable_rank": 1.0}, rank_target=target)
    assert phase.training_loss(batch) is batch.loss
    assert target.weights == {"user": 0.0}


def test_the_penalty_of_half_precision_is_computed_in_single_also_inside_autocast():
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    target = RankTarget({"user": 6.0})
    phase = Phase("main", {"stable_rank": 0.5, "uniformity": 0.1}, rank_target=target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        penalty = phase.penalty({"user": [x]})
    assert penalty.dtype == torch.float32
    twin = Phase("main", phase.regularizers, rank_target=RankTarget({"user": 6.0}))
    torch.testing.assert_close(penalty, twin.penalty({"user": [x.float()]}))
