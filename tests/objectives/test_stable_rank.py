from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from references import stable_rank_reference

from recbole_sr.objectives.peers import NO_PEERS
from recbole_sr.objectives.regularizers import effective_rank
from recbole_sr.objectives.stable_rank import stable_rank, unit_stable_rank

sizes = st.integers(1, 12)
matrices = st.tuples(sizes, sizes).flatmap(
    lambda shape: arrays("float64", shape, elements=st.floats(-1, 1).filter(lambda v: v**4 > 0))
)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["double", "single"]
)
@pytest.mark.parametrize("shape", [(7000, 64), (300, 8), (5, 64), (1, 3), (3, 1), (64, 64)])
def test_equals_the_definition(shape, dtype, tolerance):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = stable_rank_reference(x)
    torch.testing.assert_close(stable_rank(x.to(dtype)).double(), expected, rtol=tolerance, atol=0)


@given(matrices)
def test_lies_between_one_and_the_rank(values):
    x = torch.from_numpy(values)
    assert 1 <= stable_rank(x).item() <= torch.linalg.matrix_rank(x).item() * (1 + 1e-9)


@given(matrices)
def test_equals_the_definition_on_any_matrix(values):
    x = torch.from_numpy(values)
    torch.testing.assert_close(stable_rank(x), stable_rank_reference(x), rtol=1e-9, atol=0)


@pytest.mark.parametrize("kernel", [stable_rank, unit_stable_rank])
def test_columns_of_zeros_are_no_obstacle(kernel):
    """In float32 the LAPACK of some processors gives up on three such matrices in a hundred."""
    generator = torch.Generator().manual_seed(0)
    for kept in range(1, 65):
        x = torch.randn(200, 64, generator=generator).relu()
        x[:, torch.randperm(64, generator=generator)[kept:]] = 0
        x[torch.rand(200, generator=generator) < 0.9] = 0
        torch.testing.assert_close(kernel(x), kernel(x.double()).float())


def test_a_matrix_on_which_single_precision_gives_up_is_taken_in_double(monkeypatch):
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    wanted, eigh = stable_rank(x), torch.linalg.eigh

    def unwilling(gram):
        if gram.dtype == torch.float32:
            raise torch.linalg.LinAlgError
        return eigh(gram)

    monkeypatch.setattr(torch.linalg, "eigh", unwilling)
    x.requires_grad_()
    torch.testing.assert_close(stable_rank(x), wanted)
    stable_rank(x).backward()
    assert x.grad.dtype == torch.float32


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_scaling_changes_nothing(scale):
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(stable_rank(x * scale), stable_rank(x))


@pytest.mark.parametrize("d", [1, 2, 64])
def test_the_identity_has_stable_rank_d(d):
    assert stable_rank(torch.eye(d)).item() == pytest.approx(d, rel=1e-6)


def test_an_outer_product_has_stable_rank_one():
    x = torch.outer(torch.linspace(-3, 5, 100), torch.linspace(1, 2, 16))
    assert stable_rank(x).item() == pytest.approx(1, abs=1e-6)


def test_singular_values_two_and_one_give_five_quarters():
    assert stable_rank(torch.diag(torch.tensor([2.0, 1.0]))).item() == pytest.approx(1.25)


def test_isotropic_gaussian_rows_follow_the_marchenko_pastur_edge():
    n, d = 20_000, 64
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(2))
    assert stable_rank(x).item() == pytest.approx(d / (1 + (d / n) ** 0.5) ** 2, rel=0.02)


