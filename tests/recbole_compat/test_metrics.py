"""RecBole's metrics of recommended items, on each kind of loader, against values made by hand."""

from __future__ import annotations

from collections import Counter
from math import log

import numpy as np
import pytest
import torch
from contract import settings_of
from recbole.evaluator import Collector, Evaluator, metrics, register
from recbole.trainer import Trainer

from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.fast.ranking import TopCollector
from recbole_sr.study.baseline import StockConfig, StockExperiment
from recbole_sr.study.trial import OFF
from recbole_sr.training.experiment import prepare
from recbole_sr.training.trainer import inject_trainer

METRICS = [
    "ItemCoverage",
    "AveragePopularity",
    "ShannonEntropy",
    "GiniIndex",
    "TailPercentage",
    "Recall",
]
KINDS = {
    "our full ranking": ("BPR", {}),
    "RecBole's full ranking": ("BPR", {"sr_fast": False}),
    "tail items by count": ("BPR", {"tail_ratio": 3}),
    "beside GAUC": ("BPR", {"metrics": [*METRICS, "GAUC"]}),
    "uniform candidates": ("BPR", {"eval_args": {"mode": "uni20"}}),
    "popular candidates": ("BPR", {"eval_args": {"mode": "pop20"}}),
    "repeatable": ("BPR", {"repeatable": True}),
    "a worker": ("BPR", {"worker": 1}),
    "pairs of fields": ("FM", {"eval_args": {"mode": "full"}}),
    "users as rows": ("MultiVAE", {}),
    "a sequence": ("SASRec", {}),
    "a sequence, candidates": ("SASRec", {"eval_args": {"mode": "uni20", "order": "TO"}}),
    "a knowledge graph": ("CKE", {}),
}


def by_hand(scores, n_items, counts, topk, tail_ratio):
    """RecBole's definitions, in plain Python; padding is one of its items."""
    items = torch.cat(scores).topk(max(topk), dim=-1).indices.tolist()
    tail = sorted(counts, key=lambda item: (counts[item], item))
    tail = tail[: max(int(len(tail) * 0.1), 1)]
    if tail_ratio:
        tail = [item for item in counts if counts[item] <= tail_ratio]
    found = {}
    for k in topk:
        lists = [row[:k] for row in items]
        flat = [item for row in lists for item in row]
        given = Counter(flat)
        shares = [count / len(flat) for count in given.values()]
        times = sorted([given.get(item, 0) for item in range(n_items)])
        found[f"itemcoverage@{k}"] = len(given) / n_items
        found[f"averagepopularity@{k}"] = sum(counts.get(item, 0) for item in flat) / len(flat)
        found[f"shannonentropy@{k}"] = -sum(p * log(p) for p in shares) / len(given)
        found[f"giniindex@{k}"] = sum(
            (2 * i - n_items - 1) * count for i, count in enumerate(times, start=1)
        ) / (n_items * len(flat))
        found[f"tailpercentage@{k}"] = sum(item in tail for item in flat) / len(flat)
    return found


@pytest.fixture
def scores(monkeypatch):
    """The scores of the last evaluation, batch by batch."""
    batches, done = [], []
    for kind in (Collector, TopCollector):

        def collect(self, given, *rest, kind=kind, own=kind.eval_batch_collect):
            if type(self) is kind:
                batches.append(given.cpu().clone())
            return own(self, given, *rest)

        monkeypatch.setattr(kind, "eval_batch_collect", collect)

    def end(self, collected, own=Evaluator.evaluate):
        done[:] = batches
        batches.clear()
        return own(self, collected)

    monkeypatch.setattr(Evaluator, "evaluate", end)
    return done


