r"""Alternating least squares on a graph: its pairs shall score 1, and all pairs near 0.

.. math:: \sum_{(u, i) \in E} (1 - x_u \cdot y_i)^2 + w \sum_{u, i} (x_u \cdot y_i)^2 + \lambda
          \Big( \sum_u (d_u + w M)^{1/2} \|x_u\|^2 + \sum_i (d_i + w N)^{1/2} \|y_i\|^2 \Big)

:math:`d` are the degrees of the ``N`` users and ``M`` items. Nothing is left to tune: :math:`w` is
the root of the graph's density, and :math:`\lambda` a fixed share of the rows' mean square norm.

Source: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008;
the penalty by degree of Rendle et al., "Revisiting the performance of iALS on item recommendation
benchmarks", RecSys 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding

from recbole_sr.init.svd import Factors

__all__ = ["refine", "solve_rows"]

_SHRINKAGE = 0.15  # of the rows' mean square norm; results/als.md has how much it matters
_CHUNK = 1 << 20  # numbers at a time: 4 MB, which a processor's cache holds


def refine(factors: Factors, graph: Any, iterations: int) -> Factors:
    """Factors of a graph after ALS iterations, each of all users, then of all items.

    An iteration takes at most O(nnz D^2 + (N + M) D^3) time and little memory beside the factors.

    Args:
        factors: where to begin, as :func:`~recbole_sr.init.svd.factorize` gives them.
        graph: sparse ``(N, M)``; its positive entries are the pairs.
        iterations: how many, at least 1.

    Returns:
        Factors whose rows, weighted by the values, are the rows fitted, up to a rotation; columns
        are orthonormal, rows without edges zero.

    Example:
        >>> from recbole_sr.init.svd import factorize, normalized_graph
        >>> graph = normalized_graph([0, 0, 1, 2], [0, 1, 1, 2], (3, 3))
        >>> fitted = refine(factorize(graph, 2, seed=0), graph, iterations=2)
        >>> np.abs(fitted.user * fitted.values**2 @ fitted.item.T).round(1)[0]
        array([0.4, 0.5, 0. ], dtype=float32)

    """
    by_user = graph.sign().tocsr()
    by_item = by_user.T.tocsr()
    unobserved = math.sqrt(by_user.nnz / math.prod(by_user.shape))
    item, square = _initial(factors, by_user)
    for _ in range(iterations):
        user = solve_rows(by_user, item, unobserved, _SHRINKAGE * square)
        item = solve_rows(by_item, user, unobserved, _SHRINKAGE * square)
    return _triplets(user, item)


def solve_rows(
    pairs: Any, others: NDArray[np.float32], unobserved: float, shrinkage: float
) -> NDArray[np.float32]:
    """The rows of one side that minimise the sum of squares, those of the other side held.

    Args:
        pairs: CSR ``(N, M)`` of ones.
        others: ``(M, D)``, float32.
        unobserved: weight of all pairs beside those of ``pairs``, positive.
        shrinkage: weight of the penalty, positive.

    Returns:
        ``(N, D)``, float32; rows without pairs are zero.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> pairs = csr_matrix(np.eye(2, dtype=np.float32))
        >>> solve_rows(pairs, np.eye(2, dtype=np.float32), unobserved=0.5, shrinkage=0.5).round(2)
        array([[0.45, 0.  ],
               [0.  , 0.45]], dtype=float32)

    """
    fixed = torch.from_numpy(others)
    # In the eigenvectors of the Gram matrix that all rows share, which is then diagonal.
    common, axes = torch.linalg.eigh(unobserved * fixed.T @ fixed)
    common.clamp_(min=0)  # rounding leaves less where there are fewer directions than axes
    turned = fixed @ axes
    solved = torch.zeros(pairs.shape[0], fixed.shape[1])
    for ids, columns in _by_degree(pairs, fixed.shape[1]):
        penalty = shrinkage * math.sqrt(columns.shape[1] + unobserved * pairs.shape[1])
        scale = (common + penalty).rsqrt()
        solved[ids] = _fit(embedding(columns, turned).mul_(scale)) * scale
    return (solved @ axes.T).numpy()


def _fit(seen: Tensor) -> Tensor:
    r"""Solutions :math:`(I + Z^\top Z)^{-1} Z^\top 1`, ``(B, D)``, for Z ``(B, n, D)``.

    They equal :math:`Z^\top (I + Z Z^\top)^{-1} 1`, whose system is the smaller one where n is
    less than D, as for most rows.
    """
    count, width = seen.shape[1:]
    if count >= width:
        return _solve(seen.mT @ seen + torch.eye(width), seen.sum(1))
    dual = _solve(seen @ seen.mT + torch.eye(count), torch.ones(len(seen), count))
    return (seen.mT @ dual.unsqueeze(2)).squeeze(2)


def _solve(systems: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right.unsqueeze(2), torch.linalg.cholesky(systems)).squeeze(2)


def _by_degree(pairs: Any, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of equal degree ``(B,)``, and their columns ``(B, degree)``; few rows at a time."""
    degrees = np.diff(pairs.indptr)
    order = degrees.argsort(kind="stable")
    for ids in np.split(order, np.diff(degrees[order]).nonzero()[0] + 1):
        degree = degrees[ids[0]]
        if degree:
            chunks = math.ceil(len(ids) * (degree + width) * width / _CHUNK)
            for part in np.array_split(ids, min(chunks, len(ids))):
                places = pairs.indptr[part][:, None] + np.arange(degree)
                yield torch.from_numpy(part), torch.from_numpy(pairs.indices[places]).long()


def _initial(factors: Factors, pairs: Any) -> tuple[NDArray[np.float32], float]:
    """Item rows to begin with, and their mean square norm, at which pairs score 1 on average.

    That is with users' rows of the same mean square norm, so that neither side is the larger.
    """
    weighted = factors.item * factors.values
    score = (factors.user * (pairs @ weighted)).sum() / pairs.nnz
    total = factors.values.sum()
    square = float(total / math.sqrt(math.prod(pairs.shape)) / score)
    scale = math.sqrt(square * len(factors.item) / total)
    return factors.item * np.sqrt(factors.values) * np.float32(scale), square


def _triplets(user: NDArray[np.float32], item: NDArray[np.float32]) -> Factors:
    """The product of two tables as factors, their values the roots of its singular values."""
    user_basis, user_rest = np.linalg.qr(user)
    item_basis, item_rest = np.linalg.qr(item)
    left, values, right = np.linalg.svd(user_rest @ item_rest.T)
    product = Factors(user_basis @ left, values, item_basis @ right.T).above_rounding()
    return Factors(
        # Rounding leaves something where a row is zero.
        product.user * user.any(1, keepdims=True),
        np.sqrt(product.values),
        product.item * item.any(1, keepdims=True),
    )
