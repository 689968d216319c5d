"""Synthetic data whose users form a few clusters: ``python -m benchmarks.kinds FOLDER``.

Four of five events of a user are with items of the user's cluster, the others with any. Nothing
else tells users apart, so that all but as many singular vectors as there are clusters are noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_sr import prepare

NAME = "kinds"
USERS, ITEMS, CLUSTERS, EVENTS = 800, 480, 8, 20


def main() -> None:
    """Write the data set, with a property file, into a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="that the data set's folder is made in")
    folder = parser.parse_args().folder
    print(prepare(events(np.random.default_rng(0)), folder / NAME, user="user", item="item"))


def events(draw: np.random.Generator) -> pd.DataFrame:
    """Events of all users: columns ``user`` and ``item``, some of them twice."""
    users = np.repeat(np.arange(USERS), EVENTS)
    weights = 1 / np.arange(
        1, ITEMS // CLUSTERS + 1
    )  # of the items of a cluster, by their popularity
    ranks = draw.choice(ITEMS // CLUSTERS, size=len(users), p=weights / weights.sum())
    is_own = draw.random(len(users)) < 0.8
    clusters = np.where(is_own, users % CLUSTERS, draw.integers(CLUSTERS, size=len(users)))
    return pd.DataFrame({"user": users, "item": ranks * CLUSTERS + clusters})


if __name__ == "__main__":
    main()
