from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.model.loss import BPRLoss

from recbole_sr.objectives.losses import LOSSES, alignment, bpr, sampled_softmax
from recbole_sr.objectives.rows import unit_rows

B, K, D = 7, 3, 5


def vectors(seed=0, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_(requires_grad)
        for shape in [(B, D), (B, D), (K, B, D)]
    ]


def cosine(x, y):
    return (x @ y) / (x.norm() * y.norm())


def test_bpr_is_the_mean_over_every_triple():
    user, positive, negatives = vectors()
    losses = [
        -torch.sigmoid(user[b] @ positive[b] - user[b] @ negatives[k, b]).log()
        for b in range(B)
        for k in range(K)
    ]
    torch.testing.assert_close(bpr(user, positive, negatives), torch.stack(losses).mean())


def test_bpr_is_recboles_on_the_batch_recbole_would_repeat():
    user, positive, negatives = vectors()
    scores = (user * positive).sum(-1).repeat(K), (user * negatives).sum(-1).flatten()
    torch.testing.assert_close(bpr(user, positive, negatives), BPRLoss()(*scores))


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_sampled_softmax_is_the_cross_entropy_of_the_positive(temperature):
    user, positive, negatives = vectors()
    losses = []
    for b in range(B):
        items = [positive[b], *negatives[:, b]]
        scores = torch.stack([user[b] @ item for item in items]) / temperature
        losses.append(-scores.softmax(0)[0].log())
    ours = sampled_softmax(user, positive, negatives, temperature)
    torch.testing.assert_close(ours, torch.stack(losses).mean())


def test_sampled_softmax_of_one_negative_is_bpr():
    user, positive, negatives = vectors()
    one = negatives[:1]
    torch.testing.assert_close(sampled_softmax(user, positive, one), bpr(user, positive, one))


def test_sampled_softmax_of_huge_scores_is_finite():
    user, positive, negatives = (1e3 * x for x in vectors())
    assert sampled_softmax(user, positive, negatives, temperature=0.01).isfinite()


def test_alignment_is_the_mean_squared_distance_of_unit_vectors():
    user, positive, _ = vectors()
    losses = [2 - 2 * cosine(u, p) for u, p in zip(user, positive, strict=True)]
    torch.testing.assert_close(alignment(user, positive), torch.stack(losses).mean())


@given(st.integers(0, 10**6))
def test_bounds(seed):
    user, positive, negatives = vectors(seed)
    assert 0 <= alignment(user, positive) <= 4
    assert sampled_softmax(user, positive, negatives) >= 0
    at_most = math.log(1 + K * math.exp(2))
    assert sampled_softmax(*map(unit_rows, (user, positive, negatives))) <= at_most
    # every negative alone is beaten by no less than all of them together
    assert sampled_softmax(user, positive, negatives) >= bpr(user, positive, negatives) - 1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_finite_differences(name):
    loss = LOSSES[name]
    given_vectors = vectors(1, requires_grad=True)[: 3 if loss.needs_negatives else 2]
    assert torch.autograd.gradcheck(loss.function, given_vectors)


def test_alignment_alone_needs_no_negatives():
    assert [name for name, loss in LOSSES.items() if not loss.needs_negatives] == ["align"]


def test_binding_sets_parameters_and_leaves_the_registrys_loss_as_it_is():
    given_vectors = vectors()
    bound = LOSSES["ssm"].bind(temperature=0.1)
    assert bound.function(*given_vectors) == sampled_softmax(*given_vectors, temperature=0.1)
    assert replace(bound, function=sampled_softmax) == LOSSES["ssm"]
    assert LOSSES["ssm"].function is sampled_softmax
    assert LOSSES["bpr"].bind() is LOSSES["bpr"]


def test_a_zero_vector_leaves_finite_gradients_of_ordinary_size():
    user, positive, _ = vectors(requires_grad=True)
    with torch.no_grad():
        user[0] = 0
    alignment(user, positive).backward()
    assert user.grad.abs().max() < 10
