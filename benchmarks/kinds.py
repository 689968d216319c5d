"""Made data whose users are of a few kinds alone: ``python -m benchmarks.kinds FOLDER``.

Four of five events of a user are with items of the user's kind, the others with any. Nothing else
tells users apart, so that all but as many singular vectors as there are kinds are noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_sr import prepare

NAME = "kinds"
USERS, ITEMS, KINDS, EVENTS = 800, 480, 8, 20


def main() -> None:
    """Write the data set, with a property file, into a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="that the data set's folder is made in")
    folder = parser.parse_args().folder
    print(prepare(events(np.random.default_rng(0)), folder / NAME, user="user", item="item"))


def events(draw: np.random.Generator) -> pd.DataFrame:
    """Events of all users: columns ``user`` and ``item``, some of them twice."""
    users = np.repeat(np.arange(USERS), EVENTS)
    weights = 1 / np.arange(1, ITEMS // KINDS + 1)  # of the items of a kind, by their popularity
    ranks = draw.choice(ITEMS // KINDS, size=len(users), p=weights / weights.sum())
    is_own = draw.random(len(users)) < 0.8
    kinds = np.where(is_own, users % KINDS, draw.integers(KINDS, size=len(users)))
    return pd.DataFrame({"user": users, "item": ranks * KINDS + kinds})


if __name__ == "__main__":
    main()
