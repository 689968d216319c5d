"""The ``sr_`` property keys: typed, validated once, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from recbole_sr.errors import InputError
from recbole_sr.objective import Phase
from recbole_sr.regularizers import REGULARIZERS
from recbole_sr.schedule import Schedule
from recbole_sr.sentences import nearest, sentence

__all__ = ["Options"]


def _known_regularizer(name: str) -> str:
    if name not in REGULARIZERS:
        raise ValueError(f"one of {', '.join(REGULARIZERS)}")
    return name


def _distinct(sides: list[str]) -> list[str]:
    if not sides or len(set(sides)) < len(sides):
        raise ValueError("one or both of user and item, each once")
    return sides


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Regularizers = dict[Annotated[str, AfterValidator(_known_regularizer)], Weight]
Sides = Annotated[list[Literal["user", "item"]], AfterValidator(_distinct)]

# The authors' gamma, and their 5 warm epochs, which their `epoch > 5` makes six.
_PUBLISHED: dict[str, Any] = {
    "sr_warm_regularizers": {"stable_rank": 1.0},
    "sr_main_regularizers": {},
    "sr_tables": ["user", "item"],
}


class Options(BaseModel):
    """The method's settings. ``properties/stable_rank.yaml`` documents each with its default.

    Example:
        >>> Options.from_mapping({"sr_warm_epochs": 3, "learning_rate": 0.1}).sr_warm_epochs
        3
        >>> Options.from_mapping({"sr_warm_epoch": 3})
        Traceback (most recent call last):
        recbole_sr.errors.InputError: unknown key 'sr_warm_epoch'; did you mean 'sr_warm_epochs'?

    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sr_warm_epochs: int = Field(5, ge=0)
    sr_switch: Literal["epochs", "metric"] = "epochs"
    sr_patience: int = Field(5, ge=1)
    sr_warm_regularizers: Regularizers = {"stable_rank": 0.03}
    sr_main_regularizers: Regularizers = {}
    sr_tables: Sides = ["user", "item"]
    sr_monitor: bool = True
    sr_save_step: int = Field(1, ge=0)
    sr_fast: bool = True
    sr_published: bool = False

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Options:
        """Read the ``sr_`` keys of a mapping that may hold others, such as RecBole's ``Config``.

        Raises:
            InputError: an unknown ``sr_`` key, a wrong type, a value out of range, or a
                combination that cannot work.

        """
        given = {key: value for key, value in settings.items() if key.startswith("sr_")}
        for key in given.keys() - cls.model_fields:
            raise InputError(
                f"unknown key {key!r}; did you mean {nearest(key, cls.model_fields)!r}?"
            )
        if given.get("sr_published") is True:
            given = _as_published(given)
        try:
            options = cls.model_validate(given)
        except ValidationError as error:
            raise InputError(sentence(error)) from None
        options._check_combinations(settings)
        return options

    def schedule(self, bigger: bool = True) -> Schedule:
        """The state machine these options describe."""
        return Schedule(
            Phase("warm", self.sr_warm_regularizers),
            Phase("main", self.sr_main_regularizers),
            switch=self.sr_switch,
            warm_epochs=self.sr_warm_epochs + (self.sr_published and self.sr_warm_epochs > 0),
            patience=self.sr_patience,
            bigger=bigger,
        )

    def _check_combinations(self, settings: Mapping[str, Any]) -> None:
        if self.sr_warm_epochs and not (self.sr_warm_regularizers or self.sr_main_regularizers):
            raise InputError(
                f"sr_warm_epochs is {self.sr_warm_epochs} but sr_warm_regularizers and "
                "sr_main_regularizers are both empty; give one a weight, such as "
                "{stable_rank: 0.03}, or set sr_warm_epochs: 0 for the model without the method"
            )
        if self.sr_switch == "metric" and self.sr_warm_epochs and settings.get("eval_step", 1) <= 0:
            raise InputError(
                "sr_switch: metric needs validation scores but eval_step is "
                f"{settings['eval_step']}; set eval_step: 1, or sr_switch: epochs"
            )


def _as_published(given: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in _PUBLISHED.items():
        if key in given and given[key] != value:
            raise InputError(
                f"sr_published: True fixes {key} at {value} but got {given[key]!r}; "
                "drop one of the two keys"
            )
    return {**given, **_PUBLISHED}
