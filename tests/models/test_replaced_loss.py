"""``sr_loss``: a model's representations trained with another loss than its own."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from contract import CONTRACT, first_batch, seed, settings_of, uninjected
from recbole.data.dataloader import KnowledgeBasedDataLoader, TrainDataLoader
from recbole.utils import KGDataLoaderState, ModelType, get_model

from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.models.registry import SUPPORTED, replaceable_loss
from recbole_sr.models.sources import resolve
from recbole_sr.objectives.losses import LOSSES, Loss, alignment
from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.regularizers import REGULARIZERS, uniformity

pytestmark = pytest.mark.usefixtures("one_thread")

BPR = LOSSES["bpr"]
ZERO = Loss(lambda *_: torch.zeros(()))
SPLIT = sorted(name for name, where in SUPPORTED.items() if where.loss is not None)
GENERAL = [name for name in SPLIT if get_model(name).type == ModelType.GENERAL]
SOLE = [name for name in SPLIT if SUPPORTED[name].sole_loss]
NEGATIVES = 3


@pytest.fixture(params=SPLIT)
def made(request, experiment, tiny):
    sampling = {"distribution": "uniform", "sample_num": NEGATIVES}
    settings = settings_of(request.param, tiny)
    made = experiment(request.param, "tiny", **{**settings, "train_neg_sample_args": sampling})
    if isinstance(made.train_data, KnowledgeBasedDataLoader):
        made.train_data.set_mode(KGDataLoaderState.RSKG)
    if request.param == "NCL":
        made.model.e_step()
    return made


def vectors(model, batch, side, ids):
    """By the model's own means."""
    seed()
    (found,) = CONTRACT[type(model).__name__].rows(model, batch, side, ids)
    return found


def loss_of(model, batch, phase):
    seed()
    with model.sr_regularized(phase):
        loss = model.calculate_loss(batch)
    return sum(loss) if isinstance(loss, tuple) else loss


def auxiliary(model, batch):
    """What is left of the model's loss without its recommendation loss."""
    return loss_of(model, batch, Phase("main", loss=ZERO))


def test_bpr_in_place_of_a_models_own_bpr_changes_nothing(made):
    model, batch = made.model, first_batch(made)
    seed()
    own = model.calculate_loss(batch)
    own = sum(own) if isinstance(own, tuple) else own
    torch.testing.assert_close(loss_of(model, batch, Phase("main", loss=BPR)), own)


def test_every_negative_is_compared_with_the_pair_it_was_sampled_for(made):
    model, batch = made.model, first_batch(made)
    users = vectors(model, batch, "user", torch.arange(model.n_users))
    items = vectors(model, batch, "item", torch.arange(model.n_items))
    pairs = len(batch) // NEGATIVES
    losses = []
    for b in range(pairs):
        user, positive = batch["user_id"][b], batch["item_id"][b]
        sampled = [batch["neg_item_id"][b + k * pairs] for k in range(NEGATIVES)]
        for k in range(NEGATIVES):  # RecBole repeats the pairs
            assert batch["user_id"][b + k * pairs] == user
            assert batch["item_id"][b + k * pairs] == positive
        scores = torch.stack([users[user] @ items[item] for item in [positive, *sampled]]) / 0.5
        losses.append(-scores.log_softmax(0)[0])
    phase = Phase("main", loss=LOSSES["ssm"].bind(temperature=0.5))
    expected = torch.stack(losses).mean() + auxiliary(model, batch)
    torch.testing.assert_close(loss_of(model, batch, phase), expected)


@pytest.mark.parametrize("model", SOLE)
def test_a_sole_loss_is_all_that_the_model_calculates(model, experiment, tiny, monkeypatch):
    made = experiment(model, "tiny", **settings_of(model, tiny))
    batch, loss = first_batch(made), torch.ones(())
    entry = replace(SUPPORTED[model], sole_loss=False)
    monkeypatch.setattr(type(made.model), "sr_entry", entry)
    assert loss_of(made.model, batch, Phase("main", loss=Loss(lambda *_: loss))) is loss


