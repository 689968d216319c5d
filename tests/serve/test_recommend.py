"""Lists from a checkpoint: RecBole's own, with the user's ids, and nothing that a user has."""

from __future__ import annotations

import io
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from contract import settings_of
from recbole.utils import ModelType, get_model
from recbole.utils.case_study import full_sort_topk

from recbole_sr import recommend, resume, run_recbole_sr
from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.models.registry import SUPPORTED
from recbole_sr.serve import scores

MODELS = list(SUPPORTED)
USERS_ITEMS = ("user_id", "item_id")
# Context-aware models rank where they learn from sampled items; else they tell labels apart.
RANKED = {
    "load_col": {
        "inter": ["user_id", "item_id"],
        "user": ["user_id", "gender"],
        "item": ["item_id", "class"],
    },
    "threshold": None,
    "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
    "eval_args": {"mode": "full"},
    "metrics": ["Recall"],
    "valid_metric": "Recall@10",
}


def checkpoint(tiny, model="BPR", **settings):
    given = {**settings_of(model, tiny), "epochs": 1, **settings}
    return run_recbole_sr(model, "tiny", config_dict=given)["sr"]["checkpoint"]


@pytest.mark.parametrize("model", MODELS)
def test_lists_are_those_of_recbole(model, serve):
    kind = get_model(model).type
    made = serve(model, **(RANKED if kind == ModelType.CONTEXT else {}))
    sequential = kind == ModelType.SEQUENTIAL
    users = made.valid_data._dataset.inter_feat["user_id"].unique()
    names = made.dataset.id2token("user_id", users)
    # Of two equal scores either may come first; of a model that draws, the same draws are needed.
    torch.manual_seed(2)
    found = recommend("any", names, k=5, known="training", with_known=sequential)
    torch.manual_seed(2)
    top, items = full_sort_topk(users.numpy(), made.model, made.valid_data, 5)
    assert list(found.columns) == ["user_id", "item_id", "rank", "score"]
    assert found["user_id"].tolist() == np.repeat(names, 5).tolist()
    assert found["rank"].tolist() == [1, 2, 3, 4, 5] * len(users)
    torch.testing.assert_close(torch.tensor(found["score"]), top.flatten(), rtol=1e-4, atol=1e-5)
    ours = made.dataset.token2id("item_id", found["item_id"].to_numpy()).reshape(-1, 5)
    apart = (top[:, :-1] - top[:, 1:]).min(1).values > 1e-4
    assert (ours == items.numpy())[apart].all()


@pytest.mark.parametrize("with_known", [False, True])
@pytest.mark.parametrize(("known", "parts"), [("training", 1), ("validation", 2), ("all", 3)])
def test_what_users_are_known_to_have_is_left_out(known, parts, with_known, serve):
    made = serve("BPR")
    loaders = (made.train_data, made.valid_data, made.test_data)
    had = {
        pair
        for loader in loaders[:parts]
        for pair in zip(*(loader._dataset.inter_feat[x].tolist() for x in USERS_ITEMS), strict=True)
    }
    found = recommend("any", k=100, known=known, with_known=with_known)
    ids = [made.dataset.token2id(field, found[field].to_numpy()) for field in USERS_ITEMS]
    listed = set(zip(*(x.tolist() for x in ids), strict=True))
    everything = {(user, item) for user in range(1, 41) for item in range(1, 61)}
    assert listed == (everything if with_known else everything - had)


def test_a_sequence_goes_on_from_its_last_known_item(serve):
    made = serve("SASRec", MAX_ITEM_LIST_LENGTH=10)  # so that full ones lose their first
    rows = made.test_data._dataset.inter_feat
    users = rows["user_id"]
    before, after = (scores.Scorer("any", known).inputs(users) for known in ("validation", "all"))
    assert torch.equal(before["item_length"], rows["item_length"])
    assert torch.equal(before["item_id_list"], rows["item_id_list"])
    for list_before, list_after, item in zip(
        before["item_id_list"].tolist(), after["item_id_list"].tolist(), rows["item_id"].tolist(),
        strict=True,
    ):  # fmt: skip
        assert [x for x in list_after if x] == [*(x for x in list_before if x), item][-10:]
    listed = recommend("any", k=100)
    had = made.dataset.inter_feat
    had = set(zip(had["user_id"].tolist(), had["item_id"].tolist(), strict=True))
    had |= set(zip(rows["user_id"].tolist(), rows["item_id_list"][:, 0].tolist(), strict=True))
    ids = [made.dataset.token2id(field, listed[field].to_numpy()) for field in USERS_ITEMS]
    assert not had & set(zip(*(x.tolist() for x in ids), strict=True))


