"""The floors of the house: what each room may import."""

from __future__ import annotations

import ast
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "recbole_sr"
# From the ground up: a room imports from those before it.
FLOORS = [
    "recbole_compat",
    "objectives",
    "distributed",
    "fast",
    "init",
    "models",
    "config",
    "runs",
    "training",
    "serve",
    "study",
]
# Beside the rooms: below all of them, and above.
GROUND, ROOF = {"errors"}, {"__init__", "__main__", "cli"}
# What a room must not know, although it lies below.
UNKNOWN = {
    "objectives": {"recbole_compat"},
    "distributed": {"recbole_compat", "objectives"},
    "fast": {"objectives"},
    "init": {"recbole_compat", "objectives", "distributed", "fast"},
    "models": {"fast"},
}
OUTSIDE = {
    "objectives": {"torch"},
    "distributed": {"torch"},
    "init": {"torch", "numpy", "scipy", "sklearn"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))
OTHERS = [*sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]


def imports(file):
    """Each imported module and, where there is one, the name taken from it."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def room_of(module):
    """The room of ``recbole_sr.room.module``, or the module beside the rooms."""
    return module.removeprefix("recbole_sr.").split(".")[0]


def ours(file):
    """Rooms, or modules beside them, that a file imports."""
    for module, name in imports(file):
        if module == "recbole_sr":
            yield name
        elif module.startswith("recbole_sr."):
            yield room_of(module)


def room_of_file(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_is_on_a_floor():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    beside = {path.stem for path in PACKAGE.glob("*.py")}
    assert rooms == set(FLOORS)
    assert beside == GROUND | ROOF
    assert len(rooms) <= 11


def test_every_room_says_what_it_is_for():
    for room in FLOORS:
        text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8")))
        assert text, room
        assert "never knows" in text, room
        files = (PACKAGE / room).rglob("*.py")
        imported = {name for file in files for name in ours(file)} & {*FLOORS} - {room}
        others = ("what lies below it", "the rooms below it", "every other room")
        any_below = any(words in " ".join(text.split()) for words in others)
        assert any_below or imported == set(re.findall(r"``(\w+)``", text)) & {*FLOORS}, room


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_from_rooms_below_alone(file):
    room = room_of_file(file)
    if room in ROOF:
        return
    below = {*GROUND, room} if room in FLOORS else set()
    if room in FLOORS:
        below |= set(FLOORS[: FLOORS.index(room)]) - UNKNOWN.get(room, set())
    assert set(ours(file)) <= below


@pytest.mark.parametrize("room", OUTSIDE)
def test_a_room_imports_few_packages(room):
    files = (PACKAGE / room).glob("*.py")
    found = {module.split(".")[0] for file in files for module, _ in imports(file)}
    assert found - sys.stdlib_module_names - {"recbole_sr"} <= OUTSIDE[room]


def test_modules_import_each_other_in_no_circle():
    names = {
        ".".join(("recbole_sr", *file.relative_to(PACKAGE).with_suffix("").parts)): file
        for file in MODULES
    }
    graph = {
        name: {
            one
            for module, imported in imports(file)
            for one in (module, f"{module}.{imported}")
            if one in names and one != name
        }
        for name, file in names.items()
        if room_of(name) not in ROOF
    }
    done = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


@pytest.mark.parametrize("file", [*MODULES, *OTHERS], ids=lambda file: str(file.relative_to(ROOT)))
def test_no_private_name_of_another_module_is_imported(file):
    """Tests may look into the module that they test, but not benchmarks or other rooms."""
    for module, name in imports(file):
        private = name and name.startswith("_") and not name.endswith("__")
        if private and module.startswith("recbole_sr"):
            assert file.is_relative_to(ROOT / "tests"), f"{module}.{name}"
            assert file.name.startswith("test_"), f"{module}.{name}"


def test_the_tests_mirror_the_rooms():
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - {"__pycache__"}
    assert rooms == set(FLOORS)


def test_the_floors_are_ordered_as_the_package_says():
    text = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text("utf-8")))
    places = [text.index(f"``{room}``") for room in FLOORS]
    assert all(lower > upper for lower, upper in pairwise(places))


def test_the_drawing_has_the_rooms_from_top_to_bottom():
    drawing = (ROOT / "docs" / "rooms.svg").read_text("utf-8")
    assert re.findall(r"bold\">(\w+)<", drawing) == ["cli", *reversed(FLOORS), "errors"]
