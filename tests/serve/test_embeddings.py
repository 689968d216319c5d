"""Vectors from a checkpoint: those by which a model ranks, with the ids of their rows."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save
from torch.nn.functional import cosine_similarity

from recbole_sr import embeddings, recommend
from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.models.registry import SUPPORTED
from recbole_sr.serve.embeddings import Embeddings

MODELS = list(SUPPORTED)
NO_USERS = {"FISM", "NAIS", "RippleNet", "BERT4Rec", "S3Rec"}
NO_ITEMS = {"DMF"}  # they are calculated of a batch


def neighbours(found, k):
    """The example of the documentation: an index of the items, asked for each user."""
    index = faiss.IndexFlatIP(found.vectors["item"].shape[1])
    index.add(found.vectors["item"])
    scores, rows = index.search(found.vectors["user"], k)
    return scores, found.ids["item"][rows]


@pytest.mark.parametrize("model", MODELS)
def test_vectors_are_those_by_which_the_model_ranks(model, serve):
    made = serve(model)
    found = embeddings("any")
    sides = {name.partition(".")[0] for name in found.vectors}
    assert sides == {"user", "item"} - (
        {"user"} if model in NO_USERS else {"item"} if model in NO_ITEMS else set()
    )
    for name, own in found.vectors.items():
        side = name.partition(".")[0]
        assert own.dtype == np.float32
        assert len(own) == len(found.ids[side])
        everything = made.dataset.field2id_token[f"{side}_id"][1:]
        assert found.ids[side].tolist() == list(everything)
    if SUPPORTED[model].loss is not None:  # a function of the dot products of these vectors
        assert found.dot_products
    if not found.dot_products:
        return
    lists = recommend("any", k=5, with_known=True)
    top, items = neighbours(found, 6)
    apart = (top[:, :-1] - top[:, 1:]).min(1) > 1e-4 * np.abs(top).max()
    assert apart.any()
    listed = lists["item_id"].to_numpy().reshape(-1, 5)
    assert (listed == items[:, :5])[apart].all()


@pytest.mark.parametrize("model", ["BPR", "LightGCN"])
def test_vectors_of_cosines_have_a_column_more_for_popularity(model, serve):
    made = serve(model, sr_loss="align", sr_popularity=0.3)
    found = embeddings("any")
    assert found.dot_products
    (user,), (item,) = made.model.sr_tables().values()
    assert found.vectors["user"].shape[1] == user.shape[1] + 1
    cosines = cosine_similarity(user[:, None], item, dim=-1)
    scores = torch.from_numpy(found.vectors["user"] @ found.vectors["item"].T)
    assert torch.allclose(scores, cosines + made.model.sr_popularity, atol=1e-5)
    lists = recommend("any", k=3, with_known=True)
    best = scores.topk(3).values.flatten()
    assert torch.allclose(torch.tensor(lists["score"].to_numpy()).to(best), best, atol=1e-5)


def test_a_model_that_adds_more_does_not_rank_by_dot_products(serve):
    made = serve("MultiVAE")
    torch.nn.init.normal_(made.model.decoder[-1].bias)
    assert not embeddings("any").dot_products


def test_files_hold_the_same(tmp_path):
    vectors = {side: np.eye(3, 2, dtype=np.float32) + place for place, side in enumerate("ab")}
    ids = {"a": np.array(["x", "ü", "z z"])}
    files = Embeddings(vectors, ids, True).save(tmp_path / "deep" / "new")
    assert [file.name for file in files] == [
        "a.npy", "b.npy", "a_ids.txt", "embeddings.safetensors",
    ]  # fmt: skip
    for name, own in vectors.items():
        assert np.array_equal(np.load(files[0].with_name(f"{name}.npy")), own)
        assert np.array_equal(load_file(files[-1])[name], own)
    assert files[2].read_text("utf-8").splitlines() == list(ids["a"])


def test_the_command_writes_the_files(tiny, capsys, serve):
    serve("BPR")
    assert main(["embeddings", "any", "-o", "vectors"]) == 0
    *files, last = capsys.readouterr().out.splitlines()
    assert all(Path(file).is_file() for file in files)
    assert last == "The model ranks by the dot product of a user's and an item's vector."
    Path("vectors/user.1.npy").write_bytes(b"of another model, which had two tables")
    assert main(["embeddings", "any", "-o", "vectors"]) == 0
    assert {str(path) for path in Path("vectors").iterdir()} == set(files)
    Path("vectors/notes.txt").write_text("mine")
    Path("file").write_text("mine")
    for taken in ("vectors", "file"):
        assert main(["embeddings", "any", "-o", taken]) == 2
        assert f"{taken}: expected a new or an empty folder, or one" in capsys.readouterr().err


def test_a_file_of_that_name_by_another_program_is_kept(tmp_path):
    mine = tmp_path / "embeddings.safetensors"
    for content in (b"mine", save({"user": np.eye(2)})):
        mine.write_bytes(content)
        with pytest.raises(InputError, match="expected a new or an empty folder, or one of former"):
            Embeddings({"user": np.eye(2)}, {}, True).save(tmp_path)
        assert mine.read_bytes() == content


def test_nothing_to_write_is_refused(serve, monkeypatch):
    made = serve("DMF")
    monkeypatch.setattr(made.model, "sr_encoded", lambda *_: [])
    with pytest.raises(InputError, match="any: expected vectors of users or items, got none"):
        embeddings("any")
