"""Data whose users form a few clusters, for which RecBole's tables are too wide."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from recbole_sr.config.files import read_shipped
from recbole_sr.config.options import Options
from recbole_sr.init.als import refine
from recbole_sr.init.svd import factorize, normalized_graph

__all__ = ["narrow_width"]

_WIDE = 64  # RecBole's embedding_size
_NARROW = (8, 16)
_HELD_OUT = 0.1  # of the interactions
_USERS, _TOP = 1000, 20  # users that are drawn; items of a list, for NDCG
_CLEAR = 3.0  # standard errors
_LEAST = 1000  # interactions, below which nothing is clear


def narrow_width(users: NDArray[Any], items: NDArray[Any]) -> int | None:
    """A width at which BPR's initialisation ranks held-out interactions clearly higher than at 64.

    Where users form a few clusters, the singular vectors beyond these are noise, which the
    initialisation weighs as it does the others.

    Args:
        users: ``(E,)``, integers from 0.
        items: ``(E,)``, integers from 0; no pair comes twice.

    Returns:
        8 or 16; None where neither is clearly better, or the data are few.

    Example:
        >>> draw = np.random.default_rng(0)
        >>> is_own_kind = np.arange(600)[:, None] % 8 == np.arange(240) % 8
        >>> pairs = np.argwhere(draw.random((600, 240)) < 0.02 + 0.2 * is_own_kind)
        >>> narrow_width(*pairs.T)
        8

    """
    shape = (int(users.max()) + 1, int(items.max()) + 1)
    if len(users) < _LEAST or min(shape) <= _WIDE:
        return None
    draw = np.random.default_rng(0)
    is_held_out = draw.random(len(users)) < _HELD_OUT
    asked = draw.permutation(np.unique(users[is_held_out]))[:_USERS]
    known, wanted = (
        scipy.sparse.csr_matrix((np.ones(kept.sum(), bool), (users[kept], items[kept])), shape)
        for kept in (~is_held_out, is_held_out)
    )
    recipe = Options.from_mapping(read_shipped("model/BPR.yaml")[0])
    pairs = (users[~is_held_out], items[~is_held_out])
    graph = normalized_graph(*pairs, shape, recipe.sr_init_degree_power)
    found = {}
    for width in (*_NARROW, _WIDE):
        factors = refine(factorize(graph, width, seed=0), graph, recipe.sr_init_als_iterations)
        sizes = factors.values ** (2 * recipe.sr_init_power)
        scores = factors.user[asked] * sizes @ factors.item.T
        scores[known[asked].nonzero()] = -np.inf
        found[width] = _ndcg(scores, wanted[asked].toarray())
    best = max(_NARROW, key=lambda width: float(found[width].mean()))
    lead = found[best] - found[_WIDE]
    is_clear = lead.mean() > _CLEAR * lead.std() / np.sqrt(len(lead))
    return best if is_clear else None


def _ndcg(scores: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    """NDCG of each user's best items: ``(N,)``, in [0, 1]."""
    best = np.argpartition(-scores, _TOP, axis=1)[:, :_TOP]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    hits = np.take_along_axis(wanted, np.take_along_axis(best, order, axis=1), axis=1)
    discounts = 1 / np.log2(np.arange(2, _TOP + 2))
    ideal = discounts.cumsum()[wanted.sum(1).clip(1, _TOP) - 1]
    found: NDArray[Any] = hits @ discounts / ideal
    return found
