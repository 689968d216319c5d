from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys

import pytest

from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder, Settings
from recbole_sr.study.report.figures import draw
from recbole_sr.study.report.page import read_runs, report
from recbole_sr.study.report.paper import write_figures
from recbole_sr.study.summary import summarize


@pytest.fixture
def study(experiment, tiny, tmp_path):
    """A study's folder with the runs of two variants, made in this process."""
    results = []
    for variant, warm in (("default", 2), ("none", 0)):
        folder = tmp_path / "study" / "runs" / f"BPR-tiny-{variant}-2020"
        made = experiment("BPR", "tiny", **tiny, epochs=4, sr_init="model", sr_warm_epochs=warm)
        outcome = made.train(saved=True, verbose=False, folder=str(folder))
        labels = {"model": "BPR", "dataset": "tiny", "variant": variant, "seed": 2020}
        RunFolder(folder).write("request.json", labels)
        seconds = {"start_up": 0.1, "training": 0.2, "evaluation": 0.1, "total": 0.4}
        results.append(
            {**outcome, **labels, "error": None, "metric": "mrr@10", "epochs": 4, "split": [1]}
            | {"seconds": seconds}
        )
    RunFolder(tmp_path / "study").write("comparison.json", summarize(results, {}))
    return tmp_path / "study"


def embedded(page):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text.group(1))


def test_the_figures_hold_the_numbers_of_the_runs(study):
    report([str(study)], "report.html")
    with open("report.html", encoding="utf-8") as file:
        (section,) = embedded(file.read())
    figures = {figure["id"]: figure for figure in section["figures"]}
    for name in ("default", "none"):
        lines = RunFolder(study / "runs" / f"BPR-tiny-{name}-2020").epochs()

        def series(figure, name=name):
            (found,) = (one for one in figures[figure]["series"] if one["name"] == name)
            return found

        assert series("valid-epochs")["y"] == [line["valid_score"] for line in lines]
        assert series("valid-epochs")["x"] == [0, 1, 2, 3]
        assert series("loss")["y"] == [line["train_loss"] for line in lines]
        seconds = [line["train_seconds"] for line in lines]
        assert series("valid-seconds")["x"] == pytest.approx(
            [sum(seconds[: i + 1]) for i in range(4)]
        )
        for side in ("user", "item"):
            ranks = [line["stable_rank"][side] for line in lines]
            assert series(f"stable-rank-{side}")["y"] == ranks
        assert series("valid-epochs")["switch"] == (2 if name == "default" else None)
    names = [one["name"] for one in figures["spectrum-user"]["series"]]
    assert names == [
        "default, start",
        "default, switch",
        "default, end",
        "none, start",
        "none, end",
    ]


def test_settings_that_differ_are_listed_and_no_others(study):
    report([str(study)], "report.html")
    with open("report.html", encoding="utf-8") as file:
        (section,) = embedded(file.read())
    assert section["settings"] == [["sr_warm_epochs", ["2", "0"]]]


def test_two_studies_on_one_page_are_told_apart(study, tmp_path):
    shutil.copytree(study, tmp_path / "again")
    runs = report([str(study), "again"], "report.html")
    assert {run.label for run in runs} == {
        f"{name}, {variant}" for name in ("study", "again") for variant in ("default", "none")
    }


def test_a_table_that_is_not_finite_has_no_curve(study):
    folder = RunFolder(study / "runs" / "BPR-tiny-default-2020")
    spectra = folder.read("spectra.json")
    spectra["end"]["user"] = [None] * len(spectra["end"]["user"])
    folder.write("spectra.json", spectra)
    figures = {figure.id: figure for figure in draw(report([str(study)], "report.html"))}
    names = [one.name for one in figures["spectrum-user"].series]
    assert "default, end" not in names
    assert "default, start" in names


def test_a_run_that_is_still_going_on_can_be_shown(study):
    folder = study / "runs" / "BPR-tiny-default-2020"
    (folder / "result.json").unlink()
    (folder / "spectra.json").unlink()
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text.splitlines(keepends=True)[0] + '{"epo')
    (run,) = report([str(folder)], "report.html")
    assert len(run.epochs) == 1


def test_text_in_a_run_is_text_in_the_page(study):
    hostile = "</script><script>alert(1)</script>"
    folder = RunFolder(study / "runs" / "BPR-tiny-default-2020")
    folder.write("settings.json", {**folder.read("settings.json"), "note": hostile})
    report([str(study)], "report.html")
    with open("report.html", encoding="utf-8") as file:
        assert hostile not in file.read()


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_a_run_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"{folder}: expected the folder of a run"):
        report([folder])


