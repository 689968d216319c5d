"""From files of events to data sets: RecBole's own reader gives back the same events."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shlex
import sys
import zipfile
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.data import create_dataset

import recbole_sr
from recbole_sr import InputError, prepare
from recbole_sr.cli import main
from recbole_sr.config.config import Config
from recbole_sr.serve import events, reading

ROWS = [(f"{user:03}", f"i{(7 * user + n) % 30}", n) for user in range(12) for n in range(8)]
OTHER = "other"  # user of an item that no other one has, as nobody is to have them all
COLUMNS = {"user": "who", "item": "what"}


def table(rows=ROWS, by=",", header="who,what,when", end="\n"):
    lines = [header.replace(",", by), *(by.join(map(str, row)) for row in rows)]
    return "".join(line + end for line in lines)


def write(text, name="events.csv"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def read(folder="shop", model="BPR", **more):
    """The events as RecBole reads them: tokens of users and items, numbers; without ``OTHER``'s."""
    file = Path(folder, f"{Path(folder).name}.yaml")
    data = create_dataset(
        Config(model, config_file_list=[str(file)], config_dict={"state": "ERROR", **more})
    )
    feat = data.inter_feat
    names = [name for name in ("rating", "timestamp") if name in feat]
    rows = zip(
        data.id2token("user_id", feat["user_id"]),
        data.id2token("item_id", feat["item_id"]),
        *(feat[name].tolist() for name in names),
        strict=True,
    )
    return [row for row in rows if row[0] != OTHER]


PAIRS = [row[:2] for row in ROWS]


@pytest.mark.parametrize("by", [",", "\t", ";", "|"])
def test_the_separator_is_the_one_by_which_the_columns_are_there(by):
    text = table(by=by, header="who,what,a.b" if by == "|" else 'who,what,"a, b; c"')
    assert prepare(write(text, "events.txt"), "shop", **COLUMNS).interactions == len(ROWS)
    assert read() == PAIRS


PACKED = {
    ".csv": bytes,
    ".csv.gz": gzip.compress,
    ".tsv.bz2": bz2.compress,
    ".csv.xz": lzma.compress,
}


@pytest.mark.parametrize("suffix", PACKED)
def test_packed_files_are_read(suffix):
    file = write(PACKED[suffix](table().encode()), f"events{suffix}")
    assert prepare(file, "shop", **COLUMNS).read == len(ROWS)
    assert read() == PAIRS


def test_a_zip_file_of_one_file_is_read():
    with zipfile.ZipFile("events.zip", "w") as archive:
        archive.writestr("a/events.csv", table())
    prepare("events.zip", "shop", **COLUMNS)
    assert read() == PAIRS
    with zipfile.ZipFile("events.zip", "a") as archive:
        archive.writestr("b.csv", table())
    with pytest.raises(InputError, match=r"events\.zip: expected one file in it, got 2; unpack it"):
        prepare("events.zip", "other", **COLUMNS)


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8-sig", None), ("utf-8-sig", "utf8"), ("utf-16", "utf-16"), ("latin-1", "latin-1")],
)
def test_encodings(encoding, said):
    rows = [(user, f"ï{item}", n) for user, item, n in ROWS]
    prepare(write(table(rows).encode(encoding)), "shop", **COLUMNS, encoding=said)
    assert read() == [row[:2] for row in rows]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
def test_ends_of_lines(end):
    assert prepare(write(table(end=end)), "shop", **COLUMNS).read == len(ROWS)
    assert read() == PAIRS


def test_parquet_is_read():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(ROWS, columns=["who", "what", "when"])
    frame["who"] = pd.array([None, *([2**60 + 1] * 5), *([2**60 + 2] * 90)], "Int64")
    frame.loc[6:10, "who"] = 2**60 + 3  # so that each lacks what another has
    frame["when"] = pd.to_datetime(frame["when"], unit="D", utc=True)
    frame.set_index("who").to_parquet("events.parquet")
    done = prepare("events.parquet", "shop", **COLUMNS, time="when")
    assert done.dropped == {"user": 1}
    users = {line.split("\t")[0] for line in Path("shop/shop.inter").read_text().splitlines()[1:]}
    assert users == {str(2**60 + n) for n in (1, 2, 3)}
    assert done.times == "ISO dates, written as seconds since 1970: 1970-01-02 to 1970-01-08"
    with pytest.raises(InputError, match=r"user: expected a column of events\.parquet, "):
        prepare("events.parquet", "shop", user="whom", item="what")
    with pytest.raises(InputError, match=r"not\.parquet: expected a table"):
        prepare(write(table(), "not.parquet"), "other", **COLUMNS)


