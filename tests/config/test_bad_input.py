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
    "embedding_size": ["0", "-3", "x", "8.5", "null"],
    "topk": ["[]", "0", "[10,x]", "ten", "99999999999999999999", "[10,31]", "[&a [*a]]"],
    "metrics": ["[]", "Recal", "[Recall,Foo]", "[NDCG,AUC]", "5"],
    "valid_metric": ["NDCG@7", "NDCG", "foo", "5"],
    "valid_metric_bigger": ["False", "x"],
    "tail_ratio": ["0", "x"],
    "eval_args": [
        "x",
        "{splits: {LS: valid_and_test}}",
        "{ordr: TO}",
        "{5: 6}",
        "{split: null}",
        "{split: 5}",
        "{split: {}}",
        "{split: [0.8,0.1,0.1]}",
        "{split: {RS: 5}}",
        "{split: {RS: [0.8,0.1]}}",
        "{split: {RS: [1.2,-0.1,-0.1]}}",
        "{split: {RS: [0,0,0]}}",
        "{split: {RS: [0,0.5,0.5]}}",
        "{split: {RS: [0.8,0.1,.nan]}}",
        "{split: {XX: [0.8,0.1,0.1]}}",
        "{split: {LS: all}}",
        "{split: {RS: [0.8,0.1,0.1], LS: valid_only}}",
        "{split: {RS: [0.8,0.1,0.1], LS: null}}",
        "{split: {TS: null}}",
        "{mode: foo}",
        "{mode: uni}",
        "{mode: uni0}",
        "{mode: uni-1}",
        "{mode: pop9999999}",
        "{mode: {tset: full}}",
        "{mode: {valid: uni5, test: uni}}",
        "{mode: labeled}",
        "{mode: null}",
        "{group_by: foo}",
        "{order: foo}",
        "{order: RO, order: TO}",
        "{'order': 'RO', 'order': 'TO'}",
    ],
    "stopping_step": ["-1", "x"],
    "eval_step": ["x", "0.5"],
    "learner": ["foo", "5"],
    "seed": ["x", "-1", "4294967296", "1.5"],
    "clip_grad_norm": ["5", "x", "{}", "{foo: 1}", "{max_norm: .nan}", "{max_norm: 0}"],
    "train_neg_sample_args": [
        "5",
        "None",
        "'None'",
        "{distribution: none}",
        "{uniform: 5}",
        "{dynamic: True}",
        "{dynamic: 1}",
        "{sample_num: none}",
        "{alpha: x}",
        "{sample_num: 0}",
        "{sample_num: -1}",
        "{sample_num: x}",
        "{distribution: foo}",
    ],
    "user_inter_num_interval": ["[5", "[100,inf)", "5", "[9,5]", "[a,b]", "[1,2];", "[x,y]"],
    "item_inter_num_interval": ["5..9", "[100,inf)"],
    "additional_feat_suffix": ["ent", "[ent]", "5"],
    "load_col": [
        "5",
        "{inter: [user_id]}",
        "{inter: [nothing]}",
        "{inter: user_id}",
        "{inter: [user_id,item_id,ratng]}",
        "{intre: [user_id,item_id]}",
        "{}",
    ],
    "unload_col": ["{inter: [ratng]}"],
    "seq_len": ["{ratng: 3}", "{user_id: 0}", "5", "{item_id: x}"],
    "numerical_features": ["[ratng]", "ratng"],
    "alias_of_item_id": ["[ratng]", "user_id", "[foo]"],
    "val_interval": ["{ratng: '[1,2]'}", "{user_id: 5}", "{item_id: [1, 2]}", "{item_id: i1}"],
    "threshold": ["{}", "{ratng: 1}", "{user_id: x}", "5", "x", "{item_id: .nan}"],
    "discretization": ["{ratng: {method: ED}}", "{user_id: {method: XX}}"],
    "filter_inter_by_user_or_item": ["x"],
    "MAX_ITEM_LIST_LENGTH": ["0", "x"],
    "NEG_PREFIX": [""],
    "USER_ID_FIELD": ["foo", "item_id"],
    "data_path": ["nowhere", "5"],
    "encoding": ["foo", "utf-16"],
    "benchmark_filename": ["[a,b,c]", "5", "train", "[train,test]"],
    "gpu_id": ["x"],
    "worker": ["-1", "x", "99999"],
    "show_progress": ["x", "5"],
    "shuffle": ["x"],
    "repeatable": ["x"],
    "enable_amp": ["x"],
    "state": ["loud", "5"],
    "checkpoint_dir": ["/proc/none", "5"],
    "metric_decimal_place": ["x", "-1", "99999999999999999999"],
    "loss_decimal_place": ["x", "0"],
    "rm_dup_inter": ["foo", "False"],
    "seq_separator": ["5"],
    "transform": ["foo", "mask_itemseq"],
    "nproc": ["x"],
    "local_rank": ["0"],
    "world_size": ["1"],
    "ip": ["localhost"],
    "port": ["5678"],
    "offset": ["0"],
    # overwritten by RecBole
    "device": ["cpu"],
    "MODEL_TYPE": ["foo"],
    "neg_sampling": ["None", "{uniform: 1}"],
    "valid_neg_sample_args": ["{uniform: 1}"],
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
    "sr_target_rank": ["1", "x", "{usr: 2}", "{user: .inf}", "9" * 400],
    "sr_tables": ["[]", "user", "[user", "[usr]", "[user,user]"],
    "sr_monitor": ["x", "5"],
    "sr_spectra_step": ["-1", "x"],
    "sr_save_step": ["-1", "x"],
    "sr_published": ["x", "5"],
    "sr_init": ["svd", "5"],
    "sr_init_power": ["-1", "x", ".inf"],
    "sr_init_als_iterations": ["-1", "1.5", "x", "99999999999999999999"],
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
    "a key twice": "epochs: 1\nstate: ERROR\nepochs: 2\n",
    "a key twice, inside": "eval_args: {order: RO, order: TO}\n",
    "a launcher's key": "local_rank: 0\n",
    "text for no negatives": "train_neg_sample_args: None\n",
    "number as file": "config_files: 5\n",
    "numbers as files": "config_files: [5]\n",
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
    ["--epochs=1", "--epochs=2"],
    ["--seed=1", "-m", "BPR", "-m", "NeuMF"],
    # a model's own keys
    ["-m", "LightGCN", "--n_layers=x"],
    ["-m", "LightGCN", "--n_layers=99999999999999999999"],
    ["-m", "LightGCN", "--reg_weight=null"],
    ["-m", "NeuMF", "--dropout_prob=2"],
    ["-m", "NeuMF", "--mlp_hidden_size=5"],
    ["-m", "NAIS", "--algorithm=foo"],
    ["-m", "RaCT", "--train_stage=foo"],
    ["-m", "SGL", "--type=XX"],  # RecBole would take the whole graph
    ["-m", "LINE", "--order=3"],
    ["-m", "FISM", "--reg_weights=[1,1,1]"],
    ["-m", "DGCF", "--n_factors=3"],
    ["-m", "ConvNCF", "--cnn_channels=[1,2]"],
    ["-m", "LightGCN", "--train_neg_sample_args=None"],
    ["-m", "NeuMF", "--train_neg_sample_args=None"],  # no labels either
    ["-m", "FM"],
    ["--metrics=[AUC]", "--valid_metric=AUC"],
    ["--metrics=[AUC]", "--valid_metric=AUC", "--eval_args={mode: labeled}"],
    ["-d", "ml-100k", "--data_path=nowhere"],
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
    return said[-1]


