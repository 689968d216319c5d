"""What one stack of packages makes of the same data and models, printed as JSON: bits and scores.

``stack.py`` is run in empty folders by two Pythons; ``test_stacks.py`` compares their answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contract import settings_of
from tiny_data import write_tiny

from recbole_sr.config.config import Config
from recbole_sr.models.registry import SUPPORTED
from recbole_sr.training.experiment import prepare

# numpy's power rounds the degrees of its graph in another way from release to release.
ROUNDED_OTHERWISE = {"MCCLK"}
MODELS = sorted(set(SUPPORTED) - ROUNDED_OTHERWISE)

ALL = {
    "load_col": None,
    "numerical_features": [],
    "train_batch_size": 64,
    "embedding_size": 8,
    "threshold": {"rating": 2},
}
INTER = {"inter": ["user_id", "item_id", "rating"]}
SEQUENCES = {"load_col": None, "MAX_ITEM_LIST_LENGTH": 5, "train_neg_sample_args": None}
PARTS = {"benchmark_filename": ["train", "valid", "test"], "load_col": None}
NUMBERS = {"numerical_features": ["age", "price", "vector"]}
# Data: a model that reads the fields, the data set, and what is done to them.
DATA: dict[str, tuple[str, str, dict[str, Any]]] = {
    "missing values": ("FM", "gaps", ALL),
    "missing tokens": ("FM", "gaps", {**ALL, "load_col": {**INTER, "user": ["user_id", "gender"]}}),
    "missing sequences": (
        "DeepFM",
        "gaps",
        {**ALL, "load_col": {**INTER, "item": ["item_id", "class", "vector"]}},
    ),
    "all normalised": ("FM", "gaps", {**ALL, "normalize_all": True}),
    "a sequence normalised": ("FM", "gaps", {**ALL, "normalize_field": ["vector"]}),
    "numbers": ("DeepFM", "gaps", {**ALL, **NUMBERS}),
    "equal buckets": (
        "DeepFM",
        "gaps",
        {**ALL, **NUMBERS, "discretization": {"age": {"method": "ED", "bucket": 4}}},
    ),
    "a sequence in buckets": (
        "DeepFM",
        "gaps",
        {**ALL, **NUMBERS, "discretization": {"vector": {"method": "ED", "bucket": 4}}},
    ),
    "logarithmic buckets": (
        "DeepFM",
        "gaps",
        {**ALL, **NUMBERS, "discretization": {"price": {"method": "LD"}}},
    ),
    "sequences cut off": ("FM", "gaps", {**ALL, "seq_len": {"class": 1, "vector": 2}}),
    "filtered by value": ("FM", "gaps", {**ALL, "val_interval": {"timestamp": "[2,9]"}}),
    "filtered by count": (
        "BPR",
        "gaps",
        {
            "load_col": None,
            "user_inter_num_interval": "[7,inf)",
            "item_inter_num_interval": "[3,inf)",
        },
    ),
    "known users and items alone": (
        "BPR",
        "gaps",
        {"load_col": None, "filter_inter_by_user_or_item": True},
    ),
    "repeated pairs removed": ("BPR", "gaps", {"load_col": INTER, "rm_dup_inter": "first"}),
    "aliases": ("BPR", "gaps", {"load_col": None, "alias_of_item_id": ["tags"]}),
    "one left out, in order": (
        "BPR",
        "gaps",
        {
            "load_col": None,
            "eval_args": {
                "split": {"LS": "valid_and_test"},
                "order": "TO",
                "group_by": "user",
                "mode": "uni20",
            },
        },
    ),
    "labelled": (
        "FM",
        "gaps",
        {**ALL, "eval_args": {"mode": "labeled"}, "metrics": ["AUC"], "valid_metric": "AUC"},
    ),
    "parts": ("BPR", "parts", PARTS),
    "parts of sequences": (
        "SASRec",
        "sequences",
        {**PARTS, **SEQUENCES, "MAX_ITEM_LIST_LENGTH": 8, "alias_of_item_id": ["item_id_list"]},
    ),
    "sequences": ("SASRec", "gaps", SEQUENCES),
    "sequences of features": ("GRU4RecF", "gaps", {**SEQUENCES, "selected_features": ["class"]}),
}


def write_gaps(folder: Path) -> None:
    """A data set with missing values of each kind, and users and items without features."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(1)
    inter = ["user_id:token\titem_id:token\trating:float\ttimestamp:float\ttags:token_seq"]
    for user in range(40):
        for time, item in enumerate(draw.choice(50, size=8 + user % 5, replace=False)):
            rating = "" if draw.random() < 0.1 else str((user + item) % 5)
            tags = "" if draw.random() < 0.1 else f"i{item} i{(item + 7) % 50}"
            inter.append(f"u{user}\ti{item}\t{rating}\t{time}.5\t{tags}")
    inter += [inter[5], inter[9], "\ti3\t1\t3\ti1", "u3\t\t1\t3\ti1"]
    user = ["user_id:token\tgender:token\tage:float\tseen:token_seq\tscores:float_seq"]
    item = ["item_id:token\tclass:token_seq\tprice:float\tvector:float_seq"]
    for i in range(36):
        cells = [f"u{i}", "FM"[i % 2], str(20 + i), f"c{i % 3} c{i % 4}", f"{i} 0.5"]
        user.append("\t".join("" if (i + j) % 7 == 1 and j else x for j, x in enumerate(cells)))
    for i in range(46):
        cells = [f"i{i}", f"c{i % 4} d{i % 2}", str(i * 1.25), f"{i % 9} {i % 4}.5 1"]
        item.append("\t".join("" if (i + j) % 6 == 1 and j else x for j, x in enumerate(cells)))
    for suffix, lines in {"inter": inter, "user": user, "item": item}.items():
        (folder / f"{folder.name}.{suffix}").write_text("\n".join(lines) + "\n")


