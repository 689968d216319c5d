from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.utils import create_samplers
from recbole.trainer import Trainer
from recbole.utils.case_study import full_sort_topk

from recbole_sr.errors import InputError
from recbole_sr.fast import ranking
from recbole_sr.fast.ranking import FullSortLoader, best, order_is_certain
from recbole_sr.training.trainer import inject_trainer

METRICS = ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP"]
QUIET = {"show_progress": False, "state": "ERROR", "sr_warm_epochs": 0, "sr_monitor": False}


def trained(experiment, model, dataset, epochs=2, **settings):
    """A trained model with its trainer and our loaders."""
    made = experiment(model, dataset, **{**QUIET, **settings, "epochs": max(epochs, 1)})
    trainer = inject_trainer(Trainer)(made.config, made.model)
    if epochs:
        trainer.fit(made.train_data, verbose=False, saved=False)
    return made, trainer


def recboles(made, trainer, phase):
    """RecBole's loader of the same part, and its trainer on the same model."""
    parts = [made.train_data.dataset, made.valid_data.dataset, made.test_data.dataset]
    samplers = create_samplers(made.config, made.dataset, parts)
    at = ["train", "valid", "test"].index(phase)
    theirs = Trainer(made.config, made.model)
    theirs.eval_collector.data_collect(made.train_data)
    loader = FullSortEvalDataLoader(made.config, parts[at], samplers[at])
    return loader, theirs


def both(made, trainer, phase):
    loader, theirs = recboles(made, trainer, phase)
    mine = made.valid_data if phase == "valid" else made.test_data
    assert isinstance(mine, FullSortLoader)
    return (
        trainer.evaluate(mine, load_best_model=False),
        theirs.evaluate(loader, load_best_model=False),
    )


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few of RecBole's batches even on a small catalogue."""
    monkeypatch.setattr(ranking, "_SCORES", 20_000)
    monkeypatch.setattr(ranking, "_SCORES_ON_GPU", 20_000)


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "popularity"])
@pytest.mark.parametrize("blocks", ["default", "small"])
def test_metrics_equal_recboles(model, blocks, experiment, request):
    if blocks == "small":
        request.getfixturevalue("small_blocks")
    popularity = {"sr_loss": "align", "sr_popularity": 0.1}
    model, more = ("BPR", popularity) if model == "popularity" else (model, {})
    settings = {
        **more,
        "metrics": METRICS,
        "topk": [1, 10, 50],
        "seed": 1,
        "metric_decimal_place": 9,
    }
    made, trainer = trained(
        experiment, model, "ml-100k", **settings, valid_metric="MRR@10", learning_rate=0.01
    )
    assert made.valid_data.block > made.valid_data.step
    for phase in ("valid", "test"):
        ours, theirs = both(made, trainer, phase)
        assert ours == theirs
        assert ours["ndcg@10"] > 0.05


@pytest.mark.parametrize("tie", ["all equal", "pairs", "one bit apart", "few candidates"])
def test_metrics_equal_recboles_where_scores_are_equal_or_nearly(tie, experiment, tiny):
    made, trainer = trained(
        experiment, "BPR", "tiny", epochs=0, **{**tiny, "eval_batch_size": 61}, metrics=METRICS
    )
    assert made.test_data.step == 1
    table = made.model.item_embedding.weight.data
    if tie == "all equal":
        table[:] = table[1]
    elif tie == "pairs":
        table[2::2] = table[1::2][: len(table[2::2])]
    elif tie == "one bit apart":
        table[:] = table[1]
        table[::3] = torch.nextafter(table[::3], torch.tensor(torch.inf))
    else:
        made.config["topk"] = trainer.eval_collector.topk = [10]
        score = made.model.full_sort_predict
        beyond = torch.arange(len(table)) >= 20
        made.model.full_sort_predict = lambda users: (
            score(users).view(-1, len(table)).masked_fill(beyond, -torch.inf)
        )
    ours, theirs = both(made, trainer, "test")
    assert ours == theirs