@pytest.mark.usefixtures("data")
def test_what_the_cases_below_are_changed_from_runs():
    assert main(["-d", "good", "--config_files", "base.yaml"]) == 0


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in SETTINGS.items() for value in values]
)
def test_a_setting(key, value, data, capsys):
    said = refused(["-d", "good", "--config_files", "base.yaml", f"--{key}={value}"], capsys)
    places = re.match(r"recbole-sr: error: \w+ \(([^)]*)\):", said)
    for place in places[1].split(", ") if places else ():  # none of pydantic's names of types
        assert "[" not in place
        assert place not in ("int", "float", "str", "bool", "constrained-int")


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


WORDS = [
    (["--eval_args={ordr: TO}"], "eval_args: .* 'ordr' .*'order'"),
    (["--eval_args={mode: uni0}"], r"eval_args \(mode, valid\): expected .* got 'uni0'"),
    (["--topk=[31]", "--valid_metric=NDCG@31"], "topk: expected at most 30, the number of items"),
    (["--train_neg_sample_args=None"], "negatives for BPR, .* set train_neg_sample_args: {dist"),
    (["--local_rank=0"], "local_rank: .* as torchrun tells each process"),
    (["-m", "FM"], "LABEL_FIELD: .* 'label' .* set threshold, .* train_neg_sample_args"),
    (["-m", "LightGCN", "--n_layers=x"], "n_layers: expected a valid integer, got 'x'"),
    (["-m", "DGCF", "--n_factors=3"], "DGCF with embedding_size: 4, n_factors: 3: .*size % self"),
    (
        ["--eval_args={split: {RS: [8,1,1], LS: null}}"],
        "split.*: expected one of RS",
    ),
    (
        ["--data_path=nowhere"],
        "dataset: expected a folder nowhere/good, seen from /.*, got none; correct",
    ),
    (["--train_neg_sample_args={sample_num: x}"], r"args \(sample_num\): expected a valid integer"),
    (["--seq_len={age-range: 0}"], r"seq_len \(age-range\): expected at least 1"),
    (["--config_file=a.yaml"], "unknown key 'config_file': .* did you mean 'config_files'?"),
    (["-m", "SASRecF"], "selected_features: expected columns of the items .*'class'; add it to"),
    (["-m", "S3Rec"], "item_attribute: expected columns of the items .*none, got 'class'"),
    (["--epochs=1", "--epochs=2"], "epochs: expected one value .*, got '1' and '2'; drop one"),
    (["--load_col={inter: [user_id,item_id,itm]}"], "load_col .* 'itm'; did you mean 'item_id'"),
]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("goood", "; did you mean 'good'?"),
        ("ml-100", "; did you mean 'ml-100k'?"),
        ("x", " is meant from"),
    ],
)
def test_a_data_set_of_a_name_like_it_is_named(name, end, data, capsys):
    said = refused(["-d", name, "--config_files", "base.yaml"], capsys)
    assert f"expected a folder data/{name}, seen from" in said
    assert said.strip().endswith(end)


