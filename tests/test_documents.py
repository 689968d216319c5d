"""README, docs, results: commands are accepted short of training; links, words, tables, pages."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
from contextlib import nullcontext, suppress
from pathlib import Path

import pandas as pd
import pytest
import torch

from recbole_sr import cli, prepare
from recbole_sr.config.config import Config
from recbole_sr.study import compare
from recbole_sr.study import text as study_text
from recbole_sr.study.tuning import grid_points
from recbole_sr.training import experiment

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = sorted(ROOT.glob("results/*.md"))
DOCUMENTS = [README, *sorted(ROOT.glob("docs/**/*.md")), *RESULTS]
# Private words, for which the field has its own.
PRIVATE_WORDS = [
    r"sweeps?\b",
    r"spectral start\b(?!-)",
    r"(own|model's|no) start\b(?!-)",
    r"keeps? on\b",
    r"kept on\b",
    r"look-ups?\b",
    r"short(er)? rows\b",
    r"lengths? of (the )?rows\b",
    r"rows of length\b",
    r"not shown to differ",
    r"has stock's best\b",
]
# What a reader puts in.
NAMES = {"FOLDER": "data", "SEED": "2020", "MARGIN": "1.0", "MODEL": "BPR"}
FILES = {
    "mine.yaml": "sr_warm_epochs: 3\n",
    "other.yaml": "learning_rate: 0.003\n",
    "features.yaml": "topk: [10]\n",
    "data/kinds/kinds.yaml": "topk: [10]\n",  # by `python -m benchmarks.kinds`
    "all.yaml": "learning_rate: 0.003\n",
    "shop/shop.yaml": "load_col: {inter: [user_id, item_id]}\n",  # by `recbole-sr prepare`
    "grid.yaml": "choice: {learning_rate: [0.001, 0.003], embedding_size: [8, 16, 32, 64, 96]}\n",
}


class TorchrunStarted(BaseException):
    """The process would be torchrun's from here on."""


def commands(document: Path) -> list[str]:
    """Lines of code blocks and code within sentences that train, each once."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    sentences = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    inline = re.findall(r"`([^`]+)`", sentences)
    found = dict.fromkeys(" ".join(line.split()) for line in [*lines, *inline])
    return [line for line in found if re.match(r"recbole-sr (compare )?-(?!-help)", line)]


COMMANDS = [
    pytest.param(document, line, id=f"{document.stem}-{number}")
    for document in DOCUMENTS
    for number, line in enumerate(commands(document))
]


def anchors(document: Path) -> set[str]:
    """GitHub's names of a document's headings: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_a_link_leads_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", document.read_text("utf-8"))
    for path, anchor in links:
        target = (document.parent / path) if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize(
    "document",
    [*DOCUMENTS, *sorted(ROOT.glob("properties/**/*.yaml")), *ROOT.glob("benchmarks/**/*.yaml")],
    ids=lambda document: document.stem,
)
def test_words_are_those_of_the_field(document):
    text = " ".join(re.sub(r"^# ?", "", document.read_text("utf-8"), flags=re.M).split())
    found = [re.search(rf".{{0,40}}\b{word}", text, re.I) for word in PRIVATE_WORDS]
    assert not [match[0] for match in found if match]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_a_table_has_at_most_seven_columns(document):
    heads = re.findall(r"^(\|.*\|)\n\|[ :|-]+\|$", document.read_text("utf-8"), re.M)
    assert not [head for head in heads if head.count("|") > 8]


def test_every_page_is_on_the_site():
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    pages = [*ROOT.glob("docs/**/[!_]*.md"), *ROOT.glob("docs/**/*.ipynb"), *RESULTS]
    names = [os.path.relpath(page.with_suffix(""), ROOT / "docs") for page in pages]
    missing = [name for name in names if not re.search(rf"^{name}$", index, re.M)]
    assert missing == ["index"]


def test_the_headline_is_the_mean_of_its_table(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    names, gains, _ = zip(*importlib.import_module("benchmarks.gains").rows(), strict=True)
    bpr = [gain for name, gain in zip(names, gains, strict=True) if name.startswith("BPR")]
    light = [gain for name, gain in zip(names, gains, strict=True) if name.startswith("LightGCN")]
    means = [f"{sum(part) / len(part):.0f} %" for part in (bpr, light, gains)]
    assert means == re.findall(r"\d+ %", (ROOT / "results" / "README.md").read_text("utf-8"))[:3]
    (said,) = re.findall(r"mean gain is.*", README.read_text("utf-8"))
    assert means == re.findall(r"\d+ %", said)[:3]


def test_outputs_of_the_notebook_name_no_machine():
    text = (ROOT / "docs" / "start" / "notebook.ipynb").read_text("utf-8")
    outputs = [cell.get("outputs") for cell in json.loads(text)["cells"]]
    assert any(outputs)
    assert not re.search(r"/(home|tmp|root|usr|Users|opt)/|site-packages|error", str(outputs))


def test_the_events_of_the_csv_page_are_prepared_as_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "start" / "csv.md").read_text("utf-8")
    exec(re.search(r"^```python\n(.*?)^```", page, re.M | re.S)[1], {})  # noqa: S102
    prepare, train = re.search(r"^```bash\n(.*?)^```", page, re.M | re.S)[1].splitlines()
    assert cli.main(shlex.split(prepare)[1:]) == 0
    assert train.removesuffix(" --sr_final=True") in capsys.readouterr().out


