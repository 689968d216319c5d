"""RecBole's ``Config`` with the keys of the method: defaults, recipes, precedence, validation."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from logging import getLogger
from pathlib import Path
from typing import Any

import recbole.config
import torch
import yaml
from recbole.data.dataloader import UserDataLoader
from recbole.data.utils import get_dataloader
from recbole.utils import InputType, ModelType, get_model

from recbole_sr.config import recipe
from recbole_sr.config.files import (
    CommandLine,
    Loader,
    file_named,
    literals,
    once,
    read_files,
    read_shipped,
)
from recbole_sr.config.model_keys import check_model_keys, model_keys
from recbole_sr.config.names import REMOVED, RENAMED
from recbole_sr.config.options import Options, published
from recbole_sr.config.plain import from_plain, to_plain
from recbole_sr.config.recbole_keys import check_unread, check_values, empty_parts, samples_none
from recbole_sr.distributed.launch import KEYS as LAUNCHER_KEYS
from recbole_sr.distributed.launch import launched, local_rank, local_size
from recbole_sr.errors import InputError, refused_by_recbole
from recbole_sr.models import registry
from recbole_sr.models.inject import with_representations
from recbole_sr.models.registry import SUPPORTED, replaceable_loss
from recbole_sr.objectives.regularizers import REGULARIZERS
from recbole_sr.recbole_compat.classes import is_recboles
from recbole_sr.recbole_compat.mends import mend

__all__ = ["Config", "recboles_name", "without_sr"]


_OWN_CLASS = "own_class"  # in a checkpoint, whose model may have the name of one of RecBole's
# As it was before RecBole, which writes its gpu_id there.
_VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")


class Config(recbole.config.Config):
    """RecBole's configuration plus the ``sr_`` keys, validated before any data is read.

    Precedence, as in RecBole: command line > ``config_dict`` > ``config_file_list`` > defaults.
    Above the defaults stands the model's recipe, ``properties/model/<Model>.yaml``, and above that,
    where it is asked for, ``sr_published: True``. A key overrides that key alone.

    Six things differ from RecBole: text is read as a Python or YAML literal, never evaluated;
    ``config_files`` in a property file includes others; ``config_dict`` is left as it was; a
    sequential model with the loss ``CE`` samples no negatives by default, where RecBole stops and
    asks for ``train_neg_sample_args: None``; ``data_path`` counts for ``ml-100k``, too; and
    ``gpu_id`` is by default what the environment's ``CUDA_VISIBLE_DEVICES`` says, which RecBole
    overwrites by 0.

    Args:
        model: name of a RecBole model, or a class; None where a file, dictionary or the command
            line says.
        dataset: name of a data set; None as above.
        config_file_list: paths of YAML property files, later ones first; also names of shipped
            ones, such as ``loss/directau.yaml``.
        config_dict: property values.

    Attributes:
        options: the validated ``sr_`` keys.
        origins: who set each key that is not a default: a file, ``config_dict``, or the command
            line.

    Raises:
        InputError: an ``sr_`` key is unknown, mistyped, out of range or contradicts another, or a
            file is not there.

    Example:
        >>> config = Config("BPR", "ml-100k", config_dict={"sr_warm_epochs": 2})
        >>> config.options.sr_warm_epochs, config["sr_warm_regularizers"]
        (2, {'stable_rank': 0.03})
        >>> config.origins["sr_warm_epochs"], config.origins["sr_init"]
        ('config_dict', 'warm/spectral.yaml')

    """

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: list[str] | None = None,
        config_dict: Mapping[str, Any] | None = None,
    ):
        mend()
        self._recipe_origins: dict[str, str] = {}
        self._file_origins: dict[str, str] = {}
        given_by = "command line" if isinstance(config_dict, CommandLine) else "config_dict"
        passed = {"model": model, "dataset": dataset}
        self._passed = {key for key, value in passed.items() if value is not None}
        with file_named(self._origin):
            with refused_by_recbole("settings"):
                super().__init__(model, dataset, config_file_list, config_dict)
            self.options = Options.from_mapping(self.final_config_dict)
            self.origins = self._find_origins(given_by)
            recipe.refuse_idle_keys(self.options, self.external_config_dict)
            self._check_evaluated()
            self.final_config_dict.update(self.options.model_dump())
            self["sr_warm_regularizers"] = self.options.warm_regularizers  # what null stands for
            self._prepare_objective()
        self.parameters["Stable Rank"] = list(Options.model_fields)

    def to_plain(self) -> dict[str, Any]:
        """The settings as plain data, with the name of the model's class if it is not RecBole's."""
        kind = self.model_class
        own = {} if is_recboles(kind) else {_OWN_CLASS: f"{kind.__module__}.{kind.__qualname__}"}
        return {**to_plain(self.final_config_dict), **own}

    @classmethod
    def from_plain(cls, settings: dict[str, Any], model_class: type | None = None) -> Config:
        """The configuration of a finished run, from the plain settings in its checkpoint.

        Args:
            settings: the checkpoint's ``config``.
            model_class: the model's class where it is none of RecBole's.

        Raises:
            InputError: RecBole has no model of that name, and no class was given.

        """
        mend()
        config = cls.__new__(cls)
        config._init_parameters_category()
        config.yaml_loader = config._build_yaml_loader()  # reads where data are to be had
        of_today = {
            RENAMED.get(key, key): value
            for key, value in settings.items()
            if key != _OWN_CLASS and (key not in REMOVED or value != REMOVED[key])
        }
        found = from_plain(of_today)
        config.options = Options.from_mapping(found)
        # Keys that are newer than the file are at their defaults.
        config.final_config_dict = {**config.options.model_dump(), **found}
        config.origins, config.external_config_dict = {}, {}
        config.model, config.dataset = config["model"], config["dataset"]
        _check_class(config.model, settings.get(_OWN_CLASS), model_class)
        config.model_class = model_class or get_model(config.model)
        config.compatibility_settings()
        # Of the machine that it was saved on, and of how it was started there.
        for key in ("local_rank", "single_spec", "device", *LAUNCHER_KEYS):
            config.final_config_dict.pop(key, None)
        config["dataset_save_path"] = config["dataloaders_save_path"] = None  # never read
        config["save_dataset"] = False  # it was saved when the run began
        visible, saved = _visible_gpus(), str(config["gpu_id"] or "")
        if visible is None and saved[:1].isalpha():  # that machine's name of one, as GPU-8f2e
            visible = "0"
        if visible is not None and saved:  # none stays none
            config["gpu_id"] = visible
        check_values({**config.final_config_dict, "gpu_id": ""})  # where the environment says it
        config._set_eval_neg_sample_args("valid")
        config._set_eval_neg_sample_args("test")
        config._init_device()
        return config

    def log_recipe(self) -> None:
        """Log the recipe in force, and each key of it that has no effect."""
        if not self.origins:  # of a finished run
            return
        for line in recipe.describe(self.options, self.final_config_dict, self.origins):
            getLogger(__name__).info(line)
        for sentence in recipe.idle_keys(self.options, self.origins, self.final_config_dict):
            getLogger().warning(sentence)

    def model_refused(
        self, at_fault: Callable[[Exception], bool] = lambda error: True
    ) -> AbstractContextManager[None]:
        """Around what a model of RecBole does at first: its own keys are named if it fails.

        Where the class is the user's own, that code may be at fault: its errors stay as they are.

        Args:
            at_fault: as for :func:`~recbole_sr.errors.refused_by_recbole`.

        """
        own = model_keys(recboles_name(self.model_class))
        given = [f"{key}: {self[key]}" for key in self.external_config_dict if key in own]
        what = f"{self['model']}{' with ' if given else ''}{', '.join(given)}"
        return refused_by_recbole(what, lambda e: is_recboles(self.model_class) and at_fault(e))

    def _origin(self, key: str) -> str | None:
        """The property file that a key is from, while the settings are put together."""
        above = ("variable_config_dict", "cmd_config_dict")
        if key in self._passed or any(key in vars(self).get(name, ()) for name in above):
            return None
        return self._file_origins.get(key)

    def _find_origins(self, given_by: str) -> dict[str, str]:
        """Who set each key that is not a default, from the lowest to the highest."""
        origins = {
            **self._recipe_origins,
            **self._file_origins,
            **dict.fromkeys(self.variable_config_dict, given_by),
            **dict.fromkeys(self.cmd_config_dict, "command line"),
        }
        named = self.final_config_dict.keys() - self._passed
        return {key: origin for key, origin in origins.items() if key in named}

    def _prepare_objective(self) -> None:
        """Refuse an objective that the model cannot have; sample negatives where it wants any."""
        loss = self.options.loss
        if loss is None:
            self._check_negatives()
        else:
            replaceable_loss(self.model_class)
            if not loss.needs_negatives:
                self._sample_no_negatives(f"sr_loss: {self.options.sr_loss} wants no negatives")
            elif drawn := self.options.sr_batch_negatives:
                self._sample_no_negatives(f"sr_batch_negatives: {drawn} draws them from the batch")
            elif self["train_neg_sample_args"]["distribution"] == "none":
                raise InputError(
                    "train_neg_sample_args: expected negatives for "
                    f"sr_loss: {self.options.sr_loss}, got none; drop the key or use sr_loss: align"
                )
        for key in ("sr_warm_regularizers", "sr_main_regularizers"):
            for name, weight in self[key].items():
                if weight and REGULARIZERS[name].reads == "pairs":
                    replaceable_loss(self.model_class, f"{key}: expected no {name}")

    def _check_negatives(self) -> None:
        """Refuse a model that learns from negatives where none are sampled."""
        if self["train_neg_sample_args"]["distribution"] != "none":
            return
        # SINE calls itself pairwise, whatever its loss is.
        pairwise = self["MODEL_INPUT_TYPE"] == InputType.PAIRWISE and self["loss_type"] not in (
            "CE",
            "NLL",
        )
        histories = get_dataloader(self, "train") is UserDataLoader
        if self["MODEL_TYPE"] == ModelType.KNOWLEDGE or (pairwise and not histories):
            by_loss = not hasattr(self.model_class, "input_type")
            raise InputError(
                f"train_neg_sample_args: expected negatives for {self['model']}, which learns from "
                "pairs of an item that a user has and one that is sampled, got none; drop the key, "
                "or set train_neg_sample_args: {distribution: uniform, sample_num: 1}"
                + (", or loss_type: CE" if by_loss else "")
            )

    def _sample_no_negatives(self, why: str) -> None:
        given = self.external_config_dict.get("train_neg_sample_args")
        if given and given.get("distribution") not in (None, "None", "none"):
            raise InputError(
                f"train_neg_sample_args: expected null, as {why}, got {given}; drop the key, or "
                "use sr_loss: bpr or ssm without sr_batch_negatives"
            )
        if self["MODEL_TYPE"] == ModelType.KNOWLEDGE:
            raise InputError(
                f"sr_loss: expected bpr or ssm without sr_batch_negatives for {self['model']}, as "
                f"RecBole cannot load a knowledge graph without sampling negatives, but {why}"
            )
        self["train_neg_sample_args"] = None
        self._set_train_neg_sample_args()  # RecBole's own form of none

    def _check_evaluated(self) -> None:
        """Refuse a main phase that no evaluation sees: its models would all be lost."""
        options, epochs, step = self.options, self["epochs"], self["eval_step"]
        pretrains = "pretrain" in str(self["train_stage"])  # counts pretrain_epochs
        if pretrains and not epochs:
            raise InputError(
                f"epochs: expected at least 1 with train_stage: {self['train_stage']}, which "
                "trains for pretrain_epochs whatever it is, got 0; raise it"
            )
        judged = "valid" not in empty_parts(self["eval_args"]["split"]) and step > 0
        judged &= options.sr_train_on == "training" and epochs > 0
        if not judged or options.sr_switch != "epochs" or options.sr_published:
            return  # no epoch is to be the best, no knowing when the phase ends, or all count
        if pretrains:
            return
        last = epochs // min(step, epochs) * min(step, epochs)
        if last <= options.sr_warm_epochs < epochs:
            raise InputError(
                f"eval_step: expected an evaluation after epoch {options.sr_warm_epochs}, the last "
                f"of the warm phase, got the last one after epoch {last} of {epochs}; lower "
                "eval_step or sr_warm_epochs, or raise epochs"
            )

    def _get_model_and_dataset(self, model: Any, dataset: Any) -> Any:
        given = self.external_config_dict
        model = given.get("model") if model is None else model
        dataset = given.get("dataset") if dataset is None else dataset
        for key, name in (("model", model), ("dataset", dataset)):
            named = isinstance(name, str) and name
            if not (named or (key == "model" and isinstance(name, type))):
                raise InputError(
                    f"{key}: expected a name, got {name!r}; give it as -{key[0]} on the command "
                    f"line, as {key} in a property file or as an argument"
                )
        self._refuse_model(model)
        with refused_by_recbole(f"model {model!r} and dataset {dataset!r}"):
            *found, name = super()._get_model_and_dataset(model, dataset)
        if Path(name).name != name:
            raise InputError(f"dataset: expected a name, got {name!r}; set data_path to its folder")
        return *found, name

    def _refuse_model(self, model: str | type) -> None:
        if isinstance(model, type):
            registry.entry_of(model)
        else:
            # RecBole takes a misspelt name for one of another library's.
            registry.named(model)

    def _load_config_files(self, file_list: list[str] | None) -> dict[str, Any]:
        settings, self._file_origins = read_files(file_list or [])
        return settings

    def _get_final_config_dict(self) -> dict[str, Any]:
        """RecBole's merged keys, refused before RecBole derives others from them."""
        settings = super()._get_final_config_dict()
        # Not those of sys.argv: a program that calls us has arguments of its own there.
        given = {**self.file_config_dict, **self.variable_config_dict}
        check_unread(without_sr(given), self.internal_config_dict, self.model_class)
        check_values(settings, self.external_config_dict)
        if is_recboles(self.model_class):
            check_model_keys(self.model, settings)
        key = "train_neg_sample_args"
        if samples_none(settings[key]):  # RecBole knows not all ways to say so
            settings[key] = None
            self.external_config_dict.update(
                {key: None} if key in self.external_config_dict else {}
            )
        if (visible := _visible_gpus()) is not None and "gpu_id" not in self.external_config_dict:
            settings["gpu_id"] = visible
        sequential = settings["MODEL_TYPE"] == ModelType.SEQUENTIAL
        by_loss = not hasattr(self.model_class, "input_type")
        if sequential and by_loss and settings.get("loss_type") == "CE":  # refuses negatives
            settings[key] = self.external_config_dict.get(key)
        return settings

    def _set_default_parameters(self) -> None:
        """RecBole's derived keys; it reads the ml-100k that it has whatever ``data_path`` says."""
        given = self.external_config_dict.get("data_path")
        super()._set_default_parameters()
        if given is not None:
            self["data_path"] = os.path.join(given, self.dataset)
            if self.dataset == "ml-100k" and not os.path.isdir(self["data_path"]):
                raise InputError(
                    f"data_path: expected a folder with a folder ml-100k, got {given!r}; drop the "
                    "key for the ml-100k that comes with RecBole"
                )

    def _init_device(self) -> None:
        """RecBole's device, the CPU by ``use_gpu`` too; of several processes each has its GPU."""
        if not self["use_gpu"]:
            self["gpu_id"] = ""
        super()._init_device()
        if launched() and self["device"].type == "cuda":
            if local_rank() >= (found := torch.cuda.device_count()):
                raise InputError(
                    f"gpu_id: expected {local_size()} GPUs, one for each process, got {found}; "
                    "start fewer processes, or set use_gpu: False"
                )
            self["device"] = torch.device("cuda", local_rank())
            torch.cuda.set_device(local_rank())

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        """RecBole's defaults, those of the method, and the model's recipe.

        A subclass of a RecBole model has that model's defaults, which RecBole finds by name.
        """
        known = recboles_name(model_class)
        super()._load_internal_config_dict(known, model_class, dataset)
        self.internal_config_dict.update(Options().model_dump())
        given = self.external_config_dict
        fixed = published(given) if given.get("sr_published") is True else {}
        if is_recboles(model_class):
            found, self._recipe_origins = read_shipped(f"model/{model}.yaml")
            self.internal_config_dict.update(found)
        self.internal_config_dict.update(fixed)
        self._recipe_origins.update(dict.fromkeys(fixed, "sr_published: True"))

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        return Loader

    def _load_cmd_line(self) -> dict[str, Any]:
        """The ``--key=value`` arguments; the launcher and the host program own the others."""
        given = literals(once(arg for arg in sys.argv[1:] if arg.startswith("--") and "=" in arg))
        return {key: value for key, value in given.items() if key not in ("ip", "port")}

    def _convert_config_dict(self, config_dict: Mapping[str, Any]) -> dict[str, Any]:
        return literals(config_dict)


