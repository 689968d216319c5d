"""Histories of sequential data are RecBole's, to the last bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data import create_dataset

from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.fast.reading import quick_reading
from recbole_sr.fast.sequences import filled, histories

LINES = [
    "user_id:token\titem_id:token\ttimestamp:float\tprice:float\ttags:token_seq\tshape:float_seq",
    *(
        f"u{user}\ti{(3 * user + step) % 7}\t{100 - step}\t{user + step / 4}\t{tags}\t0.5 {step}"
        for user, length in enumerate([1, 2, 6, 1, 3, 9, 1])
        for step, tags in zip(range(length), ["a b", "", "c", "a"] * 3, strict=False)
    ),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "shop.inter").write_text("\n".join(LINES) + "\n")
    return str(tmp_path)


def prepared(given):
    """The data set with its rows, which RecBole makes when it splits them."""
    made = create_dataset(Config("SASRec", "shop", config_dict=given))
    made.build()
    return made


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 5))
def test_a_history_is_what_a_user_did_before(lengths, most):
    users = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    expected = []
    for position, user in enumerate(users.tolist()):
        first = users.tolist().index(user)
        if position > first:
            expected.append((max(first, position - most), position))
    starts, targets = histories(users, most)
    assert list(zip(starts.tolist(), targets.tolist(), strict=True)) == expected


def test_blocks_are_filled_as_one(monkeypatch):
    values = torch.arange(20.0).view(10, 2)
    starts, ends = torch.tensor([0, 2, 0, 6, 3]), torch.tensor([1, 4, 3, 9, 3])
    whole = filled(torch.zeros(5, 3, 2), values, starts, ends)
    monkeypatch.setattr("recbole_sr.fast.sequences._AT_ONCE", 2)
    assert torch.equal(filled(torch.zeros(5, 3, 2), values, starts, ends), whole)
    for row, start, end in zip(whole, starts, ends, strict=True):
        assert torch.equal(row[: end - start], values[start:end])
        assert not row[end - start :].any()


def assert_same_rows(given):
    theirs = prepared(given)
    with quick_reading():
        ours = prepared(given)
    expected = theirs.inter_feat.interaction
    assert list(ours.inter_feat.interaction) == list(expected)
    for name, values in expected.items():
        assert ours.inter_feat[name].dtype == values.dtype
        assert torch.equal(ours.inter_feat[name], values), name
    assert ours.field2seqlen == theirs.field2seqlen
    assert ours.field2type == theirs.field2type


@pytest.mark.parametrize("most", [1, 3, 50])
@pytest.mark.parametrize("numerical", [[], ["price"], ["price", "shape"]])
def test_the_rows_of_sequential_data_are_recboles(folder, most, numerical):
    columns = ["user_id", "item_id", "timestamp", "price", "tags", "shape"]
    given = {
        "data_path": folder,
        "load_col": {"inter": columns},
        "MAX_ITEM_LIST_LENGTH": most,
        "numerical_features": numerical,
    }
    assert_same_rows(given)


def test_so_are_those_of_a_file_without_order_and_of_other_names(folder, tmp_path):
    head, *lines = LINES
    cells = [line.split("\t") for line in lines[::-1]]
    lines = [
        "\t".join([*row[:2], str(int(row[2]) // 3), *row[3:]]) for row in cells[::2] + cells[1::2]
    ]
    head = head.replace("user_id", "who").replace("item_id", "what").replace("timestamp", "when")
    (tmp_path / "shop" / "shop.inter").write_text("\n".join([head, *lines]) + "\n")
    given = {
        "data_path": folder,
        "load_col": {"inter": ["who", "what", "when", "price"]},
        "USER_ID_FIELD": "who",
        "ITEM_ID_FIELD": "what",
        "TIME_FIELD": "when",
        "LIST_SUFFIX": "_before",
        "ITEM_LIST_LENGTH_FIELD": "how_many",
        "numerical_features": ["price"],
        "discretization": {"price": {"method": "ED", "bucket": 3}},
    }
    assert_same_rows(given)


def test_a_filter_may_leave_out_the_longest_list(folder, tmp_path):
    longest = "u2\ti6\t1\t99\ta b c d\t1 2 3 4"
    (tmp_path / "shop" / "shop.inter").write_text("\n".join([*LINES, longest]) + "\n")
    given = {"data_path": folder, "load_col": None, "val_interval": {"price": "[0,50]"}}
    with quick_reading():
        rows = prepared(given).inter_feat
    assert rows["tags_list"].shape[2] == 2
    assert rows["shape_list"].shape[2] == 2


@pytest.mark.parametrize(
    ("columns", "settings", "says"),
    [
        ([], {"ITEM_LIST_LENGTH_FIELD": "item_id_list"}, "ITEM_LIST_LENGTH_FIELD: expected a name"),
        (["price"], {"ITEM_LIST_LENGTH_FIELD": "price"}, "of histories, got 'price'; give another"),
        (["price", "price_list"], {}, "LIST_SUFFIX: expected .*, got 'price_list'; give another"),
    ],
    ids=["of a list", "of a column", "a list of a column"],
)
def test_columns_of_the_names_of_histories_are_refused(columns, settings, says, folder, tmp_path):
    head = LINES[0].replace("shape", "price_list")
    (tmp_path / "shop" / "shop.inter").write_text("\n".join([head, *LINES[1:]]) + "\n")
    read = ["user_id", "item_id", "timestamp", *columns]
    given = {"data_path": folder, "load_col": {"inter": read}, **settings}
    with pytest.raises(InputError, match=says):
        prepared(given)


def test_data_of_one_event_each_are_refused(folder, tmp_path):
    lines = [LINES[0], *(line for line in LINES if line.startswith(("u0", "u3", "u6")))]
    (tmp_path / "shop" / "shop.inter").write_text("\n".join(lines) + "\n")
    columns = ["user_id", "item_id", "timestamp"]
    given = {"data_path": folder, "load_col": {"inter": columns}}
    with pytest.raises(InputError, match="several of a user, got none"):
        prepared(given)
    with quick_reading(), pytest.raises(InputError, match="several of a user, got none"):
        prepared(given)