def test_a_model_that_cannot_rank_all_at_once_is_served(experiment, tiny):
    made, trainer = trained(experiment, "BPR", "tiny", **tiny, metrics=METRICS)

    def not_at_once(interaction):
        raise NotImplementedError

    expected = trainer.evaluate(made.test_data, load_best_model=False)
    made.model.full_sort_predict = not_at_once
    ours, theirs = both(made, trainer, "test")
    assert ours == theirs == expected


def test_the_loader_leaves_out_and_looks_for_what_recboles_does(experiment, tiny):
    made, trainer = trained(experiment, "BPR", "tiny", epochs=0, **tiny)
    for phase, mine in (("valid", made.valid_data), ("test", made.test_data)):
        theirs, _ = recboles(made, trainer, phase)
        assert torch.equal(mine.uid_list, theirs.uid_list)
        for own, other in zip(mine.uid2history_item, theirs.uid2history_item, strict=True):
            assert (own is None) == (other is None)
            assert own is None or sorted(own.tolist()) == sorted(other.tolist())
        _, _, rows, items = mine.batch(0, mine.sample_size)
        for row, user in enumerate(mine.uid_list.tolist()):
            found, sought = items[rows == row].tolist(), theirs.uid2positive_item[user].tolist()
            assert sorted(found) == sorted(sought)


def test_a_user_seen_again_in_a_later_part_keeps_the_item_to_be_found(experiment, tiny):
    made, _ = trained(experiment, "BPR", "tiny", epochs=0, **tiny)
    config, valid = made.config, made.valid_data.dataset
    again = FullSortLoader(config, valid, [valid, valid, made.train_data.dataset])
    _, (rows, items), positive_rows, positive_items = again.batch(0, again.sample_size)
    history = set(zip(rows.tolist(), items.tolist(), strict=True))
    positive = set(zip(positive_rows.tolist(), positive_items.tolist(), strict=True))
    assert history
    assert positive
    assert not history & positive


def test_validation_items_are_ranked_in_the_test_where_that_is_asked_for(experiment, tiny):
    usual, asked = (
        experiment("BPR", "tiny", **tiny, sr_rank_validation_items=given) for given in (False, True)
    )
    validation = usual.valid_data.dataset.inter_feat
    pairs = {*zip(validation["user_id"].tolist(), validation["item_id"].tolist(), strict=True)}

    def left_out(loader):
        users, (rows, items), *_ = next(iter(loader))
        return {*zip(users["user_id"][rows].tolist(), items.tolist(), strict=True)}

    of_tested = {(u, i) for u, i in pairs if u in asked.test_data.uid_list}
    assert left_out(usual.test_data) - left_out(asked.test_data) == of_tested
    assert left_out(asked.test_data) < left_out(usual.test_data)
    assert left_out(asked.valid_data) == left_out(usual.valid_data)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"eval_args": {"mode": "uni5"}}, "expected the fast path's evaluation with it, got RecB"),
        ({"sr_fast": False}, "expected sr_fast: True with it"),
    ],
)
def test_validation_items_are_ranked_by_the_fast_path_alone(given, match, experiment, tiny):
    with pytest.raises(InputError, match=match):
        experiment("BPR", "tiny", **tiny, sr_rank_validation_items=True, **given)


def test_blocks_cover_every_user_once_within_the_memory_stated(experiment, small_blocks):
    made, _ = trained(experiment, "BPR", "ml-100k", epochs=0)
    loader = made.test_data
    users = [block[0]["user_id"] for block in loader]
    assert torch.equal(torch.cat(users), loader.uid_list)
    assert len(users) == len(loader)
    assert max(map(len, users)) * made.dataset.item_num <= 20_000


def test_recboles_case_study_reads_the_loader(experiment, tiny):
    made, _ = trained(experiment, "BPR", "tiny", **tiny)
    users = made.test_data.uid_list[:3].numpy()
    device = made.config["device"]
    _, items = full_sort_topk(users, made.model, made.test_data, k=5, device=device)
    for user, own in zip(users, items.tolist(), strict=True):
        assert not set(own) & set(made.test_data.uid2history_item[user].tolist())


