from __future__ import annotations

import json
import math
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from recbole_sr.cli import main
from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder, Settings
from recbole_sr.study.report.drawing import as_svg, plot, write_figures
from recbole_sr.study.report.figures import Figure, Series, draw
from recbole_sr.study.report.page import read_runs, report
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


@pytest.fixture
def single(experiment, tiny, tmp_path):
    """The folder of a run with a warm phase that recorded its spectra."""
    settings = {**tiny, "epochs": 6, "stopping_step": 10, "sr_warm_epochs": 2, "sr_spectra_step": 1}
    result = experiment("BPR", "tiny", **settings).train(saved=True, verbose=True)
    return tmp_path / result["sr"]["run_folder"], result


def page_of(*folders):
    report([*map(str, folders)], "report.html")
    with open("report.html", encoding="utf-8") as file:
        return file.read()


def test_the_figures_hold_the_numbers_of_the_runs(study):
    figures = {figure.id: figure for figure in draw(read_runs(study))}
    for name in ("default", "none"):
        lines = RunFolder(study / "runs" / f"BPR-tiny-{name}-2020").epochs()

        def series(figure, name=name):
            (found,) = (one for one in figures[figure].series if one.name == name)
            return found

        assert series("valid-epochs").y == [line["valid_score"] for line in lines]
        assert series("valid-epochs").x == [0, 1, 2, 3]
        seconds = [line["train_seconds"] for line in lines]
        assert series("valid-seconds").x == pytest.approx([sum(seconds[: i + 1]) for i in range(4)])
        for side in ("user", "item"):
            ranks = [line["stable_rank"][side] for line in lines]
            assert series(f"stable-rank-{side}").y == ranks
        assert series("valid-epochs").switch == (2 if name == "default" else None)
    names = [one.name for one in figures["spectrum-user"].series]
    assert names == [
        "default, start",
        "default, switch",
        "default, end",
        "none, start",
        "none, end",
    ]


def test_losses_of_different_objectives_have_axes_of_their_own(study):
    losses = [figure for figure in draw(read_runs(study)) if figure.id.startswith("loss")]
    warm, main = losses
    assert "stable_rank" in warm.title
    assert "stable_rank" not in main.title
    assert [(one.name, one.x) for one in warm.series] == [("default", [0, 1])]
    assert [(one.name, one.x) for one in main.series] == [
        ("default", [2, 3]),
        ("none", [0, 1, 2, 3]),
    ]
    assert all(one.switch is None for figure in losses for one in figure.series)
    for figure in losses:
        for one in figure.series:
            lines = RunFolder(study / "runs" / f"BPR-tiny-{one.name}-2020").epochs()
            assert one.y == [line["train_loss"] for line in lines if line["epoch"] in one.x]


def test_recorded_spectra_are_drawn_over_training(single):
    folder, _ = single
    recorded = RunFolder(folder).read("spectra.json")
    assert set(recorded) == {"start", "switch", "end", *(f"epoch {n}" for n in range(6))}
    figures = {figure.id: figure for figure in draw(read_runs(folder))}
    assert "spectrum-user" not in figures
    series = figures["spectra-user-0"].series
    assert [one.shade for one in series] == list(range(7))
    assert series[0].y == recorded["start"]["user"]
    assert series[6].y == recorded["epoch 5"]["user"] == recorded["end"]["user"]
    assert series[1].y != series[6].y


def test_of_many_recorded_spectra_a_few_are_drawn(study):
    folder = RunFolder(study / "runs" / "BPR-tiny-none-2020")
    spectra = folder.read("spectra.json")
    more = {f"epoch {n}": {"user": [float(n + 1), 1.0]} for n in range(100)}
    folder.write("spectra.json", spectra | more)
    figures = {figure.id: figure for figure in draw(read_runs(study))}
    shades = [one.shade for one in figures["spectra-user-1"].series]
    assert len(shades) <= 12
    assert shades[0] == 0
    assert shades[-1] > 90
    assert shades == sorted(shades)
    items = {one.name.split(",")[0] for one in figures["spectrum-item"].series}
    assert items == {"default", "none"}  # the items' were not recorded


def test_a_single_run_says_what_it_came_to(single):
    folder, result = single
    page = page_of(folder)
    for name, value in result["test_result"].items():
        assert f"{name} {value:.4f}" in page
    assert f"<dt>best epoch</dt><dd>{result['sr']['best_epoch']} of 6, valid mrr@10" in page
    assert "lines of one name" not in page
    assert f"valid mrr@10 {result['sr']['initial_valid_score']:.4f}" in page
    for shown in ("torch_threads", "sr_warm_epochs", "s of training", "All settings"):
        assert shown in page


