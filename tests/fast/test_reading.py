"""Data read and split quickly are RecBole's, to the last bit."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data import create_dataset
from recbole.data.dataset import Dataset, SequentialDataset, dataset
from recbole.data.interaction import Interaction

from recbole_sr.config.config import Config
from recbole_sr.fast.reading import quick_reading

CELLS = st.one_of(
    st.sampled_from(["", "NA", "nan", "None", "-NaN", "inf", "1_000", " 5", "5 ", "0x10", "1e400"]),
    st.floats().map(repr),
    st.integers().map(str),
    st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), max_size=4),
)


def read(path, dtype, **more):
    """What a reader gives, or the kind of its refusal."""
    try:
        return dataset.pd.read_csv(
            path, delimiter="\t", dtype=dtype, encoding="utf-8", engine="python", **more
        )
    except Exception as error:
        return type(error), str(error)


@given(
    # Other numbers of columns are refused before a file is read.
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6),
    kind=st.sampled_from([str, np.float64]),
)
def test_a_file_is_read_as_by_the_parser_in_python(rows, kind, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "file"
    text = "\n".join(["a:token\tb:float", *("\t".join(row) for row in rows), ""])
    path.write_bytes(text.encode())
    dtype, used = {"a:token": str, "b:float": kind}, {"usecols": ["a:token", "b:float"]}
    theirs = read(path, dtype, **used)
    with quick_reading():
        ours = read(path, dtype, **used)
    if isinstance(theirs, pd.DataFrame):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    else:
        assert ours == theirs


@given(st.lists(st.integers(-3, 9), max_size=30))
def test_positions_are_grouped_as_by_recbole(keys):
    made = Dataset.__new__(Dataset)
    theirs = list(made._grouped_index(np.array(keys, dtype=np.int64)))
    with quick_reading():
        assert list(made._grouped_index(np.array(keys, dtype=np.int64))) == theirs


@pytest.mark.parametrize(
    "index", [[2, 0, 2], [-1], [], [True, False, True, False], slice(1, 3), 1, range(2), "x"]
)
def test_rows_are_those_that_recbole_takes(index):
    rows = Interaction({"x": torch.arange(4), "y": torch.arange(8).view(4, 2)})
    theirs = rows[index]
    with quick_reading():
        ours = rows[index]
    assert type(ours) is type(theirs)
    pairs = (
        [(ours, theirs)] if index == "x" else [(ours[name], theirs[name]) for name in ("x", "y")]
    )
    for mine, other in pairs:
        assert torch.equal(mine, other)


RATIOS, LAST = {"RS": [0.8, 0.1, 0.1]}, {"LS": "valid_and_test"}


@pytest.mark.parametrize(("group", "split"), [("user", RATIOS), ("user", LAST), ("none", RATIOS)])
@pytest.mark.parametrize("order", ["RO", "TO"])
def test_the_parts_of_a_data_set_are_recboles(group, split, order):
    arguments = {"split": split, "group_by": group, "order": order, "mode": "full"}
    config = Config("BPR", "ml-100k", config_dict={"eval_args": arguments})

    def parts():
        torch.manual_seed(1)
        np.random.seed(1)
        return create_dataset(config).build()

    theirs = parts()
    with quick_reading():
        ours = parts()
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.inter_feat.interaction.keys() == other.inter_feat.interaction.keys()
        for name, values in other.inter_feat.interaction.items():
            assert torch.equal(mine.inter_feat[name], values), name
        assert mine.field2token_id == other.field2token_id


def replaced():
    return (
        dataset.pd.read_csv,
        Dataset._grouped_index,
        Interaction.__getitem__,
        SequentialDataset.data_augmentation,
    )


def test_afterwards_recbole_is_as_it_was():
    before = replaced()
    with suppress(KeyboardInterrupt), quick_reading():
        assert not {*before} & {*replaced()}
        raise KeyboardInterrupt
    assert replaced() == before
