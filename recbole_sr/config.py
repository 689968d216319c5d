"""RecBole's ``Config`` with the plugin's keys: defaults, precedence, validation."""

from __future__ import annotations

import ast
import copy
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import recbole.config
import yaml
from recbole.utils import ModelType, get_model

from recbole_sr import representation
from recbole_sr.errors import InputError, refused_by_recbole
from recbole_sr.options import Options
from recbole_sr.recbole_keys import check_unread, check_values, empty_parts
from recbole_sr.representation import REPRESENTATIONS, find_loss
from recbole_sr.resources import properties_folder
from recbole_sr.settings import from_plain

__all__ = ["Config", "read_properties", "without_sr"]


# As it was before RecBole, which writes its gpu_id there.
_VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")
_MOST_VALUES = 100_000
# What says whether, what is worth setting it to, and the keys that only say how.
_WHETHER: dict[str, tuple[Any, tuple[str, ...]]] = {
    "sr_warm_epochs": (
        5,
        ("sr_warm_regularizers", "sr_switch", "sr_patience", "sr_switch_rank", "sr_rank_tolerance"),
    ),
    "sr_init": (
        "spectral",
        ("sr_init_degree_power", "sr_init_sweeps", "sr_init_power", "sr_init_margin"),
    ),
}
# What is minimised from where; other keys of a model's file were measured with those of that file.
_OBJECTIVE = ("sr_loss", "sr_init", "sr_warm_epochs", "sr_target_rank")


class _Loader(yaml.SafeLoader):
    """Has a name of its own, so that a data set, which holds its configuration, pickles."""