@pytest.mark.parametrize("known", ["training", "all"])
@pytest.mark.parametrize("model", ["SASRec", "GRU4RecF", "TransRec"])
def test_a_user_with_one_event_has_a_list_that_follows_it(model, known, tiny, serve, caplog):
    file = Path("data/tiny/tiny.inter")
    given = settings_of(model, tiny)
    columns = [*given["load_col"]["inter"], "words"]
    given["load_col"] = {**given["load_col"], "inter": columns}
    head, *lines = file.read_text().splitlines()
    lines = [f"{line}\ta b c" for line in lines] + ["once\ti7\t1\t3\tb", "twice\ti7\t1\t3\tb"]
    lines += ["twice\ti9\t1\t4\ta"]
    file.write_text("\n".join([f"{head}\twords:token_seq", *lines]) + "\n")
    made = serve(model, **given)
    once, item = made.dataset.token2id("user_id", "once"), made.dataset.token2id("item_id", "i7")
    rows = scores.Scorer("any", known).inputs(torch.tensor([once]))
    assert rows["item_id_list"].tolist() == [[item] + [0] * (rows["item_id_list"].shape[1] - 1)]
    assert rows["item_length"].tolist() == [1]
    assert rows["timestamp_list"][0, :2].tolist() == [3, 0]
    assert rows["words_list"][0, 0].tolist() == [made.dataset.token2id("words", "b"), 0, 0]
    assert not rows["words_list"][0, 1:].any()
    found = recommend("any", ["once"], k=100, known=known)
    assert sorted(found["item_id"]) == sorted({f"i{n}" for n in range(60)} - {"i7"})
    assert "users: 1 have one event, from which alone their lists follow: 'once'" in caplog.text
    assert "not learnt" not in caplog.text


@pytest.mark.parametrize("model", ["SASRec", "GRU4RecF"])
def test_sequences_in_interactions_are_served_where_no_user_has_one_event(model, tiny, serve):
    file = Path("data/tiny/tiny.inter")
    given = settings_of(model, tiny)
    columns = [*given["load_col"]["inter"], "words", "numbers"]
    given["load_col"] = {**given["load_col"], "inter": columns}
    head, *lines = file.read_text().splitlines()
    lines = [f"{line}\ta b c\t1 2" for line in lines]
    file.write_text("\n".join([f"{head}\twords:token_seq\tnumbers:float_seq", *lines]) + "\n")
    serve(model, **given)
    found = recommend("any", ["u1"], k=3)
    assert found["rank"].tolist() == [1, 2, 3]
    rows = scores.Scorer("any", "all").inputs(torch.tensor([1]))
    assert (rows["words_list"][0, : rows["item_length"][0]] > 0).all()


@pytest.mark.parametrize("known", ["training", "all"])
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "FPMC"])
def test_columns_may_have_any_names(model, known, tiny, serve):
    file = Path("data/tiny/tiny.inter")
    text = file.read_text().replace("user_id", "who", 1).replace("item_id", "what", 1)
    file.write_text(text.replace("timestamp", "when", 1) + "once\ti7\t1\t3\n")
    names = {"USER_ID_FIELD": "who", "ITEM_ID_FIELD": "what", "TIME_FIELD": "when"}
    more = {"load_col": {"inter": ["who", "what", "when"]}, "numerical_features": ["when"]}
    made = serve(model, **names, **more)
    once, item = made.dataset.token2id("who", "once"), made.dataset.token2id("what", "i7")
    rows = scores.Scorer("any", known).inputs(torch.tensor([once]))
    assert rows["what_list"][0, :2].tolist() == [item, 0]
    found = recommend("any", ["u1", "once"], k=100, known=known)
    assert list(found.columns) == ["who", "what", "rank", "score"]
    had = {line.split("\t")[1] for line in text.splitlines() if line.startswith("u1\t")}
    listed = {*found["what"][found["who"] == "u1"]}
    assert not listed & had if known == "all" else listed & had


