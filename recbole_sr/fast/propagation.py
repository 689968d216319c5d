"""Propagation by a normalised adjacency matrix that is constant and symmetric."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from recbole_sr.recbole_compat.classes import subclass

__all__ = ["PROPAGATIONS", "SymmetricAdjacency", "accelerate", "mean_propagation"]


def accelerate(model_class: type, propagation: str | None) -> Any:
    """A subclass that propagates by :class:`SymmetricAdjacency`, of a class of RecBole's.

    ``propagation`` is how the class does, a key of :data:`PROPAGATIONS`; one that does otherwise,
    None, is returned as it is.
    """
    return subclass(PROPAGATIONS[propagation], model_class) if propagation else model_class


class SymmetricAdjacency:
    """A constant symmetric sparse matrix, for ``torch.sparse.mm(adjacency, x)``.

    RecBole multiplies by coordinates, forward and backward. Here a row of the product is a weighted
    sum of rows, which is what ``embedding_bag`` computes; and the gradient of ``A x`` is ``A g``,
    because ``A`` is its own transpose. On a GPU that does not have to give the same bits again,
    which is RecBole's ``reproducibility: False``, cuSPARSE multiplies four times as fast.

    Args:
        matrix: ``(N, N)``, equal to its transpose.

    Example:
        >>> import torch
        >>> from scipy import sparse
        >>> adjacency = SymmetricAdjacency(sparse.csr_matrix([[0.0, 2.0], [2.0, 0.0]]))
        >>> torch.sparse.mm(adjacency, torch.tensor([[1.0], [5.0]]))
        tensor([[10.],
                [ 2.]])

    """

    def __init__(self, matrix: sparse.spmatrix):
        matrix = matrix.tocsr()
        self.shape = torch.Size(matrix.shape)
        # SciPy's indices have 32 bits where that is enough; they are half as much to read.
        self.starts = torch.from_numpy(matrix.indptr)
        self.columns = torch.from_numpy(matrix.indices)
        self.values = torch.from_numpy(matrix.data.astype(np.float32))
        self._csr: Tensor | None = None

    def to(self, device: torch.device | str) -> SymmetricAdjacency:
        """The matrix on a device."""
        self.starts = self.starts.to(device)
        self.columns = self.columns.to(device)
        self.values = self.values.to(device)
        self._csr = None
        return self

    def times(self, x: Tensor) -> Tensor:
        """The product with ``(N, D)``, without gradients."""
        # RecBole's `reproducibility` sets this switch, of torch's whole process.
        if x.is_cuda and not torch.backends.cudnn.deterministic:
            return self.csr(x.dtype) @ x
        return embedding_bag(
            self.columns,
            x.contiguous(),
            self.starts,
            mode="sum",
            per_sample_weights=self.values.to(x.dtype),
            include_last_offset=True,
        )

    def csr(self, dtype: torch.dtype) -> Tensor:
        """The matrix as torch's compressed sparse rows, ``(N, N)``, made once."""
        if self._csr is None or self._csr.dtype is not dtype:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
                values = self.values.to(dtype)
                self._csr = torch.sparse_csr_tensor(
                    self.starts, self.columns, values, size=self.shape, check_invariants=False
                )
        return self._csr

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.sparse.mm and len(args) == 2 and isinstance(args[0], cls):
            return _SelfAdjoint.apply(args[1], args[0].times)
        return NotImplemented


class _SelfAdjoint(torch.autograd.Function):
    """A linear function that is its own transpose, and so its own gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.function = function
        return function(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.function(gradient), None


def mean_propagation(adjacency: SymmetricAdjacency, x: Tensor, layers: int) -> Tensor:
    r"""What LightGCN makes of its tables, the layers' mean.

    .. math:: \frac{1}{L + 1} \sum_{l = 0}^{L} A^l x

    It keeps two matrices, not one a layer to stack; the gradient is the same mean, of the gradient.

    Args:
        adjacency: :math:`A`, ``(N, N)``.
        x: ``(N, D)``, floating.
        layers: :math:`L`, 0 or more.

    Returns:
        ``(N, D)``.

    Source: He et al., "LightGCN", SIGIR 2020, equation 8 with equal weights.

    Example:
        >>> adjacency = SymmetricAdjacency(sparse.csr_matrix([[0.0, 2.0], [2.0, 0.0]]))
        >>> mean_propagation(adjacency, torch.tensor([[1.0], [5.0]]), layers=1)
        tensor([[5.5000],
                [3.5000]])

    """

    def horner(x: Tensor) -> Tensor:
        share = x / (layers + 1)
        total = share
        for _ in range(layers):
            total = adjacency.times(total).add_(share)
        return total

    return _SelfAdjoint.apply(x, horner)


def _propagated(model: Any, adjacency: SymmetricAdjacency) -> tuple[Tensor, ...]:
    """The user and item tables of a model, propagated."""
    tables = torch.cat((model.user_embedding.weight, model.item_embedding.weight))
    mean = mean_propagation(adjacency, tables, model.n_layers)
    return torch.split(mean, [model.n_users, model.n_items])


class _NormalisedGraph:
    """LightGCN's, NCL's and NGCF's matrix, without its Python loop over interactions."""

    interaction_matrix: Any
    n_users: int
    node_dropout = 0.0  # NGCF sets it; it then needs the matrix as coordinates

    def get_norm_adj_mat(self) -> Any:
        if self.node_dropout:
            base: Any = super()
            return base.get_norm_adj_mat()
        interactions = self.interaction_matrix.tocsr()
        interactions.data[:] = 1  # RecBole's dictionary keeps repeated interactions once
        graph = sparse.bmat([[None, interactions], [interactions.T, None]], format="csr")
        degrees = np.asarray((graph > 0).sum(axis=1)).ravel()
        scale = sparse.diags(np.power(degrees + 1e-7, -0.5))
        return SymmetricAdjacency(scale @ graph @ scale)


class _MeanOfLayers(_NormalisedGraph):
    """LightGCN."""

    norm_adj_matrix: SymmetricAdjacency

    def forward(self) -> tuple[Tensor, ...]:
        return _propagated(self, self.norm_adj_matrix)


class _SampledGraphs:
    """SGL's graphs: the whole one, and those it draws anew each epoch."""

    device: torch.device

    def forward(self, graph: Any) -> tuple[Tensor, ...]:
        if isinstance(graph, list):  # one for each layer: random walks
            base: Any = super()
            return base.forward(graph)
        return _propagated(self, graph)

    def csr2tensor(self, matrix: sparse.csr_matrix) -> SymmetricAdjacency:
        return SymmetricAdjacency(matrix).to(self.device)


# Only for models whose every matrix is symmetric: the backward pass relies on it.
PROPAGATIONS: dict[str, type] = {
    "layer mean": _MeanOfLayers,
    "graph": _NormalisedGraph,
    "sampled graphs": _SampledGraphs,
}
