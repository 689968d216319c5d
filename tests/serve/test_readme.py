"""README's way from a file of events to lists and vectors, as it stands there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_sr.cli import main

README = Path(__file__).parents[2] / "README.md"


def commands():
    (block,) = re.findall(
        r"^```bash\n(recbole-sr prepare .*?)^```", README.read_text(), re.M | re.S
    )
    return [shlex.split(line)[1:] for line in block.splitlines()]


def write_events(users, events):
    """Some that repeat, in the order in which they happened, with ids that are no numbers."""
    draw = np.random.default_rng(0)
    owners = draw.integers(users, size=events)
    items = np.minimum(draw.zipf(1.3, events), 900) + 900 * (owners % 2)
    when = pd.to_datetime(1_600_000_000 + np.arange(events) * 60, unit="s")
    columns = {
        "who": [f"c{user:05d}" for user in owners],
        "what": [f"sku {item}" for item in items],
        "when": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    pd.DataFrame(columns).to_csv("events.csv", index=False)


@pytest.mark.parametrize(
    ("users", "events"), [(300, 6_000), pytest.param(3_000, 60_000, marks=pytest.mark.slow)]
)
def test_four_commands_lead_from_events_to_lists_and_vectors(users, events, capsys):
    write_events(users, events)
    prepare, train, recommend, embeddings = commands()
    assert main(prepare) == 0
    assert shlex.join(["recbole-sr", *train[:-1]]) in capsys.readouterr().out
    assert main([*train, "--epochs=2"]) == 0
    (final,) = Path("saved").glob("*/final.json")
    file = json.loads(final.read_text())["checkpoint"]
    assert main([recommend[0], file, *recommend[2:]]) == 0
    assert main([embeddings[0], file, *embeddings[2:]]) == 0

    lists, read = pd.read_csv("top.csv"), pd.read_csv("events.csv")
    assert list(lists.columns) == ["user_id", "item_id", "rank", "score"]
    assert set(lists["user_id"]) == set(read["who"])
    assert set(lists["rank"]) == {*range(1, 11)}
    had = set(zip(read["who"], read["what"], strict=True))
    assert not had & set(zip(lists["user_id"], lists["item_id"], strict=True))
    for side, column in {"user": "who", "item": "what"}.items():
        ids = Path(f"vectors/{side}_ids.txt").read_text().splitlines()
        assert set(ids) == set(read[column])
        assert np.load(f"vectors/{side}.npy").shape == (len(ids), 64)
