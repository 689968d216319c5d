"""Data as people have them: what is wrong is refused by name, what is left out is counted."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

import pytest
from contract import settings_of
from recbole.data import create_dataset
from recbole.utils import init_logger
from recbole.utils.case_study import full_sort_topk

from recbole_sr.config.config import Config
from recbole_sr.config.data_files import check_dataset
from recbole_sr.errors import InputError
from recbole_sr.training.checks import check_columns
from recbole_sr.training.experiment import prepare

FOLDER = Path("data/tiny")
# A model that reads the file, so that one kind of file is tried on the models that have it.
FILES = {"inter": "SASRec", "user": "FM", "item": "FM", "kg": "CKE", "link": "CKE"}
FM = {"load_col": None, "threshold": {"rating": 2}, "numerical_features": []}


def edit(suffix, change):
    """Rewrite a file of the data set by a function of its lines."""
    file = FOLDER / f"tiny.{suffix}"
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")


def put(suffix, line, column, text):
    """Put a text into a cell; the header is line 1."""

    def change(lines):
        cells = lines[line - 1].split("\t")
        cells[column] = text
        return [*lines[: line - 1], "\t".join(cells), *lines[line:]]

    edit(suffix, change)


def convert(suffix, change):
    """Rewrite a file by a function of its bytes."""
    file = FOLDER / f"tiny.{suffix}"
    file.write_bytes(change(file.read_bytes()))


def replaced(suffix, make):
    """Put something that is no file in a file's place."""
    file = FOLDER / f"tiny.{suffix}"
    file.unlink()
    make(file)


@pytest.fixture
def read(tiny):
    """Have RecBole read the data set for a model, after what a run checks before."""

    def read(model, **settings):
        given = {**settings_of(model, tiny), **(FM if model == "FM" else {}), **settings}
        config = Config(model, "tiny", config_dict=given)
        check_dataset(config.final_config_dict)
        check_columns(config)
        return create_dataset(config)

    return read


