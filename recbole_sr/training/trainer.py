"""The method inside a RecBole trainer: which phase an epoch is in, and what is observed of it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from logging import getLogger
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from recbole.utils import set_color
from torch import Tensor
from torch.optim import SparseAdam

from recbole_sr.config.options import Options
from recbole_sr.config.plain import plain_state
from recbole_sr.distributed.gradients import GradientSum
from recbole_sr.distributed.group import ALONE, Group, current_group
from recbole_sr.distributed.random import share_states
from recbole_sr.errors import InputError
from recbole_sr.fast.anomaly import no_stray_detection
from recbole_sr.fast.optimizer import fused, row_gradients
from recbole_sr.fast.parts import gathering, part_of
from recbole_sr.fast.ranking import TopCollector
from recbole_sr.recbole_compat.classes import subclass
from recbole_sr.recbole_compat.mends import without_boards
from recbole_sr.runs import checkpoint
from recbole_sr.runs.epochs import UNTRAINED, EpochRecord, Ranks
from recbole_sr.runs.folder import RunFolder
from recbole_sr.runs.snapshot import random_states, restore_random_states
from recbole_sr.runs.state import RunState
from recbole_sr.training.console import describe_epoch
from recbole_sr.training.cores import Cores
from recbole_sr.training.sparse_adam import refuse_dense_gradients

if TYPE_CHECKING:
    from recbole.trainer import Trainer as _Trainer
else:
    _Trainer = object

__all__ = ["inject_trainer"]


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


class PhasedTrainer(_Trainer):
    """Mixin: phases, their judging, the monitor, and checkpoints that hold plain data."""

    _gradients: GradientSum | None = None

    def __init__(self, config: Any, model: Any):
        self.options = Options.from_mapping(config.final_config_dict)
        self.group = current_group()
        with nullcontext() if self.group.leads else without_boards():
            super().__init__(config, model)
        self.schedule = self.options.schedule(self.valid_metric_bigger)
        self.epoch_records: list[EpochRecord] = []
        self.initial_stable_rank: Ranks | None = None
        self.initial_valid_score: float | None = None
        self.run_state = RunState(self)
        self.run_folder: RunFolder | None = None
        self._stepped = self._evaluated = self._verbose = False
        self._judged_every = self._described = 0
        self._cores = Cores()
        self._check_reachable()
        if self.options.sr_fast:
            self.eval_collector = TopCollector(config)
        if isinstance(self.group, Group) and not self.model.sr_part:
            self.eval_collector = gathering(self.eval_collector, self.group)
        self.reset_best()

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Any = None,
    ) -> Any:
        """RecBole's ``fit``; with ``saved`` each epoch begins by saving all that it depends on."""
        if self.run_state.finished:
            self.tensorboard.close()
            self.run_state.continue_generators(train_data)
            self.eval_collector.data_collect(train_data)  # as fit does; some metrics read it
            return self.best_valid_score, self.best_valid_result
        self.run_state.saving = saved
        if saved and self.run_folder is None:
            self.run_state.claim()
        judged = valid_data and "pretrain" not in str(self.config["train_stage"])
        self._judged_every = self.eval_step if judged else 0
        self._verbose, self._described = verbose, len(self.epoch_records)
        try:
            with self.config.model_refused(self._in_first_step):
                if judged and self.config["eval_step"] > 0 and not self.epoch_records:
                    self._score_initialization(train_data, valid_data)
                best = super().fit(
                    train_data, valid_data, verbose, saved, show_progress, callback_fn
                )
        finally:
            self.tensorboard.close()  # else its last events and its thread outlive the run
        self.run_state.finish(self.epochs, train_data)
        return best

    def _score_initialization(self, train_data: Any, valid_data: Any) -> None:
        """Note how well the tables that ``sr_init`` filled rank; random numbers are as before."""
        candidate = self.options.keeps_untrained or self.epochs == 0
        if not (self.options.initialization and (self._verbose or candidate)):
            return
        states = random_states(train_data)
        self.eval_collector.data_collect(train_data)  # as fit does; some metrics read it
        scores = self.evaluate(valid_data, load_best_model=False)
        self.initial_valid_score = float(scores[self.valid_metric])
        restore_random_states(states, train_data)
        if candidate:
            self._check_defined(self.initial_valid_score)
            self.best_valid_score, self.best_valid_result = self.initial_valid_score, scores
            if self.run_state.saving:
                self._save_checkpoint(UNTRAINED, verbose=False)

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> Any:
        """RecBole's evaluation, by blocks of users where the loader gives them."""
        if eval_data and load_best_model:
            self._load(model_file)
        if eval_data and self.group is not ALONE and not self.model.sr_part:
            eval_data = part_of(eval_data, self.group)
        if self.options.sr_fast:
            self.eval_collector.begin_evaluation(eval_data, self._full_sort_batch_eval)
        with self.config.model_refused(lambda error: not self._evaluated):
            result = super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)
        self._evaluated = True
        return result

    def _load(self, model_file: str | None) -> None:
        """Take the weights of a checkpoint, or of this run's best model, having checked them."""
        file = model_file or self.saved_model_file
        read = (
            partial(checkpoint.read_model, file) if model_file else self.run_state.read_best_model
        )
        saved = self.group.first(read)
        with checkpoint.restoring(file):
            checkpoint.load_weights(self.model, self.part(saved.state_dict), file)
            self.model.load_other_parameter(self.part(saved.other_parameter))
        best = float(self.best_valid_score)
        if not model_file and self.best_valid_result and saved.best_valid_score != best:
            getLogger().warning(
                f"{file}: expected the best model, of validation score {best:.4f}, got that of "
                f"epoch {saved.epoch}, of {saved.best_valid_score:.4f}: the run went on from "
                "before that epoch by other numbers, and the test is of this file"
            )
        self.logger.info(f"Loading model structure and parameters from {file}")

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        return self._refuse_nan(super()._full_sort_batch_eval(batched_data))

    def _neg_sample_batch_eval(self, batched_data: Any) -> Any:
        return self._refuse_nan(super()._neg_sample_batch_eval(batched_data))

    def _refuse_nan(self, scored: Any) -> Any:
        """Refuse NaN, which RecBole takes for the best score, and infinity, which ties items."""
        # One pass, and NaN is the maximum of what holds any; what is not ranked is -infinity.
        if not (highest := scored[1].max()) < math.inf:
            raise InputError(
                f"{type(self.model).__name__}: expected numbers as scores, got {highest}; lower "
                "learning_rate or the regularisers' weights"
            )
        return scored

    def _in_first_step(self, error: Exception) -> bool:
        """Whether settings can still be at fault; files are another matter.

        NaN, which a model that asks torch to look for it raises, is their fault at any time.
        """
        first = not self._stepped and not isinstance(error, OSError)
        return first or "returned nan values" in str(error)

    def _build_optimizer(self, **kwargs: Any) -> Any:
        optimizer = super()._build_optimizer(**kwargs)
        if self.options.sr_fast:
            optimizer = fused(optimizer)
        if isinstance(optimizer, SparseAdam):
            refuse_dense_gradients(optimizer, self.model)
        if isinstance(self.group, Group) and not self.model.sr_part:
            clipping = self.config["clip_grad_norm"]
            self.clip_grad_norm = None  # but once the gradients are added up
            self._gradients = GradientSum(self.group, self.model.parameters(), clipping)
            optimizer.register_step_pre_hook(self._gradients)
        return optimizer

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        """One epoch of RecBole's training inside the phase it belongs to."""
        self.run_state.begin_epoch(epoch_idx, train_data)
        share_states(self.group, self.device)
        self._epoch, self._batch = epoch_idx, 0
        self.write_epoch_records()
        if not self.epoch_records:
            self.record_spectra("start")
        warming = self.schedule.warming
        phase = self.schedule.begin_epoch(epoch_idx)
        if self.schedule.warming != warming:
            self._switch()
        if self.initial_stable_rank is None:
            self.initial_stable_rank = self._stable_rank()
        start = perf_counter()
        fast = self.options.sr_fast
        gradients: Any = row_gradients(self.model, self.optimizer) if fast else nullcontext({})
        checks: Any = no_stray_detection() if fast else nullcontext()
        of_rows = ALONE if self.model.sr_part else self.group
        with self.model.sr_regularized(phase, of_rows), checks, gradients as rows:
            if self._gradients:
                self._gradients.rows = rows
            loss = super()._train_epoch(train_data, epoch_idx, *args, **kwargs)
        self._stepped = True
        seconds = perf_counter() - start
        self._check_weights()
        if self.group is not ALONE:
            self._check_replicas(loss)
        total = sum(loss) if isinstance(loss, tuple) else loss
        record = EpochRecord(epoch_idx, phase.name, total, seconds, stable_rank=self._stable_rank())
        record.rank_weight = phase.rank_target.weights if phase.rank_target else None
        self._record(record)
        if advice := self._cores.advice():
            getLogger().warning(advice)
        step = self.options.sr_spectra_step
        if step and (epoch_idx + 1) % step == 0:
            self.record_spectra(f"epoch {epoch_idx}")
        if self._judged_every <= 0 or (epoch_idx + 1) % self._judged_every:
            self._describe_epochs()
        return loss

    def _check_nan(self, loss: Tensor) -> None:
        """Stop at a loss that is NaN or, which RecBole lets pass, infinite."""
        self._batch += 1
        self._stepped = self._stepped or self._batch > 1
        if not loss.isfinite().all():
            raise InputError(
                f"epoch {self._epoch}, batch {self._batch}, {self.schedule.phase.name} phase: "
                f"expected a finite training loss, got {loss.sum().item()}; lower learning_rate or "
                f"the regularisers' weights{self._kept()}"
            )

    def _check_weights(self) -> None:
        """Stop at weights that are not finite: the epoch's last update has no loss to show it."""
        for name, weights in self.model.named_parameters():
            if not weights.isfinite().all():
                raise InputError(
                    f"epoch {self._epoch}: expected finite weights, got NaN or infinity in {name}; "
                    "lower learning_rate, weight_decay or the regularisers' weights"
                    f"{self._kept()}"
                )

    def _kept(self) -> str:
        """Where the best model so far is, if it was saved."""
        file = self.saved_model_file
        is_kept = self.best_valid_result is not None and Path(file).is_file()
        return f" (the best model so far is {file})" if is_kept else ""

    def whole(self, state: Any) -> Any:
        """A state of this process with all columns of the tables; all processes call it."""
        return self.model.sr_part.whole(state) if self.model.sr_part else state

    def part(self, state: Any) -> Any:
        """What of a state with all columns is this process's."""
        return self.model.sr_part.part(state) if self.model.sr_part else state

    def _check_replicas(self, loss: Any) -> None:
        """Stop where the processes do not have the same weights, bit for bit.

        Where they have columns of their own, that is told by the loss, which all calculate.
        """
        alike = [loss] if self.model.sr_part else self.model.state_dict()
        sums = self.group.gathered(checkpoint.checksum(alike))
        other = [rank for rank, found in enumerate(sums) if found != sums[0]]
        if other:
            raise InputError(
                f"epoch {self._epoch}: expected the same weights in all processes, got others in "
                f"process {', '.join(map(str, other))}; run them on machines of one kind with the "
                "same packages, or run one process"
            )

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        """RecBole's validation, its score noted by the schedule; the first process decides."""
        start = perf_counter()
        found = super()._valid_epoch(*args, **kwargs)
        score, result = self.group.first(lambda: found)
        if all(record.valid_score is None for record in self.epoch_records):
            self._check_defined(score)
        self.epoch_records[-1].valid_seconds = perf_counter() - start
        self.schedule.observe(float(score))
        self.epoch_records[-1].valid_score = float(score)
        self.write_epoch_records()
        self._describe_epochs()
        return score, result

    def _check_defined(self, score: float) -> None:
        """Stop at a first validation score that is none."""
        if math.isnan(score):
            raise InputError(
                f"valid_metric: expected a number as {self.valid_metric} of the validation part, "
                "got NaN, as where all its labels are alike; change threshold, eval_args (split) "
                "or valid_metric"
            )

    def _describe_epochs(self) -> None:
        for record in self.epoch_records[self._described :] if self._verbose else ():
            # Of a model that is trained as in RecBole they say nothing that can be acted on.
            text = describe_epoch(record, self.valid_metric, ranks=not self.options.off)
            getLogger(__name__).info(text)
        self._described = len(self.epoch_records)

    def write_epoch_records(self) -> None:
        """Write the finished epochs to the run's folder."""
        if self.run_folder:
            self.run_folder.add_epochs(self.epoch_records)

    def record_spectra(self, moment: str) -> None:
        """Write the singular values of the tables to the run's folder, by the name of a moment."""
        if self.run_folder is None and self.model.sr_part is None:
            return
        tables = self.model.sr_tables()  # of which each process may have a part
        if self.run_folder:
            self.run_folder.add_spectra(moment, {side: found[0] for side, found in tables.items()})

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        """Have the first process write the checkpoint; the others wait for it."""
        trained = self.whole(
            {
                "state_dict": self.model.state_dict(),
                "other_parameter": plain_state(self.model.other_parameter()),
                "optimizer": self.optimizer.state_dict(),
            }
        )
        self.group.first(partial(self._write_checkpoint, epoch, verbose, trained))

    def _write_checkpoint(self, epoch: int, verbose: bool, trained: dict[str, Any]) -> None:
        """RecBole's checkpoint with settings as plain data, whole or not written at all.

        ``torch.load(weights_only=True)`` reads it, so loading one never runs code from it.
        """
        path = self.saved_model_file
        state = {
            "run": self.run_state.run,
            "data": self.run_state.data,
            "config": self.config.to_plain(),
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            **trained,
            "schedule": self.schedule.state_dict(),
        }
        checkpoint.write(state, path)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {path}")

    def save_pretrained_model(self, epoch: int, saved_model_file: str) -> None:
        """RecBole's file of a pretrained model, for RaCT's and S3Rec's next stage."""
        self.saved_model_file = saved_model_file
        self._save_checkpoint(epoch, verbose=False)

    def _switch(self) -> None:
        self.logger.info(
            set_color(f"epoch {self.schedule.switch_epoch}", "green")
            + f": switch from the {self.schedule.warm.name} to the {self.schedule.main.name} phase"
        )
        self.reset_best()
        self.write_epoch_records()
        self.record_spectra("switch")

    def _check_reachable(self) -> None:
        """Refuse a rank that a table of this model cannot have: its width is the most."""
        targets = self.options.target_ranks
        width = self.model.sr_width() if targets else {}
        for side, rank in targets.items():
            if rank >= width.get(side, math.inf):  # only batches have some models' users
                raise InputError(
                    f"sr_target_rank: expected less than {width[side]}, the width of the {side} "
                    f"representations, got {rank}; lower it or raise embedding_size"
                )

    def reset_best(self) -> None:
        """Let only the main phase end the run or win it, unless the published recipe is asked for.

        The warm phase minimises something else, so its scores say nothing about the main one. In
        the published recipe misses count on, too, unless the validation metric ended that phase.
        """
        self.stopping_step = math.inf if self.schedule.warming else self.config["stopping_step"]
        published, switch = self.options.sr_published, self.options.sr_switch
        if not published:
            self.best_valid_score = -math.inf if self.valid_metric_bigger else math.inf
            self.best_valid_result = None
        if not published or switch == "metric":
            self.cur_step = 0

    def _record(self, record: EpochRecord) -> None:
        self.epoch_records.append(record)
        numbers = {"stable_rank": record.stable_rank, "rank_weight": record.rank_weight}
        if not (seen := {name: values for name, values in numbers.items() if values}):
            return
        scalars = {
            f"{name}/{side}": x for name, values in seen.items() for side, x in values.items()
        }
        for name, value in scalars.items():
            self.tensorboard.add_scalar(name.capitalize(), value, record.epoch)
        # W&B plots what is under `train` against RecBole's `train_step`.
        self.wandblogger.log_metrics({**scalars, "train_step": record.epoch}, head="train")

    def _stable_rank(self) -> Ranks | None:
        return self.model.sr_stable_rank() if self.options.sr_monitor else None
