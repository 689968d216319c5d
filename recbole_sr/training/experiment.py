"""The one pipeline: from settings to a trained and tested model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from logging import getLogger
from operator import attrgetter
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from recbole.data import create_dataset, data_preparation
from recbole.utils import ModelType, get_trainer, init_seed, set_color

from recbole_sr.config.config import Config
from recbole_sr.config.data_files import check_dataset
from recbole_sr.config.options import Options
from recbole_sr.config.plain import to_plain
from recbole_sr.distributed.group import ALONE, Group, current_group, processes
from recbole_sr.distributed.launch import launch_name, refuse_several, restarts
from recbole_sr.errors import InputError, naming_run, refused_by_recbole
from recbole_sr.fast.activations import fuse_gelu
from recbole_sr.fast.compiler import without_compiler
from recbole_sr.fast.preparation import data_preparation as fast_preparation
from recbole_sr.fast.propagation import accelerate
from recbole_sr.fast.reading import quick_reading
from recbole_sr.models.columns import Columns
from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.features import columns_of_interactions
from recbole_sr.models.initialize import initialize, reset_embeddings
from recbole_sr.models.inject import inject, with_representations
from recbole_sr.models.registry import entry_of
from recbole_sr.recbole_compat.classes import is_recboles
from recbole_sr.recbole_compat.pickles import unread_pickles
from recbole_sr.runs import checkpoint
from recbole_sr.runs.checkpoint import SavedRun
from recbole_sr.runs.epochs import summarize
from recbole_sr.runs.files import locked
from recbole_sr.runs.folder import RunFolder
from recbole_sr.runs.identity import data_identity, refuse_other_data
from recbole_sr.runs.state import first_to_open
from recbole_sr.training.checks import (
    by_columns,
    check_columns,
    check_features,
    check_judged,
    check_labels,
    check_parts,
    check_ranked,
    check_settings,
    check_several,
)
from recbole_sr.training.console import (
    closing_lines,
    describe_data,
    describe_environment,
    open_log,
    shows_bars,
    warnings_alone,
    write_nothing,
)
from recbole_sr.training.final import SUFFIX, final_config, join_parts
from recbole_sr.training.trainer import inject_trainer

__all__ = [
    "Experiment",
    "load_data_and_model",
    "objective_function",
    "prepare",
    "resume",
    "run_recbole_sr",
]

_screen = getLogger(__name__)


class Experiment(NamedTuple):
    """Everything a run is made of."""

    config: Config
    model: Any
    dataset: Any
    train_data: Any
    valid_data: Any
    test_data: Any

    @without_compiler()
    def train(
        self,
        saved: bool,
        verbose: bool = True,
        run: tuple[SavedRun, str] | None = None,
        folder: str | None = None,
        path: str | None = None,
    ) -> dict[str, Any]:
        """Fit and test; RecBole's result dictionary plus ``sr``.

        Args:
            saved: keep the best model's checkpoint, test that, and leave a folder behind.
            verbose: log every epoch.
            run: go on with this one, which :func:`~recbole_sr.runs.state.reopened` holds.
            folder: of this run alone; None: named as its checkpoint.
            path: of its files, without suffix, where it is free, for a run's last part, which is
                not gone on with by itself; None: RecBole's.

        """
        trainer_class = get_trainer(self.config["MODEL_TYPE"], self.config["model"])
        with refused_by_recbole("checkpoint_dir or log_wandb"):
            Path(self.config["checkpoint_dir"]).mkdir(parents=True, exist_ok=True)
            trainer = inject_trainer(trainer_class)(self.config, self.model)
        state, group = trainer.run_state, trainer.group
        with naming_run(lambda: state.path), ExitStack() as held:
            if saved:
                state.data = self.data_identity()
                if run:
                    state.restore(*run, self.train_data)
                elif folder is None:
                    state.claim(path)
                    if group.leads:
                        held.enter_context(locked(state.path))
                identity = {"run": state.run, "data": state.data, "format": checkpoint.FORMAT}
                if path is None and (again := launch_name()):
                    identity["launch"] = again
                made = group.first(
                    lambda: RunFolder.create(
                        folder or state.path, self.config, identity, resumed=bool(run)
                    )
                )
                trainer.run_folder = made if group.leads else None
            return self._fit(trainer, saved, verbose)

    @property
    def judged(self) -> bool:
        """Whether there are interactions that it is not trained on."""
        return bool(self.config.options.sr_train_on == "training")

    def data_identity(self) -> dict[str, str]:
        """See :func:`~recbole_sr.runs.identity.data_identity`."""
        return data_identity((self.train_data, self.valid_data, self.test_data))

    def _fit(self, trainer: Any, saved: bool, verbose: bool) -> dict[str, Any]:
        show = verbose and shows_bars(self.config)
        judged = self.judged
        valid_data, test_data = (self.valid_data, self.test_data) if judged else (None, None)
        best_score, best_result = trainer.fit(
            self.train_data, valid_data, verbose=verbose, saved=saved, show_progress=show
        )
        trainer.write_epoch_records()
        trainer.record_spectra("end")
        if judged:
            _advise(trainer)
        test_result = trainer.evaluate(test_data, load_best_model=saved, show_progress=show)
        result = {
            "best_valid_score": best_score,
            "valid_score_bigger": self.config["valid_metric_bigger"],
            "best_valid_result": best_result,
            "test_result": test_result,
        }
        summary = summarize(trainer)
        places: dict[str, str | None] = {"checkpoint": None, "run_folder": None}
        if trainer.run_folder:
            found = ("switch_epoch", "best_epoch", "initial_valid_score")
            outcome = {**result, **{name: summary[name] for name in found}}
            trainer.run_folder.write("result.json", outcome)
            places = {
                "checkpoint": trainer.saved_model_file,
                "run_folder": str(trainer.run_folder.path),
            }
        return {**result, "sr": {**summary, **trainer.group.first(lambda: places)}}


def _advise(trainer: Any) -> None:
    """Say where the phases did not do what they are for."""
    if trainer.schedule.warming:
        getLogger().warning(
            "The run ended in the warm phase, so its best model is a warm one: "
            "raise epochs, or lower sr_warm_epochs or sr_patience"
        )
        return
    better, score = max if trainer.valid_metric_bigger else min, attrgetter("valid_score")
    scored = [record for record in trainer.epoch_records if record.valid_score is not None]
    warm, main = (
        better((record for record in scored if record.phase == phase.name), key=score, default=None)
        for phase in (trainer.schedule.warm, trainer.schedule.main)
    )
    if warm and not main and not trainer.options.sr_published:
        getLogger().warning(
            "No epoch of the main phase was evaluated, so there is no best validation score, and a "
            "saved model is a warm one: lower eval_step, or raise epochs"
        )
    if warm and main and better(main, warm, key=score) is warm:  # main, where they are equal
        getLogger().warning(
            f"No epoch of the main phase ranked as well as epoch {warm.epoch} of the warm phase: "
            f"{main.valid_score} at best against {warm.valid_score}. Lower sr_warm_epochs, or keep "
            "a regulariser on by sr_main_regularizers"
        )


def run_recbole_sr(
    model: str | type | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    representations: ModelEntry | None = None,
) -> dict[str, Any]:
    """Train and test a RecBole model with the method, as ``recbole.quick_start.run_recbole`` does.

    Args:
        model: name of a model that ``recbole-sr models`` lists, a subclass of one, or a class of
            your own that has ``sr_representations``.
        dataset: name of a data set; ``ml-100k`` comes with RecBole.
        config_file_list: paths of YAML property files.
        config_dict: property values; the command line overrides them.
        saved: keep the best model's checkpoint and test that; otherwise test the last epoch's.
        representations: where a model class given as ``model`` keeps its representations; takes
            the place of what the class or the registry says.

    Returns:
        RecBole's ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and
        ``test_result``, and ``sr``: ``phases`` (name, regularizers, first and last epoch, stable
        rank at start and end), ``switch_epoch`` (first epoch of the main phase; None without a
        switch), ``epochs`` (epoch, phase, train_loss, train_seconds, valid_score, stable_rank,
        valid_seconds, rank_weight),
        ``best_epoch`` (whose score is ``best_valid_score``; None where none was evaluated, -1 where
        it is the untrained model's),
        ``initial_valid_score`` (of the tables that ``sr_init`` fills, before training; else None),
        and the paths ``checkpoint`` and ``run_folder`` (None unless ``saved``). With ``sr_final``
        also ``final``: the same paths of the model that was trained on all interactions, and its
        ``epochs``.

    Raises:
        InputError: something given cannot work; one sentence says what.

    Example::

        result = run_recbole_sr("BPR", "ml-100k", config_dict={"epochs": 20})
        print(result["test_result"], result["sr"]["checkpoint"])
    """
    start = perf_counter()
    if representations is not None:
        if not isinstance(model, type):
            raise InputError(
                f"representations: expected a class as model with them, got {model!r}; give the "
                "class"
            )
        model = with_representations(model, representations)
    config = Config(model, dataset, config_file_list, config_dict)
    with processes(lambda: config.options.sr_timeout) as group:
        if saved and (begun := group.first(partial(_begun, config))):
            return _resume(begun, config.model_class, start)
        return _run(prepare(config), saved, start)


def _begun(config: Config) -> str | None:
    """The saved run that torchrun has started again; None where there is none.

    A program may train several: what is set tells them apart.
    """
    told = {"model", "dataset", "seed", *config.external_config_dict} & {*config.final_config_dict}
    for file in Path(config["checkpoint_dir"]).glob("*/environment.json") if restarts() else ():
        folder = RunFolder(file.parent)
        try:
            launched_as = (folder.read(file.name) or {}).get("launch")
        except InputError:  # of another run, which is damaged
            continue
        if launched_as != launch_name() or not Path(f"{folder.path}.run.pth").is_file():
            continue
        saved = folder.read("settings.json") or {}
        if all(saved.get(key) == to_plain(config[key]) for key in told):
            return f"{folder.path}.run.pth"
    return None


def resume(run_file: str, model_class: type | None = None) -> dict[str, Any]:
    """Continue a run that was interrupted or killed, as if it had not been.

    On one machine weights, metrics, phases and early stopping come out the same bit for bit, where
    the model's own training is reproducible. A finished run is tested again, not trained on.
    The data are read from the data set's own files, never from a pickle of RecBole's.

    Args:
        run_file: the ``.run.pth`` file that the run left in its ``checkpoint_dir``.
        model_class: the model's class where it is none of RecBole's.

    Returns:
        As :func:`run_recbole_sr`.

    Raises:
        InputError: there is no such file, or it is not what a run saved.

    Example:
        >>> resume("saved/BPR-DATE.run.pth")["test_result"]  # doctest: +SKIP

    """
    start = perf_counter()
    with processes(
        lambda: checkpoint.read_run(run_file).config.get("sr_timeout", Options().sr_timeout)
    ):
        return _resume(str(run_file), model_class, start)


def _resume(run_file: str, model_class: type | None, start: float) -> dict[str, Any]:
    with _reopened(run_file, model_class) as (experiment, run):
        return _run(experiment, True, start, run)


@contextmanager
def _reopened(
    run_file: str, model_class: type | None = None
) -> Iterator[tuple[Experiment, tuple[SavedRun, str]]]:
    """A saved run and what it is made of; nobody else can go on with it inside the block."""
    with first_to_open(current_group(), run_file) as run:
        state, path = run
        with checkpoint.restoring(run_file):
            config = Config.from_plain(state.config, model_class)
            if Path(config["checkpoint_dir"]).resolve() != Path(path).parent.resolve():
                config["checkpoint_dir"] = str(Path(path).parent)  # it was moved
            _refuse_moved_data(config, run_file)
            experiment = prepare(config, has_weights=True)
        ended = "tested again" if experiment.judged else "has ended"
        where = ended if state.finished else f"goes on with epoch {state.epoch}"
        _screen.info(f"{config['model']}, {path}: {where}")
        yield experiment, run


def _run(
    experiment: Experiment, saved: bool, start: float, run: tuple[SavedRun, str] | None = None
) -> dict[str, Any]:
    result = experiment.train(saved, run=run)
    if experiment.config.options.sr_final:
        with naming_run(lambda: result["sr"]["run_folder"]):
            result["sr"]["final"] = _train_final_model(experiment.config, result["sr"], saved)
    if not current_group().leads:
        return result
    for text in (
        f"Running environment: {describe_environment(experiment.config['device'])}",
        f"{set_color('best valid ', 'yellow')}: {result['best_valid_result']}",
    ):
        getLogger().info(text)
    metric = experiment.config["valid_metric"].lower()
    lists = not columns_of_interactions(experiment.model, experiment.dataset)
    own = not is_recboles(experiment.config.model_class)
    seconds = perf_counter() - start
    for line in closing_lines(result, metric, seconds, experiment.judged, lists, own):
        _screen.info(line)
    return result


def _train_final_model(config: Config, found: Mapping[str, Any], saved: bool) -> dict[str, Any]:
    """Train on all interactions as the best model was trained; where that model is.

    Raises:
        InputError: no epoch was the best one.

    """
    if found["best_epoch"] is None:
        raise InputError(
            "sr_final: expected a best epoch, by whose number all interactions are trained on, got "
            "none, as no epoch of the main phase was evaluated; set eval_step: 1, raise epochs, "
            "or give eval_args a validation part"
        )
    epochs = found["best_epoch"] + 1
    group = current_group()
    path = f"{found['run_folder']}{SUFFIX}" if saved else None
    run_file = f"{path}.run.pth"
    if saved and group.first(lambda: Path(run_file).is_file()):  # the whole run is resumed
        with _reopened(run_file, config.model_class) as (experiment, run):
            places = experiment.train(saved, run=run, path=path)["sr"]
    else:
        _screen.info(f"once more, on all interactions, for {epochs} epoch{'s' * (epochs != 1)}")
        experiment = prepare(final_config(config, epochs, found["switch_epoch"]))
        places = experiment.train(saved, path=path)["sr"]
    final = {"epochs": epochs, **{name: places[name] for name in ("checkpoint", "run_folder")}}
    if saved:
        group.first(lambda: RunFolder(found["run_folder"]).write("final.json", final))
    return final


def objective_function(
    config_dict: Mapping[str, Any] | None = None,
    config_file_list: list[str] | None = None,
    saved: bool = True,
) -> dict[str, Any]:
    """One trial of RecBole's ``HyperTuning``, by ``algo="random"`` or ``"bayes"``.

    Its ``"exhaustive"`` fails with hyperopt above 0.2.5; ``compare`` searches grids.

    Args:
        config_dict: the trial's property values; ``model`` and ``dataset`` here or in a file.
        config_file_list: paths of YAML property files.
        saved: as in :func:`run_recbole_sr`.

    Returns:
        As :func:`run_recbole_sr`, and ``model``, the model's name.

    Example:
        >>> from recbole.trainer import HyperTuning
        >>> HyperTuning(objective_function, "random", params_file="a.hyper")  # doctest: +SKIP

    """
    refuse_several("objective_function")
    config = Config(config_dict=config_dict, config_file_list=config_file_list)
    check_judged(config)
    return {"model": config["model"], **prepare(config).train(saved, verbose=False)}


def load_data_and_model(
    model_file: str, model_class: type | None = None, data_path: str | None = None
) -> tuple[Config, Any, Any, Any, Any, Any]:
    """A trained model and its data, from a checkpoint of this package.

    No code in the file is run, nor in any that its settings name: only tensors and plain data are
    read, and the data set's own files.

    Args:
        model_file: path of the checkpoint.
        model_class: the model's class where it is none of RecBole's.
        data_path: the folder of the data set's folder, where it is no longer that of training.

    Returns:
        ``(config, model, dataset, train_data, valid_data, test_data)``, as RecBole's function.

    Raises:
        InputError: there is no such file, it is damaged, it is not of this package, or the data set
            has changed since: the model's rows would be those of other users and items.

    Example:
        >>> config, model, *data = load_data_and_model("saved/BPR.pth")  # doctest: +SKIP

    """
    saved = checkpoint.read_model(model_file)
    with checkpoint.restoring(model_file), warnings_alone():
        config = Config.from_plain(saved.config, model_class)
        if data_path is not None:
            config["data_path"] = os.path.join(data_path, config.dataset)
        advice = f"give as data_path the folder that holds {config.dataset}"
        _refuse_moved_data(config, model_file, advice)
        experiment = prepare(config, has_weights=True, logged=False)
    if saved.data is None:
        getLogger().warning(f"{model_file}: of an earlier version, which did not note its data")
    else:
        refuse_other_data(model_file, saved.data, experiment.data_identity())
    with checkpoint.restoring(model_file):
        checkpoint.load_weights(experiment.model, saved.state_dict, model_file)
        experiment.model.load_other_parameter(saved.other_parameter)
    return (*experiment,)


def _refuse_moved_data(
    config: Config, file: str, advice: str = "go where the run was started, or move it back"
) -> None:
    """Refuse a checkpoint whose data set is not where it was: RecBole may download it anew."""
    if not os.path.isdir(folder := config["data_path"]):
        here = "" if os.path.isabs(folder) else f", from {os.getcwd()}"
        raise InputError(
            f"{file}: expected its data set in the folder {folder}, got no such folder{here}; "
            f"{advice}"
        )


def prepare(config: Config, has_weights: bool = False, logged: bool = True) -> Experiment:
    """Data and model, drawing random numbers in the order RecBole draws them.

    Args:
        config: the run's.
        has_weights: whether the model is about to be given weights, and so needs no initialisation.
        logged: whether to open the file of a log.

    Raises:
        InputError: settings or data that cannot work.

    """
    entry = entry_of(config.model_class)
    check_settings(config, entry)
    group = current_group()
    if group is not ALONE:
        check_several(config, entry)
    if not group.leads:
        write_nothing(config)
    model_class = config.model_class
    if config.options.sr_fast:
        model_class = accelerate(model_class, entry.propagation)
    init_seed(config["seed"], config["reproducibility"])
    log = open_log(config) if group.leads and logged else None
    logger = getLogger()
    config.log_recipe()
    logger.info(sys.argv)
    logger.info(config)
    with _as_in_training() if has_weights else nullcontext():
        dataset, train_data, valid_data, test_data = _read_data(config)
    if log:
        _screen.info(f"log: {log}")
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    with config.model_refused():
        model = inject(model_class)(config, train_data._dataset).to(config["device"])
    check_ranked(config, model, dataset)
    if config.options.sr_fast:
        fuse_gelu(model)
    if config.options.sr_published and not has_weights:
        reset_embeddings(model)  # the authors' tables are N(0, 1), where RecBole has Xavier's
    if (fill := config.options.initialization) and not has_weights:
        with config.model_refused():
            initialize(model, entry, train_data._dataset, fill, config["seed"])
    if isinstance(group, Group) and by_columns(config, entry, group.size):
        model.sr_cut(Columns(group, config["embedding_size"]))
    logger.info(model)
    for side in config.options.sr_tables:
        logger.info(set_color(f"{side} representations", "yellow") + f": {entry.side(side).about}")
    return Experiment(config, model, dataset, train_data, valid_data, test_data)


@contextmanager
def _as_in_training() -> Iterator[None]:
    """Say of data that cannot be read that they could be, for the weights that there are."""
    try:
        yield
    except InputError as error:
        raise InputError(
            "expected its data set as it was in training, got another; restore it, or train anew "
            f"({error})"
        ) from None


def _read_data(config: Config) -> tuple[Any, Any, Any, Any]:
    """The data set and the loaders of its parts, all checked."""
    on_all = config.options.sr_train_on == "all"
    reading = quick_reading() if config.options.sr_fast else nullcontext()
    with refused_by_recbole(f"dataset {config['dataset']!r}"), unread_pickles(config), reading:
        check_dataset(config.final_config_dict)
        check_columns(config)
        dataset = create_dataset(config)
        check_labels(config, dataset)
        check_features(config, dataset)
        if on_all:
            join_parts(dataset)
        getLogger().info(dataset)
        size = describe_data(dataset)  # before it is split
        prepare_data = fast_preparation if config.options.sr_fast else data_preparation
        loaders = prepare_data(config, dataset)
        check_parts(config, loaders[0]._dataset)
    parts = ", ".join(f"{len(loader._dataset):,}" for loader in loaders)
    used = "trained on all" if on_all else f"for training, validation and test: {parts}"
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL and not dataset.benchmark_filename_list:
        used += "; a user's first has no history to follow from"
    _screen.info(f"{size}; {used}")
    return (dataset, *loaders)
