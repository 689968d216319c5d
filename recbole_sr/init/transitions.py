"""Item tables from what users go on to: the spectral initialisation of sequential models."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

from recbole_sr.errors import InputError
from recbole_sr.init.spectral import spectral_table
from recbole_sr.init.tables import Histories, Tables

__all__ = ["count_transitions", "leading", "transition_graph", "transitions"]

_POWER = 0.5  # of the values: the inner product of two rows is then the graph's entry
_TOLERANCE = 1e-4  # of an eigenvalue, and of the largest one for those that rounding could make


@torch.no_grad()
def transitions(
    tables: Tables, histories: Histories, seed: int, *, window: int, norm: float
) -> None:
    """Overwrite item tables by the leading eigenvectors of the graph of transitions.

    Items that users choose soon after one another get similar rows, so that a model whose output
    is near the last items of a history ranks well from the first epoch on. No global random state
    is read or written.

    Args:
        tables: to fill, in place; user tables stay as they are.
        histories: of the training part.
        seed: of the factorisation.
        window: how many of the last items of a history count, at least 1.
        norm: root mean square norm of the rows, positive.

    Raises:
        InputError: no training interaction has one before it.

    """
    graph = transition_graph(histories, window)
    if not graph.nnz:
        raise InputError(
            "sr_init: expected users with more than one training interaction, got none, so that "
            "no item follows another; set sr_init: model"
        )
    values, vectors = map(
        torch.from_numpy, leading(graph, max(table.shape[1] for table in tables.item), seed)
    )
    for table in tables.item:
        table.copy_(spectral_table(table.cpu(), vectors, values, _POWER, norm))


def count_transitions(histories: Histories, window: int) -> Any:
    r"""How often items follow one another, either way, weighted by 1 / their distance.

    That is :math:`T + T^\top`; see :func:`transition_graph`.

    Args:
        histories: ``(E, L)`` items before and ``(E,)`` next ones.
        window: the largest distance, at least 1.

    Returns:
        ``scipy.sparse`` CSR matrix ``(M, M)``, float64, symmetric.

    Example:
        >>> histories = Histories(np.array([[0, -1], [1, 0]]), np.array([1, 2]), 3)
        >>> print(count_transitions(histories, window=2).toarray())
        [[0.  1.  0.5]
         [1.  0.  1. ]
         [0.5 1.  0. ]]

    """
    count = histories.items
    counted = scipy.sparse.csr_matrix((count, count))
    for step, earlier in enumerate(histories.before.T[:window], 1):
        there = earlier >= 0
        weights = np.full(there.sum(), 1 / step)
        pairs = (earlier[there], histories.next[there])
        counted += scipy.sparse.csr_matrix((weights, pairs), (count, count))
    return counted + counted.T


def transition_graph(histories: Histories, window: int) -> Any:
    r"""The normalised graph of items that follow one another.

    .. math:: \hat W = D^{-1/2} (T + T^\top) D^{-1/2}

    :math:`T_{ij}` adds up, over the training interactions, 1 / k where item j was chosen k
    interactions after item i, for k up to ``window``; :math:`D` are the row sums.

    Args:
        histories: ``(E, L)`` items before and ``(E,)`` next ones.
        window: at least 1; the histories may be shorter.

    Returns:
        ``scipy.sparse`` CSR matrix ``(M, M)``, float32, symmetric, of norm 1 at most.

    Source: von Luxburg, "A tutorial on spectral clustering", Statistics and Computing 17(4), 2007,
    section 3.2, for the normalisation.

    Example:
        >>> histories = Histories(np.array([[-1, -1], [0, -1], [1, 0]]), np.array([0, 1, 2]), 3)
        >>> print(transition_graph(histories, window=1).toarray().round(2))
        [[0.   0.71 0.  ]
         [0.71 0.   0.71]
         [0.   0.71 0.  ]]

    """
    both = count_transitions(histories, window)
    degrees = np.asarray(both.sum(1)).ravel()
    scale = scipy.sparse.diags(np.where(degrees > 0, degrees, 1) ** -0.5)
    return (scale @ both @ scale).tocsr().astype(np.float32)


def leading(graph: Any, rank: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The largest eigenvalues of a symmetric graph that are positive, and their eigenvectors.

    Negative ones, as of items that only alternate, have no place in inner products of a table's
    own rows.

    Args:
        graph: sparse ``(M, M)``, symmetric.
        rank: how many at most.
        seed: of the solver's first vector; no global random state is read or written.

    Returns:
        Values ``(K,)``, descending, and orthonormal columns ``(M, K)``; rows of items without
        edges are zero. Float32.

    Source: Lanczos' method with restarts, as in ARPACK (Lehoucq, Sorensen and Yang, 1998).

    Example:
        >>> values, vectors = leading(scipy.sparse.csr_matrix([[0.0, 1.0], [1.0, 0.0]]), 2, seed=0)
        >>> print(values, np.abs(vectors).round(2).T)
        [1.] [[0.71 0.71]]

    """
    count = graph.shape[0]
    if 2 * rank < count:
        start = np.random.default_rng(seed).standard_normal(count)
        values, vectors = eigsh(graph.astype(float), rank, which="LA", v0=start, tol=_TOLERANCE)
    else:  # all of them, of which that solver is not made to find so many
        values, vectors = np.linalg.eigh(graph.toarray().astype(float))
    order = values.argsort()[::-1][:rank]
    order = order[values[order] > _TOLERANCE * values.max()]
    vectors[graph.getnnz(1) == 0] = 0
    return values[order].astype(np.float32), vectors[:, order].astype(np.float32)
