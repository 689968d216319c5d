"""Random numbers that each process draws for its own rows, beside those that all draw alike."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from recbole_sr.distributed.group import ALONE, Alone, Group

__all__ = ["RandomStates", "set_states", "share_states", "states"]


def share_states(group: Alone, device: torch.device) -> None:
    """Let the generators of all processes go on as the first one's."""
    if group is not ALONE:
        set_states(group.first(lambda: states(device)), device)


def states(device: torch.device) -> Tensor:
    """The states of torch's own generator of the processor, and of a GPU's: ``(N,)``, uint8."""
    own = [torch.get_rng_state()]
    if device.type == "cuda":
        own.append(torch.cuda.get_rng_state(device))
    return torch.cat(own)


def set_states(found: Tensor, device: torch.device) -> None:
    """Go on from what :func:`states` returned."""
    size = torch.get_rng_state().numel()
    torch.set_rng_state(found[:size])
    if device.type == "cuda":
        torch.cuda.set_rng_state(found[size:], device)


class RandomStates:
    """The states of torch's generators from here to :meth:`join`, where all go on alike.

    The first process draws as one process would; the others draw numbers of their own, which
    follow from the same state and their rank.

    Args:
        group: the processes, whose generators are in the same state now.
        device: of the model.

    """

    def __init__(self, group: Group, device: torch.device):
        self._group, self._device = group, device
        self._before = states(device)
        if not group.leads:
            seed = zlib.crc32(self._before.numpy().tobytes()) + group.rank
            torch.manual_seed(seed)

    @property
    def moved(self) -> bool:
        """Whether the first process has drawn any; False in the others."""
        return self._group.leads and not torch.equal(self._before, states(self._device))

    def join(self, moved: bool) -> None:
        """Go on as the first process; ``moved`` says whether it has drawn any."""
        if moved:
            share_states(self._group, self._device)
        elif not self._group.leads:
            set_states(self._before, self._device)
