"""A run that goes on where it was cut: the full training state, saved and restored."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from recbole_sr.distributed.group import Alone
from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint
from recbole_sr.runs.checkpoint import SavedRun
from recbole_sr.runs.files import claim, locked, remove_drafts
from recbole_sr.runs.identity import refuse_other_data
from recbole_sr.runs.snapshot import (
    ModelMemory,
    optimizers,
    random_states,
    restore_random_states,
)

__all__ = ["RunState", "first_to_open", "reopened"]

_SUFFIX = ".run.pth"
# What is saved of a trainer as it is.
_AS_IT_IS = ("initial_stable_rank", "initial_valid_score", "cur_step", "train_loss_dict")


@contextmanager
def reopened(run_file: str) -> Iterator[tuple[SavedRun, str]]:
    """A saved run, and its path without suffix; nobody else can go on with it inside the block.

    Raises:
        InputError: there is no such file, it is not what a run saved, or the run has not ended.

    """
    path = run_file.removesuffix(_SUFFIX)
    if path == run_file or not Path(run_file).is_file():
        checkpoint.read_run(run_file)  # says what else it is
        raise InputError(
            f"{run_file}: expected a name that ends with {_SUFFIX}, as the run's other files are "
            "found by it; name it as it was"
        )
    folder = Path(path)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(
            f"{folder}: expected the run's own folder, got a link or a file; move that away"
        )
    folder.mkdir(exist_ok=True)
    with locked(folder):
        remove_drafts(folder)
        remove_drafts(folder.parent, f"{folder.name}.")
        yield checkpoint.read_run(run_file), path


@contextmanager
def first_to_open(group: Alone, run_file: str) -> Iterator[tuple[SavedRun, str]]:
    """The same for several processes, the first of which reads the file and holds it.

    Raises:
        InputError: as :func:`reopened`, in all of them.

    """
    with ExitStack() as held:
        yield group.first(lambda: held.enter_context(reopened(run_file)))


class RunState:
    """All that a trainer's next epoch depends on, in a file beside RecBole's best model.

    Args:
        trainer: with phases, its model not yet trained: what changes from here on is what has to
            be saved.

    Attributes:
        path: of the run, without suffix; its folder has this name, its files begin with it.
        run: names the run in all that it writes; no other run has this name.
        data: what it is trained on, see :func:`~recbole_sr.runs.identity.data_identity`.
        saving: whether epochs begin by saving.
        finished: whether the run has ended.

    """

    def __init__(self, trainer: Any):
        self._trainer = trainer
        self._memory = ModelMemory(trainer.model)
        self._random_states: dict[str, Any] | None = None
        self.path = trainer.saved_model_file.removesuffix(".pth")
        self._owned = False
        self.run = uuid4().hex
        self.data: dict[str, str] = {}
        self.saving = False
        self.finished = False

    def claim(self, path: str | None = None) -> None:
        """Take a name that no other run has: RecBole's, or the one given, where it is free.

        A folder of the one given is what this run left there, killed before it saved anything.
        """
        if not self._owned:
            again = path is not None
            self._own(self._trainer.group.first(lambda: str(claim(path or self.path, again))))

    def _own(self, path: str) -> None:
        """Write under this name alone; pretraining, whose files have no names of a run, below."""
        self.path, self._owned = path, True
        self._trainer.saved_model_file = f"{path}.pth"
        self._trainer.checkpoint_dir = path

    def begin_epoch(self, epoch: int, train_data: Any) -> None:
        """Continue the generators of the run that is resumed, or save what resuming would need."""
        self.continue_generators(train_data)
        self._save(epoch, train_data)

    def finish(self, epochs: int, train_data: Any) -> None:
        """Save the run as one that resuming only tests again."""
        self.finished = True
        self._save(epochs, train_data)

    def continue_generators(self, train_data: Any) -> None:
        """Draw on from where the run that is resumed was; nothing where none is."""
        if self._random_states is not None:
            restore_random_states(self._random_states, train_data)
            self._random_states = None

    def _save(self, epoch: int, train_data: Any) -> None:
        """Write all that the epochs from ``epoch`` on depend on, where it is time to."""
        trainer = self._trainer
        step = trainer.options.sr_save_step
        if not (self.saving and step and (self.finished or epoch % step == 0)):
            return
        trained = trainer.whole(
            {
                "state_dict": trainer.model.state_dict(),
                "memory": self._memory.state_dict(),
                "optimizers": {name: o.state_dict() for name, o in optimizers(trainer).items()},
            }
        )
        trainer.group.first(partial(self._write, epoch, train_data, trained))

    def _write(self, epoch: int, train_data: Any, trained: dict[str, Any]) -> None:
        trainer, best = self._trainer, self._trainer.best_valid_result
        state = {
            "run": self.run,
            "data": self.data,
            "config": trainer.config.to_plain(),
            "epoch": epoch,
            "finished": self.finished,
            "saved_model_file": os.path.relpath(trainer.saved_model_file, Path(self.path).parent),
            **{name: getattr(trainer, name) for name in _AS_IT_IS},
            **trained,
            "schedule": trainer.schedule.state_dict(),
            "epoch_records": [asdict(record) for record in trainer.epoch_records],
            "best_valid_score": float(trainer.best_valid_score),
            "best_valid_result": best and {name: float(value) for name, value in best.items()},
            "random_states": random_states(train_data),
            "loader": type(train_data).__name__,
        }
        checkpoint.write(state, f"{self.path}{_SUFFIX}")

    def restore(self, state: SavedRun, path: str, train_data: Any) -> None:
        """Make the trainer the one that wrote ``state``, at the start of the epoch it says.

        Args:
            state: what was saved, in a file beside which the run goes on.
            path: of that file, without suffix.
            train_data: the loader of the training part.

        Raises:
            InputError: the data or their loader are not those of the run, its best model is gone
                or another run's, or the state cannot be restored.

        """
        trainer, best, file = self._trainer, state.best_valid_result, f"{path}{_SUFFIX}"
        name, best_file = Path(path).name, Path(state.saved_model_file)
        if best_file != Path(f"{name}.pth") and best_file != Path(name, best_file.name):
            raise InputError(
                f"{file}: expected {name}.pth, or a file in {name}, as the run's best model, got "
                f"{best_file}; give the run's files back their names"
            )
        refuse_other_data(file, state.data or {}, self.data)
        if state.loader != type(train_data).__name__:
            raise InputError(
                f"{file}: expected batches by {state.loader}, as when the run began, got "
                f"{type(train_data).__name__}; train anew"
            )
        self._own(path)
        self.run = state.run
        trainer.saved_model_file = str(Path(path).parent / best_file)
        if best:
            trainer.group.first(lambda: bool(self.read_best_model()))  # nobody needs its weights
        with checkpoint.restoring(file):
            checkpoint.load_weights(trainer.model, trainer.part(state.state_dict), file)
            self._memory.load_state_dict(trainer.part(state.memory))
            for name, optimizer_state in trainer.part(state.optimizers).items():
                getattr(trainer, name).load_state_dict(optimizer_state)
            trainer.schedule.load_state_dict(state.schedule)
            restore_random_states(state.random_states, train_data)  # and when training begins
        self.finished = state.finished
        self._random_states = state.random_states
        trainer.reset_best()
        trainer.start_epoch = state.epoch
        trainer.epoch_records = state.epoch_records
        trainer.best_valid_result = best and OrderedDict(best)
        for name in (*_AS_IT_IS, "best_valid_score"):
            setattr(trainer, name, getattr(state, name))

    def read_best_model(self) -> checkpoint.SavedModel:
        """The best model so far.

        Raises:
            InputError: its file is gone, damaged, or another run's.

        """
        file = self._trainer.saved_model_file
        if not Path(file).is_file():
            raise InputError(
                f"{file}: expected the best model so far, which the run left there, got no such "
                "file; put it back, or train anew"
            )
        model = checkpoint.read_model(file)
        if model.run != self.run:
            raise InputError(
                f"{file}: expected the best model of this run, got another run's; put it back, or "
                "train anew"
            )
        return model