@pytest.mark.parametrize("model", SOLE)
def test_beside_a_sole_loss_the_models_own_code_does_not_run(model, experiment, tiny, monkeypatch):
    made = experiment(model, "tiny", **settings_of(model, tiny))
    batch, loss = first_batch(made), torch.ones(())
    monkeypatch.setattr(uninjected(made.model), "calculate_loss", None)
    assert loss_of(made.model, batch, Phase("main", loss=Loss(lambda *_: loss))) is loss


def test_a_sole_loss_beside_what_the_models_code_calculates_is_refused():
    with pytest.raises(InputError, match=r"sole_loss: expected False .* users from propagated"):
        replace(SUPPORTED["LightGCN"], sole_loss=True)


def test_lightgcn_keeps_its_own_regularisation(experiment, tiny):
    made = experiment("LightGCN", "tiny", **tiny, reg_weight=0.5)
    model, batch = made.model, first_batch(made)
    users, items = model.user_embedding, model.item_embedding
    ids = [users(batch["user_id"]), items(batch["item_id"]), items(batch["neg_item_id"])]
    rest = loss_of(model, batch, Phase("main", loss=ZERO))
    torch.testing.assert_close(rest, 0.5 * model.reg_loss(*ids, require_pow=model.require_pow))


def test_alignment_with_uniformity_is_direct_au(experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, sr_loss="align")
    model, batch = made.model, first_batch(made)
    phase = Phase("main", {"uniformity": 0.7}, loss=LOSSES["align"])
    users, items = model.user_embedding, model.item_embedding
    expected = alignment(users(batch["user_id"]), items(batch["item_id"]))
    spread = [users(batch["user_id"].unique()), items(batch["item_id"].unique())]
    expected = expected + 0.7 * (uniformity(spread[0]) + uniformity(spread[1])) / 2
    torch.testing.assert_close(loss_of(model, batch, phase), expected)


def test_alignment_beside_a_loss_is_that_of_the_batchs_pairs(made):
    model, batch = made.model, first_batch(made)
    users = vectors(model, batch, "user", torch.arange(model.n_users))
    items = vectors(model, batch, "item", torch.arange(model.n_items))
    unit = [x / x.norm(dim=-1, keepdim=True) for x in (users, items)]
    pairs = zip(batch["user_id"], batch["item_id"], strict=True)
    apart = torch.stack([(unit[0][u] - unit[1][i]).square().sum() for u, i in pairs]).mean()
    kept = Phase("main")
    for own in (kept, replace(kept, loss=BPR)):
        beside = replace(own, regularizers={"alignment": 0.7})
        added = loss_of(model, batch, beside) - loss_of(model, batch, own)
        torch.testing.assert_close(added.sum(), 0.7 * apart, rtol=1e-4, atol=1e-6)


