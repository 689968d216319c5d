"""The ``sr_`` property keys: typed, validated once, frozen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from recbole_sr.errors import InputError
from recbole_sr.losses import LOSSES, Loss, Similarity
from recbole_sr.objective import Phase
from recbole_sr.rank_control import RankControl
from recbole_sr.regularizers import REGULARIZERS
from recbole_sr.schedule import Schedule
from recbole_sr.sentences import nearest, sentence

__all__ = ["Options"]


def _known_regularizer(name: str) -> str:
    known = [*REGULARIZERS, "alignment"]
    if name not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return name


def _distinct(sides: list[str]) -> list[str]:
    if not sides or len(set(sides)) < len(sides):
        raise ValueError("one or both of user and item, each once")
    return sides


def _rank_target(target: Any) -> Any:
    ranks = target.values() if isinstance(target, dict) and target else [target]
    sides = target if isinstance(target, dict) else {}
    if target is not None and not (all(map(_is_rank, ranks)) and set(sides) <= {"user", "item"}):
        raise ValueError("null, a number above 1, or such a number for user, item or both")
    return target


def _is_rank(value: Any) -> bool:
    return type(value) in (int, float) and 1 < value < math.inf


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Regularizers = dict[Annotated[str, AfterValidator(_known_regularizer)], Weight]
Sides = Annotated[list[Literal["user", "item"]], AfterValidator(_distinct)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
RankTarget = Annotated[Any, AfterValidator(_rank_target)]

# The authors' gamma and scores. Their 5 warm epochs are six, by their `epoch > 5`.
_PUBLISHED: dict[str, Any] = {
    "sr_warm_regularizers": {"stable_rank": 1.0},
    "sr_tables": ["user", "item"],
    "sr_temperature": 1.0,
    "sr_similarity": "dot",
    "sr_uniformity_rows": None,
    "sr_target_rank": None,
    "sr_init": "model",
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
    sr_switch: Literal["epochs", "metric", "rank"] = "epochs"
    sr_patience: int = Field(5, ge=1)
    sr_switch_rank: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = None
    sr_rank_tolerance: Positive = 0.01
    sr_loss: Literal["model", "bpr", "ssm", "align"] = "model"
    sr_temperature: Positive = 1.0
    sr_similarity: Similarity = "dot"
    sr_warm_regularizers: Regularizers | None = None
    sr_main_regularizers: Regularizers = {}
    sr_tables: Sides = ["user", "item"]
    sr_uniformity_rows: int | None = Field(None, ge=2)
    sr_target_rank: RankTarget = None
    sr_target_step: Positive = 0.01
    sr_init: Literal["model", "spectral"] = "model"
    sr_init_degree_power: Weight = 0.25
    sr_init_sweeps: int = Field(0, ge=0)
    sr_init_power: Weight = 1.0
    sr_init_margin: Positive = 2.0
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

    @property
    def warm_regularizers(self) -> dict[str, float]:
        """The weights of the warm phase; more under alignment, which keeps no tables apart."""
        if self.sr_warm_regularizers is None:
            return {"stable_rank": 0.3 if self.sr_loss == "align" else 0.03}
        return self.sr_warm_regularizers

    @property
    def target_ranks(self) -> dict[str, float]:
        """The stable rank to hold, by side; empty without a target."""
        target = self.sr_target_rank
        if target is None or isinstance(target, dict):
            return target or {}
        return dict.fromkeys(self.sr_tables, float(target))

    @property
    def loss(self) -> Loss | None:
        """What takes the place of the model's recommendation loss; None keeps the model's."""
        if self.sr_loss == "ssm":
            return partial(
                LOSSES["ssm"], temperature=self.sr_temperature, similarity=self.sr_similarity
            )
        return LOSSES.get(self.sr_loss)

    def schedule(self, bigger: bool = True, negatives: int = 1) -> Schedule:
        """The state machine these options describe.

        Args:
            bigger: whether a bigger validation score is a better one.
            negatives: how many negatives RecBole samples for each interaction; 0 for none.

        """
        phase = partial(
            Phase,
            loss=self.loss,
            negatives=negatives,
            uniformity_rows=self.sr_uniformity_rows,
            control=RankControl(targets, self.sr_target_step)
            if (targets := self.target_ranks)
            else None,
        )
        return Schedule(
            phase("warm", self.warm_regularizers),
            phase("main", self.sr_main_regularizers),
            switch=self.sr_switch,
            warm_epochs=self.sr_warm_epochs + (self.sr_published and self.sr_warm_epochs > 0),
            patience=self.sr_patience,
            rank=self.sr_switch_rank,
            tolerance=self.sr_rank_tolerance,
            bigger=bigger,
        )

    def _check_combinations(self, settings: Mapping[str, Any]) -> None:
        if self.sr_warm_epochs and not (self.warm_regularizers or self.sr_main_regularizers):
            raise InputError(
                f"sr_warm_epochs is {self.sr_warm_epochs} but sr_warm_regularizers and "
                "sr_main_regularizers are both empty; give one a weight, such as "
                "{stable_rank: 0.03}, or set sr_warm_epochs: 0 for training in one phase"
            )
        self._check_switch(settings)
        if without := set(self.target_ranks) - set(self.sr_tables):
            raise InputError(
                f"sr_target_rank: expected sides in sr_tables {self.sr_tables}, "
                f"got {without.pop()!r}; drop it or add it to sr_tables"
            )

    def _check_switch(self, settings: Mapping[str, Any]) -> None:
        if self.sr_switch == "metric" and self.sr_warm_epochs and settings.get("eval_step", 1) <= 0:
            raise InputError(
                "sr_switch: metric needs validation scores but eval_step is "
                f"{settings['eval_step']}; set eval_step: 1, or sr_switch: epochs"
            )
        if self.sr_switch == "rank" and self.sr_warm_epochs and not self.sr_monitor:
            raise InputError(
                "sr_switch: rank needs the stable ranks of each epoch but sr_monitor is False; "
                "set sr_monitor: True, or sr_switch: epochs"
            )


def _as_published(given: Mapping[str, Any]) -> dict[str, Any]:
    # BPR and SSM train on without a regulariser; alignment becomes DirectAU by its uniformity,
    # whose weight the authors tuned.
    if given.get("sr_loss") == "align":
        given = {"sr_main_regularizers": {"uniformity": 1.0}, **given}
        fixed = _PUBLISHED
    else:
        fixed = {**_PUBLISHED, "sr_main_regularizers": {}}
    for key, value in fixed.items():
        if key in given and given[key] != value:
            raise InputError(
                f"sr_published: True fixes {key} at {value} but got {given[key]!r}; "
                "drop one of the two keys"
            )
    return {**given, **fixed}