def test_without_pyarrow_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = r"events\.parquet: expected the package pyarrow.*pip install 'recbole_sr\[parquet\]'"
    with pytest.raises(InputError, match=said):
        prepare(write(b"PAR1", "events.parquet"), "shop", **COLUMNS)


ODD = [
    *("NA", "null", "nan", "None", "", "007", "7", "7.0", "1e5", " a ", 'a"b', '"a"', '"', "a\tb"),
    *("a b", "a,b", "[PAD]", "#a", "0", "-1", "é", "\u2028", "\x1c", "\x0b", "\x85", "😀", "a\nb"),
    *("a\rb", "\0", "\ud800", "True", "x" * 300, "'", "\\", "\\t", "a:token", "\ufeff", "\xa0"),
]
KEPT = [text for text in ODD if text and not {*text} & {*"\n\r\0\ud800"}]


@pytest.mark.parametrize("key", ["who", "what"])
def test_recbole_reads_the_ids_that_were_given(key, caplog):
    other = {"who": "what", "what": "who"}[key]
    rows = [(one, str(n)) for one in ODD for n in range(4)]
    frame = pd.DataFrame([*rows, (OTHER, OTHER)], columns=[key, other], dtype=object)
    done = prepare(frame, "shop", **COLUMNS)
    expected = [row if key == "who" else row[::-1] for row in rows if row[0] in KEPT]
    assert read() == expected
    assert done.dropped == {{"who": "user", "what": "item"}[key]: 4 * (len(ODD) - len(KEPT))}
    assert (
        f"the frame: dropped events: 20 without a usable {next(iter(done.dropped))}" in caplog.text
    )
    assert "take" not in caplog.text  # RecBole's reader misses none


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8")).filter(lambda text: text != OTHER),  # has a row
        min_size=1,
        max_size=20,
        unique=True,
    )
)
def test_any_text_is_read_back_or_dropped_and_counted(texts):
    rows = [*((one, one) for one in texts), *(("user", n) for n in range(3)), (OTHER, OTHER)]
    frame = pd.DataFrame(rows)
    done = prepare(frame, "shop", user=0, item=1)
    usable = [one for one in texts if one and not {*one} & {*"\n\r\0"}]
    assert read() == [*((one, one) for one in usable), *(("user", str(n)) for n in range(3))]
    assert sum(done.dropped.values()) == len(texts) - len(usable)


def test_quoted_fields_of_a_file_are_read_whole():
    rows = [*ROWS, *(('"a, ""b"""', f"i{n}", n) for n in range(3))]
    prepare(write(table(rows)), "shop", **COLUMNS)
    assert read()[-3:] == [('a, "b"', f"i{n}") for n in range(3)]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([7, None, 8]),
        pd.Series([7, None, 8], dtype="Int64"),
        pd.Series([7, None, 8], dtype=object),
        pd.Series(["7", None, "8"]),
        pd.Series(["7", None, "8"], dtype="string"),
        pd.Series(["7", None, "8"], dtype="category"),
        pd.Series([7, None, 8], dtype="category"),
        pd.Series(["7", "", "8"]),
    ],
)
def test_ids_of_a_frame_are_texts_whatever_their_type(column):
    frame = pd.DataFrame({"who": column.repeat(4), "what": [*range(8), *range(1, 5)]})
    assert prepare(frame, "shop", **COLUMNS).dropped == {"user": 4}
    assert [user for user, _ in read()] == ["7"] * 4 + ["8"] * 4
    assert {item for _, item in read()} == {"0", "1", "2", "3", "4"}


