"""RecBole's ``Config`` with the plugin's keys: defaults, precedence, validation."""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Mapping
from typing import Any

import recbole.config
import yaml

from recbole_sr.errors import InputError
from recbole_sr.options import Options
from recbole_sr.resources import properties_folder
from recbole_sr.settings import from_plain

__all__ = ["Config"]


class Config(recbole.config.Config):
    """RecBole's configuration plus the ``sr_`` keys, validated before any data is read.

    Precedence, as in RecBole: command line > ``config_dict`` > ``config_file_list`` > defaults.
    The defaults are RecBole's, then ``properties/stable_rank.yaml``, then
    ``properties/model/<Model>.yaml``.

    Two things differ from RecBole: text is read as a Python or YAML literal, never evaluated, and
    ``config_dict`` is left as it was.

    Args:
        model: name of a RecBole model; None where a file, dictionary or the command line says.
        dataset: name of a data set; None as above.
        config_file_list: paths of YAML property files, later ones first.
        config_dict: property values.

    Attributes:
        options: the validated ``sr_`` keys.

    Raises:
        InputError: an ``sr_`` key is unknown, mistyped, out of range or contradicts another.

    Example:
        >>> config = Config("BPR", "ml-100k", config_dict={"sr_warm_epochs": 2})
        >>> config.options.sr_warm_epochs, config["sr_warm_regularizers"]
        (2, {'stable_rank': 0.03})

    """

    def __init__(
        self,
        model: str | None = None,
        dataset: str | None = None,
        config_file_list: list[str] | None = None,
        config_dict: Mapping[str, Any] | None = None,
    ):
        super().__init__(model, dataset, config_file_list, copy.deepcopy(config_dict))
        self.options = Options.from_mapping(self._sr_settings())
        self.final_config_dict.update(self.options.model_dump())
        self.parameters["Stable Rank"] = list(Options.model_fields)

    @classmethod
    def from_plain(cls, settings: dict[str, Any]) -> Config:
        """The configuration of a finished run, from the plain settings in its checkpoint."""
        config = cls.__new__(cls)
        config._init_parameters_category()
        config.final_config_dict = from_plain(settings)
        config.options = Options.from_mapping(config.final_config_dict)
        config.model, config.dataset = config["model"], config["dataset"]
        config.compatibility_settings()
        return config

    def _sr_settings(self) -> dict[str, Any]:
        """What ``Options`` has to judge: the keys given, over defaults unless published."""
        if self.external_config_dict.get("sr_published") is True:
            return {**_without_sr(self.final_config_dict), **self.external_config_dict}
        return self.final_config_dict

    def _get_model_and_dataset(self, model: Any, dataset: Any) -> Any:
        try:
            return super()._get_model_and_dataset(model, dataset)
        except (KeyError, ValueError, ImportError) as error:
            raise InputError(
                f"model or dataset: RecBole cannot use model {model!r} with dataset {dataset!r} "
                f"({error.args[0]}); check the spelling, or install what the model needs"
            ) from None

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        for name in ("stable_rank.yaml", f"model/{model}.yaml"):
            file = properties_folder() / name
            if file.is_file():
                self.internal_config_dict.update(self._read_yaml(file.read_text("utf-8")) or {})

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        """RecBole's reading of numbers such as 1e-3, on a loader that builds plain data only."""
        resolvers = super()._build_yaml_loader().yaml_implicit_resolvers
        return type("_Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": dict(resolvers)})

    def _read_yaml(self, text: str) -> Any:
        return yaml.load(text, Loader=self.yaml_loader)  # noqa: S506 - a subclass of SafeLoader

    def _load_cmd_line(self) -> dict[str, Any]:
        """The ``--key=value`` arguments; the launcher and the host program own the others."""
        arguments = [arg[2:] for arg in sys.argv[1:] if arg.startswith("--") and "=" in arg]
        return self._convert_config_dict(dict(arg.split("=", 1) for arg in arguments))

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return {
            key: self._literal(value) if isinstance(value, str) else value
            for key, value in config_dict.items()
        }

    def _literal(self, text: str) -> Any:
        """A Python literal as RecBole reads it, else a YAML list, mapping, null or boolean."""
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
        if text.lower() in ("true", "false", "null", "~") or text[:1] in ("[", "{"):
            try:
                return self._read_yaml(text)
            except yaml.YAMLError:
                raise InputError(
                    f"command line or dictionary: expected a YAML list or mapping, got {text!r}; "
                    "check its brackets and quotes"
                ) from None
        return text


def _without_sr(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not key.startswith("sr_")}