@pytest.mark.parametrize("shape", [(20, 5), (3, 7), (1, 4)], ids=["tall", "wide", "one row"])
def test_gradient_is_that_of_finite_differences(shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(stable_rank, x.requires_grad_())


def test_gradient_equals_that_of_the_singular_value_decomposition():
    x = torch.randn(200, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    ours, reference = x.clone().requires_grad_(), x.clone().requires_grad_()
    stable_rank(ours).backward()
    (
        torch.linalg.matrix_norm(reference).square()
        / torch.linalg.matrix_norm(reference, 2).square()
    ).backward()
    torch.testing.assert_close(ours.grad, reference.grad)


def test_gradient_is_orthogonal_to_the_matrix():
    # Scaling changes nothing, so moving along x does not either.
    x = torch.randn(30, 4, dtype=torch.float64, requires_grad=True)
    stable_rank(x).backward()
    assert (x.grad * x).sum().item() == pytest.approx(0, abs=1e-12)


EDGES = {
    "zero rows": torch.cat([torch.zeros(3, 4), torch.ones(2, 4)]),
    "one row": torch.arange(1.0, 5.0)[None],
    "fewer rows than columns": torch.eye(3, 8),
    "repeated rows": torch.tensor([[1.0, 2.0]]).repeat(9, 1),
    "equal top singular values": torch.eye(6),
    "one column": torch.ones(5, 1),
    "zeros": torch.zeros(4, 3),
    "no rows": torch.zeros(0, 3),
}


@pytest.mark.parametrize("x", EDGES.values(), ids=EDGES.keys())
def test_edges_are_right_and_their_gradients_finite(x):
    x = x.clone().requires_grad_()
    rank = stable_rank(x)
    rank.backward()
    torch.testing.assert_close(rank, stable_rank_reference(x.detach()))
    assert x.grad.isfinite().all()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_gives_nan_for_the_trainer_to_find(value):
    x = torch.ones(3, 2)
    x[1, 1] = value
    assert stable_rank(x).isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(dtype):
    x = torch.randn(500, 8).to(dtype).requires_grad_()
    rank = stable_rank(x)
    rank.backward()
    assert rank.dtype == torch.float32
    assert x.grad.dtype == dtype
    torch.testing.assert_close(rank, stable_rank_reference(x.detach().float()))


def test_autocast_does_not_lower_the_precision():
    x = torch.randn(500, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rank = stable_rank(x)
        rank.backward()
    inside = x.grad.clone()
    x.grad = None
    stable_rank(x).backward()
    assert torch.equal(rank, stable_rank(x))
    assert torch.equal(inside, x.grad)


def test_refuses_what_is_not_a_matrix():
    with pytest.raises(ValueError, match=r"matrix \(N, D\), got shape \(2, 3, 4\)"):
        stable_rank(torch.zeros(2, 3, 4))


def test_refuses_integers():
    with pytest.raises(TypeError, match=r"floating-point matrix, got torch\.int64"):
        stable_rank(torch.ones(2, 2, dtype=torch.long))


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e15])
@pytest.mark.parametrize("shape", [(7000, 64), (300, 8), (5, 64), (1, 3), (3, 1), (64, 64)])
def test_of_unit_rows_equals_normalising_first(shape, scale):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(6)) * scale
    ours, reference = x.clone().requires_grad_(), x.double().requires_grad_()
    rank = unit_stable_rank(ours)
    expected = stable_rank(torch.nn.functional.normalize(reference))
    torch.testing.assert_close(rank.double(), expected, rtol=1e-4, atol=0)
    rank.backward()
    expected.backward()
    # Where the true gradient is zero, as for one row, rounding is measured against 1 / length.
    size = max(reference.grad.abs().max().item(), 1e-3 / x.norm(dim=1).min().item())
    torch.testing.assert_close(ours.grad.double(), reference.grad, rtol=1e-3, atol=1e-3 * size)


@pytest.mark.parametrize("shape", [(20, 5), (3, 7), (1, 4)], ids=["tall", "wide", "one row"])
def test_of_unit_rows_has_the_gradient_of_finite_differences(shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    assert torch.autograd.gradcheck(unit_stable_rank, x.requires_grad_())


@pytest.mark.parametrize("x", EDGES.values(), ids=EDGES.keys())
def test_of_unit_rows_is_right_and_finite_at_the_edges(x):
    x = x.clone().requires_grad_()
    rank = unit_stable_rank(x)
    rank.backward()
    unit = torch.nn.functional.normalize(x.detach())
    torch.testing.assert_close(rank, stable_rank_reference(unit))
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_of_unit_rows_that_are_not_finite_is_nan(value):
    x = torch.ones(3, 2)
    x[1, 1] = value
    assert unit_stable_rank(x).isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_of_unit_rows_is_computed_in_single_for_half_precision(dtype):
    x = torch.randn(500, 8).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rank = unit_stable_rank(x)
        rank.backward()
    assert rank.dtype == torch.float32
    assert x.grad.dtype == dtype
    unit = torch.nn.functional.normalize(x.detach().float())
    torch.testing.assert_close(rank, stable_rank_reference(unit))


def test_peers_may_be_named():
    x = torch.eye(3)
    assert unit_stable_rank(x, peers=NO_PEERS) == unit_stable_rank(x)
    assert effective_rank(x, peers=NO_PEERS) == effective_rank(x)
