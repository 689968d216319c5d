"""The paper's grid, in the authors' setting: ``python -m benchmarks.paper``.

A cell is a data set, a model, a loss with a number of negatives, and a warm phase. Every cell is
tuned over the authors' grid on the first of their seeds, and what ranks best on its validation part
is trained with the others. Each run is appended to a file as a line of JSON as it ends, so that
a second start goes on. The tables are printed from that file.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from scipy import stats

from benchmarks.harness import (
    append_record,
    core,
    epochs_to,
    gain,
    median_epochs,
    quiet,
    read_records,
    record_parser,
    recorded_run,
    report,
    scratch_folder,
    spread,
)
from recbole_sr.config.config import Config
from recbole_sr.errors import InputError
from recbole_sr.runs.folder import RunFolder
from recbole_sr.training.experiment import prepare

RESULTS = Path(__file__).parents[1] / "results" / "paper.jsonl"
DATA_SETS = ("ml-100k", "amazon-beauty-5core", "gowalla", "yelp2018")
# Of two, the part in which each user and each item has so many interactions, for slow cells.
PARTS = {"gowalla, 25-core": ("gowalla", core(25)), "yelp2018, 38-core": ("yelp2018", core(38))}
CHECKED = ("lastfm-lightgcn", "amazon-sports-5core")  # where a rule of the others was tried
PLACES = (*DATA_SETS, *CHECKED, *PARTS)
MODELS = ("BPR", "LightGCN")  # BPR's tables are matrix factorisation's
# The property file of each loss, and its numbers of negatives.
LOSSES = {"bpr": (1, 4, 16), "ssm": (4, 16), "directau": (0,)}
WARM = ("none", "stable_rank", "uniformity", "spectral")  # the last has no epochs
RATIO = 0.1 / 0.8  # test interactions for each one of training
RATES, DECAYS = (0.1, 0.01, 0.001), (1e-4, 1e-6, 1e-8)
SEEDS = (123, 246, 492, 984, 1968)  # the authors' three, and two more


class Cell(NamedTuple):
    """What is tuned alike: a place of the paper's tables."""

    data_set: str
    model: str
    loss: str
    negatives: int
    warm: str


class Setting(NamedTuple):
    """A point of the authors' grid, and a seed."""

    rate: float
    decay: float
    seed: int


Records = dict[tuple[Cell, Setting], dict[str, Any]]


def main() -> None:
    """Train what is missing of the cells that are asked for, or print the tables."""
    parser = record_parser("paper", __doc__, RESULTS)
    parser.add_argument("--data_sets", nargs="+", default=DATA_SETS, choices=PLACES)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), choices=LOSSES)
    parser.add_argument("--negatives", nargs="+", type=int, default=(0, 1, 4, 16))
    parser.add_argument("--warm", nargs="+", default=WARM, choices=WARM)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="learning rates")
    given = parser.parse_args()
    if given.table:
        tables(read(given.output), given.rates)
        return
    quiet()
    for cell in cells():
        asked = (given.data_sets, given.models, given.losses, given.negatives, given.warm)
        if all(part in parts for part, parts in zip(cell, asked, strict=True)):
            fill(cell, given.rates, given.output)


def cells() -> Iterator[Cell]:
    """All of the grid; DirectAU has uniformity in its main phase, so no warm phase is of it."""
    for data_set, model, loss in itertools.product(PLACES, MODELS, LOSSES):
        for negatives, warm in itertools.product(LOSSES[loss], WARM):
            if (loss, warm) != ("directau", "uniformity"):
                yield Cell(data_set, model, loss, negatives, warm)


def fill(cell: Cell, rates: Sequence[float], output: Path) -> None:
    """Tune a cell on the first seed, and train the best setting with the others."""
    for rate, decay in itertools.product(rates, DECAYS):
        add(cell, Setting(rate, decay, SEEDS[0]), output)
    best = chosen(read(output), cell, rates)
    for seed in SEEDS[1:]:
        add(cell, best._replace(seed=seed), output)


def add(cell: Cell, setting: Setting, output: Path) -> None:
    """Train, and append the record, unless it is there."""
    if (cell, setting) in read(output):
        return
    record = {**cell._asdict(), **setting._asdict(), **run(cell, setting)}
    append_record(output, record)
    print(*cell, *setting, record["valid"], record["test"], file=sys.stderr, flush=True)


def run(cell: Cell, setting: Setting) -> dict[str, Any]:
    """Train once, and keep the scores and the epochs."""
    try:
        result, spectra = train(cell, settings(cell, setting))
    except InputError as error:  # as of a loss that is not finite
        return {"valid": None, "test": None, "error": str(error)}
    epochs = result["sr"]["epochs"]
    return {
        "valid": result["best_valid_score"],
        "test": result["test_result"]["ndcg@20"],
        "recall": result["test_result"]["recall@20"],
        "best_epoch": result["sr"]["best_epoch"],
        "warm_epochs": sum(epoch["phase"] == "warm" for epoch in epochs),
        "valid_scores": [epoch["valid_score"] for epoch in epochs],
        "train_seconds": [round(epoch["train_seconds"], 3) for epoch in epochs],
        "stable_rank": {
            side: [round(epoch["stable_rank"][side], 2) for epoch in epochs]
            for side in ("user", "item")
        },
        "spectrum": {
            side: [round(x / values[0], 3) for x in values]
            for side, values in spectra["end"].items()
        },
    }