def _visible_gpus() -> str | None:
    """Which GPUs a run may use where it does not say; None: as RecBole has it."""
    if _VISIBLE_GPUS is None and launched():
        return ",".join(map(str, range(local_size())))
    return _VISIBLE_GPUS


def _check_class(name: str, own: str | None, model_class: type | None) -> None:
    """Refuse to read a checkpoint with another class than the run's, as far as that is known.

    Args:
        name: the model's name.
        own: module and name of its class where that is none of RecBole's.
        model_class: the class that was given.

    Raises:
        InputError: there is no class to be had, or it lacks what the run's had.

    """
    if model_class is not None and not isinstance(model_class, type):
        raise InputError(f"model_class: expected a class, got {model_class!r}; leave out a name")
    given = (own or "").startswith(f"{with_representations.__module__}.")
    if given and not hasattr(model_class, "sr_representations"):
        raise InputError(
            "model_class: expected a class with the representations that the run was given, got "
            f"{model_class and model_class.__name__}; give with_representations({name}, ...), or "
            "a subclass with sr_representations"
        )
    if model_class is None and (own or name not in SUPPORTED):
        why = f"{own} is none of RecBole's" if name in SUPPORTED else f"RecBole has no {name}"
        raise InputError(
            f"model: expected its class with it, as {why}, got none; give it in Python, as "
            "model_class to load_data_and_model or resume"
        )


def recboles_name(model_class: type) -> str:
    """Name of the model of RecBole that a class is or extends; its own where it is none."""
    parents = (parent.__name__ for parent in model_class.__mro__ if is_recboles(parent))
    return next((name for name in parents if name in SUPPORTED), model_class.__name__)


def without_sr(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are RecBole's own."""
    return {key: value for key, value in settings.items() if not key.startswith("sr_")}