@pytest.mark.parametrize(("arguments", "words"), WORDS)
def test_the_sentence_names_the_key_and_what_to_do(arguments, words, data, capsys):
    said = refused(["-d", "good", "--config_files", "base.yaml", *arguments], capsys)
    assert re.search(words, said)


@pytest.mark.parametrize(
    ("line", "end"),
    [
        ("learnin_rate: 0.1", "did you mean 'learning_rate'? (in bad.yaml)"),
        ("sr_warm_epoch: 3", "did you mean 'sr_warm_epochs'? (in bad.yaml)"),
        ("sr_warm_epochs: -3", "got -3 (in bad.yaml)"),
        ('learning_rate: "0.1"', "got '0.1'; drop the quotes (in bad.yaml)"),
        ("eval_args: {ordr: TO}", "(did you mean 'order'?), got {'ordr': 'TO'} (in bad.yaml)"),
        ("sr_init_window: 3", "or drop the key (in bad.yaml)"),
        ("learning_rate: 1,5", "got '1,5' (in bad.yaml)"),
        ("user_inter_num_interval: '[5,1]'", "got '[5,1]' (in bad.yaml)"),
    ],
)
def test_the_property_file_of_a_wrong_key_is_named(line, end, data, capsys):
    Path("bad.yaml").write_text(line)
    said = refused(["-d", "good", "--config_files", "base.yaml bad.yaml"], capsys)
    assert said.endswith(end)


def test_no_file_is_named_where_the_command_line_has_the_last_word(data, capsys):
    Path("good.yaml").write_text("sr_warm_epochs: 3")
    arguments = ["-d", "good", "--config_files", "base.yaml good.yaml", "--sr_warm_epochs=-1"]
    assert refused(arguments, capsys).endswith("got -1")


def test_no_file_is_named_for_a_model_that_the_command_line_names(data, capsys):
    Path("good.yaml").write_text("model: LightGCN")
    arguments = ["-m", "bpr", "-d", "good", "--config_files", "base.yaml good.yaml"]
    assert refused(arguments, capsys).endswith("did you mean 'BPR'?")