@pytest.fixture
def features(tmp_path, monkeypatch):
    """The page of features followed, up to its command, on made events."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "guides" / "features.md").read_text("utf-8")
    blocks = dict(re.findall(r"^```(\w*)\n(.*?)^```", page, re.M | re.S))
    events = pd.DataFrame(
        [(f"u{n}", f"i{(n + 3 * at) % 30}", at, at) for n in range(20) for at in range(8)],
        columns=["who", "what", "when", "stars"],
    )
    prepare(events, "shop", user="who", item="what", time="when", rating="stars")
    head = blocks[""].splitlines()[0]
    lines = [f"i{at}\t{'ab'[at % 2]}\t{at}.5" for at in range(30)]
    Path("shop/shop.item").write_text("\n".join([head, *lines]) + "\n")
    Path("features.yaml").write_text(blocks["yaml"])
    return [*shlex.split(blocks["bash"])[1:], "--epochs=1"]


def test_the_page_of_features_ends_with_lists(features, tmp_path, capsys):
    assert cli.main(features) == 0
    (file,) = (x for x in (tmp_path / "saved").glob("*.pth") if ".run" not in x.name)
    capsys.readouterr()
    assert cli.main(["recommend", str(file), "-k", "3"]) == 0
    assert capsys.readouterr().out.startswith("user_id,item_id,rank,score\nu0,")
    tables = torch.load(file, weights_only=True)["state_dict"]
    assert "float_embedding_table.embedding.weight" in tables  # of the prices


@pytest.mark.parametrize(
    "settings",
    [
        {"-m": "GRU4RecF", "selected_features": ["category"], "train_neg_sample_args": None},
        {
            "-m": "DeepFM",
            "load_col": None,
            "threshold": {"rating": 4},
            "train_neg_sample_args": None,
            "eval_args": {"mode": "labeled"},
            "metrics": ["AUC", "LogLoss"],
            "valid_metric": "AUC",
        },
    ],
    ids=["sequential", "labels"],
)
def test_what_else_the_page_of_features_says_trains(settings, features):
    model = settings.pop("-m")
    files = [*features[2].removeprefix("--config_files=").split(), "more.yaml"]
    Path("more.yaml").write_text(json.dumps(settings))
    assert experiment.run_recbole_sr(model, config_file_list=files, config_dict={"epochs": 1})


def test_the_page_of_files_names_what_a_run_writes(tiny, tmp_path):
    experiment.run_recbole_sr("BPR", "tiny", config_dict={**tiny, "epochs": 1, "sr_final": True})
    page = (ROOT / "docs" / "reference" / "files.md").read_text("utf-8")
    listed = re.findall(r"^\| `NAME([^`]*)`", page, re.M)
    saved = tmp_path / "saved"
    run = next(saved.glob("*/final.json")).parent.name
    files = [file.relative_to(saved).as_posix() for file in saved.rglob("*") if file.is_file()]
    written = [file.removeprefix(run) for file in files if re.match(rf"{run}[./]", file)]
    assert sorted(listed) == sorted(written)


def test_there_are_commands_of_both_kinds():
    lines = [command.values[1] for command in COMMANDS]
    assert sum(line.startswith("recbole-sr compare") for line in lines) > 20
    assert sum(line.startswith("recbole-sr -") for line in lines) > 8


@pytest.fixture
def accepted(monkeypatch, tmp_path):
    """Configurations made by a command, which trains nothing, in a folder of its own."""
    made = []

    def start(program, command):
        made.append(command)
        raise TorchrunStarted

    def train(model, dataset, files, properties):
        made.append(Config(model, dataset, files, properties))

    def results(study, groups):
        made.extend(study.trial(*group).config() for group in groups)
        return []

    def points(space, trials):
        found = grid_points(space, trials)
        assert len(found) == trials
        return found

    monkeypatch.setattr(experiment, "run_recbole_sr", train)
    monkeypatch.setattr(os, "execv", start)
    monkeypatch.setattr(compare, "grid_points", points)
    monkeypatch.setattr(compare, "joined", lambda address: nullcontext())  # no cluster
    monkeypatch.setattr(compare, "check_dataset", lambda settings: None)  # a reader has them
    monkeypatch.setattr(compare._Study, "results", results)
    monkeypatch.setattr(compare._Study, "write", lambda *_: None)
    monkeypatch.setattr(compare, "summarize", lambda *_: {"failed": [], "rows": [{"runs": 1}]})
    monkeypatch.setattr(study_text, "to_text", lambda _: "")
    monkeypatch.chdir(tmp_path)
    return made


@pytest.mark.parametrize(("document", "line"), COMMANDS)
def test_a_command_is_accepted(document, line, accepted, tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if document in RESULTS:
        for file in (ROOT / "benchmarks" / "studies").glob("*.yaml"):
            shutil.copy(file, tmp_path)
    line = re.sub(r"\b[A-Z]{4,}\b", lambda name: NAMES.get(name[0], name[0]), line)
    with suppress(TorchrunStarted):
        assert cli.main(shlex.split(line, comments=True)[1:]) == 0
    assert accepted
