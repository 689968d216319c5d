from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from references import log_mean_kernel_reference

from recbole_sr.objectives import uniformity as pairwise
from recbole_sr.objectives.rank_target import log_stable_rank
from recbole_sr.objectives.regularizers import (
    REGULARIZERS,
    effective_rank,
    negative_stable_rank,
    uniformity,
)
from recbole_sr.objectives.uniformity import log_mean_kernel

# Of rows, each to be minimised; the rank target's is one of them up to its sign.
OF_ROWS = {name: entry.function for name, entry in REGULARIZERS.items() if entry.reads == "rows"}
OF_ROWS["log_stable_rank"] = lambda x: -log_stable_rank(x)
EACH = pytest.mark.parametrize("regularizer", OF_ROWS.values(), ids=OF_ROWS.keys())


def rows(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def unit(x):
    return torch.stack([row / row.norm() for row in x])


def singular_values(x):
    return torch.linalg.svdvals(unit(x))


def published_stable_rank(x):
    """Minus the squared Frobenius over the squared spectral norm of the unit rows, over d."""
    frobenius = sum(value**2 for row in unit(x) for value in row)
    return -frobenius / singular_values(x)[0] ** 2 / x.shape[1]


def log_of_stable_rank(x):
    squares = singular_values(x) ** 2
    return -(squares.sum() / squares[0]).log()


def mean_squared_inner_product(x):
    products = [(a @ b) ** 2 for a in unit(x) for b in unit(x)]
    return torch.stack(products).mean().log()


def log_mean_over_pairs(x):
    x = unit(x)
    kernels = [(-2 * (x[i] - x[j]).square().sum()).exp() for i in range(len(x)) for j in range(i)]
    return torch.stack(kernels).mean().log()


SLOW = {
    "stable_rank": published_stable_rank,
    "log_stable_rank": log_of_stable_rank,
    "effective_rank": mean_squared_inner_product,
    "uniformity": log_mean_over_pairs,
}


@pytest.mark.parametrize("name", OF_ROWS)
@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (2, 3)], ids=["tall", "wide", "pair"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["double", "single"]
)
def test_equals_the_slow_definition(name, shape, dtype, tolerance):
    x = rows(*shape)
    fast = OF_ROWS[name](x.to(dtype)).double()
    torch.testing.assert_close(fast, SLOW[name](x), rtol=tolerance, atol=tolerance)


# For eight orthogonal rows and for rows along one line, eight columns each.
CLOSED = {
    "stable_rank": (-1.0, -1 / 8),
    "log_stable_rank": (-math.log(8), 0.0),
    "effective_rank": (-math.log(8), 0.0),
    "uniformity": (-4.0, 0.0),
}


@pytest.mark.parametrize("name", OF_ROWS)
def test_closed_forms_of_orthogonal_and_of_equal_rows(name):
    orthogonal, equal = CLOSED[name]
    assert OF_ROWS[name](3 * torch.eye(8)).item() == pytest.approx(orthogonal, abs=1e-5)
    line = torch.full((50, 8), 0.7)
    assert OF_ROWS[name](line).item() == pytest.approx(equal, abs=1e-5)


def test_three_repeated_axes_have_effective_rank_three():
    x = torch.eye(8)[:3].repeat(5, 1)
    assert effective_rank(x).item() == pytest.approx(-math.log(3), abs=1e-5)
    assert log_stable_rank(x).item() == pytest.approx(math.log(3), abs=1e-5)


def test_two_opposite_rows_are_as_uniform_as_two_can_be():
    assert uniformity(torch.tensor([[2.0, 0.0], [-5.0, 0.0]])).item() == pytest.approx(-8)


def test_the_effective_rank_is_the_participation_ratio_of_the_squared_singular_values():
    x = rows(60, 7)
    squares = singular_values(x) ** 2
    ratio = squares.sum() ** 2 / (squares**2).sum()
    torch.testing.assert_close(effective_rank(x), -ratio.log())