DAMAGED = {
    "a column too many": (
        lambda s: edit(s, lambda x: [x[0], x[1] + "\tx", *x[2:]]),
        r"expected \d columns in every line, got \d in line 2; mend",
    ),
    "a column too few": (
        lambda s: edit(s, lambda x: [*x[:4], x[4].rsplit("\t", 1)[0], *x[5:]]),
        r"expected \d columns in every line, got \d in line 5; mend",
    ),
    "empty": (lambda s: edit(s, lambda x: []), r"expected a header of distinct"),
    "a header alone": (lambda s: edit(s, lambda x: x[:1]), r"expected lines below the header"),
    "a byte order mark": (
        lambda s: convert(s, lambda x: b"\xef\xbb\xbf" + x),
        r"got a byte order mark before it; set encoding: utf-8-sig",
    ),
    "Latin-1": (
        lambda s: convert(s, lambda x: x.replace(b"\n", b"\n\xfc", 1)),
        r"expected utf-8 text, got other bytes in line 2; convert",
    ),
    "UTF-16": (
        lambda s: convert(s, lambda x: x.decode().encode("utf-16")),
        r"expected utf-8 text, got other bytes in line 1; convert",
    ),
    "UTF-16 without a mark": (
        lambda s: convert(s, lambda x: x.decode().encode("utf-16-le")),
        r"expected text, got a zero byte in line 1; convert",
    ),
    "a zero byte": (
        lambda s: convert(s, lambda x: x.replace(b"\n", b"\n\0", 1)),
        r"expected text, got a zero byte in line 2; convert",
    ),
    "commas": (
        lambda s: convert(s, lambda x: x.replace(b"\t", b",")),
        r"expected a header of distinct .* or correct field_separator",
    ),
    "two colons": (
        lambda s: convert(s, lambda x: x.replace(b":token", b"::token")),
        r"expected a header of distinct",
    ),
    "ids as numbers": (
        lambda s: convert(s, lambda x: x.replace(b":token", b":float", 1)),
        r"of type token, as ids are text, got float; correct the header",
    ),
    "no ids": (
        lambda s: edit(s, lambda x: [x[0], *("\t" + y.split("\t", 1)[1] for y in x[1:])]),
        r"expected lines with \w+.*, got none; correct",
    ),
    "a pipe": (lambda s: replaced(s, os.mkfifo), "no file|expected a file, got something else"),
    "a device": (
        lambda s: replaced(s, lambda x: x.symlink_to("/dev/zero")),
        "no file|expected a file, got something else",
    ),
    "a folder": (lambda s: replaced(s, Path.mkdir), "no file|expected a file, got something else"),
    "a link to nothing": (
        lambda s: replaced(s, lambda x: x.symlink_to("nothing")),
        "no such file|expected a file, got something else",
    ),
}


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize(("damage", "says"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_refused_by_name(damage, says, suffix, read):
    damage(suffix)
    with pytest.raises(InputError, match=rf"tiny\.{suffix}: .*({says})"):
        read(FILES[suffix])


AS_STOCK = {
    "Windows line ends": lambda s: convert(s, lambda x: x.replace(b"\n", b"\r\n")),
    "old Mac line ends": lambda s: convert(s, lambda x: x.replace(b"\n", b"\r")),
    "empty lines": lambda s: edit(s, lambda x: [*x[:3], "", " ", *x[3:], ""]),
    "quotes": lambda s: edit(s, lambda x: [x[0], *(f'"{y}"'.replace("\t", '"\t"') for y in x[1:])]),
}


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("change", AS_STOCK.values(), ids=AS_STOCK.keys())
def test_odd_lines_are_read_as_pandas_reads_them(change, suffix, read, caplog):
    model = FILES[suffix]
    expected = read(model)
    change(suffix)
    found = read(model)
    for name in expected.feat_name_list:
        given, other = getattr(expected, name), getattr(found, name)
        assert all(list(map(str, given[x])) == list(map(str, other[x])) for x in given)
    assert not caplog.records


def test_other_separators_and_encodings_are_read(read):
    for suffix in FILES:
        convert(suffix, lambda x: b"\xef\xbb\xbf" + x.replace(b"\t", b"::"))
    assert len(read("CKE", encoding="utf-8-sig", field_separator="::").inter_feat) == 480


@pytest.mark.parametrize("separator", ["", "((", 5])
def test_a_separator_that_cannot_be_is_refused(separator, read):
    with pytest.raises(InputError, match="field_separator: expected"):
        read("BPR", field_separator=separator)


@pytest.mark.parametrize("text", ["", "NA", "null", "None", "nan", "N/A"])
@pytest.mark.parametrize(("suffix", "column"), [(s, 0) for s in FILES] + [("inter", 1), ("kg", 2)])
def test_lines_without_ids_are_left_out_and_said(suffix, column, text, read, caplog):
    put(suffix, 5, column, text)
    edit(suffix, lambda lines: [*lines[:2], "", *lines[2:]])
    data = read(FILES[suffix])
    said = f" ({text!r}); pandas takes NA" if text else ""
    field = re.escape((FOLDER / f"tiny.{suffix}").read_text().split("\t")[column].split(":")[0])
    total = len((FOLDER / f"tiny.{suffix}").read_text().splitlines()) - 2
    expected = rf"tiny\.{suffix}: 1 of {total} lines have no {field.strip()} and are left out: "
    assert re.search(expected + "line 6" + re.escape(said), caplog.text)
    for name in data.feat_name_list:
        feat = getattr(data, name)
        for each in ("user_id", "item_id", "head_id", "tail_id", "relation_id"):
            own = name in ("user_feat", "item_feat")  # begins with padding
            assert each not in feat or (feat[each] > 0)[int(own) :].all()


@pytest.mark.parametrize("text", ["NA", "null", "None", "nan", "N/A"])
@pytest.mark.parametrize("suffix", ["inter", "user", "item"])
def test_an_id_in_quotes_is_one_though_pandas_takes_it_for_missing(suffix, text, read, caplog):
    put(suffix, 5, 0, f'"{text}"')
    put(suffix, 6, 0, "NA")
    data = read(FILES[suffix])
    assert text in data.field2id_token["item_id" if suffix == "item" else "user_id"]
    assert ": line 6 ('NA')" in caplog.text
    assert "line 5" not in caplog.text


def test_quotes_around_another_id_of_the_line_are_not_its_own(read, caplog):
    put("inter", 5, 0, '"NA"')
    put("inter", 5, 1, "NA")
    data = read("BPR")
    assert "NA" not in data.field2id_token["item_id"]
    assert "1 of 480 lines have no item_id and are left out: line 5 ('NA')" in caplog.text


def test_lines_without_ids_of_a_given_part_are_not_of_padding(tiny, caplog):
    lines = (FOLDER / "tiny.inter").read_text().splitlines()
    for part, own in (("a", lines[1:300]), ("b", lines[300:400]), ("c", lines[400:])):
        rows = [lines[0], *own[:2], "NA\ti3\t1\t1", *own[2:]]
        (FOLDER / f"tiny.{part}.inter").write_text("\n".join(rows) + "\n")
    given = {**tiny, "benchmark_filename": ["a", "b", "c"]}
    parts = create_dataset(Config("BPR", "tiny", config_dict=given)).build()
    assert [len(part.inter_feat) for part in parts] == [299, 100, 81]
    assert all((part.inter_feat["user_id"] > 0).all() for part in parts)
    assert all(f"tiny.{part}.inter: 1 of " in caplog.text for part in "abc")


@pytest.mark.parametrize("text", ["good", "inf", "-inf", "1e999", "1e39", "3,5"])
@pytest.mark.parametrize(("column", "name"), [(2, "rating"), (3, "timestamp")])
def test_what_is_no_finite_number_is_refused_by_its_line(column, name, text, read):
    put("inter", 7, column, text)
    said = rf"tiny\.inter: expected a finite number as {name} in line 7, got '{text}'; correct"
    with pytest.raises(InputError, match=said):
        read("BPR", load_col=None)


@pytest.mark.parametrize("text", ["x", "nan", "inf"])
def test_a_sequence_of_numbers_holds_finite_numbers(text, read):
    put("ent", 3, 1, f"0.5 {text} 0.5")
    with pytest.raises(InputError, match=rf"finite number as ent_emb in line 3, got '{text}'"):
        read("BPR", additional_feat_suffix=["ent"], load_col=None)


def test_a_column_without_numbers_is_refused(read):
    edit("inter", lambda lines: [lines[0], *(x.rsplit("\t", 1)[0] + "\t" for x in lines[1:])])
    with pytest.raises(InputError, match=r"tiny\.inter: expected numbers as timestamp, got none"):
        read("SASRec")


@pytest.mark.parametrize("model", ["BPR", "SASRec"])
def test_what_is_sorted_by_time_has_times(model, read):
    load = {"inter": ["user_id", "item_id"]}
    data = read(model, eval_args={"order": "TO"}, load_col=load)
    with pytest.raises(InputError, match=r"TIME_FIELD: expected the column timestamp, .*load_col"):
        data.build()


def test_a_sequential_model_has_sequences_to_train_on(read):
    edit("inter", lambda lines: [lines[0], *lines[1::12]])
    with pytest.raises(InputError, match=r"tiny: expected interactions to train on, .*, got none"):
        read("SASRec").build()


def test_a_field_too_long_for_pandas_is_refused(read):
    put("item", 5, 1, '"' + "c1 " * 50_000 + '"')
    with pytest.raises(InputError, match=r"tiny\.item: expected fields that pandas can read"):
        read("FM")


def test_what_is_filled_in_or_taken_for_missing_is_said(read, caplog):
    put("inter", 7, 3, "")
    put("user", 4, 1, "NA")
    put("item", 5, 1, "null")
    put("item", 6, 1, "")
    read("FM")
    assert "1 of 480 lines have no timestamp and are given the mean" in caplog.text
    assert "lines have no gender and are read as missing: line 4 ('NA')" in caplog.text
    assert "1 of 60 lines have no class and are read as missing: line 5 ('null')" in caplog.text


def test_numbers_of_features_that_are_filled_in_are_counted(read, caplog):
    def with_sizes(lines):
        sizes = ["size:float", "1.5", "", *("2.5" for _ in lines[3:])]
        return ["\t".join(row) for row in zip(lines, sizes, strict=True)]

    edit("item", with_sizes)
    read("FM", numerical_features=["size"])
    assert "1 of 60 lines have no size and are given the mean of the others: line 3" in caplog.text


def test_features_of_some_are_counted_those_of_nobody_refused(read, caplog):
    edit("user", lambda lines: [*lines[:30], lines[3]])
    read("FM")
    assert "1 of 30 lines repeat the user_id of an earlier line, such as 'u2'" in caplog.text
    assert re.search("132 of 480 interactions have no user_id of it.* are left out", caplog.text)
    read("FM", filter_inter_by_user_or_item=False)
    assert "they have no features" in caplog.text
    edit("user", lambda lines: [lines[0], *(x.replace("\t", ".0\t") for x in lines[1:])])
    with pytest.raises(InputError, match=r"none of them; ids are .* texts, such as 'u0' and 'u0.0"):
        read("FM")


def test_interactions_whose_entities_are_in_no_triple_are_counted(read, caplog):
    edit("kg", lambda lines: [lines[0], *(x for x in lines[1:] if "e5" not in x.split("\t"))])
    read("CKE")
    (told,) = (text for text in caplog.messages if "tiny.kg" in text)
    assert re.search(r"\d+ of 480 interactions are left out, as the .* 1 items .* 'e5'", told)


@pytest.mark.parametrize("line", ["i5\te9", "i5\tg1"])
def test_an_item_of_two_entities_is_refused(line, read):
    edit("link", lambda lines: [*lines, line])
    with pytest.raises(InputError, match=r"expected each item_id once, .* got 'i5' more than"):
        read("CKE")


ASKED = {
    "a column that is not there": (
        {"load_col": {"inter": ["user_id", "item_id", "ratings"]}},
        r"load_col \(inter\): .*, got 'ratings'",
    ),
    "a column not to be read that is not there": (
        {"load_col": None, "unload_col": {"inter": ["ratings"]}},
        r"unload_col \(inter\): .*, got 'ratings'",
    ),
    "no item": ({"load_col": {"inter": ["user_id"]}}, r"load_col \(inter\): expected item_id"),
    "item not to be read": (
        {"load_col": None, "unload_col": {"inter": ["item_id"]}},
        r"unload_col \(inter\): expected item_id",
    ),
    "a text": ({"load_col": {"inter": "user_id"}}, r"load_col \(inter\): expected a valid list"),
    "a file that RecBole does not read": (
        {"load_col": {"inter": ["user_id", "item_id"], "users": ["user_id"]}},
        "load_col: .*, got 'users'; did you mean 'user'",
    ),
    "an illegal interval": (
        {"load_col": None, "val_interval": {"rating": "3..5"}},
        r"val_interval \(rating\): expected an interval such as .*, got '3\.\.5'",
    ),
    "an interval the wrong way round": (
        {"item_inter_num_interval": "[5,3]"},
        r"item_inter_num_interval: expected an interval .*, got \[5, 3\]",
    ),
    "an alias that is no token": (
        {"load_col": None, "alias_of_item_id": ["rating"]},
        "alias_of_item_id: expected fields of type token .*, got 'rating'",
    ),
    "numbers for texts": (
        {"load_col": None, "val_interval": {"user_id": [1, 2]}},
        r"val_interval \(user_id\): expected a list of texts",
    ),
    "an interval that empties the data": (
        {"load_col": None, "val_interval": {"rating": "[50,60]"}},
        "val_interval.*: expected some lines of inter_feat to be left, got none",
    ),
}


@pytest.mark.parametrize(("settings", "says"), ASKED.values(), ids=ASKED.keys())
def test_settings_that_the_files_cannot_answer_are_refused(settings, says, read):
    with pytest.raises(InputError, match=says):
        read("BPR", **settings)


def test_a_file_of_features_that_is_asked_for_is_there(read):
    (FOLDER / "tiny.user").unlink()
    assert read("BPR", load_col=None)
    load = {"inter": ["user_id", "item_id"], "user": ["user_id", "gender"]}
    with pytest.raises(InputError, match=r"tiny\.user: expected the file that load_col asks for"):
        read("BPR", load_col=load)


@pytest.mark.parametrize("interval", ["[3,inf);(-1,0]", "[3, inf) ; [0,0]"])
def test_several_intervals_are_taken_together(interval, read):
    data = read("BPR", load_col=None, val_interval={"rating": interval})
    assert set(data.inter_feat["rating"]) == {0, 3, 4}


def test_an_interval_that_yaml_reads_as_a_list_is_one(read):
    assert len(read("BPR", user_inter_num_interval=[12, 12]).inter_feat) == 480


@pytest.mark.parametrize("model", ["BPR", "CKE", "FM"])
def test_pairs_that_are_trained_on_and_looked_for_are_counted(model, read, caplog):
    edit("inter", lambda lines: [*lines, *lines[1:200]])
    full = {"eval_args": {"mode": "full"}, "metrics": ["NDCG"], "valid_metric": "NDCG@10"}
    parts = read(model, **full).build()
    pairs = [
        [*zip(*(part.inter_feat[x].tolist() for x in ("user_id", "item_id")), strict=True)]
        for part in parts
    ]
    valid = sum(pair in pairs[0] for pair in pairs[1])
    test = sum(pair in pairs[0] + pairs[1] for pair in pairs[2])
    said = (
        f"{valid} of {len(pairs[1])} pairs in validation, {test} of {len(pairs[2])} pairs in test"
    )
    assert f"tiny: {said} are in an earlier part, too" in caplog.text
    assert "set rm_dup_inter: first" in caplog.text
    caplog.clear()
    read(model, **full, rm_dup_inter="first").build()
    read(model, **full, repeatable=True).build()
    read("SASRec").build()
    if model == "FM":
        read(model).build()  # labelled: each line is an event of its own
    assert "earlier part" not in caplog.text


@pytest.mark.parametrize(
    ("model", "more"), [("SASRec", {}), ("BPR", {"eval_args": {"order": "TO"}})]
)
def test_times_that_become_one_are_counted(model, more, read, caplog):
    columns = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    read(model, **columns, **more).build()
    assert "times equal another" not in caplog.text
    near = [f"u0\ti{i}\t1\t{2**30 + i}" for i in range(40, 50)]
    edit("inter", lambda lines: [*lines, *near])  # in their order, which sorting keeps
    read(model, **columns, **more).build()
    edit("inter", lambda lines: [*lines[:-10], *reversed(near)])
    read("BPR", **columns).build()
    assert "times equal another" not in caplog.text
    read(model, **columns, **more).build()
    assert "tiny: 9 of 490 times equal another of the same user" in caplog.text
    assert "rounded them to 128, and keep the file's order" in caplog.text


HEAD = "user_id:token\titem_id_list:token_seq\titem_id:token"
GIVEN = {
    "no list": ("user_id:token\titem_id:token", "u1\ti4", {}, "expected the column item_id_list"),
    "no alias": (HEAD, "u1\ti1 i2\ti4", {}, r"alias_of_item_id: expected \['item_id_list'\]"),
    "an empty list": (
        HEAD,
        "u1\t\ti4",
        {"alias_of_item_id": ["item_id_list"]},
        "expected an item in each item_id_list, got none in 3 of 6 lines",
    ),
    "a list too long": (
        HEAD,
        "u1\ti1 i2 i3 i4\ti4",
        {"alias_of_item_id": ["item_id_list"], "MAX_ITEM_LIST_LENGTH": 3},
        "MAX_ITEM_LIST_LENGTH: expected at least 4, the longest item_id_list, got 3",
    ),
}


@pytest.mark.parametrize(("head", "line", "settings", "says"), GIVEN.values(), ids=GIVEN.keys())
def test_given_histories_that_would_be_misread_are_refused(head, line, settings, says, read):
    for part in "abc":
        other = line.replace("\t\t", "\ti1\t").replace("u1", "u2")
        (FOLDER / f"tiny.{part}.inter").write_text(f"{head}\n{line}\n{other}\n")
    with pytest.raises(InputError, match=says):
        read("SASRec", benchmark_filename=[*"abc"], load_col=None, **settings)


def add(suffix, name, values):
    """Add a column to a file, of its values in turn."""

    def change(lines):
        head, *others = lines
        cells = [f"{line}\t{values[at % len(values)]}" for at, line in enumerate(others)]
        return [f"{head}\t{name}", *cells]

    edit(suffix, change)


def test_given_histories_may_have_any_names(tiny):
    head = "user_id:token\twhat_list:token_seq\twhat:token"
    for part in "abc":
        lines = [f"u{user}\ti1 i{user}\ti{user + 1}" for user in range(9)]
        (FOLDER / f"tiny.{part}.inter").write_text("\n".join([head, *lines]) + "\n")
    given = {**settings_of("SASRec", tiny), "ITEM_ID_FIELD": "what", "benchmark_filename": [*"abc"]}
    columns = ["user_id", "what_list", "what"]
    given |= {"alias_of_item_id": ["what_list"], "load_col": {"inter": columns}}
    rows = prepare(Config("SASRec", "tiny", config_dict=given)).train_data.dataset.inter_feat
    assert rows["item_length"].tolist() == [2] * 9


@pytest.mark.parametrize("model", ["BPR", "FM"])
@pytest.mark.parametrize(("one", "other"), [("user", "item"), ("inter", "item"), ("inter", "user")])
def test_a_column_of_two_files_is_refused_or_named(one, other, model, read, caplog):
    given = {"load_col": None, "threshold": {"rating": 2}}
    add(one, "size:float", [1, 2])
    add(other, "size:float", [3, 4])
    with caplog.at_level(logging.WARNING):
        read(model, **given)
    assert (
        f"tiny.{other}: the file of {one} has a column size, too, and RecBole tells" in caplog.text
    )
    add(one, "kind:token", ["a"])
    add(other, "kind:token", ["b"])
    says = rf"tiny\.{other}: expected columns of its own, got kind of type token, .* of {one} has"
    with pytest.raises(InputError, match=says):
        read(model, **given)
    read(model, **given, unload_col={other: ["kind"]})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"discretization": {"timestamp": {"method": "LD"}}}, "discretization: expected other col"),
        ({"eval_args": {"order": "RO"}}, r"eval_args \(order\): expected TO for SASRec, which lea"),
        (
            {"val_interval": {"tags": ["a"]}},
            r"val_interval \(tags\): .*, got one of type token_seq",
        ),
        ({"val_interval": {"sizes": "[0,1]"}}, r"\(sizes\): expected a column of single values"),
    ],
    ids=["times in buckets", "no order", "filtered by lists", "filtered by numbers"],
)
def test_what_recbole_would_misread_of_sequences_is_refused(settings, says, tiny):
    add("inter", "tags:token_seq", ["a b", "c"])
    add("inter", "sizes:float_seq", ["1 2", "3"])
    numbers = {"numerical_features": ["timestamp"]} if "discretization" in settings else {}
    given = {**settings_of("SASRec", tiny), "load_col": None, **numbers, **settings}
    with pytest.raises(InputError, match=says):
        prepare(Config("SASRec", "tiny", config_dict=given))