def test_figures_for_papers_are_drawn_from_the_same_numbers(study, tmp_path):
    pytest.importorskip("matplotlib")
    figures = draw(read_runs(study))
    files = write_figures(read_runs(study), "figures")
    assert len(files) == 2 * len(figures)
    assert (tmp_path / "figures/BPR-tiny-loss.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "figures/BPR-tiny-loss.svg").read_text()

    from recbole_sr.study.report.paper import plot

    axes = plot(figures[1]).axes[0]
    assert list(axes.lines[0].get_ydata()) == figures[1].series[0].y


def test_a_figure_takes_the_place_of_a_figure_alone(study, tmp_path):
    pytest.importorskip("matplotlib")
    settings = RunFolder(study / "runs" / "BPR-tiny-none-2020")
    settings.write("settings.json", {**settings.read("settings.json"), "dataset": "../../x"})
    for _ in range(2):
        files = write_figures(read_runs(study), "figures")
        assert {file.parent.name for file in files} == {"figures"}
    files[0].write_text("mine")
    with pytest.raises(InputError, match="expected a new file, got a file"):
        write_figures(read_runs(study), "figures")
    assert files[0].read_text() == "mine"


def test_without_matplotlib_figures_say_what_to_install(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'recbole_sr\[figures\]'"):
        write_figures(read_runs(study), "figures")


def test_the_command_writes_the_page(study, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", str(study), "-o", "out.html", "--figures", "figures"]) == 0
    said = capsys.readouterr().out
    assert "Report: out.html" in said
    assert all(
        (tmp_path / line.removeprefix("Figure: ")).is_file() for line in said.split("\n")[1:-1]
    )
    assert len(said.split("\n")) > 10
    page = (tmp_path / "out.html").read_text()
    assert not re.search(r'(src|href)="(https?:)?//', page.split("<script>")[0])


CONTENTS = [
    b"", b"\xff\xfe", b"{", b"null\n", b"5\n", b'"x"\n', b"[]\n", b"{}\n", b"[1]\n", b"NaN\n",
    b"1e999\n", b"9" * 5000 + b"\n", b"[" * 100_000 + b"\n", b'{"a": ' * 50_000 + b"\n",
    b'{"\\ud800": "\\ud800"}\n', b"\xef\xbb\xbf{}\n", b"{}\n\n{}\n",
]  # fmt: skip
VALUES = [None, "x", "\ud800", [], {}, [[]], True, -1, 0, 10**400, math.nan, math.inf, 1e308]
FILES = [
    pytest.param("comparison.json", marks=pytest.mark.slow),  # has the most parts
    "runs/BPR-tiny-default-2020/settings.json",
    "runs/BPR-tiny-default-2020/request.json",
    "runs/BPR-tiny-default-2020/metrics.jsonl",
    "runs/BPR-tiny-default-2020/spectra.json",
]


def paths(value, path=()):
    """Where each part of a JSON value lies."""
    yield path
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from paths(part, (*path, key))


def replaced(value, path, by):
    if not path:
        return by
    copied = value.copy()
    copied[path[0]] = replaced(value[path[0]], path[1:], by)
    return copied


def without(value, path):
    if len(path) == 1:
        return {k: part for k, part in value.items() if k != path[0]}
    return replaced(value, path[:1], without(value[path[0]], path[1:]))


def mutants(file):
    """What a file may hold in place of what it holds."""
    yield from CONTENTS
    text = file.read_text()
    lines = text.splitlines() if file.suffix == ".jsonl" else [text]
    data = json.loads(lines[0])
    known = [path for path in paths(data) if len(path) < 2 or not isinstance(path[-1], int)]
    if file.name == "settings.json":  # all others are only shown
        read = (*Settings.__annotations__, "epochs")
        known = [path for path in known if not path or path[0] in read]
    for path in known:
        made = [replaced(data, path, by) for by in VALUES]
        made += [without(data, path)] if path and isinstance(path[-1], str) else []
        for one in made:
            yield "\n".join([json.dumps(one), *lines[1:], ""]).encode()
    yield text.encode()[: len(text) // 2]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_or_the_page_is_drawn(name, study, monkeypatch, record_property):
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    file, outcomes = study / name, []
    for content in list(mutants(file)):
        file.write_bytes(content)
        try:
            report([str(study)], "report.html")
        except InputError as refusal:
            outcomes.append(str(file) in str(refusal) or content[:200])
        else:
            with open("report.html", encoding="utf-8") as page:
                json.dumps(embedded(page.read()), allow_nan=False)
            outcomes.append(True)
    record_property("tried", len(outcomes))
    assert set(outcomes) == {True}
    assert len(outcomes) > 30


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_named(name, study):
    file = study / name
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match="expected a file as a run leaves it, got a folder"):
        report([str(study)], "report.html")
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(InputError, match="expected a file as a run leaves it, got a pipe"):
        report([str(study)], "report.html")


def test_what_is_not_finite_is_a_gap(study):
    file = study / "runs" / "BPR-tiny-default-2020" / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["valid_score"] = lines[2]["train_loss"] = float("nan")
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    figures = {figure.id: figure for figure in draw(report([str(study)], "report.html"))}
    for name, epochs in (("valid-epochs", [0, 2, 3]), ("loss", [0, 1, 3])):
        (series,) = (one for one in figures[name].series if one.name == "default")
        assert series.x == epochs
