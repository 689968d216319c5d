"""One operation of torch in place of the six by which RecBole's transformers compute GELU."""

from __future__ import annotations

import copy

import pytest
import torch
from recbole.model.layers import FeedForward
from recbole.model.sequential_recommender.fearec import FeedForward as FEARecsFeedForward
from torch.nn.functional import gelu

from recbole_sr.fast.activations import fuse_gelu

SEQUENCES = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}


@pytest.mark.parametrize("kind", [FeedForward, FEARecsFeedForward])
def test_the_layer_is_the_same_function(kind):
    theirs = kind(8, 16, 0.0, "gelu", 1e-12).double()
    ours = copy.deepcopy(theirs)
    fuse_gelu(ours)
    assert ours.intermediate_act_fn is gelu
    x = torch.linspace(-9, 9, 400, dtype=torch.float64).view(50, 8)
    found = []
    for layer in (theirs, ours):
        given = x.clone().requires_grad_()
        output = layer(given)
        output.square().sum().backward()
        found.append([output, given.grad, *(p.grad for p in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "swish", "tanh", "sigmoid"])
def test_other_activations_stay(activation):
    layer = FeedForward(4, 8, 0.0, activation, 1e-12)
    before = layer.intermediate_act_fn
    fuse_gelu(layer)
    assert layer.intermediate_act_fn == before


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "FEARec"])
@pytest.mark.parametrize("fast", [True, False])
def test_the_fast_path_alone_has_it(model, fast, tiny, experiment):
    sizes = {"n_layers": 2, "n_heads": 2, "hidden_size": 8, "inner_size": 8}
    made = experiment(model, "tiny", **{**tiny, **SEQUENCES, **sizes}, sr_fast=fast)
    layers = [x for x in made.model.modules() if hasattr(x, "intermediate_act_fn")]
    assert layers
    assert {layer.intermediate_act_fn is gelu for layer in layers} == {fast}
