from __future__ import annotations

import pytest
import torch

from recbole_sr.objective import Phase
from recbole_sr.regularizers import REGULARIZERS, negative_stable_rank


def published(x):
    """Minus the squared Frobenius over the squared spectral norm of the unit rows, over d."""
    rows = torch.stack([row / row.norm() for row in x])
    frobenius = sum(value**2 for row in rows for value in row)
    spectral = torch.linalg.svdvals(rows)[0]
    return -frobenius / spectral**2 / x.shape[1]


def test_negative_stable_rank_is_the_published_formula():
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(negative_stable_rank(x), published(x))


def test_negative_stable_rank_of_unit_rows_is_bounded_by_their_mean():
    # srank <= 1 / ||mean row||^2 for unit rows
    x = torch.randn(500, 8, dtype=torch.float64) + 1
    mean = torch.nn.functional.normalize(x).mean(0)
    assert -negative_stable_rank(x) * 8 <= 1 / mean.square().sum()


@pytest.mark.parametrize("regularizer", REGULARIZERS.values(), ids=REGULARIZERS.keys())
def test_gradient_is_that_of_finite_differences(regularizer):
    x = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(regularizer, x.requires_grad_())


@pytest.mark.parametrize("regularizer", REGULARIZERS.values(), ids=REGULARIZERS.keys())
@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 4)], ids=["no row", "one row", "n < d"])
@pytest.mark.parametrize("fill", [0.0, 1.0], ids=["zeros", "ones"])
def test_degenerate_rows_have_finite_values_and_gradients(regularizer, shape, fill):
    x = torch.full(shape, fill, requires_grad=True)
    value = regularizer(x)
    value.backward()
    assert value.isfinite()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("regularizer", REGULARIZERS.values(), ids=REGULARIZERS.keys())
def test_minimising_raises_the_stable_rank(regularizer):
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(2)) + 2
    x.requires_grad_()
    before = negative_stable_rank(x).item()
    optimizer = torch.optim.SGD([x], lr=1.0)
    for _ in range(20):
        optimizer.zero_grad()
        regularizer(x).backward()
        optimizer.step()
    assert negative_stable_rank(x).item() < before


def test_penalty_is_the_weighted_mean_over_the_sides():
    users, items = torch.randn(9, 4), torch.randn(5, 4)
    phase = Phase("warm", {"stable_rank": 0.6})
    expected = 0.6 * (negative_stable_rank(users) + negative_stable_rank(items)) / 2
    torch.testing.assert_close(phase.penalty({"user": [users], "item": [items]}), expected)
    one_side = phase.penalty({"item": [items]})
    torch.testing.assert_close(one_side, 0.6 * negative_stable_rank(items))


def test_a_phase_of_zero_weights_is_not_active():
    assert not Phase("main").active
    assert not Phase("main", {"stable_rank": 0.0}).active
    assert Phase("main", {"stable_rank": 1e-9}).active
