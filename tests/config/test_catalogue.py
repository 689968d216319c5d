from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_sr.cli import main
from recbole_sr.config.catalogue import page
from recbole_sr.models.registry import MODELS, SUPPORTED

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "models.md"


def test_the_command_lists_every_model_once(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert printed == page()
    shown = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")]
    listed = [name for name in shown if name not in ("Model", "Refused") and name.strip("-")]
    assert listed == [*SUPPORTED, *(name for name in MODELS if name not in SUPPORTED)]


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_models_row_says_what_its_entry_does(name):
    (row,) = [line for line in page().splitlines() if line.startswith(f"| {name} ")]
    entry, cells = SUPPORTED[name], [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:4] == [entry.user.about, entry.item.about]
    assert cells[6].startswith("supported")
    assert entry.note in cells[6]
    assert ("several processes" in cells[6]) == entry.parallel
    assert ("also by columns" in cells[6]) == entry.columns
    assert ("mixed precision" in cells[6]) == (entry.mixed_precision != "yes")
    assert (f"extra `{entry.extra}`" in cells[6]) == (entry.extra is not None)
    assert all(f"`{key}: {value}` only" in cells[6] for key, value in entry.needs.items())


def test_the_document_is_what_the_command_prints():
    shown = DOCUMENT.read_text(encoding="utf-8")
    assert shown == page(), "run `python -m recbole_sr.config.reference`"


def test_a_stray_argument_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["models", "BPR"])
    assert ended.value.code == 2
    assert "unrecognized arguments: BPR" in capsys.readouterr().err


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_recipe_says_what_was_measured_and_where(name):
    (row,) = [line for line in page().splitlines() if line.startswith(f"| {name} ")]
    recipe, gain = (cell.strip() for cell in row.strip("|").split("|")[4:6])
    page_of_results = re.search(r"results/\w+\.md", gain)
    assert (recipe == "off") == (page_of_results is None or "no significant gain" in gain)
    if page_of_results:
        assert name in (ROOT / page_of_results[0]).read_text("utf-8")


def test_a_gain_is_that_of_its_page():
    names = {
        "LastFM": "lastfm-lightgcn",
        "Amazon Beauty": "amazon-beauty-5core",
        "Amazon Sports": "amazon-sports-5core",
    }
    measured = (ROOT / "results" / "recipes.md").read_text("utf-8")
    told = 0
    for file in (ROOT / "properties" / "model").glob("*.yaml"):
        head = re.search(r"^# Measured: (.*)\(results/recipes\.md\)", file.read_text("utf-8"))
        said = head[1] if head else ""
        for gain, data_set in re.findall(r"([+-]\d+) % on ((?:Amazon )?[\w-]+)", said):
            place = f"{file.stem}, {names.get(data_set, data_set)}"
            (row,) = re.findall(rf"^\| {place} \|.*?\| ([+-][\d.]+) %", measured, re.MULTILINE)
            assert int(gain) == round(float(row)), place
            told += 1
    assert told


def test_the_documents_count_the_recipes():
    rows = [line.split("|") for line in page().splitlines() if line.startswith("| ")]
    recipes = {c[1].strip(): c[5].strip() for c in rows if c[1].strip() in SUPPORTED}
    on = {name for name, recipe in recipes.items() if recipe != "off"}
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"runs {len(SUPPORTED)} of RecBole's models" in readme
    assert f"{len(on)} of them have a recipe" in readme
    assert f"For {len(SUPPORTED) - len(on)} of the {len(SUPPORTED)} models" in readme
    guide = (ROOT / "docs" / "guides" / "settings.md").read_text("utf-8")
    lists = " ".join(line for line in guide.splitlines() if line.startswith("- of "))
    assert {name for name in SUPPORTED if re.search(rf"\b{name}\b", lists)} == on