@pytest.mark.parametrize("stock", [False, True], ids=["ours", "stock"])
@pytest.mark.parametrize(("model", "settings"), KINDS.values(), ids=KINDS.keys())
def test_metrics_of_items_have_the_value_by_hand(model, settings, stock, tiny, scores):
    given = {
        **settings_of(model, tiny),
        "epochs": 2,
        "metrics": METRICS,
        "topk": [3, 1, 7],
        "valid_metric": "ItemCoverage@3",
        "metric_decimal_place": 6,
        **settings,
    }
    if stock:
        made = StockExperiment(StockConfig(model, "tiny", config_dict={**given, **OFF}))
        result = made.train(saved=False, verbose=False, folder="run")
    else:
        made = prepare(Config(model, "tiny", config_dict=given))
        result = made.train(saved=False, verbose=False)
    data = made.train_data._dataset
    counts = Counter(data.inter_feat[data.iid_field].tolist())
    expected = by_hand(scores, data.item_num, counts, [3, 1, 7], settings.get("tail_ratio"))
    assert len(expected) == 15
    found = {name: result["test_result"][name] for name in expected}
    assert found == pytest.approx(expected, abs=2e-6)


@pytest.fixture
def own_metric(monkeypatch):
    """A metric as a user adds one, whose result has the name and the value that are given."""

    def add(name, value):
        class Share(metrics.Hit):
            def calculate_metric(self, dataobject):
                return {name: value}

        monkeypatch.setitem(register.metrics_dict, "share", Share)
        monkeypatch.setitem(register.metric_information, "share", Share.metric_need)
        monkeypatch.setitem(register.metric_types, "share", Share.metric_type)

    return add


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("value", [0.25, torch.tensor(0.25), np.float32(0.25), np.array(0.25)])
@pytest.mark.parametrize("name", ["share", "Share", "share@10"])
def test_a_metric_of_ones_own_can_choose_the_best_model(name, value, fast, own_metric, tiny):
    own_metric(name, value)
    given = {**tiny, "metrics": ["Share", "NDCG"], "valid_metric": name, "sr_fast": fast}
    result = prepare(Config("BPR", "tiny", config_dict={**given, "epochs": 1})).train(saved=False)
    assert result["best_valid_score"] == result["test_result"][name.lower()] == 0.25


def test_a_metric_that_gives_other_names_is_named(own_metric, tiny):
    own_metric("portion", 0.25)
    given = {**tiny, "metrics": ["Share", "Hit"], "valid_metric": "share"}
    made = prepare(Config("BPR", "tiny", config_dict={**given, "epochs": 1}))
    with pytest.raises(InputError, match=r"valid_metric: .* portion, hit@10, got 'share'"):
        made.train(saved=False)


def test_lists_longer_than_the_candidates_are_refused_where_metrics_count_items(tiny):
    """Beyond its candidates a user's list holds items that nothing has scored."""
    given = {**tiny, "eval_args": {"mode": "uni5"}, "epochs": 1}
    made = prepare(
        Config(
            "BPR",
            "tiny",
            config_dict={**given, "metrics": ["NDCG", "GiniIndex"], "valid_metric": "NDCG@10"},
        )
    )
    with pytest.raises(InputError, match=r"topk: expected at most 6, the candidates .*, got 10;"):
        made.train(saved=False)
    assert prepare(Config("BPR", "tiny", config_dict=given)).train(saved=False)


@pytest.mark.parametrize("fast", [True, False])
def test_an_evaluation_that_broke_off_leaves_nothing_behind(fast, tiny, monkeypatch):
    given = {**tiny, "epochs": 1, "sr_fast": fast, "eval_batch_size": 61}
    made = prepare(Config("BPR", "tiny", config_dict=given))
    trainer = inject_trainer(Trainer)(made.config, made.model)
    collected = type(trainer.eval_collector).eval_batch_collect

    def break_off(self, *batch):
        collected(self, *batch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(trainer.eval_collector), "eval_batch_collect", break_off)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(made.train_data, made.valid_data, saved=False, verbose=False)
    trainer.fit(made.train_data, saved=False, verbose=False)
    users = len(made.test_data.uid_list)
    seen = []
    evaluate = trainer.evaluator.evaluate
    monkeypatch.setattr(
        trainer.evaluator, "evaluate", lambda all_: seen.append(all_) or evaluate(all_)
    )
    trainer.evaluate(made.test_data, load_best_model=False)
    assert len(seen[0]["rec.topk"]) == users
