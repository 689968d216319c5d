"""A run that goes on where it was cut: what a trainer saves of itself, and becomes again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recbole_sr.config.plain import to_plain
from recbole_sr.errors import InputError
from recbole_sr.runs import checkpoint
from recbole_sr.runs.epochs import EpochRecord
from recbole_sr.runs.snapshot import (
    ModelMemory,
    fingerprint,
    optimizers,
    random_states,
    restore_random_states,
)

__all__ = ["RunState"]

# What is saved of a trainer as it is.
_AS_IT_IS = ("saved_model_file", "initial_stable_rank", "cur_step", "train_loss_dict")


class RunState:
    """All that a trainer's next epoch depends on, in a file beside RecBole's best model.

    Args:
        trainer: with phases, its model not yet trained: what changes from here on is what has to
            be saved.

    Attributes:
        path: of the run, without suffix; its folder has this name, its state ``.run.pth`` added.
        saving: whether epochs begin by saving.
        finished: whether the run has ended.

    """

    def __init__(self, trainer: Any):
        self._trainer = trainer
        self._memory = ModelMemory(trainer.model)
        self._random_states: dict[str, Any] | None = None
        # Pretraining renames its checkpoint as it goes; the run stays where it began.
        self.path = trainer.saved_model_file.removesuffix(".pth")
        self.saving = False
        self.finished = False

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
        best = trainer.best_valid_result
        state = {
            "config": to_plain(trainer.config.final_config_dict),
            "epoch": epoch,
            "finished": self.finished,
            "run_path": self.path,
            **{name: getattr(trainer, name) for name in _AS_IT_IS},
            "state_dict": trainer.model.state_dict(),
            "memory": self._memory.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in optimizers(trainer).items()},
            "schedule": trainer.schedule.state_dict(),
            "epoch_records": [asdict(record) for record in trainer.epoch_records],
            "best_valid_score": float(trainer.best_valid_score),
            "best_valid_result": best and {name: float(value) for name, value in best.items()},
            "random_states": random_states(train_data),
            "data": fingerprint(train_data._dataset),
            "loader": type(train_data).__name__,
        }
        checkpoint.write(state, f"{self.path}.run.pth")

    def restore(self, state: dict[str, Any], train_data: Any) -> None:
        """Make the trainer the one that wrote ``state``, at the start of the epoch it says.

        Raises:
            InputError: the training interactions or their loader are not those of the run, or its
                best model is gone.

        """
        self._check(state, train_data)
        trainer, best = self._trainer, state["best_valid_result"]
        self.path = state["run_path"]
        self.finished = state["finished"]
        self._random_states = state["random_states"]
        checkpoint.load_weights(trainer.model, state["state_dict"], state["saved_model_file"])
        self._memory.load_state_dict(state["memory"])
        for name, optimizer_state in state["optimizers"].items():
            getattr(trainer, name).load_state_dict(optimizer_state)
        trainer.schedule.load_state_dict(state["schedule"])
        trainer.reset_best()
        trainer.start_epoch = state["epoch"]
        trainer.epoch_records = [EpochRecord(**record) for record in state["epoch_records"]]
        trainer.best_valid_result = best and OrderedDict(best)
        for name in (*_AS_IT_IS, "best_valid_score"):
            setattr(trainer, name, state[name])

    @staticmethod
    def _check(state: dict[str, Any], train_data: Any) -> None:
        if state["data"] != fingerprint(train_data._dataset):
            raise InputError(
                f"{state['config']['dataset']}: expected the interactions that the run was trained "
                "on, got others; restore the data set, or train anew"
            )
        if state["loader"] != type(train_data).__name__:
            raise InputError(
                f"dataloaders_save_path: expected batches by {state['loader']}, as when the run "
                f"began, got {type(train_data).__name__}; remove the data loaders that another run "
                "has saved in checkpoint_dir since"
            )
        best = state["saved_model_file"]
        if state["best_valid_result"] and not Path(best).is_file():
            raise InputError(
                f"{best}: expected the best model so far, which the run left there, got no such "
                "file; put it back, or train anew"
            )
