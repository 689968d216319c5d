"""The small data set of the tests."""

from __future__ import annotations

import numpy as np


def write_tiny(data_path, users=40):
    """A data set of 40 users and 60 items in two taste groups; trains in a blink.

    Its columns and files serve models of every family: times, ratings, features, a graph.

    Returns:
        Settings to train on it.
    """
    folder = data_path / "tiny"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(users):
        liked = draw.choice(30, size=12, replace=False) + 30 * (user % 2)
        lines += [
            f"u{user}\ti{item}\t{(user + item) % 5}\t{time}" for time, item in enumerate(liked)
        ]
    features = [f"u{user}\t{'FM'[user % 2]}" for user in range(users)]
    items = [f"i{item}\tc{item % 4} d{item // 30}" for item in range(60)]
    graph = [f"e{item}\tr{item % 2}\tg{item % 5}" for item in range(60)]
    graph += [f"e{item}\tr2\te{(item + 1) % 60}" for item in range(60)]
    files = {
        "inter": lines,
        "user": ["user_id:token\tgender:token", *features],
        "item": ["item_id:token\tclass:token_seq", *items],
        "link": ["item_id:token\tentity_id:token", *(f"i{item}\te{item}" for item in range(60))],
        "kg": ["head_id:token\trelation_id:token\ttail_id:token", *graph],
        "ent": ["ent_id:token\tent_emb:float_seq", *(f"i{i}\t{'0.5 ' * 8}" for i in range(60))],
    }
    for suffix, rows in files.items():
        (folder / f"tiny.{suffix}").write_text("\n".join(rows) + "\n")
    return {
        "data_path": str(data_path),
        "load_col": {"inter": ["user_id", "item_id"]},
        "train_batch_size": 64,
        "embedding_size": 8,
        "learning_rate": 0.01,
        "show_progress": False,
        "state": "ERROR",
    }
