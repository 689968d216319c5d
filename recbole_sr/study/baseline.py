"""RecBole as it is: the baseline of a comparison, measured as our own runs are.

So are its models that learn without gradients, such as EASE, with which others are compared.

Nothing of the method is in here: plain model and trainer classes, RecBole's defaults, RecBole's
order of random draws. Of this package it has settings, repairs and the files of a run, but neither
its model and trainer classes nor its pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from time import perf_counter
from typing import Any

import recbole.config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_logger, init_seed

from recbole_sr.config.config import Config
from recbole_sr.models.inject import repaired
from recbole_sr.models.registry import NON_GRADIENT
from recbole_sr.models.sources import Column
from recbole_sr.models.tables import columns, stable_ranks, whole_tables
from recbole_sr.recbole_compat.classes import with_mixins
from recbole_sr.recbole_compat.pickles import unread_pickles
from recbole_sr.runs.epochs import EpochRecord
from recbole_sr.runs.folder import RunFolder

__all__ = ["StockConfig", "StockExperiment"]


class StockConfig(Config):
    """RecBole's settings without this package's tuned ones; text is read, never evaluated."""

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        recbole.config.Config._load_internal_config_dict(self, model, model_class, dataset)

    def _refuse_model(self, model: str | type) -> None:
        if model not in NON_GRADIENT:
            super()._refuse_model(model)


class StockExperiment:
    """Data, plain model and plain trainer of RecBole.

    Args:
        config: with ``sr_`` keys that are off.

    """

    def __init__(self, config: StockConfig):
        init_seed(config["seed"], config["reproducibility"])
        init_logger(config)
        self.config = config
        with unread_pickles(config):
            loaders = data_preparation(config, create_dataset(config))
        self.train_data, self.valid_data, self.test_data = loaders
        init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
        model_class = _repaired(config["model"])
        self.model = model_class(config, self.train_data._dataset).to(config["device"])

    def train(self, saved: bool, verbose: bool, folder: str) -> dict[str, Any]:
        """Fit and test; RecBole's result dictionary.

        Args:
            saved: save the best model, as RecBole does, and test that. One that learns without
                gradients is the only one, so it is not saved.
            verbose: log every epoch.
            folder: where the run's files go, as those of our own runs.

        """
        trainer_class = get_trainer(self.config["MODEL_TYPE"], self.config["model"])
        trainer = trainer_class(self.config, self.model)
        sides = columns(self.config, self.train_data._dataset)
        if self.config["model"] in NON_GRADIENT:
            # All is learnt when the model is made. RecBole's trainer for such models has one epoch,
            # too, but not that of NCEPLRec, and evaluates none where eval_step is above 1.
            trainer.epochs, trainer.eval_step = 1, min(1, trainer.eval_step)
            saved, sides = False, {}
        watch = _Watch(trainer, RunFolder.create(folder, self.config), sides)
        score, result = trainer.fit(self.train_data, self.valid_data, verbose, saved)
        watch.note("end")
        if saved:
            watch.load_best()
        test_result = trainer.evaluate(self.test_data, load_best_model=False)
        return {
            "best_valid_score": score,
            "valid_score_bigger": self.config["valid_metric_bigger"],
            "best_valid_result": result,
            "test_result": test_result,
        }


def _repaired(name: str) -> Any:
    if name in NON_GRADIENT:
        return with_mixins(get_model(name), NON_GRADIENT[name])
    return repaired(get_model(name))


class _Watch:
    """Notes what each epoch of a plain trainer was, from outside."""

    def __init__(self, trainer: Any, folder: RunFolder, sides: Mapping[str, Column]):
        self.folder = folder
        self.sides = sides
        self.model = trainer.model
        self.records: list[EpochRecord] = []
        self._best: Any = None
        self._train_epoch, self._valid_epoch = trainer._train_epoch, trainer._valid_epoch
        trainer._train_epoch, trainer._valid_epoch = self.train_epoch, self.valid_epoch
        self._save, trainer._save_checkpoint = trainer._save_checkpoint, self.save
        self.note("start")

    def train_epoch(self, train_data: Any, epoch: int, *args: Any, **kwargs: Any) -> Any:
        self.folder.add_epochs(self.records)
        start = perf_counter()
        loss = self._train_epoch(train_data, epoch, *args, **kwargs)
        seconds = perf_counter() - start
        total = sum(loss) if isinstance(loss, tuple) else loss
        ranks = stable_ranks(whole_tables(self.model, self.sides)) if self.sides else None
        self.records.append(EpochRecord(epoch, "stock", total, seconds, None, ranks))
        return loss

    def valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        score, result = self._valid_epoch(*args, **kwargs)
        self.records[-1].valid_seconds = perf_counter() - start
        self.records[-1].valid_score = float(score)
        self.folder.add_epochs(self.records)
        return score, result

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep the best model, as RecBole's file of it is a pickle, which nothing here reads."""
        self._save(*args, **kwargs)
        self._best = deepcopy((self.model.state_dict(), self.model.other_parameter()))

    def load_best(self) -> None:
        """Let the model be the best one, as RecBole's ``evaluate`` does; the last if none was."""
        if self._best:
            weights, other = self._best
            self.model.load_state_dict(weights)
            self.model.load_other_parameter(other)

    def note(self, moment: str) -> None:
        self.folder.add_epochs(self.records)
        if not self.sides:
            return
        tables = whole_tables(self.model, self.sides)
        self.folder.add_spectra(moment, {side: found[0] for side, found in tables.items()})
