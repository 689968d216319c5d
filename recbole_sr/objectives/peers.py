"""The other processes that hold rows of the batch, of which a penalty reads all."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

__all__ = ["NO_PEERS", "Peers"]


class Peers(Protocol):
    """What the penalties need of other processes, each of which has some rows of a batch."""

    def total(self, x: Tensor) -> Tensor:
        """The sum over the processes; the gradient of each term is that of the sum."""

    def mean(self, x: Tensor) -> Tensor:
        """The mean over all pairs of the batch, of the mean over those of this process."""

    def whole(self, side: str, x: Tensor) -> Tensor:
        """The rows ``(N, D)`` of all processes, of those ``(n, D)`` that this one has of a side."""


class _NoPeers:
    """One process: what it has is all there is."""

    def total(self, x: Tensor) -> Tensor:
        return x

    def mean(self, x: Tensor) -> Tensor:
        return x

    def whole(self, side: str, x: Tensor) -> Tensor:
        return x


NO_PEERS: Peers = _NoPeers()