@given(st.integers(0, 2**31), st.integers(1, 2), st.integers(2, 2000), st.integers(1, 5000))
def test_best_where_clear_is_the_sorted_best(seed, k, items, levels):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-levels, levels, (3, items), generator=generator) / 7
    found, apart = best(scores, k)
    clear = apart.all(-1)
    expected = scores.topk(k)
    assert torch.equal(found[clear], expected.indices[clear])
    assert torch.equal(scores.gather(1, found), expected.values)


def test_best_tells_what_rounding_could_change():
    apart = torch.arange(1000.0).repeat(4, 1)
    apart[1, 999] = 998 + 2**-10
    apart[2, 5] = torch.nan
    apart[3, :998] = -torch.inf
    assert best(apart, 3)[1].tolist() == [
        [True, True, True],
        [False, True, True],
        [False, False, False],
        [True, True, False],
    ]
    assert best(apart, 1)[1].tolist() == [[True], [False], [False], [True]]


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(12, 40), st.integers(2, 60))
def test_where_settled_rounding_leaves_hits_in_their_places(seed, k, items, levels):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (20, items), generator=generator) / levels
    hit = torch.rand(20, items, generator=generator) < 0.2
    noise = torch.rand(2, 20, items, generator=generator) - 0.5
    one, other = scores + noise * 2.0**-16 * scores.amax(-1, keepdim=True)
    found, apart = best(one, k)
    rows = order_is_certain(apart, hit.gather(1, found))
    places = hit.gather(1, found)[rows]
    assert torch.equal(places, hit.gather(1, other.topk(k).indices)[rows])


@pytest.mark.parametrize(("metric", "again"), [("Recall", False), ("ItemCoverage", True)])
def test_users_are_scored_again_where_a_metric_minds(metric, again, experiment, tiny):
    """Of two equal best items that no user is to be given, only some metrics mind the order."""
    settings = {"metrics": ["NDCG", metric], "topk": [2], "valid_metric": "NDCG@2"}
    made, trainer = trained(experiment, "BPR", "tiny", epochs=0, **tiny, **settings)
    trainer.eval_collector.data_collect(made.train_data)
    *_, sought = made.test_data.batch(0, made.test_data.sample_size)
    others = sorted(set(range(1, made.dataset.item_num)) - set(sought.tolist()))
    made.model.user_embedding.weight.data[:] = 1.0
    items = made.model.item_embedding.weight.data
    items[:] = torch.arange(len(items)).unsqueeze(1)
    items[others[:2]] = 100.0
    scored = []
    score = trainer._full_sort_batch_eval
    trainer._full_sort_batch_eval = lambda batch: scored.append(batch) or score(batch)
    trainer.evaluate(made.test_data, load_best_model=False)
    assert (len(scored) > len(made.test_data)) == again


@pytest.mark.parametrize("candidates", [100, 1000])
@pytest.mark.parametrize("size", [1, 7 * 61, 40 * 61])
def test_each_of_recboles_batches_is_scored_again_at_most_once(
    candidates, size, experiment, tiny, monkeypatch
):
    """Where all scores are equal no order is clear, and ranking costs RecBole's own pass more."""
    monkeypatch.setattr(ranking, "_SCORES", candidates * 16)
    monkeypatch.setattr(ranking, "_SCORES_ON_GPU", candidates * 16)
    settings = {**tiny, "eval_batch_size": size, "metrics": METRICS}
    made, trainer = trained(experiment, "BPR", "tiny", epochs=0, **settings)
    made.model.item_embedding.weight.data[:] = 1.0
    loader, _ = recboles(made, trainer, "test")
    again, scored = [], trainer._full_sort_batch_eval
    trainer._full_sort_batch_eval = lambda batch: again.append(batch) or scored(batch)
    ours, theirs = both(made, trainer, "test")
    assert ours == theirs
    assert len(again) <= len(made.test_data) + len(loader)
    assert made.test_data.block % made.test_data.step == 0