def write_parts(folder: Path) -> None:
    """Interactions that were split already, and sequences that were cut already."""
    draw = np.random.default_rng(2)
    for name, head in (
        ("parts", "user_id:token\titem_id:token"),
        ("sequences", "user_id:token\titem_id_list:token_seq\titem_id:token"),
    ):
        (folder / name).mkdir()
        for part in ("train", "valid", "test"):
            lines = [head]
            for user in range(30):
                items = [f"i{i}" for i in draw.permutation(40)[: 3 + user % 5]]
                middle = [" ".join(items[:-1])] if name == "sequences" else []
                lines.append("\t".join([f"u{user}", *middle, items[-1]]))
            (folder / name / f"{name}.{part}.inter").write_text("\n".join(lines) + "\n")


def digest(value: Any) -> str:
    """Of tensors, texts and numbers, however they are nested; kinds of numbers count."""
    sha = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            value = value.detach().to_dense() if value.layout != torch.strided else value.detach()
            sha.update(f"{value.dtype}{tuple(value.shape)}".encode())
            sha.update(value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                add(key)
                add(value[key])
        elif isinstance(value, list | tuple):
            for part in value:
                add(part)
        else:
            sha.update(repr(value).encode())

    add(value)
    return sha.hexdigest()[:16]


def outcome(model: str, dataset: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Of one run: data tensors, token maps, weights, losses, metrics."""
    given = {"epochs": 2, "show_progress": False, "state": "ERROR", "sr_monitor": False}
    config = Config(model, dataset, ["off.yaml"], {**given, **settings})
    made = prepare(config)
    parts = [data._dataset for data in (made.train_data, made.valid_data, made.test_data)]
    feats = [getattr(part, name).interaction for part in parts for name in part.feat_name_list]
    maps = [[*map(str, [field, *ids])] for field, ids in made.dataset.field2id_token.items()]
    result = made.train(saved=False, verbose=False)
    return {
        "data": digest(feats),
        "tokens": digest(maps),
        "weights": digest(made.model.state_dict()),
        "losses": [repr(epoch["train_loss"]) for epoch in result["sr"]["epochs"]],
        "metrics": repr((result["best_valid_result"], result["test_result"])),
    }


def main() -> None:
    """Run every case in the working folder, which is empty, and print what came of it."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sys.argv = ["stack"]
    data = Path("data").absolute()
    tiny = write_tiny(data)
    write_gaps(data / "gaps")
    write_parts(data)
    cases = {name: (name, "tiny", settings_of(name, tiny)) for name in MODELS}
    cases |= {
        name: (model, dataset, {**settings, "data_path": str(data)})
        for name, (model, dataset, settings) in DATA.items()
    }
    found = {}
    for name, case in cases.items():
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found[name] = outcome(*case)
        except Exception as error:
            found[name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