LEGAL = [
    "--eval_args={split: {RS: [8,1,1]}}",  # RecBole normalises them
    "--eval_args={split: {LS: valid_and_test}, mode: {valid: uni5}, group_by: none}",
    "--train_neg_sample_args={distribution: popularity, sample_num: 2, alpha: 0.5}",
    "--clip_grad_norm={max_norm: 1, norm_type: .inf}",
    "--user_inter_num_interval=[2,20]",
    "--item_inter_num_interval=[0,1];[2,inf)",
    "--load_col={inter: '*'}",
    "--nproc=1",
]


@pytest.mark.parametrize("argument", LEGAL)
def test_what_recbole_takes_is_taken(argument, data):
    assert main(["-d", "good", "--config_files", "base.yaml", argument]) == 0


def test_model_and_data_set_of_a_file_count_unless_the_command_line_says_others(data, capsys):
    Path("own.yaml").write_text("config_files: base.yaml\nmodel: LightGCN\ndataset: good\n")
    for arguments, model in (([], "LightGCN"), (["-m", "BPR"], "BPR")):
        assert main(["config", "--config_files", "own.yaml", *arguments]) == 0
        shown = capsys.readouterr().out
        assert re.search(rf"\| model +\| {model} ", shown)
        assert re.search(r"\| dataset +\| good ", shown)
    Path("own.yaml").write_text("model: 5\n")
    assert "model: expected a name" in refused(["--config_files", "own.yaml"], capsys)


def test_an_own_ml_100k_is_read_where_data_path_says(data):
    data("ml-100k", GOOD)
    given = ["-d", "ml-100k", "--config_files", "base.yaml"]
    assert main([*given, "--data_path=data", "--topk=30", "--valid_metric=NDCG@30"]) == 0


def test_merge_keys_of_yaml_are_not_keys_given_twice(data):
    Path("own.yaml").write_text(
        "eval_args: &own {order: RO, group_by: user}\n"
        "train_neg_sample_args: {sample_num: 1}\n"
        "clip_grad_norm: {<<: {max_norm: 1, norm_type: 2}, norm_type: 1}\n"
    )
    assert main(["-d", "good", "--config_files", "base.yaml own.yaml"]) == 0


def test_a_sequential_model_says_which_column_given_parts_need(data, capsys):
    parts = {"train": slice(0, 80), "valid": slice(80, 100), "test": slice(100, 120)}
    folder = Path("data/parts")
    folder.mkdir()
    given = ["-m", "SASRec", "-d", "parts", "--config_files", "base.yaml"]
    given += ["--benchmark_filename=[train,valid,test]", "--train_batch_size=64"]
    for part, rows in parts.items():
        (folder / f"parts.{part}.inter").write_text(HEADER + "".join(ROWS[rows]))
    assert "expected the column item_id_list:token_seq" in refused(given, capsys)
    for part, rows in parts.items():
        lines = [row.replace("\n", "\ti1 i2\n") for row in ROWS[rows]]
        header = HEADER.replace("\n", "\titem_id_list:token_seq\n")
        (folder / f"parts.{part}.inter").write_text(header + "".join(lines))
    assert "add it to the files and to load_col" in refused(given, capsys)
    given += ["--load_col={inter: [user_id,item_id,item_id_list]}"]
    assert "alias_of_item_id: expected ['item_id_list']" in refused(given, capsys)
    assert main([*given, "--alias_of_item_id=[item_id_list]"]) == 0


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


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ("", "kg: [head_id, relation_id, tail_id]"),
        (", kg: [head_id, relation_id, tail_id]", "link: [item_id, entity_id]"),
    ],
)
def test_a_graph_that_is_not_loaded_is_named(more, missing, capsys):
    load = f"--load_col={{inter: [user_id, item_id]{more}}}"
    said = refused(["-m", "KGAT", "-d", "ml-100k", load], capsys)
    assert f"for KGAT, which reads a knowledge graph, got none; add {missing}, or" in said


@pytest.mark.parametrize("command", ["report", "export"])
def test_an_output_needs_its_folder(command, capsys):
    assert main([command, "given", "-o", "none/output"]) == 2
    assert "none/output: expected a file in a folder, got no folder" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_says_where(data, capsys):
    arguments = ["-d", "good", "--config_files", "base.yaml", "--learner=sgd"]
    assert main([*arguments, "--learning_rate=1e38", "--epochs=9", "--train_batch_size=8"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"epoch \d, batch \d+, \w+ phase: expected a finite training loss, got", said)