def test_alignment_beside_a_loss_reads_a_pair_once_and_not_once_a_negative(made, monkeypatch):
    model, batch, read = made.model, first_batch(made), []

    def recorded(user, positive):
        read.extend([len(user), len(positive)])
        return alignment(user, positive)

    entry = replace(REGULARIZERS["alignment"], function=recorded)
    monkeypatch.setitem(REGULARIZERS, "alignment", entry)
    loss_of(model, batch, Phase("main", {"alignment": 0.7}))
    assert read == [len(batch) // NEGATIVES] * 2


@pytest.mark.parametrize("key", ["sr_warm_regularizers", "sr_main_regularizers"])
def test_alignment_beside_a_loss_of_no_products_is_refused(key):
    expected = f"{key}: expected no alignment for NeuMF, whose recommendation loss is no function"
    with pytest.raises(InputError, match=expected):
        Config("NeuMF", "ml-100k", config_dict={key: {"alignment": 0.1}, "sr_warm_epochs": 1})
    some = {"alignment": 0.0, "uniformity": 0.1}
    assert Config("NeuMF", "ml-100k", config_dict={key: some, "sr_warm_epochs": 1})


@pytest.mark.parametrize("model", GENERAL)
def test_alignment_samples_no_negatives_and_is_evaluated_as_ever(model, experiment, tiny):
    settings = settings_of(model, tiny)
    ours = experiment(model, "tiny", **settings, sr_loss="align")
    usual = experiment(model, "tiny", **settings)
    assert "neg_item_id" not in next(iter(ours.train_data))
    assert len(ours.train_data) == len(usual.train_data)
    for name in ("valid_data", "test_data"):
        for batch, expected in zip(getattr(ours, name), getattr(usual, name), strict=True):
            torch.testing.assert_close(batch[0]["user_id"], expected[0]["user_id"])
            torch.testing.assert_close(batch[1:], expected[1:])  # seen items, positives


@pytest.mark.parametrize("model", SPLIT)
@pytest.mark.parametrize(
    ("loss", "mode"),
    [("bpr", "full"), ("ssm", "full"), ("align", "full"), ("align", "uni5"), ("align", "pop5")],
)
def test_every_loss_trains_every_model_that_can_be_split(model, loss, mode, experiment, tiny):
    if loss == "align" and model not in GENERAL:
        pytest.skip("refused: RecBole cannot load a knowledge graph without sampling negatives")
    settings = {"epochs": 3, "sr_warm_epochs": 1, "eval_args": {"mode": mode}, "sr_loss": loss}
    settings["sr_main_regularizers"] = {"uniformity": 1.0}
    made = experiment(model, "tiny", **settings_of(model, tiny), **settings)
    before = copy.deepcopy(made.model.state_dict())
    result = made.train(saved=False, verbose=False)
    losses = [epoch["train_loss"] for epoch in result["sr"]["epochs"]]
    assert losses[2] < losses[1]
    after = made.model.state_dict()
    for table in CONTRACT[model].claims:
        assert not torch.equal(before[table][1:], after[table][1:])


def test_no_second_propagation(experiment, tiny, monkeypatch):
    made = experiment("LightGCN", "tiny", **tiny)
    calls = []
    base = uninjected(made.model)
    propagate = base.forward
    monkeypatch.setattr(base, "forward", lambda self: calls.append(1) or propagate(self))
    phase = Phase("main", {"stable_rank": 1.0}, loss=BPR)
    loss_of(made.model, first_batch(made), phase)
    assert len(calls) == 1


def test_the_models_own_loss_is_back_afterwards_even_after_an_error(made):
    model, batch = made.model, first_batch(made)
    module = resolve(model, replaceable_loss(type(model)))

    def fail(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loss_of(model, batch, Phase("main", loss=Loss(fail)))
    assert "forward" not in vars(module)


def test_a_registry_entry_that_names_the_wrong_module_fails(experiment, tiny, monkeypatch):
    made = experiment("LightGCN", "tiny", **tiny)
    wrong = replace(SUPPORTED["LightGCN"], loss="user_embedding.unused")
    made.model.user_embedding.unused = torch.nn.Identity()
    monkeypatch.setattr(type(made.model), "sr_entry", wrong)
    with pytest.raises(RuntimeError, match=r"expected one call of user_embedding\.unused a step"):
        loss_of(made.model, first_batch(made), Phase("main", loss=BPR))


@pytest.mark.parametrize("model", ["SGL", "NeuMF", "SASRec"])
def test_a_model_whose_loss_cannot_be_told_from_others_is_refused(model, tiny):
    with pytest.raises(InputError, match=f"sr_loss: expected 'model' for {model}, whose"):
        Config(model, "tiny", config_dict={**settings_of(model, tiny), "sr_loss": "align"})


@pytest.mark.parametrize("model", GENERAL)
def test_negatives_of_the_batch_are_vectors_of_its_items(model, experiment, tiny):
    settings = {**settings_of(model, tiny), "sr_loss": "bpr", "sr_batch_negatives": NEGATIVES}
    made = experiment(model, "tiny", **settings)
    if model == "NCL":
        made.model.e_step()
    batch, found = first_batch(made), []
    assert "neg_item_id" not in batch
    loss_of(made.model, batch, Phase("main", loss=Loss(lambda *x: found.append(x) or x[0].sum())))
    ((_, positive, negatives),) = found
    assert negatives.shape == (NEGATIVES, *positive.shape)
    same = (negatives[:, :, None] == positive).all(-1)  # (K, B, B)
    assert same.any(-1).all()
    drawn = same.float().argmax(-1)
    assert len(drawn.unique()) > NEGATIVES  # not the same for all pairs
    assert not torch.equal(drawn[0], drawn[1])


def test_negatives_of_the_batch_are_uniform_over_its_pairs(experiment, tiny):
    made = experiment("BPR", "tiny", **tiny, sr_loss="bpr", sr_batch_negatives=200)
    batch, found = first_batch(made), []
    loss_of(made.model, batch, Phase("main", loss=Loss(lambda *x: found.append(x) or x[0].sum())))
    ids = batch["item_id"]
    rows = made.model.item_embedding.weight
    nearest = torch.cdist(found[0][2].flatten(0, 1), rows).argmin(-1)
    expected = ids.bincount(minlength=len(rows)) / len(ids)
    seen = nearest.bincount(minlength=len(rows)) / len(nearest)
    # Five standard deviations of a binomial share.
    bound = 5 * (expected * (1 - expected) / len(nearest)).sqrt()
    assert ((seen - expected).abs() <= bound).all()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"sr_loss": "align"}, "sr_loss: align wants no negatives"),
        (
            {"sr_loss": "bpr", "sr_batch_negatives": 2},
            "sr_batch_negatives: 2 draws them from the b",
        ),
    ],
)
def test_a_loss_that_needs_no_sampler_with_negatives_asked_for_is_refused(given, why):
    given = {**given, "train_neg_sample_args": {"distribution": "uniform"}}
    with pytest.raises(InputError, match=why):
        Config("BPR", "ml-100k", config_dict=given)


