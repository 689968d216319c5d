from __future__ import annotations

import logging

import numpy as np
import pytest
import recbole.config
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.utils import init_seed
from scipy.stats import chisquare

from recbole_sr.errors import InputError
from recbole_sr.fast.loader import TrainLoader
from recbole_sr.fast.pairs import Pairs
from recbole_sr.fast.preparation import data_preparation as fast_preparation
from recbole_sr.fast.ranking import FullSortLoader
from recbole_sr.fast.sampler import NegativeSampler, popularity_weights


def prepared(prepare, model, settings, **more):
    config = recbole.config.Config(
        model, settings.get("dataset", "tiny"), config_dict={**settings, **more}
    )
    init_seed(config["seed"], config["reproducibility"])
    return prepare(config, create_dataset(config))


def columns(loader, *names):
    batches = list(loader)
    return [torch.cat([batch[name] for batch in batches]).cpu() for name in names]


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 8)), max_size=30))
def test_pairs_answer_as_a_set_does(known):
    rows, items = torch.cartesian_prod(torch.arange(7), torch.arange(9)).unbind(1)
    given_rows, given_items = torch.tensor(sorted(known), dtype=torch.long).reshape(-1, 2).unbind(1)
    pairs = Pairs(given_rows, given_items, n_items=9)
    asked = zip(rows.tolist(), items.tolist(), strict=True)
    assert pairs.contains(rows, items).tolist() == [pair in known for pair in asked]
    counts = [sum(row == r for row, _ in known) for r in range(7)]
    assert pairs.counts(7).tolist() == counts
    found = torch.stack(pairs.between(2, 5), dim=1).tolist()
    assert found == [[row - 2, item] for row, item in sorted(known) if 2 <= row < 5]