def test_a_run_on_all_interactions_says_that_it_is_not_tested(experiment, tiny):
    made = experiment("BPR", "tiny", **{**tiny, "epochs": 1, "sr_train_on": "all"})
    page = page_of(folder := made.train(saved=True)["sr"]["run_folder"])
    assert "Trained on all interactions for 1 epoch, so not tested." in page
    assert "test result" not in page
    os.unlink(f"{folder}/result.json")
    assert "Not finished; 1 epoch so far." in page_of(folder)


def test_a_run_before_its_first_epoch_has_no_page_yet(single):
    folder, _ = single
    (folder / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="wait until its first epoch has ended"):
        page_of(folder)


def test_runs_of_their_own_are_not_called_seeds(single, tmp_path):
    folder, _ = single
    other = shutil.copytree(folder, tmp_path / "other")
    page = page_of(folder, other)
    assert page.count("<article>") == 2
    assert "lines of one name" not in page


def test_a_page_goes_where_a_link_leads(study):
    Path("link.html").symlink_to("real.html")
    for _ in range(2):
        report([str(study)], "link.html")
        assert Path("link.html").is_symlink()
    assert Path("real.html").read_text().startswith("<!doctype html>")


def test_the_folder_that_one_is_in_has_its_name(single, tmp_path, monkeypatch):
    folder, _ = single
    other = shutil.copytree(folder, tmp_path / "other")
    monkeypatch.chdir(folder)
    page = page_of(".", other)
    assert page.count(folder.name) > 0
    assert "<h3></h3>" not in page


def test_folders_of_one_name_are_told_apart(single, study, tmp_path):
    folder, _ = single
    other = shutil.copytree(folder, tmp_path / "more" / folder.name)
    page = page_of(folder, other)
    assert str(other) in page
    assert str(folder) in page
    assert "lines of one name" not in page
    second = shutil.copytree(study, tmp_path / "more" / study.name)
    page = page_of(study, second)
    for one in (study, second):
        assert f"{one}, none" in page


def test_a_comparison_begins_with_its_finding(study):
    comparison = RunFolder(study).read("comparison.json")
    comparison["baseline"] = "none"
    tried, baseline = comparison["rows"]
    comparison["rows"] = [
        {**baseline, "verdict": "baseline"},
        {**tried, "gain": 12.34, "verdict": "better; it may be better still, as it was cut: x"},
    ]
    RunFolder(study).write("comparison.json", comparison)
    page = page_of(study)
    assert "BPR on tiny, 1 seed: test mrr@10 against none: default +12.3\u00a0% (better)." in page
    table = page[page.index('<table class="brief">') :].partition("</table>")[0]
    columns = re.findall(r'<th scope="col">(.*?)</th>', table)
    assert columns == ["variant", "test", "gain %", "verdict", "epochs", "seconds"]
    assert page.index("<details>") < page.index('<table class="wide">')


