"""Everything that a run's next epoch depends on, as plain data: what exact resume needs.

RecBole's own checkpoint forgets the random states, the best result, the schedule of learning and
what models keep outside their parameters; a run resumed from it is another run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_sr.config.plain import plain_state
from recbole_sr.errors import InputError
from recbole_sr.models.inject import cast_like

__all__ = ["ModelMemory", "optimizers", "random_states", "restore_random_states"]


def random_states(loader: Any) -> dict[str, Any]:
    """The states of all generators a training epoch draws from, the loader's own included."""
    numpy_state: Any = np.random.get_state()
    name, keys, *position = numpy_state
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *position],
        "python": [version, list(words), gauss],
        "loader": [generator.get_state() for generator in _generators(loader)],
    }


def restore_random_states(states: dict[str, Any], loader: Any) -> None:
    """Continue every generator from what :func:`random_states` returned.

    Raises:
        InputError: the loader has other generators than the one that was saved.

    """
    found = list(_generators(loader))
    if len(found) != len(states["loader"]):
        raise InputError(
            f"save_dataloaders: expected {len(states['loader'])} random generators of the data "
            f"loaders, as when the run began, got {len(found)}; train anew"
        )
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available():  # else the run goes on elsewhere, by other random numbers
        torch.cuda.set_rng_state_all(states["cuda"][: torch.cuda.device_count()])
    name, keys, *position = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    for generator, state in zip(found, states["loader"], strict=True):
        if len(state) == len(generator.get_state()):  # else of another kind of device, as above
            generator.set_state(state)


def _generators(loader: Any) -> Iterator[torch.Generator]:
    """The generators of a data loader and of the loaders it is made of, in a fixed order."""
    for _, value in sorted(vars(loader).items()):
        if isinstance(value, torch.Generator):
            yield value
        elif isinstance(value, torch.utils.data.DataLoader):
            yield from _generators(value)


def optimizers(trainer: Any) -> dict[str, torch.optim.Optimizer]:
    """The optimisers of a trainer by attribute name, each once.

    RecVAE's trainer lets ``optimizer`` stand for one of two others in turn: the last name counts.
    """
    names = {
        value: name
        for name, value in sorted(vars(trainer).items())
        if isinstance(value, torch.optim.Optimizer)
    }
    return {name: value for value, name in names.items()}


class ModelMemory:
    """What a model learns outside its parameters and buffers: annealing counters, centroids, ...

    Made before training. An attribute is part of the memory once it was replaced or written to, so
    constants such as an adjacency matrix are not.

    Args:
        model: the recommender, its parameters and buffers being saved elsewhere.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._start = {key: _mark(value) for key, value in self._attributes()}

    def state_dict(self) -> dict[str, Any]:
        """The changed attributes by ``module.path:attribute``, arrays as tensors."""
        return {
            key: plain_state(value.copy() if isinstance(value, np.ndarray) else value)
            for key, value in self._attributes()
            if _changed(self._start.get(key), value)
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the attributes back, cast to the type and device of those they replace."""
        for key, value in state.items():
            path, _, name = key.partition(":")
            module = self._model.get_submodule(path)
            place = next(self._model.parameters()).device
            setattr(module, name, cast_like(getattr(module, name, None), value, place))

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        for path, module in self._model.named_modules():
            for name, value in vars(module).items():
                if not name.startswith("_") and name != "training" and _is_plain(value):
                    yield f"{path}:{name}", value


def _is_plain(value: Any) -> bool:
    """Numbers, texts, tensors and arrays of numbers; lists and the like, of numbers and texts."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biuf"
    return isinstance(value, Tensor) or _is_python(value)


def _is_python(value: Any) -> bool:
    if type(value) is dict:
        return all(map(_is_python, (*value, *value.values())))
    if type(value) in (list, tuple):
        return all(map(_is_python, value))
    return value is None or isinstance(value, str | int | float)


def _mark(value: Any) -> Any:
    """Something to tell by, later, whether the value was replaced or written to."""
    return (value, value._version) if isinstance(value, Tensor) else deepcopy(value)


def _changed(mark: Any, value: Any) -> bool:
    if isinstance(value, Tensor):
        kept = isinstance(mark, tuple) and mark[0] is value and mark[1] == value._version
        return not kept  # RaCT's counts begin as a number
    if isinstance(value, np.ndarray):
        return not np.array_equal(mark, value)
    return type(mark) is not type(value) or bool(mark != value)
