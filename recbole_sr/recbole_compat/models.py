"""What single models of RecBole 1.2.1 need to run, or to be tested, on today's packages.

One mixin for each defect, none of which changes RecBole itself; the model's registry entry names
it. Each has a test that fails once it can be deleted.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_sr.errors import InputError

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import AbstractRecommender as _Model
else:
    _Model = object

__all__ = [
    "CountsInteractions",
    "FewerClusters",
    "FewerSamples",
    "ForgetsOnLoad",
    "NamesItsFile",
    "WithoutDGL",
    "WithoutTorchScatter",
]


class WithoutDGL(_Model):
    """KGAT's first attention matrix by scipy.

    RecBole builds it with calls that dgl 1.0 removed, and older ones need torch < 2. The matrix:
    for each relation the adjacency, heads by tails, its rows divided by their sums; then the sum.
    The attention that replaces it after each epoch is saved with the model, which RecBole forgets.
    """

    other_parameter_name: list[str]

    def __init__(self, config: Any, dataset: Any):
        super().__init__(config, _ScipyGraphs(dataset))
        self.other_parameter_name = [*self.other_parameter_name, "A_in"]

    def init_graph(self) -> Tensor:
        """See RecBole's KGAT: ``(n_users + n_entities,) * 2``, sparse."""
        total = sum(_row_normalized(self.ckg, relation) for relation in range(1, self.n_relations))
        total = total.tocoo()
        indices = torch.from_numpy(np.stack([total.row, total.col]).astype(np.int64))
        values = torch.from_numpy(total.data.astype(np.float32))
        return torch.sparse_coo_tensor(
            indices, values, self.matrix_size, device=self.device, check_invariants=False
        )


class _ScipyGraphs:
    """A data set that answers with a scipy matrix where it is asked for a dgl graph."""

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def ckg_graph(self, form: str, value_field: str) -> Any:
        return self._dataset.ckg_graph(form="coo", value_field=value_field)


def _row_normalized(graph: Any, relation: int) -> Any:
    edges = graph.data == relation
    row, col = graph.row[edges], graph.col[edges]
    degree = np.bincount(row, minlength=graph.shape[0])
    return sp.csr_matrix((1 / degree[row], (row, col)), shape=graph.shape)


class WithoutTorchScatter(_Model):
    """KGIN and MCCLK where torch-scatter, which must be compiled, is not installed."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """RecBole's, which imports ``torch_scatter`` at each call."""
        with _torch_scatter():
            return super().forward(*args, **kwargs)


@contextmanager
def _torch_scatter() -> Iterator[None]:
    if importlib.util.find_spec("torch_scatter") is not None:
        yield
        return
    stand_in: Any = ModuleType("torch_scatter")
    stand_in.scatter_mean, stand_in.scatter_softmax = _scatter_mean, _scatter_softmax
    sys.modules["torch_scatter"] = stand_in
    try:
        yield
    finally:
        del sys.modules["torch_scatter"]


def _scatter_mean(src: Tensor, index: Tensor, dim_size: int, dim: int = 0) -> Tensor:
    """Mean of the rows ``(E, D)`` of each group; 0 for a group without rows."""
    total = src.new_zeros(dim_size, *src.shape[1:]).index_add(dim, index, src)
    return total / index.bincount(minlength=dim_size).clamp_min(1).unsqueeze(-1)


def _scatter_softmax(src: Tensor, index: Tensor, dim: int = 0) -> Tensor:
    """Softmax over the rows ``(E, D)`` of each group, column by column."""
    where = index.unsqueeze(-1).expand_as(src)
    groups = src.new_zeros(int(index.max()) + 1, *src.shape[1:])
    top = groups.scatter_reduce(dim, where, src.detach(), "amax", include_self=False)
    exp = (src - top[index]).exp()
    return exp / groups.index_add(dim, index, exp)[index]


class ForgetsOnLoad(_Model):
    """KGIN and MCCLK keep the last epoch's vectors when the best one is loaded for the test.

    They lack the ``other_parameter_name`` by which RecBole's other models save theirs
    (``kgin.py:306``, ``mcclk.py:375``).
    """

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """PyTorch's, after which evaluation propagates anew."""
        self.restore_user_e = self.restore_item_e = self.restore_entity_e = None
        return super().load_state_dict(*args, **kwargs)


class FewerClusters(_Model):
    """NCL clusters with faiss, which RecBole does not ask for and refuses more clusters than rows.

    RecBole's default of 1,000 is more than the users of ml-100k.
    """

    k: int

    def e_step(self) -> None:
        """RecBole's, with at most one cluster a user and one an item."""
        if importlib.util.find_spec("faiss") is None:
            raise InputError(
                "model: NCL needs the package faiss-cpu, which is not installed; "
                "run: pip install 'recbole_sr[ncl]'"
            )
        most = min(self.n_users, self.n_items)
        if self.k > most:
            getLogger().warning(f"num_clusters: using {most} instead of {self.k}, one a row")
            self.k = most
        super().e_step()


class FewerSamples(_Model):
    """DGCF draws as many users as items a batch, and fails where there are not as many of both.

    (``dgcf.py:51``)
    """

    cor_batch_size: int

    def __init__(self, config: Any, dataset: Any):
        super().__init__(config, dataset)
        self.cor_batch_size = min(self.cor_batch_size, self.n_users, self.n_items)


class CountsInteractions(_Model):
    """Pop counts the batches in which an item occurs, also as a negative, not its interactions.

    Its popularity thus depends on the size of a batch: on ml-100k an MRR@10 of 0.18 instead of 0.23
    (``pop.py:42``, where repeated indices count once).
    """

    def __init__(self, config: Any, dataset: Any):
        super().__init__(config, dataset)
        counts = dataset.inter_feat[self.ITEM_ID].bincount(minlength=self.n_items)
        self.item_cnt = counts.unsqueeze(1).to(self.device)
        self.max_cnt = self.item_cnt.max(dim=0)[0]

    def calculate_loss(self, interaction: Any) -> Tensor:
        """No loss, as RecBole's, and nothing counted: all is counted already."""
        return torch.zeros(1, device=self.device, requires_grad=True)


class NamesItsFile(_Model):
    """RaCT logs the file of its pretrained model without a place for it, which prints a traceback.

    (``ract.py:84``)
    """

    def __init__(self, config: Any, dataset: Any):
        logger = getLogger()
        logger.addFilter(_complete)
        try:
            super().__init__(config, dataset)
        finally:
            logger.removeFilter(_complete)


def _complete(record: Any) -> bool:
    if record.args and "%" not in str(record.msg):
        record.msg, record.args = " ".join(map(str, (record.msg, *record.args))), ()
    return True
