"""Wrong values for each key of RecBole and of each model: ``python -m benchmarks.settings``.

Each is a whole run on the tests' small data set: settings, data, model, an epoch, an evaluation. A
wrong value is of another type, out of range, no number, or no choice; an extreme one may work or
not. What a model came to is written into a file, so that a second start goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import recbole

from benchmarks.harness import report
from recbole_sr.config.config import Config
from recbole_sr.config.files import read_properties
from recbole_sr.config.model_keys import model_keys
from recbole_sr.errors import InputError
from recbole_sr.models.registry import SUPPORTED
from recbole_sr.training.experiment import prepare

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from contract import settings_of
from tiny_data import write_tiny

PROPERTIES = Path(recbole.__file__).parent / "properties"
GENERAL = ("overall.yaml", "dataset/sample.yaml")
FAMILIES = ("BPR", "SASRec", "CKE", "FM")  # on which the general keys are tried
# Written as whole numbers in RecBole's files, where any number is meant.
NUMBERS = (
    "reg_weight",
    "negative_weight",
    "resolution",
    "w_max",
    "global_ratio",
    "spatial_ratio",
    "topk_factor",
)
HUGE = 10**20
# Right, though of the kind that is wrong for other keys of that type.
RIGHT = {
    ("gpu_id", "5"),
    ("state", "None"),
    ("topk", "5"),
    ("wandb_project", "None"),  # W&B then has a name of its own
    ("eval_step", "-1"),
    ("eval_step", repr(HUGE)),
    ("normalize_all", "True"),
    ("fredom_type", "None"),
    ("user_inter_num_interval", "None"),
    ("item_inter_num_interval", "None"),
    ("entity_kg_num_interval", "None"),
    ("relation_kg_num_interval", "None"),
}
WRONG: dict[type, list[Any]] = {
    bool: ["x", 2, [], None, 0.5],
    int: ["x", 1.5, [1], {"a": 1}, -1, HUGE, None, True, math.nan],
    float: ["x", [1.0], {"a": 1}, -2.0, math.nan, math.inf, None, True],
    str: [5, [], {"a": 1}, True, None],
    list: ["x", 5, {"a": 1}, [[1]], [None], [-2], None],
    dict: ["x", 5, [1], {"a": 1}, {5: 1}, True],
    type(None): [5, -0.5, [[]], {5: None}, True],
}
EXTREME: dict[type, list[Any]] = {
    bool: [True, False],
    int: [0, 1, 7, 20],
    float: [0.0, 0.999, 1.0, 1e30],
    str: ["x", ""],
    list: [[], [3], [1, 1, 1, 1, 1]],
    dict: [{}],
    type(None): ["x", [], {}],
}
SECONDS, MEMORY = 60, 8 << 30
OUTCOMES = ("refused", "ran", "traceback", "hang")


def main() -> None:
    """Try all, and print the counts and what is amiss."""
    parser = argparse.ArgumentParser(prog="benchmarks.settings", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", default=["general", *SUPPORTED])
    parser.add_argument("-o", "--output", type=Path, default="settings-tried.jsonl")
    given = parser.parse_args()
    output = given.output.absolute()
    warnings.simplefilter("ignore")
    sys.argv = sys.argv[:1]
    signal.signal(signal.SIGALRM, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        tiny = write_tiny(Path("data"))
        done = {record["name"] for record in _records(output)}
        for name in given.names:
            if name not in done:
                tried = list(general(tiny) if name == "general" else of_model(name, tiny))
                with output.open("a") as file:
                    file.write(json.dumps({"name": name, "tried": tried}) + "\n")
                print(name, Counter(one[3] for one in tried), file=sys.stderr, flush=True)
    table(list(_records(output)))


def general(tiny: dict[str, Any]) -> Iterator[list[Any]]:
    """RecBole's own keys and those of its data sets."""
    defaults = read_properties([str(PROPERTIES / name) for name in GENERAL])
    for model in FAMILIES:
        yield from _of_keys(model, defaults, tiny)


def of_model(name: str, tiny: dict[str, Any]) -> Iterator[list[Any]]:
    """The keys of a model's property file."""
    yield from _of_keys(name, model_keys(name), tiny)


def _of_keys(model: str, defaults: dict[str, Any], tiny: dict[str, Any]) -> Iterator[list[Any]]:
    for key, default in defaults.items():
        for kind, values in (("wrong", WRONG), ("extreme", EXTREME)):
            for value in values[
                float if type(default) is int and key in NUMBERS else type(default)
            ]:
                outcome, said = attempt(model, {**settings_of(model, tiny), key: value})
                tried = "extreme" if (key, repr(value)) in RIGHT else kind
                yield [f"{model} {key}", repr(value), tried, outcome, said]


def attempt(model: str, settings: dict[str, Any]) -> tuple[str, str]:
    """What a run came to, and what it said."""
    signal.alarm(SECONDS)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            config = Config(model, "tiny", config_dict={"epochs": 1, **settings})
            prepare(config).train(saved=False, verbose=False)
    except InputError as error:
        return "refused", str(error)
    except TimeoutError:
        return "hang", ""
    except BaseException:
        return "traceback", traceback.format_exc()
    finally:
        signal.alarm(0)
        shutil.rmtree("saved", ignore_errors=True)  # RecBole goes on with data saved there
        for handler in logging.getLogger().handlers[:]:
            handler.close()
            logging.getLogger().removeHandler(handler)
    return "ran", ""


def _hang(*_: Any) -> None:
    raise TimeoutError


def _records(file: Path) -> Iterator[dict[str, Any]]:
    if file.is_file():
        yield from map(json.loads, file.read_text().splitlines())


def table(records: list[dict[str, Any]]) -> None:
    """The counts, and each traceback, hang and wrong value that ran."""
    tried = [one for record in records for one in record["tried"]]
    rows = []
    for kind in ("wrong", "extreme"):
        found = Counter(outcome for _, _, kind_, outcome, _ in tried if kind_ == kind)
        rows.append([kind, found.total(), *(found[outcome] for outcome in OUTCOMES)])
    keys = len({key for key, *_ in tried})
    report(f"Values for {keys} keys", ["values", "tried", *OUTCOMES], rows)
    for key, value, kind, outcome, said in tried:
        if outcome in ("traceback", "hang") or (kind, outcome) == ("wrong", "ran"):
            print(f"{outcome}: {key}: {value} {said.strip().splitlines()[-1:]}")


if __name__ == "__main__":
    main()
