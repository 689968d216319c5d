"""The spectral initialisation: its mathematics, what it may see, what it does to each model."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from contract import settings_of, without_and_with
from recbole.data.interaction import Interaction

from recbole_sr.errors import InputError
from recbole_sr.init.spectral import spectral, spectral_table
from recbole_sr.init.svd import factorize, normalized_graph, row_norm
from recbole_sr.init.tables import Interactions, Tables
from recbole_sr.models.registry import SUPPORTED, named
from recbole_sr.objectives.stable_rank import stable_rank
from recbole_sr.training.experiment import load_data_and_model, resume, run_recbole_sr

SPECTRAL = {"sr_init": "spectral"}
LINEAR = {"LightGCN", "NCL", "SGL"}
INITIALIZED = {
    name for name, where in SUPPORTED.items() if where.user.initialized and where.item.initialized
}
AUTO_ENCODERS = {name for name, where in SUPPORTED.items() if where.layer_path}


def edges(users, items, count, seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(users, size=count), draw.integers(items, size=count)


def dense(pairs, shape):
    graph = np.zeros(shape)
    graph[pairs] = 1
    by_user, by_item = (np.sqrt(graph.sum(axis).clip(1)) for axis in (1, 0))
    return graph / by_user[:, None] / by_item


def test_no_tables_that_cannot_collapse_have_nearer_pairs_than_singular_vectors():
    users, items = np.unique(edges(40, 30, 300), axis=1)
    degrees = [np.bincount(side, minlength=n).clip(1) for side, n in ((users, 40), (items, 30))]

    def distance(*columns):  # of all pairs, of tables whose columns are those, by the degrees
        x, y = (side / np.sqrt(of)[:, None] for side, of in zip(columns, degrees, strict=True))
        return ((x[users] - y[items]) ** 2).sum()

    found = factorize(normalized_graph(users, items, (40, 30)), 5, seed=0)
    nearest = distance(found.user, found.item)
    assert nearest == pytest.approx(10 - 2 * found.values.sum(), rel=1e-5)
    draw = np.random.default_rng(1)
    for size in np.geomspace(1e-3, 10, 20):
        others = (side + size * draw.normal(size=side.shape) for side in (found.user, found.item))
        assert distance(*(np.linalg.qr(side)[0] for side in others)) > nearest


def random_states():
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


def length(rows):
    """Root mean square."""
    return rows.square().sum(1).mean().sqrt().item()


def margin(pairs, user, item):
    """By how much a pair's score leads its user's mean score, averaged one by one."""
    leads = [user[u] @ item[i] - (item @ user[u]).mean() for u, i in sorted(set(pairs))]
    return float(sum(leads) / len(leads))


def own(rows, width, seed=0):
    return 0.1 * torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (20, 20)])
def test_factors_are_those_of_numpys_singular_value_decomposition(shape):
    pairs = edges(*shape, 150)
    factors = factorize(normalized_graph(*pairs, shape), 6, seed=1)
    matrix = dense(pairs, shape)
    user, values, item = np.linalg.svd(matrix)
    np.testing.assert_allclose(factors.values, values[:6], atol=1e-5)
    ours = factors.user * factors.values @ factors.item.T
    np.testing.assert_allclose(ours, user[:, :6] * values[:6] @ item[:6], atol=1e-5)


def test_a_larger_matrix_is_factorised_nearly_as_well_as_can_be():
    shape = (400, 300)
    pairs = edges(*shape, 4000)
    factors = factorize(normalized_graph(*pairs, shape), 16, seed=1)
    best = np.linalg.svd(dense(pairs, shape), compute_uv=False)[:16]
    assert (factors.values <= best + 1e-5).all()
    assert np.square(factors.values).sum() > 0.97 * np.square(best).sum()
    for vectors in (factors.user, factors.item):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(16), atol=1e-5)


def test_the_seed_decides_and_global_random_states_are_neither_read_nor_written():
    graph = normalized_graph(*edges(200, 300, 3000), (200, 300))
    first = factorize(graph, 8, seed=1)
    before = random_states()
    again, other = factorize(graph, 8, seed=1), factorize(graph, 8, seed=2)
    for one, two in zip(before, random_states(), strict=True):
        assert np.array_equal(one, two) if isinstance(one, np.ndarray) else str(one) == str(two)
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first.user, other.user)


@pytest.mark.parametrize(
    ("shape", "count", "rank"), [((500, 800), 1500, 64), ((100, 300), 200, 80)]
)
def test_rows_without_edges_are_exactly_zero(shape, count, rank):
    graph = normalized_graph(*edges(*shape, count), shape, 0.25)
    factors = factorize(graph, rank, seed=0)
    for vectors, axis in ((factors.user, 1), (factors.item, 0)):
        without = graph.getnnz(axis) == 0
        assert without.any()
        assert not vectors[without].any()
        assert vectors[~without].any(1).all()


def test_degrees_that_leave_no_singular_value_are_refused(tiny, experiment):
    with pytest.raises(InputError, match="lower sr_init_degree_power"):
        experiment("BPR", "tiny", **tiny, **SPECTRAL, sr_init_degree_power=1000.0)


def test_a_pair_that_comes_twice_counts_once():
    once = normalized_graph([0, 1, 1], [0, 0, 1], (2, 2)).toarray()
    twice = normalized_graph([0, 1, 1, 1], [0, 0, 1, 1], (2, 2)).toarray()
    assert np.array_equal(once, twice)


@pytest.mark.parametrize("scale", [0.3, 2.0])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_table_has_the_directions_of_the_data_at_the_length_asked_for(power, scale):
    factors = factorize(normalized_graph(*edges(90, 70, 900), (90, 70)), 16, seed=1)
    values, model_own = torch.from_numpy(factors.values), own(90, 16)
    table = spectral_table(model_own, torch.from_numpy(factors.user), values, power, scale)
    assert length(table) == pytest.approx(scale, rel=1e-4)
    weights = (values**power).square()
    gram = table.T @ table / table.square().sum()
    torch.testing.assert_close(gram, torch.diag(weights / weights.sum()), atol=1e-5, rtol=0)
    expected = (weights.sum() / weights.max()).item()
    assert stable_rank(table).item() == pytest.approx(expected, rel=1e-3)
    if power == 0:
        assert expected == pytest.approx(16)


@pytest.mark.parametrize("wanted", [0.5, 2.0])
@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize("width", [4, 16])
def test_rows_of_that_length_have_the_margin_asked_for(width, power, wanted):
    pairs = edges(90, 70, 900)
    graph = normalized_graph(*pairs, (90, 70), power=0.25)
    factors = factorize(graph, 16, seed=1)
    scale = row_norm(factors, graph, width, power, wanted)
    values = torch.from_numpy(factors.values)
    user, item = (
        spectral_table(own(len(vectors), width), torch.from_numpy(vectors), values, power, scale)
        for vectors in (factors.user, factors.item)
    )
    found = margin(zip(*pairs, strict=True), user, item)
    assert found == pytest.approx(wanted, rel=1e-4)


def test_where_every_user_has_every_item_no_length_has_a_margin():
    graph = normalized_graph([0, 0, 1, 1], [0, 1, 0, 1], (2, 2))
    with pytest.raises(InputError, match="sr_init: expected training data in which users have"):
        row_norm(factorize(graph, 2, seed=0), graph, 2, power=1.0, margin=2.0)


def test_data_without_a_margin_are_refused(tiny, experiment, monkeypatch):
    # RecBole itself refuses such data wherever it samples negatives.
    monkeypatch.setattr("recbole_sr.init.svd._NO_MARGIN", np.inf)
    with pytest.raises(InputError, match="sr_init: expected training data in which users have"):
        experiment("BPR", "tiny", **tiny, **SPECTRAL)


def test_rows_without_training_data_are_the_models_own():
    pairs = [0, 1, 1, 3], [0, 0, 1, 1]
    factors = factorize(normalized_graph(*pairs, (5, 2)), 2, seed=1)
    model_own = own(5, 2)
    vectors, values = torch.from_numpy(factors.user), torch.from_numpy(factors.values)
    table = spectral_table(model_own, vectors, values, power=0.5, norm=1.0)
    assert torch.equal(table[[2, 4]], model_own[[2, 4]])
    assert length(table[[0, 1, 3]]) == pytest.approx(1, rel=1e-4)


def test_columns_beyond_the_rank_are_small_and_not_zero():
    factors = factorize(normalized_graph([0, 1, 2, 2], [0, 1, 2, 0], (3, 3)), 8, seed=1)
    assert len(factors.values) == 3
    vectors, values = torch.from_numpy(factors.user), torch.from_numpy(factors.values)
    table = spectral_table(own(3, 8), vectors, values, power=0.5, norm=1.0)
    columns = table.square().mean(0).sqrt()
    filled = table[:, 3:].square().mean().sqrt()
    assert filled / columns[2] == pytest.approx(0.1, rel=0.3)
    assert (columns[3:] > 0).all()


def filled(*tables, layers=(), propagated=None, **settings):
    """Tables of users and items filled from random pairs, which are the pairs returned."""
    pairs = edges(20, 15, 120)
    interactions = Interactions(*pairs, (20, 15))
    defaults = {"degree_power": 0.25, "als_iterations": 0, "power": 1.0, "margin": 2.0}
    spectral(Tables(*tables, layers, propagated), interactions, 1, **{**defaults, **settings})
    return list(zip(*pairs, strict=True))


def test_every_table_of_a_side_is_filled_in_place_at_its_own_width():
    users, items = [own(20, 4), own(20, 6)], [own(15, 4), own(15, 6)]
    kept = [*users, *items]
    pairs = filled(users, items)
    for user, item in zip(users, items, strict=True):
        assert margin(pairs, user, item) == pytest.approx(2, rel=1e-4)
    assert all(one is other for one, other in zip(kept, [*users, *items], strict=True))
    # The narrow tables are the leading directions of the wide ones, scaled.
    wide = users[1][:, :4] * (users[0].norm() / users[1][:, :4].norm())
    torch.testing.assert_close(users[0], wide)


def test_layers_pass_on_what_enters():
    score, square = own(1, 10), own(4, 4)
    rest = score[:, 4:].clone()
    filled([own(20, 4)], [own(15, 4)], layers=[score, square])
    assert torch.equal(score[:, :4], torch.ones(1, 4))
    assert torch.equal(score[:, 4:], rest)
    assert torch.equal(square, torch.eye(4))


def test_propagated_tables_are_those_whose_propagation_is_wanted():
    user, item, wanted_user, wanted_item = own(20, 4), own(15, 4), own(20, 4), own(15, 4)
    filled([wanted_user], [wanted_item])

    def halved():
        return {"user": user / 2, "item": item / 2}

    filled([user], [item], propagated=halved)
    torch.testing.assert_close(user / 2, wanted_user, rtol=0.01, atol=1e-4)
    torch.testing.assert_close(item / 2, wanted_item, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("name", sorted(SUPPORTED.keys() - AUTO_ENCODERS))
def test_every_model_is_initialised_or_refused_by_name(name, tiny, experiment):
    settings = settings_of(name, tiny)
    if name not in INITIALIZED:
        with pytest.raises(InputError, match=f"sr_init: expected 'model' for {name}, which has no"):
            experiment(name, "tiny", **settings, **SPECTRAL)
        return
    plain, made = without_and_with(SPECTRAL, name, tiny, experiment)
    training = made.train_data._dataset.inter_feat
    if "label" in training:
        training = training[training["label"] > 0]
    users, items = (training[field].numpy() - 1 for field in ("user_id", "item_id"))
    scored = made.model.sr_tables() if name in LINEAR else {"user": [], "item": []}
    for side, seen in (("user", users), ("item", items)):
        source, column = named(name).side(side), made.model.sr_columns[side]
        rows = (source.to_fill(run.model, column) for run in (plain, made))
        for before, after in zip(*rows, strict=True):
            filled_rows = torch.from_numpy(np.unique(seen))
            assert not torch.isclose(after, before)[filled_rows].all(1).any()
            if name not in LINEAR:
                scored[side].append(after.detach().clone())
            after.data.copy_(before)  # and then nothing else is left that differs
    theirs, ours = plain.model.state_dict(), made.model.state_dict()
    changed = {key for key in theirs if not torch.equal(theirs[key], ours[key])}
    assert changed == {f"{path}.weight" for path in named(name).layers}
    pairs = list(zip(users, items, strict=True))
    for user, item in zip(scored["user"], scored["item"], strict=False):
        found = margin(pairs, user.detach(), item.detach())
        wanted = made.config.options.sr_init_margin  # that of its recipe, or the default
        assert found == pytest.approx(wanted, rel=0.1 if name in LINEAR else 1e-3)
        if name not in LINEAR:  # of which a test below has every row
            lengths = (length(x[np.unique(ids)]) for x, ids in ((user, users), (item, items)))
            assert next(lengths) == pytest.approx(next(lengths), rel=1e-4)


@pytest.mark.parametrize("start", [SPECTRAL, {"sr_published": True}], ids=["spectral", "published"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ConvNCF", {"train_method": "after_pretrain", "pre_model_path": "a"}),
    ],
)
def test_pretrained_tables_are_not_overwritten(name, settings, start, tiny, experiment):
    key = next(iter(settings))
    ((cause, value),) = start.items()
    expected = f"{key}: expected no pretrained tables with {cause}: {value}, which .*; drop one of"
    with pytest.raises(InputError, match=expected):
        experiment(name, "tiny", **settings_of(name, tiny), **settings, **start)


@pytest.mark.parametrize("start", [{}, {"sr_init": "model"}])
def test_the_halves_of_neumf_cannot_be_joined(start, tiny, experiment):
    with pytest.raises(InputError, match="use_pretrain: expected False"):
        experiment("NeuMF", "tiny", **settings_of("NeuMF", tiny), use_pretrain=True, **start)


def test_the_published_initialisation_does_not_overwrite_what_s3rec_finetunes(tiny, experiment):
    settings = {**settings_of("S3Rec", tiny), "train_stage": "finetune", "pre_model_path": "a"}
    with pytest.raises(InputError, match="train_stage: expected no pretrained tables"):
        experiment("S3Rec", "tiny", **settings, sr_published=True)


def test_the_models_that_can_be_initialised_are_those_with_tables_of_users_and_items():
    assert {
        "BPR",
        "LightGCN",
        "NGCF",
        "SGL",
        "DGCF",
        "NeuMF",
        "SimpleX",
        "CKE",
        "KGAT",
    } <= INITIALIZED
    assert {"FM", "DeepFM"} <= INITIALIZED
    assert not INITIALIZED & {"MultiVAE", "SASRec", "FISM", "GCMC", "DMF"}
    assert {
        "CDAE",
        "DMF",
        "DiffRec",
        "FISM",
        "GCMC",
        "LDiffRec",
        "MacridVAE",
        "MultiDAE",
        "MultiVAE",
        "NAIS",
        "RaCT",
        "RecVAE",
    } == AUTO_ENCODERS


def test_no_validation_or_test_pair_is_seen(tiny, tmp_path, experiment):
    lines = (tmp_path / "data" / "tiny" / "tiny.inter").read_text().splitlines()
    ids = [line.split("\t")[:2] for line in lines[1:]]
    header = "user_id:token\titem_id:token"

    def tables(name, shift):
        folder = tmp_path / "data" / name
        folder.mkdir()
        parts = {"train": ids[::2], "valid": ids[1::4], "test": ids[3::4]}
        for part in ("valid", "test"):
            items = [item for _, item in parts[part]]
            moved = items[shift:] + items[:shift]
            parts[part] = [(user, item) for (user, _), item in zip(parts[part], moved, strict=True)]
        for part, pairs in parts.items():
            text = "\n".join([header, *("\t".join(pair) for pair in pairs)])
            (folder / f"{name}.{part}.inter").write_text(text + "\n")
        files = {"benchmark_filename": ["train", "valid", "test"]}
        made = experiment("BPR", name, **tiny, **files, **SPECTRAL)
        held_out = made.test_data.dataset.inter_feat["item_id"]
        return held_out, made.model.user_embedding.weight, made.model.item_embedding.weight

    (held_out, *ours), (other_held_out, *others) = tables("one", 0), tables("two", 7)
    assert not torch.equal(held_out, other_held_out)
    assert all(map(torch.equal, ours, others))


def test_before_any_training_held_out_items_rank_above_chance(tiny, experiment):
    made = experiment("BPR", "tiny", **{**tiny, "embedding_size": 4}, **SPECTRAL)
    scores = made.model.user_embedding.weight @ made.model.item_embedding.weight.T
    pairs = made.test_data.dataset.inter_feat
    users, items = pairs["user_id"], pairs["item_id"]
    above = (scores[users, items].unsqueeze(1) > scores[users][:, 1:]).float().mean().item()
    assert above > 0.65  # 0.5 is chance; 0.75 is all that the two taste groups tell


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(LINEAR))
def test_what_a_linear_graph_model_scores_is_what_the_tables_were_to_be(
    name, layers, tiny, experiment
):
    factors = {**SPECTRAL, "sr_init_als_iterations": 0}  # BPR's default refines them
    plain = experiment("BPR", "tiny", **tiny, **factors).model.sr_tables()
    settings = {**settings_of(name, tiny), "n_layers": layers}
    propagated = experiment(name, "tiny", **settings, **SPECTRAL).model.sr_tables()
    for side, (wanted,) in plain.items():
        error = (propagated[side][0] - wanted).norm() / wanted.norm()
        assert error < 0.1


def test_weighted_products_begin_as_plain_ones(tiny, experiment):
    enmf = experiment("ENMF", "tiny", **settings_of("ENMF", tiny), **SPECTRAL).model.eval()
    scores = enmf.full_sort_predict(Interaction({"user_id": torch.arange(1, 13)}))
    product = enmf.user_embedding.weight[1:13] @ enmf.item_embedding.weight.T
    torch.testing.assert_close(scores.view_as(product), product)
    neumf = experiment("NeuMF", "tiny", **settings_of("NeuMF", tiny), **SPECTRAL).model.eval()
    users, items = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])
    neumf.predict_layer.weight.data[:, neumf.mf_embedding_size :] = 0  # those of its other part
    products = neumf.user_mf_embedding(users) * neumf.item_mf_embedding(items)
    wanted = products.sum(1) + neumf.predict_layer.bias
    torch.testing.assert_close(neumf.forward(users, items), wanted)


def test_simplex_begins_with_the_mean_of_the_users_and_the_histories_rows(tiny, experiment):
    model = experiment("SimpleX", "tiny", **settings_of("SimpleX", tiny), **SPECTRAL).model
    history, count = torch.randn(3, 5, model.embedding_size), torch.tensor([5, 5, 5])
    user = torch.randn(3, model.embedding_size)
    wanted = model.gamma * user + (1 - model.gamma) * history.mean(1)
    torch.testing.assert_close(model.get_UI_aggregation(user, history, count), wanted)


def test_a_model_that_is_given_weights_is_not_factorised_for(
    tiny, tmp_path, monkeypatch, experiment
):
    result = run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 2, **SPECTRAL})
    calls = []
    monkeypatch.setattr(
        "recbole_sr.init.spectral.factorize", lambda *given: calls.append(1) or factorize(*given)
    )
    (run_file,) = (tmp_path / "saved").glob("*.run.pth")
    assert resume(str(run_file))["test_result"] == result["test_result"]
    _, model, *_ = load_data_and_model(str(run_file).replace(".run.pth", ".pth"))
    assert model.state_dict().keys() == {"user_embedding.weight", "item_embedding.weight"}
    assert not calls
    experiment("BPR", "tiny", **tiny, **SPECTRAL)
    assert len(calls) == 1


def test_it_composes_with_phases_and_a_target_and_scores_better_from_the_first_epoch(
    tiny, experiment
):
    settings = {**tiny, "epochs": 2, "sr_warm_epochs": 1, "sr_target_rank": 4}
    scores = {}
    for start in ("model", "spectral"):
        result = experiment("BPR", "tiny", **settings, sr_init=start).train(saved=False)
        assert [epoch["phase"] for epoch in result["sr"]["epochs"]] == ["warm", "main"]
        scores[start] = result["sr"]["epochs"][0]["valid_score"]
    assert scores["spectral"] > scores["model"]
