"""Training batches from tensors: one permutation an epoch, one lookup a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import InputType
from torch import Tensor

from recbole_sr.fast.sampler import NegativeSampler

__all__ = ["TrainLoader"]

Fields = dict[str, Tensor]


class TrainLoader(TrainDataLoader):
    """RecBole's ``TrainDataLoader``: the same batches' sizes, fields and layout, from tensors.

    Every interaction comes once an epoch. Order and negatives are drawn from ``generator`` alone,
    so an epoch is reproduced from the generator's state at its start.

    Args:
        config: RecBole's configuration.
        dataset: the training part of a RecBole data set.
        negatives: where negative items come from; None where ``train_neg_sample_args`` wants none.
        shuffle: whether to draw a new order each epoch.

    """

    def __init__(self, config: Any, dataset: Any, negatives: NegativeSampler | None, shuffle: bool):
        super().__init__(config, dataset, None, shuffle=shuffle)
        self.negatives = negatives
        self._fields = _on(config["device"], dataset.inter_feat)
        device = self._fields[dataset.uid_field].device
        self.generator = torch.Generator(device).manual_seed(config["seed"])
        self._features = {
            field: _on(device, features)
            for field, features in (
                (dataset.uid_field, dataset.user_feat),
                (dataset.iid_field, dataset.item_feat),
            )
            if features is not None
        }

    def __len__(self) -> int:
        return -(-self.sample_size // self.step)

    def __iter__(self) -> Iterator[Interaction]:
        for rows in self._order().split(self.step):
            yield Interaction(self._batch(rows))

    def _order(self) -> Tensor:
        device = self.generator.device
        if not self.shuffle:
            return torch.arange(self.sample_size, device=device)
        return torch.randperm(self.sample_size, generator=self.generator, device=device)

    def _batch(self, rows: Tensor) -> Fields:
        fields = {name: values.index_select(0, rows) for name, values in self._fields.items()}
        if self.negatives is None:
            return self._join(fields)
        drawn = self.negatives.draw(
            fields[self.uid_field].repeat(self.neg_sample_num), self.generator
        )
        if self.times > 1:
            fields = {name: torch.cat([values] * self.times) for name, values in fields.items()}
        if self.dl_format is InputType.PAIRWISE:
            negatives = self._join({self.iid_field: drawn})
            prefixed = {self.neg_prefix + name: values for name, values in negatives.items()}
            return self._join(fields) | prefixed
        fields[self.iid_field][len(rows) :] = drawn
        label = torch.zeros(len(rows) * self.times, device=rows.device)
        label[: len(rows)] = 1
        return self._join(fields) | {self.label_field: label}

    def _join(self, fields: Fields) -> Fields:
        """RecBole's ``Dataset.join``: the features of the users and items."""
        for field, features in self._features.items():
            if field in fields:
                ids = fields[field]
                fields |= {name: values.index_select(0, ids) for name, values in features.items()}
        return fields


def _on(device: torch.device, features: Interaction) -> Fields:
    return {name: values.to(device) for name, values in features.interaction.items()}
