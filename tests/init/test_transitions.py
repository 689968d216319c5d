"""The initialisation of sequential models by what users go on to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contract import settings_of, without_and_with
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.utils import ModelType, get_model

from recbole_sr.errors import InputError
from recbole_sr.init.tables import Histories, Tables
from recbole_sr.init.transitions import leading, transition_graph, transitions
from recbole_sr.models.registry import SUPPORTED, named

TRANSITIONS = {"sr_init": "transitions"}
SEQUENTIAL = sorted(name for name in SUPPORTED if get_model(name).type == ModelType.SEQUENTIAL)
OTHERS = sorted(SUPPORTED.keys() - SEQUENTIAL)


def histories(sequences, items, longest=10):
    """Of whole sequences, in RecBole's way: one for each item that has others before it."""
    before, after = [], []
    for sequence in sequences:
        for place in range(1, len(sequence)):
            latest_first = sequence[:place][::-1][:longest]
            before.append(latest_first + [-1] * (longest - len(latest_first)))
            after.append(sequence[place])
    return Histories(np.array(before).reshape(-1, longest), np.array(after, dtype=int), items)


def random_sequences(seed, users=30, items=20, longest=12):
    draw = np.random.default_rng(seed)
    return [draw.integers(items, size=draw.integers(1, longest)).tolist() for _ in range(users)]


def graph_by_definition(sequences, items, window):
    counted = np.zeros((items, items))
    for sequence in sequences:
        for place, later in enumerate(sequence):
            for step in range(1, window + 1):
                if place - step >= 0:
                    counted[sequence[place - step], later] += 1 / step
    both = counted + counted.T
    degrees = np.maximum(both.sum(1), 1e-30)
    return both / np.sqrt(degrees[:, None] * degrees)


@pytest.mark.parametrize("window", [1, 3, 5, 100])
def test_the_graph_is_that_of_its_definition_pair_by_pair(window):
    sequences = random_sequences(0)
    found = transition_graph(histories(sequences, 20, longest=12), window)
    np.testing.assert_allclose(
        found.toarray(), graph_by_definition(sequences, 20, window), atol=1e-6
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 8))
def test_the_graph_is_symmetric_and_of_norm_one_at_most(seed, window):
    graph = transition_graph(histories(random_sequences(seed), 20), window).toarray()
    np.testing.assert_allclose(graph, graph.T, atol=1e-6)
    assert np.abs(np.linalg.eigvalsh(graph)).max() <= 1 + 1e-5


def filled(sequences, items, width, norm=1.0, window=5):
    own = 0.1 * torch.randn(items, width, generator=torch.Generator().manual_seed(0))
    table = own.clone()
    transitions(Tables([], [table]), histories(sequences, items), 1, window=window, norm=norm)
    return own, table


@pytest.mark.parametrize("norm", [0.3, 2.0])
def test_inner_products_of_rows_are_the_size_of_the_graphs_leading_part(norm):
    sequences = random_sequences(1)
    _, table = filled(sequences, 20, 6, norm)
    assert table.square().sum(1).mean().sqrt().item() == pytest.approx(norm, rel=1e-4)
    values, vectors = np.linalg.eigh(graph_by_definition(sequences, 20, 5))
    largest = np.argsort(-values)[:6]
    wanted = vectors[:, largest] * values[largest].clip(0) @ vectors[:, largest].T
    found = (table @ table.T).numpy()
    np.testing.assert_allclose(
        found / np.linalg.norm(found), wanted / np.linalg.norm(wanted), atol=2e-3
    )


def test_items_that_nobody_goes_on_to_or_from_keep_their_own_rows():
    own, table = filled([[0, 1, 2], [2, 1], [4]], 6, 2)
    assert torch.equal(table[3:], own[3:])
    assert not torch.isclose(table[:3], own[:3]).all(1).any()


