"""``sr_popularity``: cosines plus the logarithm of an item's training interactions."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from recbole_sr import Config
from recbole_sr.errors import InputError
from recbole_sr.models.popularity import log_popularity, with_popularity
from recbole_sr.models.sources import Column

WEIGHT = 0.3
ALIGN = {"sr_loss": "align", "sr_popularity": WEIGHT}
MODELS = ["BPR", "LightGCN", "NGCF"]


def reference(made):
    """Every user's score of every item, one at a time; the padding item's is 0."""
    tables = made.model.sr_tables()
    (users,), (items,) = tables["user"], tables["item"]
    counts = Counter(made.train_data._dataset.inter_feat["item_id"].tolist())
    scores = torch.zeros(len(users) + 1, len(items) + 1)
    for user, u in enumerate(users, 1):
        for item, i in enumerate(items, 1):
            cosine = cosine_similarity(u, i, dim=0)
            scores[user, item] = cosine + WEIGHT * math.log(max(counts[item], 1))
    return scores


def all_scores(made):
    made.model.eval()
    users = torch.arange(1, made.train_data._dataset.user_num)
    return made.model.full_sort_predict({"user_id": users}).view(len(users), -1)


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_cosines_and_log_popularity(model, experiment, tiny):
    made = experiment(model, "tiny", **tiny, **ALIGN)
    expected = reference(made)
    assert torch.allclose(all_scores(made), expected[1:], atol=1e-5)
    users, items = torch.tensor([3, 1, 4]), torch.tensor([5, 1, 2])
    pairs = made.model.predict({"user_id": users, "item_id": items})
    assert torch.allclose(pairs, expected[users, items], atol=1e-5)


def test_an_item_nobody_had_in_training_counts_as_one():
    dataset = SimpleNamespace(inter_feat={"item_id": torch.tensor([1, 3, 3, 3])})
    found = log_popularity(dataset, Column(("item_id",), 5))  # items 1 to 4, and padding
    assert found.tolist() == pytest.approx([0.0, 0.0, math.log(3), 0.0])


@pytest.mark.parametrize("model", MODELS)
def test_scores_follow_the_training(model, experiment, tiny):
    made = experiment(model, "tiny", **{**tiny, **ALIGN, "learning_rate": 0.1, "epochs": 2})
    before = all_scores(made)
    made.train(saved=False, verbose=False)
    after = all_scores(made)
    assert torch.allclose(after, reference(made)[1:], atol=1e-5)
    assert not torch.allclose(after, before, atol=1e-2)


def test_scores_while_a_model_trains_are_of_its_present_weights(experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, **ALIGN)
    all_scores(made)
    made.model.train()
    users = torch.tensor([1, 2])
    for _ in range(2):
        with torch.no_grad():
            made.model.user_embedding.weight.neg_()
        found = made.model.full_sort_predict({"user_id": users}).view(2, -1)
        assert torch.allclose(found, reference(made)[users], atol=1e-5)


@pytest.mark.parametrize("change", ["load", "cast"])
def test_scores_follow_what_is_loaded_and_moved(change, experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, **ALIGN)
    before = all_scores(made)
    if change == "cast":
        made.model.double()
    else:
        made.model.load_state_dict({k: -v.sign() for k, v in made.model.state_dict().items()})
    users = torch.arange(1, len(before) + 1)
    found = made.model.full_sort_predict({"user_id": users}).view(before.shape)
    assert found.dtype == made.model.user_embedding.weight.dtype
    assert torch.allclose(found, reference(made)[1:].to(found), atol=1e-5)


@pytest.mark.parametrize(
    "given", [{}, {**ALIGN, "sr_popularity": 0.0}, {**ALIGN, "sr_loss": "bpr"}]
)
def test_without_it_the_scores_are_the_models_own(given, experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, **given)
    user, item = made.model.user_embedding.weight, made.model.item_embedding.weight
    assert torch.equal(all_scores(made), user[1:] @ item.T)
    assert "sr_popularity" not in vars(made.model)


def test_it_needs_a_loss_of_cosines():
    with pytest.raises(InputError, match="sr_popularity: expected sr_loss: align with it"):
        Config("BPR", "ml-100k", config_dict={"sr_popularity": 0.1})


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "much"])
def test_a_weight_that_is_none_is_refused(value):
    with pytest.raises(InputError, match="sr_popularity"):
        Config("BPR", "ml-100k", config_dict={"sr_loss": "align", "sr_popularity": value})


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_dot_products_are_cosines_and_what_is_added(users, items, width, seed):
    drawn = torch.Generator().manual_seed(seed)
    user, item = (
        torch.randn(rows, width, generator=drawn, dtype=torch.float64) for rows in (users, items)
    )
    added = torch.rand(items, generator=drawn, dtype=torch.float64)
    expected = cosine_similarity(user[:, None], item, dim=-1) + added
    (user,), (item,) = with_popularity({"user": [user], "item": [item]}, added).values()
    assert torch.allclose(user @ item.T, expected, atol=1e-9)