@pytest.mark.parametrize("value", [1.5, float(2**53), np.inf, b"a", [1]])
def test_what_is_no_id_is_refused(value):
    frame = pd.DataFrame({"who": [value, value], "what": ["a", "b"]})
    with pytest.raises(InputError, match="user: expected ids that are texts or whole numbers, got"):
        prepare(frame, "shop", **COLUMNS)


DAY = 24 * 3600
TIMES = {
    "numbers": ([0, DAY, 2 * DAY], "numbers"),
    "texts of numbers": (["0", f"{DAY}.0", "1.728e5"], "numbers"),
    "Decimal": ([Decimal(0), Decimal(DAY), Decimal(2 * DAY)], "numbers"),
    "dates": (["1970-01-01", "1970-01-02", "1970-01-03"], "ISO dates"),
    "mixed zones": (
        ["1970-01-01T02:00:00+0200", "1970-01-02T00:00Z", "1970-01-03 00:00:00.000"],
        "ISO dates",
    ),
    "date": ([date(1970, 1, 1), date(1970, 1, 2), date(1970, 1, 3)], "ISO dates"),
    "datetime": ([datetime(1970, 1, 1 + n, tzinfo=timezone.utc) for n in range(3)], "ISO dates"),
    "Int64": (pd.array([0, DAY, 2 * DAY], "Int64"), "numbers"),
    "category": (pd.Categorical(["1970-01-01", "1970-01-02", "1970-01-03"]), "ISO dates"),
    "period": (pd.period_range("1970-01-01", periods=3, freq="D"), "ISO dates"),
    "datetime64": (pd.date_range("1970-01-01", periods=3), "ISO dates"),
    "datetime64, zone": (pd.date_range("1970-01-01", periods=3, tz="UTC"), "ISO dates"),
}


@pytest.mark.parametrize("case", TIMES)
def test_times_are_seconds(case):
    values, kind = TIMES[case]
    columns = {"who": [*"uuu", OTHER], "what": [*"abcd"], "when": [*values, values[0]]}
    frame = pd.DataFrame(columns)
    done = prepare(frame[::-1], "shop", **COLUMNS, time="when")
    assert read() == [("u", "a", 0), ("u", "b", DAY), ("u", "c", 2 * DAY)]  # in their order
    assert done.times.startswith(kind)
    assert done.times.endswith(": 1970-01-01 to 1970-01-03")
    assert Path("shop/shop.inter").read_text().splitlines()[-2] == f"u\tb\t{DAY}"


@pytest.mark.parametrize("values", [pd.to_timedelta([1, 2, 3]), [[1], [2], [3]], ["\ud800"] * 3])
def test_what_is_no_time_is_refused(values):
    frame = pd.DataFrame({"who": "u", "what": list("abc"), "when": pd.Series(values, dtype=object)})
    with pytest.raises(InputError, match="got 3 without a usable time, such as"):
        prepare(frame, "shop", **COLUMNS, time="when")


def test_dates_are_read_beyond_those_of_nanoseconds_or_dropped_and_counted():
    rows = [(user, item, f"2015-01-{n + 1:02}") for user, item, n in ROWS]
    file = write(table([*rows, ("u", "a", "9999-12-31"), ("u", "a", "2015-02-29")]))
    done = prepare(file, "shop", **COLUMNS, time="when")
    assert done.dropped["time"] + done.interactions == len(rows) + 2
    assert done.dropped["time"] in (1, 2)  # pandas 2 has nanoseconds alone


def test_times_that_are_no_dates_as_seconds_are_told_as_numbers():
    rows = [(user, item, 10**20 + n) for user, item, n in ROWS]
    said = prepare(write(table(rows)), "shop", **COLUMNS, time="when").times
    assert said == "numbers, taken as seconds: 1e+20 to 1e+20"


@pytest.mark.parametrize(
    ("unit", "factor"),
    {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}.items(),
)
def test_the_unit_of_times_is_told_by_their_size(unit, factor):
    rows = [(user, item, (1_700_000_000 + n) * factor) for user, item, n in ROWS]
    done = prepare(write(table(rows)), "shop", **COLUMNS, time="when")
    assert done.times == f"numbers, taken as {unit}: 2023-11-14 to 2023-11-14"
    written = Path("shop/shop.inter").read_text().splitlines()
    assert float(written[1].split("\t")[2]) == min(row[2] for row in rows)