def test_followers_are_alike_where_even_and_odd_items_alternate():
    """Items in a ring have eigenvalues -1 to 1; the negative ones tell followers apart."""
    sequences = [[(first + step) % 20 for step in range(9)] for first in range(20)]
    _, table = filled(sequences, 20, 9, window=1)
    scores = (table @ table.T).numpy()
    followers = graph_by_definition(sequences, 20, 1) > 0
    assert scores[followers].min() > scores[~followers & ~np.eye(20, dtype=bool)].max() + 0.1


@pytest.mark.parametrize("rank", [3, 20])
def test_eigenvectors_are_numpys_and_no_others(rank):
    graph = transition_graph(histories(random_sequences(3), 20), 2)
    values, vectors = leading(graph, rank, seed=1)
    wanted = np.sort(np.linalg.eigvalsh(graph.toarray()))[::-1][:rank]
    np.testing.assert_allclose(values, wanted[wanted > 1e-4], atol=1e-4)
    np.testing.assert_allclose(graph @ vectors, vectors * values, atol=1e-3)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-4)


def test_users_of_one_item_each_tell_nothing():
    with pytest.raises(InputError, match="sr_init: expected users with more than one training"):
        filled([[0], [1]], 2, 2)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_every_sequential_models_item_tables_are_filled_and_nothing_else(name, tiny, experiment):
    plain, made = without_and_with(TRANSITIONS, name, tiny, experiment)
    source, column = named(name).item, made.model.sr_columns["item"]
    rows = [source.to_fill(run.model, column) for run in (plain, made)]
    assert rows[0]
    for before, after in zip(*rows, strict=True):
        seen = made.train_data._dataset.inter_feat["item_id"].unique() - 1
        assert not torch.isclose(after, before)[seen].all(1).any()
        assert after.square().sum(1)[seen].mean().sqrt().item() == pytest.approx(1, rel=0.05)
        after.data.copy_(before)
    theirs, ours = plain.model.state_dict(), made.model.state_dict()
    assert all(torch.equal(theirs[key], ours[key]) for key in theirs)


@pytest.mark.parametrize("name", OTHERS)
def test_no_other_model_has_sequences(name, tiny, experiment):
    with pytest.raises(
        InputError, match=f"sr_init: expected 'model' for {name}, which is no sequential"
    ):
        experiment(name, "tiny", **settings_of(name, tiny), **TRANSITIONS)


def test_it_is_given_the_training_part_of_each_users_sequence(tiny, tmp_path, experiment):
    made = experiment("SASRec", "tiny", **settings_of("SASRec", tiny), **TRANSITIONS)
    lines = (tmp_path / "data" / "tiny" / "tiny.inter").read_text().splitlines()[1:]
    events = sorted((float(line[3]), line[0], line[1]) for line in map(str.split, lines))
    ids = made.dataset.field2token_id["item_id"]
    sequences = {}
    for _, user, item in events:
        sequences.setdefault(user, []).append(int(ids[item]) - 1)
    training = [sequence[:-2] for sequence in sequences.values()]  # one to validate, one to test
    column = made.model.sr_columns["item"]
    longest = made.config["MAX_ITEM_LIST_LENGTH"]
    wanted = made.model.item_embedding.weight[1 : column.total].detach().clone()
    transitions(
        Tables([], [wanted]),
        histories(training, column.total - 1, longest),
        made.config["seed"],
        window=5,
        norm=1.0,
    )
    torch.testing.assert_close(wanted, made.model.item_embedding.weight[1 : column.total].detach())


def test_before_any_training_the_next_item_ranks_above_chance(tiny, experiment):
    scores = {}
    for start in ("model", "transitions"):
        settings = {**settings_of("SASRec", tiny), "sr_init": start, "metrics": ["MRR"]}
        made = experiment("SASRec", "tiny", **settings)
        made.model.eval()
        batch = made.test_data._dataset.inter_feat
        ranked = made.model.full_sort_predict(batch)
        target = ranked[torch.arange(len(batch)), batch["item_id"]].unsqueeze(1)
        scores[start] = (target > ranked[:, 1:]).float().mean().item()
    assert scores["transitions"] > 0.65  # 0.5 is chance; 0.75 is all that two taste groups tell
    assert scores["transitions"] > scores["model"]