@pytest.mark.parametrize("sample_num", [1, 3])
@pytest.mark.parametrize("model", ["BPR", "NeuMF"])
def test_batches_have_recboles_sizes_fields_and_layout(model, sample_num, tiny):
    settings = {**tiny, "train_neg_sample_args": {"sample_num": sample_num}}
    settings["load_col"] = {"inter": ["user_id", "item_id", "rating"]}
    theirs = list(prepared(data_preparation, model, settings)[0])
    loader = prepared(fast_preparation, model, settings)[0]
    assert isinstance(loader, TrainLoader)
    ours = list(loader)
    assert len(loader) == len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert {n: (v.shape, v.dtype) for n, v in mine.interaction.items()} == {
            n: (v.shape, v.dtype) for n, v in other.interaction.items()
        }
        part = len(mine) // (sample_num + 1 if model == "NeuMF" else sample_num)
        assert torch.equal(mine["user_id"], mine["user_id"][:part].repeat(len(mine) // part))
        if model == "NeuMF":
            assert torch.equal(mine["label"].cpu(), other["label"])


@pytest.mark.parametrize("model", ["BPR", "NeuMF"])
def test_batches_without_negatives_are_recboles_interactions(model, tiny):
    settings = {**tiny, "train_neg_sample_args": None, "shuffle": False}
    settings["load_col"] = {"inter": ["user_id", "item_id", "rating"], "item": ["item_id", "class"]}
    settings["threshold"] = {"rating": 2}
    theirs = list(prepared(data_preparation, model, settings)[0])
    loader = prepared(fast_preparation, model, settings)[0]
    assert isinstance(loader, TrainLoader)
    assert len(loader) == len(theirs)
    for mine, other in zip(loader, theirs, strict=True):
        assert set(mine.columns) == set(other.columns)
        for name in other.columns:
            assert torch.equal(mine[name].cpu(), other[name])


def test_features_of_users_and_items_are_joined_as_recbole_joins_them():
    settings = {
        "dataset": "ml-100k",
        "load_col": {
            "inter": ["user_id", "item_id"],
            "user": ["user_id", "age"],
            "item": ["item_id", "class"],
        },
    }
    loader = prepared(fast_preparation, "BPR", settings)[0]
    batch = next(iter(loader)).to("cpu")
    theirs = next(iter(prepared(data_preparation, "BPR", settings)[0]))
    assert set(batch.columns) == set(theirs.columns)
    data = loader.dataset
    assert torch.equal(batch["age"], data.user_feat["age"][batch["user_id"]])
    assert torch.equal(batch["class"], data.item_feat["class"][batch["item_id"]])
    assert torch.equal(batch["neg_class"], data.item_feat["class"][batch["neg_item_id"]])


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_interaction_comes_once_an_epoch(shuffle, tiny):
    loader = prepared(fast_preparation, "BPR", tiny, shuffle=shuffle)[0]
    data = loader.dataset.inter_feat
    expected = torch.stack([data["user_id"], data["item_id"]], 1)
    first, second = (torch.stack(columns(loader, "user_id", "item_id"), 1) for _ in range(2))
    for epoch in (first, second):
        assert sorted(epoch.tolist()) == sorted(expected.tolist())
    assert torch.equal(first, expected) is not shuffle
    assert torch.equal(first, second) is not shuffle


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
@pytest.mark.parametrize("model", ["BPR", "NeuMF"])
def test_a_negative_is_never_a_positive_of_training_nor_padding(model, distribution, tiny):
    arguments = {"distribution": distribution, "sample_num": 2, "alpha": 0.5}
    loader = prepared(fast_preparation, model, tiny, train_neg_sample_args=arguments)[0]
    data = loader.dataset.inter_feat
    known = set(zip(data["user_id"].tolist(), data["item_id"].tolist(), strict=True))
    for _ in range(5):
        for batch in loader:
            users, items = batch["user_id"], batch["item_id"]
            if model == "BPR":
                items = batch["neg_item_id"]
            else:
                users, items = users[batch["label"] == 0], items[batch["label"] == 0]
            assert items.min() > 0
            assert not known & set(zip(users.tolist(), items.tolist(), strict=True))


@pytest.mark.parametrize("alpha", [None, 1.0, 0.5])
def test_negatives_are_drawn_with_the_frequencies_asked_for(alpha):
    occurrences = torch.tensor([1, 1, 1, 1, 2, 2, 3, 4, 4, 5, 6, 6, 6, 7])
    weights = None if alpha is None else popularity_weights(occurrences, 9, alpha)
    known = Pairs(torch.tensor([1, 1, 2]), torch.tensor([1, 4, 6]), n_items=9)
    sampler = NegativeSampler(known, n_users=3, weights=weights)
    generator = torch.Generator().manual_seed(0)
    for user, positives in ((1, {1, 4}), (2, {6})):
        draws = sampler.draw(torch.full((60_000,), user), generator)
        counts = np.bincount(occurrences, minlength=9)
        wanted = np.ones(9) if alpha is None else np.where(counts > 0, counts**alpha, 0.0)
        wanted[[0, *positives]] = 0
        seen = np.bincount(draws, minlength=9)
        assert seen[wanted == 0].sum() == 0
        expected = wanted[wanted > 0] / wanted.sum() * len(draws)
        assert chisquare(seen[wanted > 0], expected).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [50.0, 1000.0, -30.0])
def test_an_exponent_by_which_a_user_draws_what_it_has_is_refused(alpha):
    favourite = 1 if alpha > 0 else 2
    occurrences = torch.tensor([1, 1, 1, 2, 3, 3])
    known = Pairs(torch.tensor([1, 2]), torch.tensor([favourite, 3]), n_items=4)
    weights = popularity_weights(occurrences, 4, alpha)
    with pytest.raises(InputError, match=r"^train_neg_sample_args \(alpha\): .* nearer to 0"):
        NegativeSampler(known, n_users=3, weights=weights)


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_recboles_own_negatives_have_the_same_frequencies(distribution, tiny):
    # RecBole's sampler is drawn from and held against the frequencies of ours.
    arguments = {"distribution": distribution, "sample_num": 1, "alpha": 1.0}
    theirs = prepared(data_preparation, "BPR", tiny, train_neg_sample_args=arguments)[0]
    ours = prepared(fast_preparation, "BPR", tiny, train_neg_sample_args=arguments)[0]
    assert torch.equal(theirs.dataset.inter_feat["item_id"], ours.dataset.inter_feat["item_id"])
    user = int(ours.dataset.inter_feat["user_id"][0])
    users = np.full(40_000, user)
    reference = np.bincount(theirs._sampler.sample_by_user_ids(users, users, 1), minlength=61)
    drawn = ours.negatives.draw(torch.from_numpy(users).to(ours.generator.device))
    seen = np.bincount(drawn.cpu(), minlength=61)
    possible = seen + reference > 0
    total = (seen + reference)[possible] / 2
    assert chisquare(np.concatenate([seen[possible], reference[possible]]), np.tile(total, 2),
                     ddof=possible.sum()).pvalue > 1e-3  # fmt: skip


def test_the_generators_state_is_the_whole_state(tiny):
    loader = prepared(fast_preparation, "BPR", tiny)[0]
    list(loader)
    state = loader.generator.get_state()
    fields = ("user_id", "item_id", "neg_item_id")
    first = columns(loader, *fields)
    other = prepared(fast_preparation, "BPR", tiny)[0]
    other.generator.set_state(state)
    torch.manual_seed(99)
    np.random.seed(99)
    assert all(map(torch.equal, first, columns(other, *fields)))


def test_no_global_random_number_is_drawn(tiny):
    loader = prepared(fast_preparation, "BPR", tiny)[0]
    before, numpys = torch.get_rng_state(), np.random.get_state()[2]
    list(loader)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[2] == numpys


def test_a_user_without_an_item_left_is_refused():
    everything = Pairs(torch.tensor([1, 1]), torch.tensor([1, 2]), n_items=3)
    with pytest.raises(InputError, match="a user with none left to sample"):
        NegativeSampler(everything, n_users=2)
    popular = Pairs(torch.tensor([1]), torch.tensor([2]), n_items=4)
    with pytest.raises(InputError, match="user_inter_num_interval"):
        NegativeSampler(popular, n_users=2, weights=torch.tensor([0.0, 0.0, 5.0, 0.0]))


FALLS_BACK = {
    "a transform": ("BPR", {"transform": "inverse_itemseq"}),
    "worker processes": ("BPR", {"worker": 1}),
    "repeatable recommendation": ("BPR", {"repeatable": True}),
    "saved data loaders": ("BPR", {"save_dataloaders": True}),
    "a loader of the model's own": ("MultiDAE", {"train_neg_sample_args": None}),
    "dynamic negatives": (
        "BPR",
        {"train_neg_sample_args": {"dynamic": True, "candidate_num": 2, "sample_num": 1}},
    ),
    "evaluation on sampled items": ("BPR", {"eval_args": {"mode": "uni10"}}),
    "metrics of all scores": ("BPR", {"metrics": ["GAUC"], "valid_metric": "GAUC"}),
}


@pytest.mark.parametrize("why", FALLS_BACK)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_not_supported_is_left_to_recbole_and_said_once(why, tiny, caplog):
    model, more = FALLS_BACK[why]
    with caplog.at_level(logging.INFO):
        loaders = prepared(fast_preparation, model, tiny, **more)
    (said,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("sr_fast")]
    assert said.endswith(f"for {why}")
    for phase, loader in zip(("train", "valid", "test"), loaders, strict=True):
        theirs = type(loader).__module__.startswith("recbole.")
        assert theirs == (phase in said), (said, type(loader))


def test_what_is_supported_is_served_without_a_word(tiny, caplog):
    with caplog.at_level(logging.INFO):
        loaders = prepared(fast_preparation, "BPR", tiny)
    assert [type(loader) for loader in loaders] == [TrainLoader, FullSortLoader, FullSortLoader]
    assert isinstance(loaders[0], TrainDataLoader)
    assert isinstance(loaders[1], FullSortEvalDataLoader)
    assert "sr_fast" not in caplog.text