@pytest.mark.parametrize("zone", [" UTC", "UTC", " GMT", "Z", "+00:00"])
def test_zones_are_read_as_programs_write_them(zone):
    rows = [(user, item, f"2024-03-10 17:15:{n % 60:02}{zone}") for user, item, n in ROWS]
    done = prepare(write(table(rows)), "shop", **COLUMNS, time="when")
    assert not done.dropped
    written = Path("shop/shop.inter").read_text().splitlines()
    assert float(written[1].split("\t")[2]) == 1_710_090_900 + min(n % 60 for *_, n in ROWS)


def test_near_times_keep_their_order_in_recbole(caplog):
    rows = [(user, item, 1_700_000_000 + n) for user, item, n in ROWS]
    prepare(write(table(rows[::-1])), "shop", **COLUMNS, time="when")
    file = "shop/shop.yaml"
    data = create_dataset(Config("BPR", config_file_list=[file], config_dict={"state": "ERROR"}))
    *_, test = data.build()
    assert {*data.id2token("item_id", test.inter_feat["item_id"])} == {
        row[1] for row in rows if row[2] == 1_700_000_007
    }
    assert "not told" not in caplog.text


def test_the_latest_of_a_pair_is_kept_or_the_last():
    rows = [
        ("u", "a", 9, 1),
        ("u", "b", 2, 2),
        ("u", "a", 3, 3),
        ("u", "c", 3, 4),
        (OTHER, "d", 0, 0),
    ]
    file = write(table(rows, header="who,what,when,stars"))
    done = prepare(file, "shop", **COLUMNS, time="when", rating="stars")
    assert read() == [("u", "b", 2, 2), ("u", "c", 4, 3), ("u", "a", 1, 9)]
    assert (done.read, done.merged, done.interactions) == (5, 1, 4)
    prepare(file, "shop", **COLUMNS, rating="stars")
    assert read() == [("u", "b", 2), ("u", "a", 3), ("u", "c", 4)]


def test_lines_that_cannot_be_used_are_dropped_and_counted(caplog):
    rows = [
        *((user, item, n, n) for user, item, n in ROWS),
        *[("", "a", 1, 1), ("", "", 1, 1), ("u", "", 1, 1)],
        *[("u", "a", "x", 1), ("u", "a", "", 1), ("u", "a", 1, "y"), ("u", "a", 1, "1e39")],
        *[("u", "a", "inf", 1), ("u", "a", 1, "nan"), ("NA", "NA", 1, 1)],
    ]
    file = write(table(rows, header="who,what,when,stars"))
    done = prepare(file, "shop", **COLUMNS, time="when", rating="stars")
    assert done.dropped == {"user": 2, "item": 1, "rating": 3, "time": 3}
    assert done.interactions == len(read()) == len(ROWS) + 1
    said = (
        "events.csv: dropped events: 2 without a usable user; 1 without a usable item; "
        "3 without a usable rating, such as 'y'; 3 without a usable time, such as 'x' "
        "(all are to be ISO dates, as 2024-01-31 10:00, or all numbers)"
    )
    assert caplog.messages[0] == said


def test_a_large_file_is_read_in_parts(monkeypatch):
    for module in (reading, events):
        monkeypatch.setattr(module, "CHUNK", 7)
    prepare(write(table()), "shop", **COLUMNS, time="when")
    assert sorted(read()) == sorted(ROWS)
    rows = [('"a\nb"', '"c\nd"', 1), *ROWS[:30], ("x", "y"), *ROWS]
    with pytest.raises(InputError, match=r"expected 3 fields in every line, .* got 2 in line 35;"):
        prepare(write(table(rows)), "other", **COLUMNS)


