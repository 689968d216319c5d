"""Lists of items for users, from a checkpoint, with the user's own ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from logging import getLogger
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from recbole_sr.errors import InputError
from recbole_sr.fast.ranking import best
from recbole_sr.runs.checkpoint import read_model
from recbole_sr.serve.scores import Scorer

__all__ = ["are_lists", "recommend"]

_COLUMNS = ("rank", "score")  # after those of users and items
_NAMED = 5  # ids that a message names


def recommend(
    model_file: str,
    users: Sequence[str] | None = None,
    k: int = 10,
    *,
    known: str = "all",
    with_known: bool = False,
    model_class: type | None = None,
    data_path: str | None = None,
) -> pd.DataFrame:
    """The best items for each user, by a trained model.

    Args:
        model_file: path of a checkpoint of this package.
        users: ids as in the data; None for all of them. Unknown ones are named in a warning.
        k: items for each user, at least 1; fewer where no more are left.
        known: the interactions that count as known: those of ``training``, of ``validation`` too,
            or ``all``. A sequential model continues them.
        with_known: whether to list items, too, that the user is known to have.
        model_class: the model's class where it is none of RecBole's.
        data_path: the folder of the data set's folder, where it is no longer that of training.

    Returns:
        One row for each user and item, in the order of ``users``, best first: the columns are
        the data set's names of user and item (text), ``rank`` (from 1) and ``score`` (float).

    Raises:
        InputError: the checkpoint cannot be used, no user is known, or the model cannot score all
            items.

    Example:
        >>> recommend("saved/BPR.pth", users=["196"], k=10)  # doctest: +SKIP

    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k: expected a number of items, at least 1, got {k!r}; give 10, say")
    if isinstance(users, str) or not (users is None or isinstance(users, Iterable)):
        raise InputError(f"users: expected a list of ids, got {users!r}; give [{users!r}]")
    scorer = Scorer(model_file, known, model_class, data_path)
    if scorer.config["val_interval"]:
        getLogger().warning(
            "val_interval: interactions that it leaves out are not known, so that lists may have "
            "their items"
        )
    for field in (scorer.dataset.uid_field, scorer.dataset.iid_field):
        if field in _COLUMNS:
            raise InputError(
                f"{field}: expected a column of ids of another name, as the lists have a column "
                f"{field} too, got {field!r}; rename it in the data, and train again"
            )
    ids = _ids(scorer, users)
    seen = None if with_known else scorer.seen(ids)
    blocks = []
    block = scorer.block()
    for start in tqdm(range(0, len(ids), block), unit="block", disable=None):
        own = ids[start : start + block]
        scores = scorer.scores(own)
        if seen is not None:
            rows, items = (x.to(scores.device) for x in seen.between(start, start + len(own)))
            scores[rows, items] = -torch.inf
        blocks.append(_best(own, scores, k))
    lists = _frame(scorer.dataset, blocks)
    listed = np.concatenate([users for users, *_ in blocks])
    none = ids[~torch.isin(ids, torch.from_numpy(listed).to(ids))].numpy()
    _warn(scorer.dataset.id2token(scorer.dataset.uid_field, none), "have every item, so no list")
    _warn_of_ties(lists)
    return lists


def are_lists(columns: Sequence[str], model_file: str) -> bool:
    """Whether these are the columns of lists by a checkpoint."""
    if tuple(columns[2:]) != _COLUMNS:
        return False
    config = read_model(model_file).config
    return list(columns[:2]) == [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]]


def _ids(scorer: Scorer, users: Sequence[str] | None) -> Tensor:
    """The numbers of the users that can be served; the others are named in a warning."""
    dataset = scorer.dataset
    if users is None:
        ids = torch.arange(1, dataset.user_num)
    else:
        numbers = dataset.field2token_id[dataset.uid_field]
        wanted = dict.fromkeys(map(str, users))
        found = {user: numbers[user] for user in wanted if numbers.get(user)}
        _warn([user for user in wanted if user not in found], "are not in the data")
        ids = torch.tensor(list(found.values()), dtype=torch.int64)
    served, field = scorer.served(ids), dataset.uid_field
    _warn(
        dataset.id2token(field, ids[~served].numpy()),
        "have no sequence to continue in the parts that are known",
    )
    ids = ids[served]
    if not len(ids):
        raise InputError(
            f"users: expected some that are in {scorer.config['dataset']}, got none of them; give "
            "ids as they stand in the data"
        )
    single = scorer.of_one_event(ids)
    _warn(
        dataset.id2token(field, ids[single].numpy()),
        "have one event, from which alone their lists follow",
    )
    untrained = dataset.id2token(field, ids[~scorer.trained(ids) & ~single].numpy())
    _warn(untrained, "have no interaction in training; their lists are not learnt")
    return ids


def _warn(users: Sequence[str], what: str) -> None:
    if len(users):
        named = ", ".join(map(repr, map(str, users[:_NAMED])))
        more = ", ..." if len(users) > _NAMED else ""
        getLogger().warning(f"users: {len(users)} {what}: {named}{more}")


def _warn_of_ties(lists: pd.DataFrame) -> None:
    """Name users whose list has one score alone, as where a sigmoid is 1 for any item."""
    if lists.empty:
        return
    users, _, ranks, scores = (lists[name].to_numpy() for name in lists.columns)
    first = np.flatnonzero(ranks == 1)
    last = np.append(first[1:], len(ranks)) - 1
    _warn(
        users[first[(first < last) & (scores[first] == scores[last])]],
        "have one score for all items of their list, whose order means nothing (numerical features "
        "may need normalize_all: True in training)",
    )


def _best(users: Tensor, scores: Tensor, k: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Users, items, ranks and scores of the best items, but those left out."""
    items, _ = best(scores, min(k, scores.shape[1]))
    top = scores.gather(1, items).float().cpu()
    rows, places = (top > -torch.inf).nonzero(as_tuple=True)
    columns = users[rows], items.cpu()[rows, places], places + 1, top[rows, places]
    return tuple(column.numpy() for column in columns)


def _frame(dataset: Any, blocks: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> pd.DataFrame:
    users, items, ranks, scores = (np.concatenate(column) for column in zip(*blocks, strict=True))
    user, item = dataset.uid_field, dataset.iid_field
    ids = {user: dataset.id2token(user, users), item: dataset.id2token(item, items)}
    return pd.DataFrame({**ids, **dict(zip(_COLUMNS, (ranks, scores), strict=True))})