matrices = st.tuples(st.integers(2, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays("float64", shape, elements=st.floats(-1, 1).filter(lambda v: v**4 > 0))
)


@given(matrices)
def test_bounds(values):
    x = torch.from_numpy(values)
    n, d = x.shape
    most = math.log(min(n, d))
    slack = 1e-9
    assert -1 - slack <= negative_stable_rank(x) <= -1 / d + slack
    assert -slack <= log_stable_rank(x) <= most + slack
    # the participation ratio is never below the stable rank
    assert -most - slack <= effective_rank(x) <= -log_stable_rank(x) + slack
    assert -4 * n / (n - 1) - slack <= uniformity(x) <= slack


def test_negative_stable_rank_of_unit_rows_is_bounded_by_their_mean():
    # srank <= 1 / ||mean row||^2 for unit rows
    x = rows(500, 8) + 1
    mean = unit(x).mean(0)
    assert -negative_stable_rank(x) * 8 <= 1 / mean.square().sum()


@EACH
@pytest.mark.parametrize("scale", [1e-13, 1e-6, 1e6])
def test_the_length_of_a_row_does_not_matter(regularizer, scale):
    x = rows(30, 5)
    scaled = torch.cat([x[:10] * scale, x[10:]])
    torch.testing.assert_close(regularizer(scaled), regularizer(x))


@EACH
@pytest.mark.parametrize("shape", [(12, 4), (3, 5)], ids=["tall", "wide"])
def test_gradient_is_that_of_finite_differences(regularizer, shape):
    assert torch.autograd.gradcheck(regularizer, rows(*shape, seed=1).requires_grad_())


@EACH
@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 4)], ids=["no row", "one row", "n < d"])
@pytest.mark.parametrize("fill", [0.0, 1.0], ids=["zeros", "ones"])
def test_degenerate_rows_have_finite_values_and_gradients(regularizer, shape, fill):
    x = torch.full(shape, fill, requires_grad=True)
    value = regularizer(x)
    value.backward()
    assert value.isfinite()
    assert x.grad.isfinite().all()


@EACH
def test_a_zero_row_among_others_leaves_gradients_of_ordinary_size(regularizer):
    x = torch.cat([torch.zeros(2, 4), rows(6, 4).float()]).requires_grad_()
    regularizer(x).backward()
    assert x.grad.abs().max() < 10


@pytest.mark.parametrize("name", sorted(OF_ROWS.keys() - {"uniformity"}))
def test_zero_rows_count_for_nothing(name):
    x = rows(20, 4)
    padded = torch.cat([torch.zeros(5, 4), x])
    torch.testing.assert_close(OF_ROWS[name](padded), OF_ROWS[name](x))


@EACH
def test_an_empty_batch_is_worth_nothing(regularizer):
    assert regularizer(torch.zeros(0, 4)).item() == 0


@EACH
def test_what_is_not_finite_gives_nan_for_the_trainer_to_find(regularizer):
    x = torch.ones(5, 3)
    x[1, 1] = float("nan")
    assert regularizer(x).isnan()


@EACH
def test_half_precision_and_autocast_are_computed_in_single(regularizer):
    x = rows(300, 8).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = regularizer(x)
    value.backward()
    assert value.dtype == torch.float32
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(value, regularizer(x.float()))


@EACH
def test_refuses_what_is_no_floating_point_matrix(regularizer):
    with pytest.raises(ValueError, match=r"expected a matrix \(N, D\), got shape \(2, 3, 4\)"):
        regularizer(torch.zeros(2, 3, 4))
    with pytest.raises(TypeError, match=r"expected a floating-point matrix, got torch\.int64"):
        regularizer(torch.ones(2, 2, dtype=torch.long))


@EACH
def test_minimising_raises_the_stable_rank(regularizer):
    x = (rows(50, 6, seed=2).float() + 2).requires_grad_()
    before = negative_stable_rank(x).item()
    optimizer = torch.optim.SGD([x], lr=1.0)
    for _ in range(20):
        optimizer.zero_grad()
        regularizer(x).backward()
        optimizer.step()
    assert negative_stable_rank(x).item() < before


@pytest.mark.parametrize("n", [2, 5, 6, 7, 13], ids=lambda n: f"{n} rows")
def test_uniformity_does_not_depend_on_its_blocks(n, monkeypatch):
    monkeypatch.setattr(pairwise, "_BLOCK", 3)
    ours, reference = rows(n, 4).requires_grad_(), rows(n, 4).requires_grad_()
    value, expected = log_mean_kernel(ours), log_mean_kernel_reference(reference)
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, reference.grad)
    assert torch.autograd.gradcheck(log_mean_kernel, rows(n, 4, seed=3).requires_grad_())


def test_uniformity_of_thousands_of_rows_in_single_precision():
    x = torch.nn.functional.normalize(rows(3000, 16))
    ours = x.float().requires_grad_()
    reference = x.clone().requires_grad_()
    value, expected = log_mean_kernel(ours), log_mean_kernel_reference(reference)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad.double(), reference.grad, rtol=1e-3, atol=1e-8)


def test_uniformity_keeps_no_matrix_of_all_pairs():
    kept = []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    x = rows(1500, 4).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        uniformity(x).backward()
    assert max(kept) <= x.numel()
