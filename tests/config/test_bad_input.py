"""Every case ends with exit code 2 and one sentence: no traceback, no hang, no other training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_sr.cli import main

SETTINGS = {
    "learning_rate": ["abc", "-1", "0", "nan", "1e400", "[0.1]", "null", "True"],
    "weight_decay": ["-1", "x", "1e999"],
    "epochs": ["-1", "0", "two", "1.5", "null"],
    "train_batch_size": ["0", "-5", "1e30", "x"],
    "eval_batch_size": ["0", "x"],
    "embedding_size": ["0", "-3", "x", "8.5"],
    "topk": ["[]", "0", "[10,x]", "ten"],
    "metrics": ["[]", "Recal", "[Recall,Foo]", "[NDCG,AUC]", "5"],
    "valid_metric": ["NDCG@7", "NDCG", "foo", "5"],
    "eval_args": [
        "x",
        "{split: {RS: [0.8,0.1]}}",
        "{split: {XX: [0.8,0.1,0.1]}}",
        "{mode: foo}",
        "{group_by: foo}",
        "{order: foo}",
    ],
    "stopping_step": ["-1", "x"],
    "eval_step": ["x", "0.5"],
    "learner": ["foo", "5"],
    "seed": ["x", "-1", "4294967296", "1.5"],
    "clip_grad_norm": ["5", "x"],
    "train_neg_sample_args": [
        "5",
        "{sample_num: 0}",
        "{sample_num: -1}",
        "{sample_num: x}",
        "{distribution: foo}",
    ],
    "user_inter_num_interval": ["[5", "[100,inf)", "5", "[9,5]", "[1,2];", "[x,y]"],
    "item_inter_num_interval": ["5..9", "[100,inf)"],
    "additional_feat_suffix": ["ent", "[ent]", "5"],
    "load_col": ["5", "{inter: [user_id]}", "{inter: [nothing]}"],
    "USER_ID_FIELD": ["foo"],
    "data_path": ["nowhere", "5"],
    "encoding": ["foo", "utf-16"],
    "benchmark_filename": ["[a,b,c]", "5"],
    "gpu_id": ["x"],
    "worker": ["-1", "x"],
    "show_progress": ["x", "5"],
    "shuffle": ["x"],
    "repeatable": ["x"],
    "enable_amp": ["x"],
    "state": ["loud", "5"],
    "checkpoint_dir": ["/proc/none", "5"],
    "metric_decimal_place": ["x", "-1"],
    "loss_decimal_place": ["x"],
    "rm_dup_inter": ["foo", "False"],
    "threshold": ["5", "x", "{item_id: x}", "{item_id: .nan}"],
    "seq_len": ["5", "{item_id: 0}", "{item_id: x}"],
    "seq_separator": ["5"],
    "tail_ratio": ["x", "-1"],
    "MAX_ITEM_LIST_LENGTH": ["0", "x"],
    "alias_of_item_id": ["[foo]"],
    "val_interval": ["{item_id: [1, 2]}", "{item_id: i1}"],
    "transform": ["foo"],
    "nproc": ["2"],
    # misspelt keys of RecBole and of this package
    "learning_rat": ["0.1"],
    "trian_batch_size": ["64"],
    "sr_warm_epoch": ["1"],
    "sr_regularizers": ["{stable_rank: 1}"],
    "sr_warm_epochs": ["-1", "five", "1.5", "null", "[1]"],
    "sr_patience": ["0", "x"],
    "sr_switch": ["loss", "5"],
    "sr_warm_regularizers": [
        "{}",
        "5",
        "stable_rank",
        "[stable_rank]",
        "{stable_rnk: 1}",
        "{stable_rank: -1}",
        "{stable_rank: .nan}",
        "{stable_rank: .inf}",
        "{stable_rank: x}",
    ],
    "sr_tables": ["[]", "user", "[user", "[usr]", "[user,user]"],
    "sr_monitor": ["x", "5"],
    "sr_save_step": ["-1", "x"],
    "sr_published": ["x", "5"],
    "sr_init": ["svd", "5"],
    "sr_init_power": ["-1", "x", ".inf"],
    "sr_init_sweeps": ["-1", "1.5", "x"],
    "sr_init_margin": ["0", "-1", "x"],
}

FILES = {
    "list": "- a\n- b\n",
    "scalar": "5\n",
    "other encoding": b"\xff\xfe\x00a: 1\n",
    "tab": "a:\n\tb: 1\n",
    "two colons": "a: b: c\n",
    "unfinished": "topk: [1, 2\n",
    "code": "topk: !!python/object/apply:os.mkdir [made]\n",
    "number as key": "5: 6\n",
    "control character": "a: \x00\n",
    "alias inside itself": "topk: &a [*a]\n",
    "aliases that multiply": "x0: &x0 [0]\n"
    + "".join(f"x{i + 1}: &x{i + 1} [{', '.join([f'*x{i}'] * 10)}]\n" for i in range(12)),
    "NaN weight": "sr_warm_regularizers: {stable_rank: .nan}\n",
    "unknown key": "learning_rat: 0.1\n",
    "two documents": "epochs: 1\n---\nepochs: 2\n",
}

HEADER = "user_id:token\titem_id:token\n"
ROWS = [f"u{u}\ti{(7 * u + i) % 30}\n" for u in range(12) for i in range(10)]
GOOD = HEADER + "".join(ROWS)

DATA = {
    "empty": "",
    "header alone": HEADER,
    "one column": "user_id:token\nu1\nu2\n",
    "no item column": GOOD.replace("item_id", "movie"),
    "no header": "".join(ROWS),
    "no types": GOOD.replace(":token", ""),
    "unknown type": GOOD.replace("item_id:token", "item_id:word"),
    "a column twice": GOOD.replace("item_id:token", "user_id:token"),
    "ids as numbers": GOOD.replace("item_id:token", "item_id:float"),
    "one user": HEADER + "".join(f"u\ti{i}\n" for i in range(20)),
    "one item": HEADER + "".join(f"u{u}\ti\n" for u in range(20)),
    "one interaction": HEADER + ROWS[0],
    "two interactions": HEADER + ROWS[0] + ROWS[1],
    "no negative exists": HEADER + "".join(f"u{u}\ti{i}\n" for u in range(9) for i in range(9)),
    "an id with a tab": GOOD.replace("u1\t", "u\t1\t", 1),
    "truncated last line": GOOD[: -len(ROWS[-1]) + 2],
    "a line without columns": GOOD.replace("u1\t", "u1", 1),
    "a quote alone": GOOD.replace("u1\t", '"u1\t', 1),
    "spaces": GOOD.replace("\t", " "),
    "commas": GOOD.replace("\t", ","),
    "bytes": bytes(range(256)) * 20,
    "Latin-1": GOOD.replace("u1", "\xfc").encode("latin1"),
    "UTF-16": GOOD.encode("utf-16"),
    "a line longer, one shorter": GOOD.replace("u1\ti8\n", "u1\ti8\ti9\n").replace(
        "u2\ti15\n", "u2\n"
    ),
    "byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
}

STRAY = [
    ["epochs=1"],
    ["--epochs", "1"],
    ["--epochs"],
    ["-x"],
    ["-m"],
    ["-m", "Nothing"],
    ["-m", "bpr"],
    ["-m", ""],
    ["-m", "Pop"],
    ["-m", "GRU4RecKG"],
    ["-m", "../BPR"],
    ["-d", "../data"],
    ["-d", "nowhere"],
    ["-d", ""],
    ["--config_files", "none.yaml"],
    ["--config_files", "data"],
]


@pytest.fixture
def data(tmp_path):
    def make(name, content):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        content = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.inter").write_bytes(content)

    make("good", GOOD)
    (tmp_path / "base.yaml").write_text(
        "data_path: data\nload_col: {inter: [user_id, item_id]}\nstate: ERROR\n"
        "epochs: 1\nembedding_size: 4\nshow_progress: False\nsr_warm_epochs: 1\n"
        "sr_main_regularizers: {}\n"
    )
    return make


def refused(arguments, capsys):
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 2, said
    assert re.match(r"recbole-sr: error: .{10,}", said[-1])
    assert all(line.startswith(("usage:", " ", "recbole-sr: error")) for line in said)
    assert not Path("made").exists()
    assert not list(Path().glob("saved/*.pth"))


@pytest.mark.usefixtures("data")
def test_what_the_cases_below_are_changed_from_runs():
    assert main(["-d", "good", "--config_files", "base.yaml"]) == 0


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in SETTINGS.items() for value in values]
)
def test_a_setting(key, value, data, capsys):
    refused(["-d", "good", "--config_files", "base.yaml", f"--{key}={value}"], capsys)


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_a_property_file(content, data, capsys, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "bad.yaml").write_bytes(content)
    refused(["-d", "good", "--config_files", "base.yaml bad.yaml"], capsys)


@pytest.mark.parametrize("content", DATA.values(), ids=DATA.keys())
def test_a_data_set(content, data, capsys):
    data("bad", content)
    refused(["-d", "bad", "--config_files", "base.yaml"], capsys)


@pytest.mark.parametrize("arguments", STRAY, ids=" ".join)
def test_a_command_line(arguments, data, capsys):
    refused(["-d", "good", "--config_files", "base.yaml", *arguments], capsys)


def test_a_model_that_needs_pretrained_vectors_names_the_file(data, capsys):
    assert main(["-m", "GRU4RecKG", "-d", "ml-100k"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"ml-100k\.ent: expected the file that .*, got no such file; write", said)


HANDLED = {
    "duplicates": HEADER + "".join(ROWS * 2),
    "Windows line ends": GOOD.replace("\n", "\r\n"),
    "no last line end": GOOD.rstrip("\n"),
    "empty lines": GOOD.replace("\nu3", "\n\nu3") + "\n\n",
    "a quote inside an id": GOOD.replace("u1\t", 'u"1\t'),
    "missing ids": GOOD.replace("u1\t", "\t", 2),  # RecBole warns and drops the lines
}


@pytest.mark.parametrize("content", HANDLED.values(), ids=HANDLED.keys())
def test_data_that_is_handled(content, data):
    data("odd", content)
    assert main(["-d", "odd", "--config_files", "base.yaml"]) == 0


def test_data_in_an_encoding_of_its_own_are_read(data):
    data("odd", DATA["Latin-1"])
    assert main(["-d", "odd", "--config_files", "base.yaml", "--encoding=latin-1"]) == 0


def test_a_graph_without_its_columns_is_refused(data, capsys):
    data("odd", GOOD)
    Path("data/odd/odd.kg").write_text("a:token\tb:token\tc:token\n1\t2\t3\n")
    Path("data/odd/odd.link").write_text("item_id:token\tentity_id:token\ni1\te1\n")
    load = "--load_col={inter: [user_id,item_id], kg: [a,b,c], link: [item_id,entity_id]}"
    refused(["-m", "CKE", "-d", "odd", "--config_files", "base.yaml", load], capsys)


@pytest.mark.parametrize("command", ["report", "export"])
def test_an_output_needs_its_folder(command, capsys):
    assert main([command, "given", "-o", "none/output"]) == 2
    assert "none/output: expected a file in a folder, got no folder" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_says_where(data, capsys):
    arguments = ["-d", "good", "--config_files", "base.yaml", "--learner=sgd"]
    assert main([*arguments, "--learning_rate=1e38", "--epochs=9", "--train_batch_size=8"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"epoch \d, batch \d+, \w+ phase: expected a finite training loss, got", said)