@pytest.mark.parametrize(("known", "parts"), [("training", 1), ("validation", 2), ("all", 3)])
def test_given_histories_are_known_whole(known, parts, tiny, serve):
    """They need not go on from each other, as RecBole's own do."""
    at = {part: [f"i{5 * place + step}" for step in range(4)] for place, part in enumerate("abc")}
    for part, (*history, target) in at.items():
        lines = [f"u{user}\t{' '.join(history)}\t{target}" for user in range(40)]
        head = "user_id:token\titem_id_list:token_seq\titem_id:token"
        Path(f"data/tiny/tiny.{part}.inter").write_text("\n".join([head, *lines]) + "\n")
    given = {"benchmark_filename": [*"abc"], "alias_of_item_id": ["item_id_list"]}
    serve("GRU4Rec", **given, load_col={"inter": ["user_id", "item_id_list", "item_id"]})
    found = recommend("any", ["u1"], k=100, known=known)
    had = {item for part in "abc"[:parts] for item in at[part]}
    assert set(found["item_id"]) == {item for items in at.values() for item in items} - had


def test_items_of_interactions_that_a_filter_leaves_out_may_be_listed_and_that_is_said(
    tiny, serve, caplog
):
    columns = {"load_col": {"inter": ["user_id", "item_id", "rating"]}}
    serve("BPR", **columns)
    recommend("any", ["u1"], k=3)
    assert "val_interval" not in caplog.text
    serve("BPR", **columns, val_interval={"rating": "[3,inf)"})
    recommend("any", ["u1"], k=3)
    assert "val_interval: interactions that it leaves out are not known" in caplog.text


def test_a_user_who_has_every_item_has_an_empty_list_and_is_named(tiny, serve, caplog):
    file = Path("data/tiny/tiny.inter")
    head, *lines = file.read_text().splitlines()
    columns = len(head.split("\t"))
    every = ["\t".join(["all", f"i{n}", *["3"] * (columns - 2)]) for n in range(60)]
    file.write_text("\n".join([head, *lines, *every]) + "\n")
    serve("BPR", sr_loss="align", train_neg_sample_args=None)
    assert recommend("any", ["all"], k=3).empty
    caplog.clear()
    assert recommend("any", ["all", "u1"], k=3)["user_id"].tolist() == ["u1"] * 3
    assert "users: 1 have every item, so no list: 'all'" in caplog.messages


def test_users_are_served_in_the_order_given_and_unknown_ones_named(serve, caplog):
    serve("BPR")
    found = recommend("any", ["u7", "nobody", "u3", "u7", "[PAD]"], k=2)
    assert found["user_id"].tolist() == ["u7", "u7", "u3", "u3"]
    assert "users: 2 are not in the data: 'nobody', '[PAD]'" in caplog.text


def test_users_that_the_model_has_not_learnt_are_named(tiny, serve, caplog):
    lines = Path("data/tiny/tiny.inter").read_text().splitlines()
    for part, keep in {"a": lines[1:-24], "b": lines[-24:-12], "c": lines[-12:]}.items():
        Path(f"data/tiny/tiny.{part}.inter").write_text("\n".join([lines[0], *keep]) + "\n")
    serve("BPR", benchmark_filename=[*"abc"])
    assert len(recommend("any", ["u39"], k=3)) == 3
    assert "users: 1 have no interaction in training; their lists are not learnt: 'u39'" in (
        caplog.text
    )


REFUSED = {
    "no user that is known": (
        {"users": ["x", "y"]},
        "users: expected some that are in tiny, got none of them",
    ),
    "no users": ({"users": []}, "users: expected some that are in tiny, got none of them"),
    "k of 0": ({"k": 0}, "k: expected a number of items, at least 1, got 0"),
    "k of True": ({"k": True}, "k: expected a number of items, at least 1, got True"),
    "another part": ({"known": "test"}, "known: expected one of training, validation, all, got"),
}