def test_negatives_of_the_batch_without_a_loss_of_vectors_are_refused():
    with pytest.raises(InputError, match="sr_batch_negatives: expected sr_loss: bpr with it"):
        Config("BPR", "ml-100k", config_dict={"sr_batch_negatives": 2})


@pytest.mark.parametrize("loss", ["bpr", "ssm"])
def test_a_loss_of_negatives_without_any_is_refused(loss):
    given = {"sr_loss": loss, "train_neg_sample_args": None}
    with pytest.raises(InputError, match=f"expected negatives for sr_loss: {loss}, got none"):
        Config("BPR", "ml-100k", config_dict=given)


@pytest.mark.parametrize("model", sorted(set(SPLIT) - set(GENERAL)))
@pytest.mark.parametrize(
    "given", [{"sr_loss": "align"}, {"sr_loss": "ssm", "sr_batch_negatives": 2}]
)
def test_no_sampled_negatives_on_a_knowledge_graph_are_refused(given, model, tiny):
    with pytest.raises(InputError, match="RecBole cannot load a knowledge graph without sampling"):
        Config(model, "tiny", config_dict={**settings_of(model, tiny), **given})


def test_recboles_loader_still_repeats_the_batch_as_this_package_expects(experiment, tiny):
    sampling = {"distribution": "uniform", "sample_num": 2}
    made = experiment("BPR", "tiny", **tiny, train_neg_sample_args=sampling)
    assert isinstance(made.train_data, TrainDataLoader)
    batch = first_batch(made)
    half = len(batch) // 2
    for field in ("user_id", "item_id"):
        assert torch.equal(batch[field][:half], batch[field][half:])
