"""LightGCN's own splits, beside published scores: ``python -m benchmarks.public``.

Each contestant is tuned on the validation part with the first seed: its settings, and its number of
epochs. What ranks best is trained on the training and validation parts together for that many
epochs, once with each seed, and tested once. Each run is appended to a file as a line of JSON as it
ends, so that a second start goes on. The table is printed from that file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.harness import (
    append_record,
    data_folder,
    quiet,
    read_records,
    record_parser,
    recorded_run,
    report,
    scratch_folder,
    spread,
)
from recbole_sr.config.config import Config
from recbole_sr.training.experiment import prepare

RESULTS = Path(__file__).parents[1] / "results" / "public.jsonl"
SEEDS = (1, 2, 3, 4, 5)
PARTS = ("train", "valid", "test")
JOINED = "fit"  # the training and the validation part

# Recall@20 and NDCG@20 as published, all with vectors of 64: LightGCN in SIGIR 2020, UltraGCN and
# SimpleX in CIKM 2021.
PUBLISHED = {
    "gowalla": {
        "LightGCN": (0.1830, 0.1554),
        "UltraGCN": (0.1862, 0.1580),
        "SimpleX": (0.1872, 0.1557),
    },
    "yelp2018": {
        "LightGCN": (0.0649, 0.0530),
        "UltraGCN": (0.0683, 0.0561),
        "SimpleX": (0.0701, 0.0575),
    },
}


class Contestant(NamedTuple):
    """A model with property files, and what is tried of its keys."""

    model: str
    files: tuple[str, ...]
    grid: Mapping[str, tuple[Any, ...]]
    step: int  # epochs from one validation to the next

    def points(self) -> Iterator[dict[str, Any]]:
        """Each setting of the grid."""
        for values in product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


_DIRECTAU = ("loss/directau_large.yaml",)
CONTESTANTS = {
    "DirectAU and popularity": Contestant(
        "BPR", _DIRECTAU, {"sr_popularity": (0.08, 0.1, 0.12)}, step=5
    ),
    "DirectAU": Contestant("BPR", _DIRECTAU, {"sr_popularity": (0.0,)}, step=5),
    "BPR's default": Contestant("BPR", (), {"learning_rate": (0.001, 0.003)}, step=1),
}


def main() -> None:
    """Train what is missing of what is asked for, or print the table."""
    parser = record_parser("public", __doc__, RESULTS)
    parser.add_argument("contestants", nargs="*", default=list(CONTESTANTS), metavar="CONTESTANT")
    parser.add_argument("--data_sets", nargs="+", default=list(PUBLISHED), choices=PUBLISHED)
    parser.add_argument("--parts", action="store_true", help="print how popular their items are")
    given = parser.parse_args()
    if unknown := set(given.contestants) - {*CONTESTANTS}:
        parser.error(f"expected some of {', '.join(CONTESTANTS)}, got {', '.join(unknown)}")
    if given.table:
        table(read_records(given.output))
        return
    if given.parts:
        parts(given.data_sets)
        return
    quiet()
    for data_set, name in product(given.data_sets, given.contestants):
        fill(data_set, name, given.output)


def fill(data_set: str, name: str, output: Path) -> None:
    """Tune a contestant, and train the best of it on both parts."""
    for settings in CONTESTANTS[name].points():
        add(data_set, name, {**settings, "seed": SEEDS[0]}, None, output)
    settings, epochs = chosen(read_records(output), data_set, name)
    for seed in SEEDS:
        add(data_set, name, {**settings, "seed": seed}, epochs, output)


def add(
    data_set: str, name: str, settings: dict[str, Any], epochs: int | None, output: Path
) -> None:
    """Train, and append the record, unless it is there."""
    key = {"data_set": data_set, "contestant": name, "settings": settings, "joined": bool(epochs)}
    if any(key.items() <= record.items() for record in read_records(output)):
        return
    record = {**key, **run(data_set, CONTESTANTS[name], settings, epochs)}
    append_record(output, record)
    print(*key.values(), record["valid"], record["test"], file=sys.stderr, flush=True)


def run(
    data_set: str, contestant: Contestant, settings: Mapping[str, Any], epochs: int | None
) -> dict[str, Any]:
    """Train on the training part, or for so many epochs on the validation part as well."""
    given = {
        **recorded_run(data_set),
        "load_col": {"inter": ["user_id", "item_id"]},
        "metrics": ["Recall", "NDCG"],
        "topk": [20],
        "valid_metric": "NDCG@20",
        **settings,
    }
    if epochs:  # nothing is left to validate on: the last epoch is tested
        parts = [JOINED, "test", "test"]
        given |= {"epochs": epochs, "eval_step": 0}
    else:
        parts = list(PARTS)
        given |= {"epochs": 300, "eval_step": contestant.step, "stopping_step": 4}
    start = perf_counter()
    with scratch_folder():
        given |= {"data_path": str(write_parts(data_set)), "benchmark_filename": parts}
        config = Config(contestant.model, data_set, contestant.files, given)
        result = prepare(config).train(saved=False, verbose=False)
    own = result["sr"]
    return {
        "valid": None if epochs else result["best_valid_score"],
        "test": result["test_result"],
        "epochs": epochs or own["best_epoch"] + 1,
        "valid_scores": [each["valid_score"] for each in own["epochs"]],
        "seconds": round(perf_counter() - start, 1),
    }


def path(data_set: str, part: str) -> Path:
    """The file of a part of the split."""
    return Path(data_folder(), data_set, f"{data_set}.{part}.inter")


def write_parts(data_set: str) -> Path:
    """A data folder with the parts of the split, and the joined one, in the working folder."""
    folder = Path.cwd() / "parts"
    (folder / data_set).mkdir(parents=True)
    text = {part: path(data_set, part).read_text("utf-8") for part in PARTS}
    text[JOINED] = text["train"] + text["valid"].split("\n", 1)[1]  # its first line names columns
    for part, lines in text.items():
        (folder / data_set / f"{data_set}.{part}.inter").write_text(lines, "utf-8")
    return folder


def chosen(records: list[dict[str, Any]], data_set: str, name: str) -> tuple[dict[str, Any], int]:
    """The settings without the seed, and the epochs, that rank best on the validation part."""
    tried = [
        record
        for record in records
        if (record["data_set"], record["contestant"]) == (data_set, name) and not record["joined"]
    ]
    best = max(tried, key=lambda record: record["valid"])
    return {k: v for k, v in best["settings"].items() if k != "seed"}, best["epochs"]


def table(records: list[dict[str, Any]]) -> None:
    """Print the scores of both parts together, beside the published ones."""
    rows = []
    for data_set, published in PUBLISHED.items():
        rows += [
            [data_set, f"{name}, published", "", f"{recall:.4f}", f"{ndcg:.4f}", ""]
            for name, (recall, ndcg) in published.items()
        ]
        for name in CONTESTANTS:
            found = [
                record
                for record in records
                if (record["data_set"], record["contestant"]) == (data_set, name)
                and record["joined"]
            ]
            if found:
                rows.append([data_set, name, *_row(found)])
    report(
        "LightGCN's splits: trained on the training and validation parts",
        ["data set", "model", "settings, epochs", "Recall@20 (n)", "NDCG@20", "seconds of a run"],
        rows,
    )


def parts(data_sets: list[str]) -> None:
    """Print how many training interactions the items of each part have, on average."""
    rows = []
    for data_set in data_sets:
        items = {
            part: np.loadtxt(path(data_set, part), int, skiprows=1, usecols=1) for part in PARTS
        }
        counts = np.bincount(items["train"], minlength=1 + max(map(np.max, items.values())))
        rows.append([data_set, *(f"{counts[found].mean():.1f}" for found in items.values())])
    report("Training interactions of an interaction's item", ["data set", *PARTS], rows)


def _row(found: list[dict[str, Any]]) -> list[str]:
    settings = {k: v for k, v in found[0]["settings"].items() if k != "seed"}
    scores = {
        metric: spread([record["test"][metric] for record in found])
        for metric in ("recall@20", "ndcg@20")
    }
    return [
        ", ".join(f"{key} {value}" for key, value in settings.items())
        + f", {found[0]['epochs']} epochs",
        f"{scores['recall@20']} ({len(found)})",
        scores["ndcg@20"],
        f"{median(record['seconds'] for record in found):.0f}",
    ]


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