def test_a_page_of_many_runs_stays_small(study):
    (folder, *_) = sorted((study / "runs").iterdir())
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    lines = [
        {**line, "epoch": n, "train_loss": 1 / (n + 1), "valid_score": n % 7 / 70}
        for n in range(200)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    settings = RunFolder(folder).read("settings.json")
    for seed in range(20):
        again = study / "runs" / f"again-{seed}"
        shutil.copytree(folder, again)
        RunFolder(again).write("settings.json", {**settings, "seed": seed})
    assert len(page_of(study).encode()) < 1_500_000


def test_settings_that_differ_are_listed_and_no_others(study):
    page = page_of(study).partition("Settings that differ")[2]
    rows = re.findall(r"<tr><th scope=.row.><code>(.*?)</code></th>(.*?)</tr>", page)
    assert [key for key, _ in rows] == ["sr_warm_epochs"]
    assert re.findall(r"<code>(.*?)</code>", rows[0][1]) == ["2", "0"]


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
    figures = draw(read_runs(study))
    files = write_figures(read_runs(study), "figures")
    assert len(files) == 2 * len(figures)
    assert (tmp_path / "figures/BPR-tiny-loss.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "figures/BPR-tiny-loss.svg").read_text()

    axes = plot(figures[1]).axes[0]
    assert list(axes.lines[0].get_ydata()) == figures[1].series[0].y


NUMBERS = [0.0, -1.0, 1e-300, 1e99, -1e99, 5e-324, 1.0, 3]


@pytest.mark.parametrize("log_y", [True, False])
@pytest.mark.parametrize("numbers", [NUMBERS, *([number] for number in NUMBERS)])
def test_any_numbers_are_drawn(numbers, log_y):
    series = Series("a", 0, 0, [*range(len(numbers))], numbers)
    drawn = as_svg(Figure("any", "title", "x", "y", "", [series], log_y))
    assert drawn.startswith("<svg viewBox=")


def test_any_names_are_drawn_as_they_are():
    names = ["_hidden", "$\\alpha$", "<b>&", "\ud800", "\u6a21\u578b", ""]
    series = [Series(name, at, at, [0, 1], [0, 1]) for at, name in enumerate(names)]
    drawn = as_svg(Figure("any", "title", "$x", "$y$", "", series))
    for text in ("_hidden", "$\\alpha$", "&lt;b&gt;&amp;", "\u6a21\u578b", "$x", "$y$"):
        assert f">{text}</text>" in drawn


def test_ticks_are_plain_numbers_and_a_star_stands_for_a_switch_alone():
    values = Series("a", 0, 0, [1, 2, 3], [250000.0, 40.0, 2.0])
    axes = plot(Figure("any", "title", "epoch", "loss", "", [values], log_y=True)).axes[0]
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    # Versions of matplotlib differ in how many ticks they place out of sight.
    ticks = [
        label.get_text()
        for label, value in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
        if low <= value <= high
    ]
    assert {"10", "1000", "100000"} & set(ticks)
    assert all(re.fullmatch(r"[\d.]+", text) for text in ticks)
    plain = plot(Figure("any", "title", "x", "y", "", [values]))
    switching = plot(Figure("any", "title", "x", "y", "", [replace(values, switch=1)]))
    named = [
        [text.get_text() for text in drawn.legends[0].get_texts()] for drawn in (plain, switching)
    ]
    assert named == [["a"], ["a", "switch to the main phase"]]
    assert any(line.get_marker() == "*" for line in switching.axes[0].lines)


def test_a_figure_takes_the_place_of_a_figure_alone(study, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_sr.study.report.drawing.draw", lambda runs: draw(runs)[:1])
    settings = RunFolder(study / "runs" / "BPR-tiny-none-2020")
    settings.write("settings.json", {**settings.read("settings.json"), "dataset": "../../x"})
    for _ in range(2):
        files = write_figures(read_runs(study), "figures")
        assert {file.parent.name for file in files} == {"figures"}
    for mine in (b"mine", b"\x89PNG\r\n\x1a\n of another program"):
        files[0].write_bytes(mine)
        with pytest.raises(InputError, match="expected a new file, got a file"):
            write_figures(read_runs(study), "figures")
        assert files[0].read_bytes() == mine


def test_a_page_takes_the_place_of_such_a_page_alone(study):
    for _ in range(2):
        report([str(study)], "index.html")
    Path("index.html").write_text("<!DOCTYPE html>\n<p>mine")
    with pytest.raises(InputError, match=r"index\.html: expected a new file"):
        report([str(study)], "index.html")
    assert Path("index.html").read_text().endswith("mine")


def test_the_command_writes_the_page(study, tmp_path, capsys):
    assert main(["report", str(study), "-o", "out.html", "--figures", "figures"]) == 0
    said = capsys.readouterr().out
    assert "Report: out.html" in said
    assert all(
        (tmp_path / line.removeprefix("Figure: ")).is_file() for line in said.split("\n")[1:-1]
    )
    assert len(said.split("\n")) > 10
    page = (tmp_path / "out.html").read_text()
    assert not re.search(r'(src|href)="(https?:)?//|<script', page)


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
    # Other tests draw hostile numbers; here only what is read is tried, in hundreds of pages.
    monkeypatch.setattr("recbole_sr.study.report.drawing.as_svg", lambda figure: "")
    file, outcomes = study / name, []
    for content in list(mutants(file)):
        file.write_bytes(content)
        try:
            report([str(study)], "report.html")
        except InputError as refusal:
            outcomes.append(str(file) in str(refusal) or content[:200])
        else:
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
    for name, epochs in (("valid-epochs", [0, 2, 3]), ("loss-1", [3])):
        (series,) = (one for one in figures[name].series if one.name == "default")
        assert series.x == epochs


@pytest.mark.parametrize("folders", ["saved", Path("saved"), []])
def test_folders_that_are_no_list_are_refused(folders):
    with pytest.raises(InputError, match=r"^report: expected a list of folders, got"):
        report(folders)