@pytest.mark.parametrize(("given", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_served_is_refused(given, says, serve):
    serve("BPR")
    with pytest.raises(InputError, match=says):
        recommend("any", **given)


def test_a_model_that_reads_more_of_an_interaction_is_refused_and_not_offered(serve, tiny, caplog):
    columns = {"inter": ["user_id", "item_id", "timestamp", "rating"]}
    numbers = ["timestamp", "rating"]
    more = {**RANKED, "load_col": columns, "numerical_features": numbers}
    more["eval_args"] = {"mode": "uni20"}  # whose negatives have the rest of the interaction
    serve("FM", **more)
    with pytest.raises(InputError, match="got FM, which also reads 'rating', 'timestamp' of each"):
        recommend("any")
    timed = {"load_col": columns, "numerical_features": ["timestamp"]}
    with caplog.at_level("INFO"):
        for settings in ({}, timed):
            given = {**settings_of("FM", tiny), **settings, "epochs": 1}
            run_recbole_sr("FM", "tiny", config_dict=given)
    assert sum("recbole-sr embeddings" in line for line in caplog.messages) == 2
    assert sum("recbole-sr recommend" in line for line in caplog.messages) == 1


def test_scores_that_are_no_numbers_are_refused(serve):
    made = serve("BPR")
    with torch.no_grad():
        made.model.user_embedding.weight[3] = torch.nan
    with pytest.raises(InputError, match="any: expected scores that are numbers, got NaN"):
        recommend("any")


def test_lists_without_an_order_are_named(serve, caplog):
    made = serve("BPR")
    with torch.no_grad():
        made.model.user_embedding.weight[made.dataset.token2id("user_id", "u3")] = 0
    recommend("any", ["u3", "u5"], k=5)
    assert "users: 1 have one score for all items of their list, whose order" in caplog.text
    assert caplog.text.rstrip().endswith("in training): 'u3'")


@pytest.mark.parametrize("name", ["top.csv", "top.tsv", "top.jsonl", "top.parquet", "TOP.CSV.GZ"])
def test_the_command_writes_the_same_lists(name, tiny, capsys):
    file = checkpoint(tiny)
    Path("users.txt").write_bytes(b"\xef\xbb\xbfu3\r\n\nu5\n")  # a byte order mark first
    assert main(["recommend", file, "--users", "users.txt", "-k", "4", "-o", name]) == 0
    assert f"{name}: 8 items for 2 users" in capsys.readouterr().out
    read = {".tsv": partial(pd.read_csv, sep="\t"), ".parquet": pd.read_parquet}
    read |= {".jsonl": partial(pd.read_json, lines=True)}
    read_table = read.get(Path(name).suffix, pd.read_csv)
    expected = recommend(file, ["u3", "u5"], 4)
    pd.testing.assert_frame_equal(read_table(name), expected, check_dtype=False)
    assert main(["recommend", file, "--user", "u3", "-k", "4", "-o", name]) == 0  # in its place
    assert len(read_table(name)) == 4
    capsys.readouterr()
    assert main(["recommend", file, "--user", "u3", "u5", "-k", "4"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "user_id,item_id,rank,score"


def test_ids_on_the_screen_are_those_of_the_data_whatever_the_locale(tiny, monkeypatch):
    file = Path("data/tiny/tiny.inter")
    file.write_text(file.read_text("utf-8").replace("\ti1\t", "\té\t"), "utf-8")
    model, screen = checkpoint(tiny), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, "ascii"))
    assert main(["recommend", model, "--user", "u1", "-k", "60", "--with_known"]) == 0
    sys.stdout.flush()
    assert "u1,é," in screen.getvalue().decode("utf-8")


def test_data_that_were_moved_are_found_where_they_are_said_to_be(tiny, tmp_path, capsys):
    made = run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1})
    file = made["sr"]["checkpoint"]
    usual = recommend(file, k=3)
    (tmp_path / "elsewhere").mkdir()
    Path(tiny["data_path"], "tiny").rename(tmp_path / "elsewhere" / "tiny")
    with pytest.raises(InputError, match="got no such folder; give as"):
        recommend(file, k=3)
    pd.testing.assert_frame_equal(recommend(file, k=3, data_path="elsewhere"), usual)
    words = [file, "--data_path", "elsewhere", "-o"]
    assert main(["recommend", *words, "top.csv", "-k", "3"]) == 0
    assert len(pd.read_csv("top.csv")) == len(usual)
    assert main(["embeddings", *words, "vectors"]) == 0


@pytest.mark.parametrize("again", ["a column is gone", "the file is gone", "no lines are left"])
def test_data_that_cannot_be_read_as_in_training_are_said_to_have_changed(again, tiny):
    made = run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1})["sr"]
    inter = Path(tiny["data_path"], "tiny", "tiny.inter")
    lines = inter.read_text().splitlines()
    if again == "the file is gone":
        inter.unlink()
    elif again == "no lines are left":
        inter.write_text(lines[0] + "\n")
    else:
        inter.write_text("\n".join("\t".join(line.split("\t")[:1]) for line in lines))
    for go, file in (
        (recommend, made["checkpoint"]),
        (resume, made["checkpoint"].replace(".pth", ".run.pth")),
    ):
        with pytest.raises(InputError) as refused:
            go(file)
        assert str(refused.value).startswith(f"{file}: expected its data set as it was in training")
        assert "tiny.inter" in str(refused.value)


@pytest.mark.parametrize("users", ["196", 196, 1.5])
def test_one_user_is_no_list_of_users(users, tiny):
    with pytest.raises(InputError, match=r"users: expected a list of ids, got .*; give \["):
        recommend(checkpoint(tiny), users)


