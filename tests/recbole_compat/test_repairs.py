from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import recbole
import torch
from contract import settings_of
from recbole.model.general_recommender import NCL, RaCT, dgcf
from recbole.model.knowledge_aware_recommender import KGAT, KGIN, MCCLK, kgin, mcclk

from recbole_sr.errors import InputError
from recbole_sr.models.inject import repaired
from recbole_sr.recbole_compat import models as repairs


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (KGAT.init_graph, ".adjacency_matrix(transpose=False, scipy_fmt="),
        (kgin.Aggregator.forward, "from torch_scatter import scatter_mean"),
        (mcclk.Aggregator.forward, "from torch_scatter import scatter_softmax, scatter_mean"),
        (dgcf.sample_cor_samples, "rd.sample(list(range(n_users)), cor_batch_size)"),
        (NCL.run_kmeans, "import faiss"),
        (RaCT.__init__, 'info("Load pretrained model from", self.pre_model_path)'),
    ],
)
def test_the_reason_for_each_repair_still_stands(where, text):
    assert text in inspect.getsource(where), "RecBole has changed: delete the repair"


@pytest.mark.parametrize("model", [KGIN, MCCLK])
def test_recbole_still_forgets_which_vectors_belong_to_a_checkpoint(model):
    assert "other_parameter_name" not in inspect.getsource(model)


def test_other_models_are_left_alone():
    from recbole.model.general_recommender import LightGCN

    assert repaired(LightGCN) is LightGCN


def test_the_first_attention_of_kgat_is_each_relations_row_normalised_adjacency(experiment, tiny):
    model = experiment("KGAT", "tiny", **settings_of("KGAT", tiny)).model
    expected = torch.zeros(model.matrix_size)
    for relation in range(1, model.n_relations):
        adjacency = torch.zeros(model.matrix_size)
        for head, tail, kind in zip(model.all_hs, model.all_ts, model.all_rs, strict=True):
            if kind == relation:
                adjacency[head, tail] += 1
        expected += adjacency / adjacency.sum(1, keepdim=True).clamp_min(1)
    torch.testing.assert_close(model.A_in.to_dense(), expected)


def test_dgcf_samples_no_more_users_than_there_are(experiment, tiny):
    run = experiment("DGCF", "tiny", **{**tiny, "train_batch_size": 10_000, "epochs": 1})
    assert run.model.cor_batch_size == run.model.n_users < run.model.n_items
    run.train(saved=False)


def test_kgat_keeps_its_attention_in_a_checkpoint(experiment, tiny):
    model = experiment("KGAT", "tiny", **settings_of("KGAT", tiny)).model
    assert set(model.other_parameter()) == {"restore_user_e", "restore_entity_e", "A_in"}


def scattered(function):
    draw = torch.Generator().manual_seed(0)
    src = torch.randn(30, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    index = torch.randint(5, (30,), generator=draw)
    groups = [index == group for group in range(5)]
    return src, index, groups, function


def test_scatter_mean_is_the_mean_of_each_group():
    src, index, groups, mean = scattered(repairs._scatter_mean)
    expected = torch.stack([*(src[group].mean(0) for group in groups), torch.zeros(4)])
    torch.testing.assert_close(mean(src=src, index=index, dim_size=6, dim=0), expected)
    assert torch.autograd.gradcheck(lambda x: mean(x, index, 6), src)


def test_scatter_softmax_is_the_softmax_of_each_group():
    src, index, groups, softmax = scattered(repairs._scatter_softmax)
    expected = torch.zeros(30, 4, dtype=torch.float64)
    for group in groups:
        expected[group] = src[group].softmax(0).detach()
    torch.testing.assert_close(softmax(src, index=index, dim=0).detach(), expected)
    assert torch.autograd.gradcheck(lambda x: softmax(x, index), src)


def test_the_stand_in_for_torch_scatter_is_gone_after_the_call(experiment, tiny):
    if importlib.util.find_spec("torch_scatter") is not None:
        pytest.skip("torch-scatter is installed")
    experiment("KGIN", "tiny", **settings_of("KGIN", tiny)).model.forward()
    assert "torch_scatter" not in sys.modules


@pytest.mark.parametrize("name", ["KGIN", "MCCLK"])
def test_loading_a_checkpoint_leaves_no_vectors_of_another_epoch(name, experiment, tiny):
    model = experiment(name, "tiny", **settings_of(name, tiny)).model.eval()
    batch = {"user_id": torch.tensor([1, 2])}
    with torch.no_grad():
        before = model.full_sort_predict(batch)
        model.load_state_dict({key: 2 * value for key, value in model.state_dict().items()})
        assert not torch.equal(model.full_sort_predict(batch), before)


def test_ncl_takes_no_more_clusters_than_users(experiment, tiny, caplog):
    model = experiment("NCL", "tiny", **tiny, num_clusters=1000).model
    with caplog.at_level(logging.WARNING):
        model.e_step()
    assert model.user_centroids.shape == (41, 8)
    assert "num_clusters: using 41 instead of 1000" in caplog.text


def test_ncl_without_faiss_says_what_to_install(experiment, tiny, monkeypatch):
    model = experiment("NCL", "tiny", **tiny).model
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"run: pip install 'recbole_sr\[ncl\]'"):
        model.e_step()


def test_gru4reckg_needs_no_key_beside_its_file(experiment, tiny):
    text = Path(recbole.__file__).parent / "properties/quick_start_config"
    text = (text / "sequential_embedding_model.yaml").read_text()
    assert "additional_feat_suffix: ent\n" in text, "RecBole has changed: delete our property file"
    del tiny["load_col"]
    made = experiment("GRU4RecKG", "tiny", **tiny, epochs=1)
    vectors = made.model.entity_embedding.weight
    torch.testing.assert_close(vectors[1:], torch.full((60, 8), 0.5))
    assert made.train(saved=False, verbose=False)["test_result"]


def test_a_message_without_a_place_for_its_argument_is_completed():
    record = logging.LogRecord("", logging.INFO, "", 0, "Load from", ("file",), None)
    assert repairs._complete(record)
    assert record.getMessage() == "Load from file"
    whole = logging.LogRecord("", logging.INFO, "", 0, "%d of %d", (np.int64(1), 2), None)
    assert repairs._complete(whole)
    assert whole.getMessage() == "1 of 2"
