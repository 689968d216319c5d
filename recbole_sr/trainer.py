"""The method inside a RecBole trainer: which phase an epoch is in, and what is observed of it."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from recbole.utils import set_color

from recbole_sr.options import Options
from recbole_sr.progress import ProgressBar
from recbole_sr.settings import to_plain
from recbole_sr.subclass import subclass

if TYPE_CHECKING:
    from recbole.trainer import Trainer as _Trainer
else:
    _Trainer = object

__all__ = ["EpochRecord", "inject_trainer"]

Ranks = dict[str, float]


def inject_trainer(trainer_class: type) -> Any:
    """A subclass of a RecBole trainer that runs the phases on a model made by ``inject``.

    RecBole's ``fit`` stays in charge; only what it calls each epoch is extended.

    Args:
        trainer_class: such as ``recbole.trainer.Trainer``.

    Returns:
        The class, always the same for the same argument.

    Example:
        >>> from recbole.trainer import Trainer
        >>> issubclass(inject_trainer(Trainer), Trainer)
        True

    """
    return subclass(PhasedTrainer, trainer_class)


@dataclass
class EpochRecord:
    """What one epoch was. ``stable_rank`` is that of the whole tables at its end."""

    epoch: int
    phase: str
    train_loss: float
    train_seconds: float
    valid_score: float | None = None
    stable_rank: Ranks | None = None


class PhasedTrainer(_Trainer):
    """Mixin: phases, their judging, the monitor, and checkpoints that hold plain data."""

    def __init__(self, config: Any, model: Any):
        super().__init__(config, model)
        self.options = Options.from_mapping(config.final_config_dict)
        self.schedule = self.options.schedule(bigger=self.valid_metric_bigger)
        self.epoch_records: list[EpochRecord] = []
        self.initial_stable_rank: Ranks | None = None
        self._judge_phase()

    def _train_epoch(
        self,
        train_data: Any,
        epoch_idx: int,
        loss_func: Any = None,
        show_progress: bool = False,
    ) -> Any:
        """One epoch of RecBole's training inside the phase it belongs to."""
        warming = self.schedule.warming
        phase = self.schedule.begin_epoch(epoch_idx)
        if self.schedule.warming != warming:
            self._switch()
        if self.initial_stable_rank is None:
            self.initial_stable_rank = self._stable_rank()
        batches = ProgressBar(train_data, self._title(epoch_idx)) if show_progress else train_data
        start = perf_counter()
        with self.model.sr_regularized(phase, self.options.sr_tables):
            loss = super()._train_epoch(batches, epoch_idx, loss_func)
        seconds = perf_counter() - start
        total = sum(loss) if isinstance(loss, tuple) else loss
        self._record(EpochRecord(epoch_idx, phase.name, total, seconds, None, self._stable_rank()))
        return loss

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        """RecBole's validation, its score noted by the schedule."""
        score, result = super()._valid_epoch(valid_data, show_progress)
        self.schedule.observe(float(score))
        self.epoch_records[-1].valid_score = float(score)
        return score, result

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        """RecBole's checkpoint with settings as plain data, whole or not written at all.

        ``torch.load(weights_only=True)`` reads it, so loading one never runs code from it.
        """
        path = str(kwargs.get("saved_model_file", self.saved_model_file))
        state = {
            "config": to_plain(self.config.final_config_dict),
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        _write_whole(state, path)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {path}")

    def _switch(self) -> None:
        self.logger.info(
            set_color(f"epoch {self.schedule.switch_epoch}", "green")
            + f": switch from the {self.schedule.warm.name} to the {self.schedule.main.name} phase"
        )
        self._judge_phase()

    def _judge_phase(self) -> None:
        """Let only the main phase end the run or win it, unless the published recipe is asked for.

        The warm phase minimises something else, so its scores say nothing about the main one.
        """
        self.stopping_step = math.inf if self.schedule.warming else self.config["stopping_step"]
        if not self.options.sr_published:
            self.best_valid_score = -math.inf if self.valid_metric_bigger else math.inf
            self.best_valid_result = None
        self.cur_step = 0

    def _record(self, record: EpochRecord) -> None:
        self.epoch_records.append(record)
        if record.stable_rank is None:
            return
        for side, rank in record.stable_rank.items():
            self.tensorboard.add_scalar(f"Stable_rank/{side}", rank, record.epoch)
        self.wandblogger.log_metrics(
            {"epoch": record.epoch, "stable_rank": record.stable_rank}, head="train"
        )
        self.logger.info(
            set_color(f"epoch {record.epoch} {record.phase} phase", "green")
            + f" [{describe_ranks(record.stable_rank)}]"
        )

    def _stable_rank(self) -> Ranks | None:
        return self.model.sr_stable_rank() if self.options.sr_monitor else None

    def _title(self, epoch: int) -> str:
        ranks = self.epoch_records[-1].stable_rank if self.epoch_records else None
        ranks = ranks or self.initial_stable_rank
        title = f"Train {epoch:>5} {self.schedule.phase.name}"
        return f"{title}, {describe_ranks(ranks)}" if ranks else title


def describe_ranks(ranks: Mapping[str, float]) -> str:
    """Stable ranks as the console shows them.

    Example:
        >>> describe_ranks({"user": 12.345, "item": 6.0})
        'stable rank: user 12.35, item 6.00'

    """
    return "stable rank: " + ", ".join(f"{side} {rank:.2f}" for side, rank in ranks.items())


def _write_whole(state: Any, path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as file:
        try:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


def summarize(trainer: Any) -> dict[str, Any]:
    """What the phases did, as plain data: the ``sr`` entry of a run's result."""
    records = [asdict(record) for record in trainer.epoch_records]
    phases = []
    start = trainer.initial_stable_rank
    for phase in (trainer.schedule.warm, trainer.schedule.main):
        epochs = [record for record in records if record["phase"] == phase.name]
        if epochs:
            end = epochs[-1]["stable_rank"]
            phases.append(
                {
                    "name": phase.name,
                    "regularizers": dict(phase.regularizers),
                    "first_epoch": epochs[0]["epoch"],
                    "last_epoch": epochs[-1]["epoch"],
                    "stable_rank": {"start": start, "end": end},
                }
            )
            start = end
    return {"phases": phases, "switch_epoch": trainer.schedule.switch_epoch, "epochs": records}