@pytest.mark.parametrize("model", ["GRU4Rec", "SASRec"])
def test_a_sequential_model_serves_without_times(model, tiny, serve):
    """As the interactions of each user are in the order of time anyway."""
    usual = serve(model)
    names = usual.dataset.id2token("user_id", range(1, usual.dataset.user_num))
    expected = recommend("any", names, k=5)
    made = serve(model, unused_col={"inter": ["timestamp"]})
    assert "timestamp" not in made.train_data._dataset.inter_feat
    made.model.load_state_dict(usual.model.state_dict())
    pd.testing.assert_frame_equal(recommend("any", names, k=5), expected)


def test_serving_writes_no_log_and_warns_whatever_the_run_logged(tiny, tmp_path):
    file = checkpoint(tiny, state="ERROR")
    before = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    command = [sys.executable, "-m", "recbole_sr", "recommend", file, "--user", "u3", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "warning" in done.stderr
    assert "users: 1 are not in the data: 'nobody'" in done.stderr
    assert done.stdout.splitlines()[0] == "user_id,item_id,rank,score"
    assert {path for path in Path().rglob("*") if "__pycache__" not in path.parts} == before


OUTPUTS = {
    "no kind": ("top", "top: expected a name that ends in .csv, .tsv, .jsonl, one of these and"),
    "another": ("top.xlsx", "got 'top.xlsx'; give such a name"),
    "parquet, packed": ("top.parquet.gz", "got 'top.parquet.gz'"),
    "there": ("there.csv", "there.csv: expected a new file, got a file that is there"),
    "no table": ("no.csv.gz", "no.csv.gz: expected a new file, got a file that is there"),
    "not ours": ("not.parquet", "not.parquet: expected a new file, got a file that is there"),
    "no folder": ("none/top.csv", "none/top.csv: expected a file in a folder, got no folder none"),
}


@pytest.mark.parametrize(("name", "says"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_an_output_that_cannot_be_written_is_refused_first(name, says, capsys):
    files = {"there.csv": b"qid,docno,judge,rank,score", "no.csv.gz": b"mine", "not.parquet": b""}
    for file, content in files.items():
        Path(file).write_bytes(content)
    assert main(["recommend", "no.pth", "-o", name]) == 2
    assert says in capsys.readouterr().err
    assert {file: Path(file).read_bytes() for file in files} == files


def test_parquet_without_its_package_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("recbole_sr.serve.tables.find_spec", lambda name: None)
    assert main(["recommend", "no.pth", "-o", "top.parquet"]) == 2
    assert "expected pyarrow for parquet, got none; pip install" in capsys.readouterr().err


def test_a_file_of_users_that_cannot_be_read_is_refused(capsys):
    Path("users.txt").write_bytes(b"\xff\xfe")
    for file, says in {
        "": "expected the path of a file of ids, one a line, got ''; give one",
        "no.txt": "no.txt: expected a file",
        "users.txt": "users.txt: expected text in UTF-8",
    }.items():
        assert main(["recommend", "no.pth", "--users", file]) == 2
        assert says in capsys.readouterr().err


def test_a_run_that_has_not_ended_is_warned_of(tiny, caplog):
    file = checkpoint(tiny)
    recommend(file, k=3)
    assert not caplog.text
    Path(file).with_suffix("").joinpath("result.json").unlink()
    recommend(file, k=3)
    assert f"{file}: of a run that has not ended; where it was killed, recbole-sr resume" in (
        caplog.text
    )


def test_a_table_that_looks_like_lists_is_kept(tiny, capsys):
    file = checkpoint(tiny)
    Path("mine.csv").write_text("qid,docno,rank,score\n1,2,3,4\n")
    assert main(["recommend", file, "-o", "mine.csv"]) == 2
    assert "mine.csv: expected a new file, got a file that is there" in capsys.readouterr().err
    Path("users.csv").write_text("user_id,item_id,rank,score\nu3\n")
    assert main(["recommend", file, "--users", "users.csv", "-o", "users.csv"]) == 2
    assert "users.csv: expected another file than --users" in capsys.readouterr().err
    assert Path("users.csv").read_text().endswith("u3\n")


def test_lists_go_where_a_link_leads(tiny):
    file = checkpoint(tiny)
    Path("real.csv").write_text("user_id,item_id,rank,score\n")
    Path("link.csv").symlink_to("real.csv")
    assert main(["recommend", file, "--user", "u3", "-k", "4", "-o", "link.csv"]) == 0
    assert Path("link.csv").is_symlink()
    assert len(pd.read_csv("real.csv")) == 4