def train(cell: Cell, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result of a cell's run, and the singular values that its folder had."""
    with scratch_folder():
        config = Config(cell.model, data_of(cell)[0], files(cell), given)
        result = prepare(config).train(saved=True, verbose=False)
        return result, RunFolder(Path(result["sr"]["run_folder"])).read("spectra.json")


def data_of(cell: Cell) -> tuple[str, dict[str, str]]:
    """The name of its data set, and the keys of the part it is trained on."""
    return PARTS.get(cell.data_set, (cell.data_set, {}))


def files(cell: Cell) -> list[str]:
    """Its property files. Without the authors' way to begin, the model's recipe is to be undone."""
    undone = ["loss/model.yaml"] if cell.warm == "spectral" else []
    return [*undone, f"published/{cell.loss}.yaml", f"warm/{cell.warm}.yaml"]


def settings(cell: Cell, setting: Setting) -> dict[str, Any]:
    """What is set beside the two property files of a cell."""
    drawn = {"sr_batch_negatives": cell.negatives} if cell.negatives else {}
    own = {"sr_published": False} if cell.warm == "spectral" else {}  # for tables not of N(0, 1)
    data_set, part = data_of(cell)
    return {
        **recorded_run(data_set),
        **part,
        **drawn,
        **own,
        "load_col": {"inter": ["user_id", "item_id"]},
        "learning_rate": setting.rate,
        "weight_decay": setting.decay,
        "seed": setting.seed,
    }


def read(output: Path) -> Records:
    """The runs that are there."""
    return {
        (
            Cell(*(line.pop(name) for name in Cell._fields)),
            Setting(*(line.pop(name) for name in Setting._fields)),
        ): line
        for line in read_records(output)
    }


def tried(records: Records, cell: Cell, rates: Sequence[float]) -> dict[Setting, float]:
    """The validation score of each setting with one of the learning rates, on the first seed."""
    return {
        setting: record["valid"] or 0
        for (of, setting), record in records.items()
        if of == cell and setting.seed == SEEDS[0] and setting.rate in rates
    }


def chosen(records: Records, cell: Cell, rates: Sequence[float] = RATES) -> Setting:
    """The setting that ranks best on the validation part of the first seed."""
    scores = tried(records, cell, rates)
    return max(scores, key=lambda setting: scores[setting])


class Outcome(NamedTuple):
    """What a cell came to with its best setting: one value for each seed."""

    setting: Setting
    records: dict[int, dict[str, Any]]

    def scores(self, seeds: list[int]) -> list[float]:
        """The test scores."""
        return [self.records[seed]["test"] for seed in seeds]


def outcome(records: Records, cell: Cell, rates: Sequence[float] = RATES) -> Outcome | None:
    """None where the cell is not tuned to its end."""
    if len(tried(records, cell, rates)) < len(rates) * len(DECAYS):
        return None
    best = chosen(records, cell, rates)
    of_seeds = {seed: records.get((cell, best._replace(seed=seed))) for seed in SEEDS}
    return Outcome(best, {seed: found for seed, found in of_seeds.items() if found})


def tables(records: Records, rates: Sequence[float]) -> None:
    """Print what the cells came to, and how the stable rank goes with the score."""
    for data_set in PLACES:
        here = [cell for cell in cells() if cell.data_set == data_set]
        found = {cell: outcome(records, cell, rates) for cell in here}
        if not any(found.values()):
            continue
        report(
            f"The paper's grid on {data_set}",
            [
                "model, loss, negatives",
                "warm phase",
                "learning rate, weight decay",
                "test NDCG@20 (n)",
                "gain, p",
                "epochs to the best",
                "epochs to the best without",
            ],
            [
                _row(cell, own, found.get(cell._replace(warm="none")))
                for cell, own in found.items()
                if own
            ],
        )
    report(
        "Stable rank of the best epoch and test NDCG@20, over all runs",
        ["data set", "runs", "Spearman's rho", "p"],
        list(_correlations(records)),
    )


def _row(cell: Cell, own: Outcome, without: Outcome | None) -> list[str]:
    scores = own.scores(list(own.records))
    best = [epochs_to(record, record["valid"]) for record in own.records.values()]
    row = [
        f"{cell.model}, {cell.loss}, {cell.negatives}",
        cell.warm,
        f"{own.setting.rate:g}, {own.setting.decay:g}",
        f"{spread(scores)} ({len(scores)})",
        "",
        median_epochs(best),
        "",
    ]
    if cell.warm != "none" and without:
        seeds = [seed for seed in own.records if seed in without.records]
        row[4] = gain(own.scores(seeds), without.scores(seeds), RATIO)
        row[6] = median_epochs(
            [epochs_to(own.records[seed], without.records[seed]["valid"]) for seed in seeds]
        )
    return row


def _correlations(records: Records) -> Iterator[list[str]]:
    for name in (*PLACES, "all"):
        if len(found := points(records, name)) > 2:
            rho, p = stats.spearmanr(*zip(*found, strict=True))
            yield [name, str(len(found)), f"{rho:.2f}", f"{p:.2g}"]


def points(records: Records, data_set: str) -> list[tuple[float, float]]:
    """Stable rank of the best epoch, the mean of both tables, and test score of each run."""
    return [
        (
            statistics.mean(ranks[found["best_epoch"]] for ranks in found["stable_rank"].values()),
            found["test"],
        )
        for (cell, _), found in records.items()
        if found["test"] is not None and data_set in (cell.data_set, "all")
    ]


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