def test_a_folder_whose_path_is_no_text_is_refused_and_not_made(tmp_path):
    place = Path(os.fsdecode(b"caf\xe9"))
    with pytest.raises(InputError, match=r"caf\\xe9/shop': expected a folder whose path is UTF-8"):
        prepare(write(table()), place / "shop", **COLUMNS)
    assert not place.exists()


def test_dates_are_told_by_the_first_part_that_has_any(monkeypatch):
    for module in (reading, events):
        monkeypatch.setattr(module, "CHUNK", 7)
    early = [f"u{n % 3},i{n}," for n in range(9)]
    dated = [f"u{n % 3},i{n},2024-01-{n + 1:02}" for n in range(9)]
    file = write("\n".join(["who,what,when", *early, *dated]) + "\n")
    assert prepare(file, "shop", **COLUMNS, time="when").interactions == 9


REFUSED = {
    "a mistyped column": (table(), ["--user=Whom"], "user: expected a column of events.csv, who, "
                          "what, when, got 'Whom'; did you mean 'who'?"),
    "no header": (table(header="001,i7,0"), [], "expected a column of events.csv, 001, i7, 0, got"),
    "a column twice": (table(), ["--item=who"], "item: expected another column than that of user, "
                       "got 'who' for both; correct one"),
    "two columns of one name": (table(header="who,what,who"), [], "user: expected one column 'who' "
                                "in events.csv, got 2; rename the others"),
    "empty": ("", [], "events.csv: expected a first line of names of columns, separated by comma, "
              "tab, semicolon or bar, got ''; convert the file"),
    "no table": ('{"a": 5}\n', [], """by comma, tab, semicolon or bar, got '{"a": 5}'; convert"""),
    "a header alone": (table([]), [], "events.csv: expected usable events, got none at all; name "),
    "ids that are empty": (table([("", "i", 1)] * 9), [], "got 9 without a usable user; name"),
    "a rating of text": (table(), ["--rating=what"], "another column than that of item"),
    "times of another form": (table([("u", "i", "02/13/2015")]), ["--time=when"], "got 1 without "
                              "a usable time, such as '02/13/2015' (all are to be ISO dates"),
    "ratings of another form": (table([("u", "i", '"3,5"')]), ["--rating=when"], "got 1 without "
                                "a usable rating, such as '3,5'; name other columns"),
    "a separator of two characters": (table(by="::"), [], "or bar, got 'who::what::when'; convert"),
    "a line that is long": (table([*ROWS, ("u", "i", 1, 2)]), [], "events.csv: expected 3 fields "
                            "in every line, as in the first, got 4 in line 98; mend or remove"),
    "a quote alone": (table([*ROWS, ("u", '"i', 1)]), [], "cannot be read as one (unexpected end"),
    "a quote inside": (table([*ROWS, ("u", '"i"j', 1)]), [], "events.csv: expected a table in a "
                       "CSV, TSV or parquet file, got what cannot be read as one (',' expected"),
    "another encoding": (table([("u", "ï", 1)]).encode("latin-1"), [], "events.csv: expected utf-8 "
                         "text, got other bytes; give its encoding, such as --encoding=latin-1"),
    "no such encoding": (table(), ["--encoding=foo"], "encoding: expected one such as utf-8, got "
                         "'foo'"),
    "no encoding of text": (table(), ["--encoding=hex"], "encoding: expected one such as utf-8, "
                            "got 'hex'"),
    "no text": (os.urandom(5000), [], "events.csv: expected utf-8 text, got other bytes"),
    "users with two items": (table([("u", "a", 1), ("u", "b", 1), ("v", "a", 1)]), [], "user: "
                             "expected a user with 3 items, one for training, validation and test "
                             "each, got 1 to 2 of 2 items for each of 2 users; check that 'who' "
                             "names users and 'what' items"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_one_sentence_and_writes_nothing(case, capsys):
    text, more, said = REFUSED[case]
    options = [f"--{key}={name}" for key, name in COLUMNS.items() if f"--{key}" not in str(more)]
    assert main(["prepare", write(text), *options, *more, "-o", "shop"]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.startswith("recbole-sr: error: ")
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert not Path("shop").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.csv", "No such file"),
        (".", "got a folder"),
        ("/dev/zero", "got a device"),
        ("pipe", "got a pipe"),
    ],
)
def test_what_is_no_file_is_refused(name, said):
    os.mkfifo("pipe")
    with pytest.raises(InputError, match=f"expected a CSV, TSV or parquet file, {said}|{said}"):
        prepare(name, "shop", **COLUMNS)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zip"])
@pytest.mark.parametrize("damage", ["another kind", "cut short"])
def test_a_damaged_archive_is_refused(suffix, damage):
    whole = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    packed = whole.get(suffix, bytes)(table().encode())
    file = write(table() if damage == "another kind" else packed[:-20], f"events.csv{suffix}")
    with pytest.raises(InputError, match="expected a table in a CSV, TSV or parquet file, got"):
        prepare(file, "shop", **COLUMNS)


def test_only_files_of_its_own_are_replaced():
    file = write(table())
    Path("shop").mkdir()
    Path("shop/shop.inter").write_text("user_id:token\titem_id:token\n")
    with pytest.raises(InputError, match=r"shop/shop\.inter: expected a new file, got a file"):
        prepare(file, "shop", **COLUMNS)
    Path("shop/shop.inter").rename("shop/shop.yaml")
    with pytest.raises(InputError, match=r"shop/shop\.yaml: expected a new file, got a file"):
        prepare(file, "shop", **COLUMNS)
    Path("shop/shop.yaml").unlink()
    assert "\nwrote shop/shop.inter: " in str(prepare(file, "shop", **COLUMNS))
    assert "\nreplaced shop/shop.inter: " in str(prepare(file, "shop", **COLUMNS))
    before = Path("shop/shop.inter").read_text()
    with pytest.raises(InputError, match=r"shop/shop\.inter: expected another file than the input"):
        prepare("shop/shop.inter", "shop", user="user_id:token", item="item_id:token")
    assert Path("shop/shop.inter").read_text() == before
    prepare("shop/shop.inter", "shop2", user="user_id:token", item="item_id:token")
    assert read("shop2") == PAIRS


def test_the_folder_has_a_name_and_is_none_of_a_file(monkeypatch, capsys):
    with pytest.raises(InputError, match="expected a folder with a name"):
        prepare(write(table()), "/", **COLUMNS)
    Path("here").mkdir()
    monkeypatch.chdir("here")
    assert prepare("../events.csv", ".", **COLUMNS).inter == Path("here.inter")
    assert main(["prepare", "../events.csv", "--user=who", "--item=what", "-o=here.inter"]) == 2
    assert "expected a folder there" in capsys.readouterr().err


def test_data_in_which_hardly_anything_repeats_are_warned_of(caplog):
    rows = [*((f"u{n}", f"i{n}", n) for n in range(20)), *(("u", f"i{n}", n) for n in range(3))]
    prepare(write(table(rows)), "shop", **COLUMNS)
    assert "20 of 21 users have fewer than 3 interactions" in caplog.text
    assert "17 of 20 items have one alone" in caplog.text
    caplog.clear()
    prepare(write(table()), "shop", **COLUMNS)
    assert not caplog.text


QUICK = ["--epochs=1", "--embedding_size=4", "--show_progress=False", "--state=WARNING"]


@pytest.mark.parametrize("folder", ["shop", "data/a shop", "data/über"])
@pytest.mark.parametrize("more", [[], ["--time=when", "--rating=again"]])
@pytest.mark.parametrize("items", [30, 6])
def test_the_command_that_is_printed_trains(folder, more, items, capsys):
    rows = [(user, f"i{int(item[1:]) % items}", n, n) for user, item, n in ROWS]
    rows += [("x", f"i{n}", n, n) for n in range(4)]  # with 6 items all others have them all
    rows += [("y", f"i{n}", n, n) for n in range(2, 6)]
    file = write(table(rows, header="who,what,when,again"))
    assert main(["prepare", file, "--user=who", "--item=what", *more, "-o", folder]) == 0
    printed = capsys.readouterr().out.splitlines()
    command = shlex.split(printed[-3])
    assert command[:3] == ["recbole-sr", "-m", "BPR"]
    assert shlex.split(printed[-1]) == [*command, "--sr_final=True"]
    assert main([*command[1:], *QUICK]) == 0


@pytest.mark.parametrize("folder", ["shop", "a shop"])
@pytest.mark.parametrize(
    ("large", "file", "more"), [(10**6, "directau_sparse", []), (9, "directau_large", ["0.1"])]
)
def test_on_sparse_data_a_second_command_is_printed_and_trains(
    folder, large, file, more, monkeypatch
):
    monkeypatch.setattr("recbole_sr.serve.events._LARGE", large)
    rows = [(f"u{n}", f"i{(n + step) % 1500}") for n in range(1500) for step in range(3)]
    done = prepare(pd.DataFrame(rows), folder, user=0, item=1)
    command = shlex.split(done.sparse_command)
    assert f"loss/{file}.yaml" in done.sparse_command
    assert [x for x in command if "popularity" in x] == [f"--sr_popularity={x}" for x in more]
    assert f"this may rank higher:\n  {done.sparse_command}\n" in str(done)
    assert main([*command[1:], *QUICK]) == 0


def test_on_dense_data_it_is_not():
    done = prepare(write(table()), "shop", **COLUMNS)
    assert done.sparse_command == ""
    assert "sparse" not in str(done)


def test_the_data_set_is_found_by_its_name_and_the_folder_above():
    prepare(write(table()), "data/shop", **COLUMNS)
    load = "--load_col={inter: [user_id, item_id]}"
    assert main(["-m", "BPR", "-d", "shop", "--data_path=data", load, *QUICK]) == 0


def test_the_property_file_serves_from_any_folder(monkeypatch):
    prepare(write(table()), "data/shop", **COLUMNS)
    Path("other").mkdir()
    monkeypatch.chdir("other")
    assert main(["-m", "LightGCN", "--config_files=../data/shop/shop.yaml", *QUICK]) == 0


def test_users_who_have_every_item_are_said_and_left_out_by_the_property_file(caplog):
    rows = [(user, item) for user in "abc" for item in "123"]
    with pytest.raises(InputError, match="but not with every item of the data, got 3 to 3 of 3 "):
        prepare(pd.DataFrame(rows), "shop", user=0, item=1)
    rows += [("d", "1"), ("d", "4"), ("d", "3"), *(("e", item) for item in "1234")]
    done = prepare(pd.DataFrame(rows), "shop", user=0, item=1)
    assert "1 of 5 users have every item, or every one that is left without such" in caplog.text
    assert 'user_inter_num_interval: "[0,4)"' in done.properties.read_text()
    assert main([*shlex.split(done.command)[1:], *QUICK]) == 0


def test_the_report_says_what_was_read_and_written(capsys):
    file = write(table([*ROWS, ROWS[-1]]))
    assert main(["prepare", file, "--user=who", "--item=what", "--time=when", "-o", "shop"]) == 0
    assert capsys.readouterr().out == (
        "read events.csv: 97 events, 0 dropped, 1 merged (the latest of a repeated pair is kept)\n"
        "times are numbers, taken as seconds: 1970-01-01 to 1970-01-01\n"
        "wrote shop/shop.inter: 12 users, 30 items, 96 interactions, density 26.7 %\n"
        "train a first model by:\n"
        "  recbole-sr -m BPR --config_files=shop/shop.yaml\n"
        "train one to serve, in the end on all interactions, by:\n"
        "  recbole-sr -m BPR --config_files=shop/shop.yaml --sr_final=True\n"
    )


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_the_report_names_the_columns_that_were_not_read(kind, capsys):
    frame = pd.DataFrame(ROWS, columns=["who", "what", "when"]).assign(stars=5, shop="x")
    source = {"csv": "events.csv", "parquet": "events.parquet", "frame": frame}[kind]
    if kind == "csv":
        frame.to_csv(source, index=False)
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(source)
    done = prepare(source, "shop", time="when", **COLUMNS)
    assert done.ignored == ["stars", "shop"]
    assert str(done).splitlines()[1] == "ignored columns: stars, shop"
    assert "ignored" not in str(prepare(frame[["who", "what"]], "less", **COLUMNS))


def test_the_report_says_how_to_learn_from_good_ratings_alone(capsys):
    rows = [(user, item, n) for user, item, n in ROWS for n in (n // 2 + 1.5,)]
    options = ["--user=who", "--item=what", "--rating=when", "-o", "shop"]
    assert main(["prepare", write(table(rows)), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = (
        "ratings are 1.5 to 4.5; a ranking model learns from all alike: for the best alone, add "
    )
    assert lines[1].startswith(start)
    more = shlex.split(lines[1].removeprefix(start))
    assert more == ["--val_interval={rating: '[4.5,inf)'}"]
    assert read(**yaml.safe_load(more[0][2:].replace("=", ": "))) == [
        (*row[:2], 4.5) for row in rows if row[2] == 4.5
    ]


def test_users_who_have_all_that_others_leave_are_left_out_too(caplog):
    few = [(f"w{user}", f"i{(user + 3 * n) % 8}") for user in range(12) for n in range(4)]
    rows = [(user, f"i{n}") for user, count in (("u", 12), ("v", 8)) for n in range(count)] + few
    done = prepare(pd.DataFrame(rows), "shop", user=0, item=1)
    assert 'user_inter_num_interval: "[0,8)"' in done.properties.read_text()
    assert "2 of 14 users have every item, or every one that is left without such" in caplog.text
    assert main([*shlex.split(done.command)[1:], *QUICK]) == 0


def test_a_rating_of_many_digits_is_not_rounded():
    rows = [(user, item, n + 1_234_567) for user, item, n in ROWS]
    done = prepare(write(table(rows)), "shop", rating="when", **COLUMNS)
    highest = max(row[2] for row in rows)
    assert f"'[{highest},inf)'" in str(done)


@pytest.mark.parametrize("form", ["frame", "parquet"])
def test_a_missing_boolean_leaves_the_others_booleans(form):
    rows = pd.DataFrame(ROWS, columns=["who", "what", "when"])
    rows["liked"] = [None, *(n % 3 == 0 for n in range(1, len(rows)))]
    events = rows
    if form == "parquet":
        rows.to_parquet(events := "events.parquet")
    done = str(prepare(events, "shop", rating="liked", **COLUMNS))
    assert f"{len(rows):,} events, 1 dropped" in done


@pytest.mark.parametrize("given", [{"who": ["a"], "what": ["b"]}, 3, None])
def test_events_that_are_no_file_and_no_frame_are_refused(given):
    with pytest.raises(InputError, match="events: expected the path of a file, or a pandas Data"):
        prepare(given, "shop", **COLUMNS)


def test_a_frame_without_columns_is_refused():
    with pytest.raises(InputError, match="column of the frame, none, got 'who'; give some"):
        prepare(pd.DataFrame(index=[1, 2]), "shop", **COLUMNS)


def test_it_is_a_public_name():
    assert recbole_sr.prepare is events.prepare


def test_a_short_line_far_below_such_a_name_is_named(monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 10)
    rows = [f"u{n % 9},x,i{n}" for n in range(60)]
    Path("odd.csv").write_text('who,"what\nis",item\n' + "\n".join([*rows, "u1,x"]), newline="")
    with pytest.raises(InputError, match="got 2 in line 63"):
        prepare("odd.csv", "shop", user="who", item="item")


@pytest.mark.parametrize("name", ['"what\nis"', '"what, is\nmore"', '"what ""is""\n\n"'])
def test_a_name_of_a_column_may_have_line_breaks_in_quotes(name):
    rows = [f"u{n % 9},x,i{(n + n // 9) % 12}" for n in range(60)]
    Path("odd.csv").write_text(f"who,{name},item\n" + "\n".join([*rows, "u1,x"]), newline="")
    with pytest.raises(InputError, match=rf"got 2 in line {62 + name.count(chr(10))}"):
        prepare("odd.csv", "shop", user="who", item="item")
    Path("odd.csv").write_text(f"who,{name},item\n" + "\n".join(rows), newline="")
    assert "60 events" in str(prepare("odd.csv", "shop", user="who", item="item"))