class Config(recbole.config.Config):
    """RecBole's configuration plus the ``sr_`` keys, validated before any data is read.

    Precedence, as in RecBole: command line > ``config_dict`` > ``config_file_list`` > defaults.
    The defaults are RecBole's, then ``properties/stable_rank.yaml``, then
    ``properties/model/<Model>.yaml``, whose ``sr_`` keys go together: where another loss, start,
    number of warm epochs or target is asked for, what that file adds has to be asked for too.

    Four things differ from RecBole: text is read as a Python or YAML literal, never evaluated;
    ``config_dict`` is left as it was; a sequential model with the loss ``CE`` samples no negatives
    by default, where RecBole stops and asks for ``train_neg_sample_args: None``; and ``gpu_id`` is
    by default what the environment's ``CUDA_VISIBLE_DEVICES`` says, which RecBole overwrites by 0.

    Args:
        model: name of a RecBole model, or a class; None where a file, dictionary or the command
            line says.
        dataset: name of a data set; None as above.
        config_file_list: paths of YAML property files, later ones first; also names of shipped
            ones, such as ``loss/directau.yaml``.
        config_dict: property values.

    Attributes:
        options: the validated ``sr_`` keys.

    Raises:
        InputError: an ``sr_`` key is unknown, mistyped, out of range or contradicts another, or a
            file is not there.

    Example:
        >>> config = Config("BPR", "ml-100k", config_dict={"sr_warm_epochs": 2})
        >>> config.options.sr_warm_epochs, config["sr_warm_regularizers"]
        (2, {'stable_rank': 0.03})

    """

    # Keys of the model's file that go with the objective and the start of that file.
    _beside: Sequence[str] = ()

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: list[str] | None = None,
        config_dict: Mapping[str, Any] | None = None,
    ):
        with refused_by_recbole("settings"):
            super().__init__(model, dataset, config_file_list, copy.deepcopy(config_dict))
        self.options = Options.from_mapping(self._sr_settings())
        self._check_use()
        self._check_evaluated()
        self.final_config_dict.update(self.options.model_dump())
        self["sr_warm_regularizers"] = self.options.warm_regularizers  # what null stands for
        if self.options.sr_loss != "model":
            self._prepare_loss()
        for key in ("sr_warm_regularizers", "sr_main_regularizers"):
            if self[key].get("alignment"):
                find_loss(self.model_class, f"{key}: expected no alignment")
        self.parameters["Stable Rank"] = list(Options.model_fields)

    @classmethod
    def from_plain(cls, settings: dict[str, Any], model_class: type | None = None) -> Config:
        """The configuration of a finished run, from the plain settings in its checkpoint.

        Args:
            settings: the checkpoint's ``config``.
            model_class: the model's class where it is none of RecBole's.

        Raises:
            InputError: RecBole has no model of that name, and no class was given.

        """
        config = cls.__new__(cls)
        config._init_parameters_category()
        config.yaml_loader = config._build_yaml_loader()  # reads where data are to be had
        config.final_config_dict = from_plain(settings)
        config.options = Options.from_mapping(config.final_config_dict)
        config.model, config.dataset = config["model"], config["dataset"]
        config.model_class = model_class or _recboles_class(config.model)
        config.compatibility_settings()
        for key in ("local_rank", "single_spec", "device"):  # of the machine that it was saved on
            config.final_config_dict.pop(key, None)
        if _VISIBLE_GPUS is not None and config["gpu_id"]:  # none stays none
            config["gpu_id"] = _VISIBLE_GPUS
        config._init_device()
        return config

    def _prepare_loss(self) -> None:
        """Refuse a loss that the model cannot take; sample negatives only where it wants any."""
        find_loss(self.model_class)
        if self.options.sr_loss == "align":
            self._sample_no_negatives()
        elif self["train_neg_sample_args"]["distribution"] == "none":
            raise InputError(
                f"train_neg_sample_args: expected negatives for sr_loss: {self.options.sr_loss}, "
                "got none; drop the key, or use sr_loss: align"
            )

    def _sample_no_negatives(self) -> None:
        given = self.external_config_dict.get("train_neg_sample_args")
        if given and given.get("distribution") not in (None, "None", "none"):
            raise InputError(
                f"train_neg_sample_args: expected null, as sr_loss: align wants no negatives, got "
                f"{given}; drop the key, or use sr_loss: bpr or ssm"
            )
        if self["MODEL_TYPE"] == ModelType.KNOWLEDGE:
            raise InputError(
                f"sr_loss: expected bpr or ssm for {self['model']}, got 'align'; RecBole cannot "
                "load a knowledge graph without sampling negatives"
            )
        self["train_neg_sample_args"] = None
        self._set_train_neg_sample_args()  # RecBole's own form of none

    def _sr_settings(self) -> dict[str, Any]:
        """What ``Options`` has to judge: the keys given, over the defaults that go with them."""
        given, defaults = self.external_config_dict, self.internal_config_dict
        if given.get("sr_published") is True:
            return {**without_sr(self.final_config_dict), **given}
        others = any(self.final_config_dict.get(key) != defaults.get(key) for key in _OBJECTIVE)
        dropped = [key for key in self._beside if others and key not in given]
        return {key: value for key, value in self.final_config_dict.items() if key not in dropped}

    def _check_use(self) -> None:
        """Refuse keys that say how to do what this model does not do unless told to."""
        for whether, (value, how) in _WHETHER.items():
            default = getattr(self.options, whether)
            given = [key for key in how if key in self.external_config_dict]
            if given and whether not in self.external_config_dict and default in (0, "model"):
                raise InputError(
                    f"{given[0]}: expected {whether} with it, whose default for {self['model']} "
                    f"is {default}, got none; set {whether}: {value}, or drop the key"
                )

    def _check_evaluated(self) -> None:
        """Refuse a main phase that no evaluation sees: its models would all be lost."""
        options, epochs, step = self.options, self["epochs"], self["eval_step"]
        judged = "valid" not in empty_parts(self["eval_args"]["split"]) and step > 0
        if not judged or options.sr_switch != "epochs" or options.sr_published:
            return  # no epoch is to be the best, no knowing when the phase ends, or all count
        if "pretrain" in str(self["train_stage"]):  # counts pretrain_epochs
            return
        last = epochs // min(step, epochs) * min(step, epochs)
        if last <= options.sr_warm_epochs < epochs:
            raise InputError(
                f"eval_step: expected an evaluation after epoch {options.sr_warm_epochs}, the last "
                f"of the warm phase, got the last one after epoch {last} of {epochs}; lower "
                "eval_step or sr_warm_epochs, or raise epochs"
            )

    def _get_model_and_dataset(self, model: Any, dataset: Any) -> Any:
        named = model or self.external_config_dict.get("model")
        if isinstance(named, type):
            representation.find(named)
        elif named:
            # RecBole takes a misspelt name for one of another library's.
            representation.named(named)
        with refused_by_recbole(f"model {model!r} and dataset {dataset!r}"):
            *found, name = super()._get_model_and_dataset(model, dataset)
        if Path(name).name != name:
            raise InputError(f"dataset: expected a name, got {name!r}; set data_path to its folder")
        return *found, name

    def _load_config_files(self, file_list: list[str] | None) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for file in file_list or []:
            settings.update(self._read_settings(_find_file(file)))
        return settings

    def _read_settings(self, file: Path) -> dict[str, Any]:
        try:
            settings = self._read_yaml(file.read_text("utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{file}: expected a YAML property file, got {reason}") from None
        if settings is None:
            return {}
        if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
            raise InputError(
                f"{file}: expected lines of the form key: value, got {str(settings)[:80]!r}"
            )
        return settings

    def _get_final_config_dict(self) -> dict[str, Any]:
        """RecBole's merged keys, refused before RecBole derives others from them."""
        settings = super()._get_final_config_dict()
        # Not those of sys.argv: a program that calls us has arguments of its own there.
        given = {**self.file_config_dict, **self.variable_config_dict}
        check_unread(without_sr(given), self.internal_config_dict, self.model_class)
        check_values(settings)
        if _VISIBLE_GPUS is not None and "gpu_id" not in self.external_config_dict:
            settings["gpu_id"] = _VISIBLE_GPUS
        if _refuses_negatives(self.model_class, settings):
            settings["train_neg_sample_args"] = self.external_config_dict.get(
                "train_neg_sample_args"
            )
        return settings

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        chosen = {}
        if representation.is_recboles(model_class):
            chosen = self._read_shipped(f"model/{model}.yaml")
        self.internal_config_dict.update({**self._read_shipped("stable_rank.yaml"), **chosen})
        self._beside = [key for key in chosen if key.startswith("sr_") and key not in _OBJECTIVE]

    def _read_shipped(self, name: str) -> dict[str, Any]:
        """A file of ``properties/``, empty where there is none."""
        file = _shipped(name)
        return self._read_settings(file) if file.is_file() else {}

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        """RecBole's reading of numbers such as 1e-3, on a loader that builds plain data only."""
        _Loader.yaml_implicit_resolvers = dict(super()._build_yaml_loader().yaml_implicit_resolvers)
        return _Loader

    def _read_yaml(self, text: str) -> Any:
        value = yaml.load(text, Loader=self.yaml_loader)  # noqa: S506 - a subclass of SafeLoader
        if _size(value, {}) > _MOST_VALUES:
            raise ValueError(f"aliases that stand for more than {_MOST_VALUES} values")
        return value

    def _load_cmd_line(self) -> dict[str, Any]:
        """The ``--key=value`` arguments; the launcher and the host program own the others."""
        arguments = [arg[2:] for arg in sys.argv[1:] if arg.startswith("--") and "=" in arg]
        return self._convert_config_dict(dict(arg.split("=", 1) for arg in arguments))

    def _convert_config_dict(self, config_dict: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self._value(value) for key, value in config_dict.items()}

    def _value(self, given: Any) -> Any:
        """Text as a literal, a number of numpy's as Python's."""
        if isinstance(given, np.generic):
            return given.item()
        return self._literal(given) if isinstance(given, str) else given

    def _literal(self, text: str) -> Any:
        """A Python literal as RecBole reads it, else a YAML list, mapping, null or boolean."""
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return ast.literal_eval(text)
        if text.lower() in ("true", "false", "null", "~") or text[:1] in ("[", "{"):
            with suppress(yaml.YAMLError):  # RecBole's intervals look like a list: "[5,inf)"
                return self._read_yaml(text)
        return text


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values there are with every alias written out; a file of a page can hold billions.

    Raises:
        RecursionError: an alias stands inside itself.
    """
    if not isinstance(value, list | dict):
        return 1
    if id(value) not in known:
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]


def read_properties(
    files: Sequence[str] = (), texts: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The property values of YAML files and, above them, of texts from a command line.

    They are read as :class:`Config` reads them, but nothing is added to them.

    Raises:
        InputError: a file is not there, or holds no YAML mapping.

    Example:
        >>> read_properties(texts={"learning_rate": "1e-3", "topk": "[10,20]"})
        {'learning_rate': 0.001, 'topk': [10, 20]}
    """
    reader = Config.__new__(Config)
    reader.yaml_loader = reader._build_yaml_loader()
    return {**reader._load_config_files(list(files)), **reader._convert_config_dict(texts or {})}


def _refuses_negatives(model_class: Any, settings: Mapping[str, Any]) -> bool:
    return (
        settings["MODEL_TYPE"] == ModelType.SEQUENTIAL
        and settings.get("loss_type") == "CE"
        and not hasattr(model_class, "input_type")
    )


def without_sr(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are RecBole's own."""
    return {key: value for key, value in settings.items() if not key.startswith("sr_")}


def _recboles_class(name: str) -> Any:
    if name not in REPRESENTATIONS:
        raise InputError(
            f"model: expected its class with it, as RecBole has no {name}, got none; give it in "
            "Python, as model_class to load_data_and_model or resume"
        )
    return get_model(name)


def _find_file(name: str) -> Path:
    """A file of the user's, or else the shipped one of that name."""
    shipped = _shipped(name)
    return shipped if shipped.is_file() and not Path(name).is_file() else Path(name)


def _shipped(name: str) -> Path:
    return Path(str(properties_folder())) / name