def test_times_may_be_numerical_features(tiny):
    given = {"numerical_features": ["timestamp"], "eval_args": {"order": "TO"}}
    given |= {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    for model in ("BPR", "SASRec"):
        prepare(Config(model, "tiny", config_dict={**settings_of(model, tiny), **given}))


def test_lists_without_a_number_are_refused(read):
    add("item", "sizes:float_seq", [""])
    with pytest.raises(InputError, match=r"tiny\.item: expected numbers as sizes, got none"):
        read("FM", numerical_features=["sizes"])


@pytest.mark.parametrize("mode", ["full", {"valid": "uni20", "test": "full"}])
def test_a_ranking_of_all_items_by_a_column_of_interactions_is_refused(mode, tiny):
    given = {**settings_of("FM", tiny), "load_col": {"inter": ["user_id", "item_id", "rating"]}}
    given |= {"numerical_features": ["rating"], "threshold": None}
    given |= {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    given |= {"metrics": ["Recall"], "valid_metric": "Recall@10"}
    with pytest.raises(
        InputError, match=r"load_col \(inter\): expected users and items alone for F"
    ):
        prepare(Config("FM", "tiny", config_dict={**given, "eval_args": {"mode": mode}}))
    prepare(Config("FM", "tiny", config_dict={**given, "eval_args": {"mode": "uni20"}}))


@pytest.mark.parametrize(("model", "fast"), [("BPR", True), ("BPR", False), ("SASRec", True)])
def test_users_without_items_to_be_found_have_scores_of_their_own(model, fast, tiny):
    """Of a sequential model RecBole leaves them out, so that scores stand in others' rows."""
    edit(
        "inter", lambda x: [y for y in x if not y.startswith("u3\t")] + [x[-1].replace("u39", "u3")]
    )
    given = {**settings_of(model, tiny), "sr_fast": fast}
    made = prepare(Config(model, "tiny", config_dict=given))
    users = made.dataset.token2id("user_id", ["u1", "u3", "u5"])
    if model == "SASRec":
        with pytest.raises(InputError, match=rf"uid_series: .*, got {users[1]}, who has 0; leave"):
            full_sort_topk(users, made.model, made.test_data, k=5)
        users = users[[0, 2]]
    made.model.eval()
    _, items = full_sort_topk(users, made.model, made.test_data, k=50)
    assert len(items) == len(users)
    if model == "BPR":
        own = made.train_data.dataset.inter_feat
        seen = set(own["item_id"][own["user_id"] == users[1]].tolist())
        assert seen
        assert not seen & set(items[1].tolist()[:40])


def test_a_threshold_that_no_rating_reaches_leaves_nothing_to_begin_from(tiny):
    given = {**tiny, "load_col": None, "threshold": {"rating": 50}, "sr_init": "spectral"}
    with pytest.raises(
        InputError, match=r"sr_init: expected training .* label is positive, got no"
    ):
        prepare(Config("BPR", "tiny", config_dict=given))


def test_many_runs_in_one_process_wrap_the_output_once(tiny):
    config = Config("BPR", "tiny", config_dict=tiny)
    init_logger(config)
    once = sys.stderr
    init_logger(config)
    assert sys.stderr is once
    logging.getLogger().handlers.clear()
