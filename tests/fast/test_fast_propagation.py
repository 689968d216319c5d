from __future__ import annotations

import copy
import os
import pickle

import numpy as np
import pytest
import recbole.config
import torch
from contract import first_batch
from recbole.model.general_recommender import BPR, LightGCN
from recbole.utils import get_model, init_seed
from scipy import sparse

from recbole_sr.fast.propagation import (
    PROPAGATIONS,
    SymmetricAdjacency,
    accelerate,
    mean_propagation,
)
from recbole_sr.models.registry import SUPPORTED, entry_of
from recbole_sr.recbole_compat.mends import mend_model


@pytest.fixture
def symmetric():
    draw = np.random.default_rng(0)
    half = sparse.random(30, 30, density=0.2, random_state=draw, dtype=np.float64)
    half.data = half.data.astype(np.float32).astype(np.float64)
    return (half + half.T).tocsr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_dense_product(symmetric, dtype):
    x = torch.randn(30, 5, dtype=dtype)
    dense = torch.from_numpy(symmetric.toarray()).to(dtype)
    product = torch.sparse.mm(SymmetricAdjacency(symmetric), x)
    assert product.dtype == dtype
    torch.testing.assert_close(product, dense @ x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compressed_rows_are_the_same_matrix(symmetric, dtype):
    adjacency = SymmetricAdjacency(symmetric)
    expected = torch.from_numpy(symmetric.toarray()).to(dtype)
    torch.testing.assert_close(adjacency.csr(dtype).to_dense(), expected, rtol=1e-7, atol=0)
    assert adjacency.csr(dtype) is adjacency.csr(dtype)
    assert adjacency.to("cpu").csr(dtype).dtype is dtype


@pytest.mark.skipif("SR_TEST_GPU" not in os.environ, reason="multiplies so on a GPU alone")
def test_a_gpu_multiplies_by_compressed_rows_where_bits_may_differ(symmetric, monkeypatch):
    adjacency = SymmetricAdjacency(symmetric).to("cuda")
    x = torch.randn(30, 5, dtype=torch.float64, device="cuda")
    exactly = torch.from_numpy(symmetric.toarray()).to("cuda") @ x
    for deterministic in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", deterministic)
        torch.testing.assert_close(adjacency.times(x), exactly, rtol=1e-5, atol=1e-6)
        assert (adjacency._csr is None) is deterministic


def test_gradient_is_that_of_finite_differences(symmetric):
    adjacency = SymmetricAdjacency(symmetric)
    x = torch.randn(30, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: torch.sparse.mm(adjacency, x), x)


def test_a_row_without_neighbours_gives_zeros():
    adjacency = SymmetricAdjacency(sparse.csr_matrix(np.diag([2.0, 0.0])))
    assert torch.sparse.mm(adjacency, torch.ones(2, 2)).tolist() == [[2.0, 2.0], [0.0, 0.0]]


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_mean_propagation_is_the_mean_of_the_layers(symmetric, layers):
    x = torch.randn(30, 5, dtype=torch.float64)
    stacked = [x]
    for _ in range(layers):
        stacked.append(torch.from_numpy(symmetric.toarray()) @ stacked[-1])
    found = mean_propagation(SymmetricAdjacency(symmetric), x, layers)
    torch.testing.assert_close(found, torch.stack(stacked).mean(0), rtol=1e-5, atol=1e-6)


def test_gradient_of_mean_propagation_is_that_of_finite_differences(symmetric):
    adjacency = SymmetricAdjacency(symmetric)
    x = torch.randn(30, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mean_propagation(adjacency, x, 3), x)


def test_mean_propagation_leaves_what_it_is_given(symmetric):
    x = torch.randn(30, 3)
    before = x.clone()
    for layers in (0, 2):
        assert mean_propagation(SymmetricAdjacency(symmetric), x, layers) is not x
    assert torch.equal(x, before)


def test_any_other_use_is_refused(symmetric):
    with pytest.raises(TypeError):
        torch.matmul(SymmetricAdjacency(symmetric), torch.ones(30, 2))


def test_lightgcns_matrix_is_recboles(experiment, tiny):
    own_start = {**tiny, "sr_init": "model"}
    ours = experiment("LightGCN", "tiny", **own_start).model
    theirs = experiment("LightGCN", "tiny", **own_start, sr_fast=False).model
    adjacency = ours.norm_adj_matrix
    assert isinstance(adjacency, SymmetricAdjacency)
    unit = torch.eye(adjacency.shape[0], device=adjacency.values.device)
    assert torch.equal(torch.sparse.mm(adjacency, unit), theirs.norm_adj_matrix.to_dense())
    assert torch.equal(ours.user_embedding.weight, theirs.user_embedding.weight)


def test_repeated_interactions_count_once_as_in_recbole(experiment, tiny):
    ours = experiment("LightGCN", "tiny", **tiny).model
    matrix = ours.interaction_matrix
    repeated = sparse.coo_matrix(
        (np.tile(matrix.data, 2), (np.tile(matrix.row, 2), np.tile(matrix.col, 2))), matrix.shape
    )
    expected = LightGCN.get_norm_adj_mat(ours).to_dense()
    ours.interaction_matrix = repeated
    unit = torch.eye(len(expected))
    assert torch.equal(torch.sparse.mm(ours.get_norm_adj_mat(), unit), expected)


@pytest.mark.parametrize(
    ("name", "more", "served"),
    [
        ("LightGCN", {}, True),
        ("NCL", {"num_clusters": 5}, True),
        ("NGCF", {"message_dropout": 0.0}, True),
        ("NGCF", {"message_dropout": 0.0, "node_dropout": 0.5}, False),
        ("SGL", {"type": "ED"}, True),
        ("SGL", {"type": "ND"}, True),
        ("SGL", {"type": "RW"}, True),
    ],
    ids=str,
)
def test_loss_and_gradients_are_recboles(name, more, served, experiment, tiny):
    made = experiment("LightGCN", "tiny", **tiny)
    batch = first_batch(made)
    config = recbole.config.Config(name, "tiny", config_dict={**tiny, **more})

    def step(model_class):
        init_seed(7, True)
        model = model_class(config, made.train_data.dataset).to(config["device"])
        model.train()  # SGL draws its graphs here
        if name == "NCL":
            model.e_step()
        torch.manual_seed(0)
        loss = model.calculate_loss(batch)
        loss = sum(loss) if isinstance(loss, tuple) else loss
        loss.backward()
        ours = any(isinstance(value, SymmetricAdjacency) for value in vars(model).values())
        assert ours is (served and model_class is not plain)
        return loss, [parameter.grad for parameter in model.parameters()]

    plain = get_model(name)
    mend_model(plain)
    ours = accelerate(plain, entry_of(plain).propagation)
    torch.testing.assert_close(step(ours), step(plain), rtol=1e-3, atol=1e-6)


def test_the_model_still_copies_pickles_and_saves_as_recboles(experiment, tiny):
    model = experiment("LightGCN", "tiny", **tiny).model
    expected = model.forward()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert type(twin) is type(model)
        assert all(map(torch.equal, twin.forward(), expected))
    assert set(model.state_dict()) == {"user_embedding.weight", "item_embedding.weight"}


def test_a_model_that_is_not_known_to_be_symmetric_is_left_as_it_is():
    assert entry_of(BPR).propagation is None
    assert accelerate(BPR, None) is BPR
    ours = accelerate(LightGCN, entry_of(LightGCN).propagation)
    assert ours is accelerate(LightGCN, entry_of(LightGCN).propagation)
    assert issubclass(ours, LightGCN)
    assert ours is not LightGCN


def test_the_registry_names_the_models_whose_matrices_are_symmetric():
    named = {name: entry.propagation for name, entry in SUPPORTED.items() if entry.propagation}
    assert named == {
        "LightGCN": "layer mean",
        "NCL": "graph",
        "NGCF": "graph",
        "SGL": "sampled graphs",
    }
    assert set(named.values()) == set(PROPAGATIONS)


def test_another_model_of_that_name_is_left_as_it_is():
    own = type("LightGCN", (LightGCN,), {"__module__": "elsewhere"})
    assert accelerate(own, entry_of(own).propagation) is own
