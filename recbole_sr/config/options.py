"""The ``sr_`` property keys: one model holds each key's type, range, default and description.

``properties/stable_rank.yaml`` and the page of keys are written from it: see
:mod:`recbole_sr.config.reference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import core_schema

from recbole_sr.config.names import refuse_unknown
from recbole_sr.config.validation import Count, Natural, NotNegative, Positive, validated
from recbole_sr.errors import InputError
from recbole_sr.init.initialization import INITIALIZATIONS, Initialization, parameters
from recbole_sr.models.popularity import popularity_weight
from recbole_sr.objectives.losses import LOSSES, Loss
from recbole_sr.objectives.phase import Phase
from recbole_sr.objectives.rank_target import RankTarget
from recbole_sr.objectives.regularizers import REGULARIZERS
from recbole_sr.objectives.schedule import Schedule

__all__ = ["GROUPS", "WARM_REGULARIZER", "Options", "published"]

# What a warm phase regularises unless the user says otherwise: the published method's.
WARM_REGULARIZER = "stable_rank"


class _OneOf:
    """A name of a registry, also of an entry that was added after import; or one of a few more."""

    def __init__(self, known: Mapping[str, Any], *more: str):
        self.known, self.more = known, more

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {**handler(schema), "enum": [*self.more, *self.known]}

    def check(self, name: str) -> str:
        if name not in (names := (*self.more, *self.known)):
            raise ValueError(f"one of {', '.join(names)}")
        return name


def _distinct(sides: list[str]) -> list[str]:
    if not sides or len(set(sides)) < len(sides):
        raise ValueError("one or both of user and item, each once")
    return sides


def _rank_target(target: Any) -> Any:
    ranks = target.values() if isinstance(target, dict) and target else [target]
    sides = target if isinstance(target, dict) else {}
    if target is not None and not (all(map(_is_rank, ranks)) and set(sides) <= {"user", "item"}):
        raise ValueError(
            "null, a number above 1 (below 2**31), or such a number for user, item or both"
        )
    return target


def _is_rank(value: Any) -> bool:
    return type(value) in (int, float) and 1 < value < 2**31


def _default_weights(weights: Any) -> Any:
    known = REGULARIZERS if isinstance(weights, dict) else {}
    own = {name: known[name].weight for name in known if weights.get(name, 0) is None}
    return {**weights, **own} if own else weights


Regularizers = Annotated[
    dict[Annotated[str, _OneOf(REGULARIZERS)], NotNegative], BeforeValidator(_default_weights)
]
Sides = Annotated[list[Literal["user", "item"]], AfterValidator(_distinct)]
TargetRank = Annotated[Any, AfterValidator(_rank_target)]


def _key(default: Any, *needs: str, **bounds: Any) -> Any:
    """A key of the method; the text below it says what it is, in one sentence.

    Args:
        default: its default.
        needs: what it needs to have an effect, any of these: a key that is set, such as
            ``sr_target_rank``, or a key with a value, such as ``sr_init: spectral``.
        bounds: as pydantic's ``Field`` takes them.

    """
    more: dict[str, Any] = {"needs": list(needs)}
    return Field(default, json_schema_extra=more, **bounds)


_WITH_UNIFORMITY = [
    f"sr_{phase}_regularizers: {name}"
    for phase in ("warm", "main")
    for name, regularizer in REGULARIZERS.items()
    if regularizer.sampled
]
_WITH_NEGATIVES = [f"sr_loss: {name}" for name, loss in LOSSES.items() if loss.needs_negatives]
# The first key of each group, and what the group is called.
GROUPS = {
    "sr_warm_epochs": "Phases",
    "sr_loss": "Objectives",
    "sr_init": "Initialisation",
    "sr_monitor": "Reports, reliability, speed",
    "sr_parallel": "Several processes",
    "sr_train_on": "Serving",
    "sr_published": "Reproduction",
}


class Options(BaseModel):
    """The method's settings.

    Example:
        >>> Options.from_mapping({"sr_warm_epochs": 3, "learning_rate": 0.1}).sr_warm_epochs
        3
        >>> Options.from_mapping({"sr_warm_epoch": 3})
        Traceback (most recent call last):
        recbole_sr.errors.InputError: unknown key 'sr_warm_epoch'; did you mean 'sr_warm_epochs'?

    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    sr_warm_epochs: Natural = _key(0)
    """Epochs of the warm phase, at most; 0 means that there is none."""

    sr_switch: Literal["epochs", "metric"] = _key("epochs", "sr_warm_epochs")
    """What ends the warm phase: epochs, its number of epochs; metric, also sr_patience evaluations
    without a better validation score."""

    sr_patience: Count = _key(5, "sr_switch: metric")
    """Evaluations in a row without a better validation score that end the warm phase."""

    sr_loss: Annotated[str, _OneOf(LOSSES, "model")] = _key("model")
    """The recommendation loss; model keeps the model's own."""

    sr_temperature: Positive = _key(1.0, "sr_loss: ssm")
    """Temperature by which the scores are divided."""

    sr_batch_negatives: Natural = _key(0, *_WITH_NEGATIVES)
    """Negatives of each pair that are drawn from the items of its batch, which may be items that
    the user has; 0: RecBole samples as many as train_neg_sample_args says, of all items."""

    sr_popularity: NotNegative = _key(0.0, "sr_loss: align")
    """Weight of popularity: an item scores its cosine with the user plus this many times the
    logarithm of its training interactions; 0 keeps the model's own scores, dot products."""

    sr_warm_regularizers: Regularizers | None = _key(None, "sr_warm_epochs")
    """Weights of regularisers in the warm phase; null: the default weight of stable_rank."""

    sr_main_regularizers: Regularizers = _key({})
    """Weights of regularisers in the main phase; null as a weight is the regulariser's default."""

    sr_tables: Sides = _key(["user", "item"])
    """Which representations are regularised."""

    sr_uniformity_rows: int | None = _key(None, *_WITH_UNIFORMITY, ge=2)
    """Rows of each side on which uniformity is measured, drawn anew for each batch; null: all."""

    sr_regularize_every: Count = _key(1)
    """Apply the regularisers and the rank target to every k-th batch alone, with k times the
    weight."""

    sr_target_rank: TargetRank = _key(None)
    """Stable rank to hold in both phases, of all sr_tables or as {user: r, item: r}; null: none."""

    sr_target_step: Positive = _key(0.01, "sr_target_rank")
    """Step size, for each batch, of the weight that holds the stable rank."""

    sr_init: Annotated[str, _OneOf(INITIALIZATIONS, "model")] = _key("model")
    """How the tables are initialised: by the model's own way, by the singular vectors of the
    interactions (spectral), or, in sequential models, by what users go on to (transitions)."""

    sr_init_degree_power: NotNegative = _key(0.25, "sr_init: spectral")
    """Power of the degrees by which interactions are divided: 0 divides by nothing, so that popular
    items weigh most; 0.5 is LightGCN's normalisation."""

    sr_init_als_iterations: int = _key(0, "sr_init: spectral", ge=0, le=1000)
    """Iterations of alternating least squares (ALS) that refine the singular vectors."""

    sr_init_power: NotNegative = _key(1.0, "sr_init: spectral", le=4)
    """Power of the singular values that weights the singular vectors; 0 weights all alike."""

    sr_init_margin: Positive = _key(2.0, "sr_init: spectral")
    """By how much a user scores a training item higher than a random item, on average; it sets the
    norm of the embeddings."""

    sr_init_window: Count = _key(5, "sr_init: transitions")
    """Two items of a history that are at most this many steps apart count as a transition."""

    sr_init_norm: Positive = _key(1.0, "sr_init: transitions")
    """Norm of the item embeddings: the root mean square over the items."""

    sr_keep_untrained: bool = _key(False, "sr_init: spectral", "sr_init: transitions")
    """Whether the untrained model is the best one where no epoch ranks as high on the validation
    part."""

    sr_monitor: bool = _key(True)
    """Whether to measure the stable rank of both tables each epoch, for the report and, where the
    method is on, for the screen and the log."""

    sr_spectra_step: Natural = _key(0)
    """Epochs between two recorded spectra of both tables; 0 records those at the start, the switch
    and the end alone."""

    sr_save_step: Natural = _key(1)
    """Epochs between two saved states that a killed run can resume from; 0 saves none."""

    sr_fast: bool = _key(True)
    """Whether to use this package's faster reading, batches, evaluation, optimiser and propagation;
    False uses RecBole's own code, and with off.yaml gives its results bit for bit."""

    sr_parallel: Literal["data", "columns", "auto"] = _key("data")
    """How several processes divide the work: by the rows of a batch (data), by the columns of the
    tables, or by columns where that serves the model (auto)."""

    sr_timeout: Annotated[Positive, Field(le=1e8)] = _key(600.0)
    """Seconds that each of several processes waits for the others before all end."""

    sr_train_on: Literal["training", "all"] = _key("training")
    """What is trained on: the training part, or all interactions, without validation and test."""

    sr_final: bool = _key(False)
    """Whether to train once more after a run, on all interactions, for as many epochs as its best
    model had: a model to serve, with a checkpoint of its own."""

    sr_published: bool = _key(False)
    """The authors' method: weight 1.0, tables from N(0, 1), one warm epoch more, a patience that
    goes on counting after it, and the best epoch of both phases wins; their settings are in
    published/."""

    sr_rank_validation_items: bool = _key(False)
    """Whether a user's validation items stay among the test's candidates; RecBole removes them."""

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Options:
        """Read the ``sr_`` keys of a mapping that may hold others, such as RecBole's ``Config``.

        Raises:
            InputError: an unknown ``sr_`` key, a wrong type, a value out of range, or a
                combination that cannot work.

        """
        given = {key: value for key, value in settings.items() if key.startswith("sr_")}
        refuse_unknown(given, cls.model_fields)
        options = validated(cls, given)
        options._check_combinations(settings)
        return options

    @property
    def warm_regularizers(self) -> dict[str, float]:
        """The weights of the warm phase, where null stands for the default."""
        if self.sr_warm_regularizers is not None:
            return self.sr_warm_regularizers
        loss = LOSSES.get(self.sr_loss)
        own = loss.warm_weights if loss else {}
        return {WARM_REGULARIZER: own.get(WARM_REGULARIZER, REGULARIZERS[WARM_REGULARIZER].weight)}

    @property
    def off(self) -> bool:
        """Whether nothing of the method is on, so that a model trains as in RecBole."""
        on = (self.sr_warm_epochs, self.target_ranks, self.loss, self.initialization)
        return not (any(on) or any(self.sr_main_regularizers.values()) or self.sr_published)

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
        loss = LOSSES.get(self.sr_loss)
        if loss is None:
            return None
        return loss.bind(**{name: getattr(self, f"sr_{name}") for name in loss.parameters})

    @property
    def popularity(self) -> float:
        """See :func:`~recbole_sr.models.popularity.popularity_weight`."""
        return popularity_weight(self.sr_loss, self.sr_popularity)

    @property
    def keeps_untrained(self) -> bool:
        """Whether the untrained model can be the best one: scores of a warm phase do not count."""
        return bool(self.sr_keep_untrained and self.initialization and not self.sr_warm_epochs)

    @property
    def initialization(self) -> Initialization | None:
        """What fills the tables; None leaves them to the model."""
        if self.sr_init not in INITIALIZATIONS:
            return None
        values = {name: getattr(self, f"sr_init_{name}") for name in parameters(self.sr_init)}
        return INITIALIZATIONS[self.sr_init].bind(**values)

    def schedule(self, bigger: bool = True) -> Schedule:
        """The state machine these options describe; ``bigger`` as in :class:`Schedule`."""
        targets = self.target_ranks
        phase = partial(
            Phase,
            loss=self.loss,
            uniformity_rows=self.sr_uniformity_rows,
            every=self.sr_regularize_every,
            rank_target=RankTarget(targets, self.sr_target_step) if targets else None,
            sides=self.sr_tables,
        )
        return Schedule(
            phase("warm", self.warm_regularizers),
            phase("main", self.sr_main_regularizers),
            switch=self.sr_switch,
            # The authors' 5 warm epochs are six, by their `epoch > 5`.
            warm_epochs=self.sr_warm_epochs + (self.sr_published and self.sr_warm_epochs > 0),
            patience=self.sr_patience,
            bigger=bigger,
        )

    def _check_combinations(self, settings: Mapping[str, Any]) -> None:
        weights = [*self.warm_regularizers.values(), *self.sr_main_regularizers.values()]
        if self.sr_warm_epochs and not any(weights):
            raise InputError(
                f"sr_warm_epochs is {self.sr_warm_epochs} but sr_warm_regularizers and "
                "sr_main_regularizers have no weight other than 0; give one a weight, such as "
                f"{{{WARM_REGULARIZER}: {REGULARIZERS[WARM_REGULARIZER].weight}}}, or set "
                "sr_warm_epochs: 0 for training in one phase"
            )
        if self.sr_final and settings.get("eval_step", 1) <= 0:
            raise InputError(
                "sr_final: expected validation scores, by which its epochs are chosen, but "
                f"eval_step is {settings['eval_step']}; set eval_step: 1"
            )
        if self.sr_rank_validation_items and not self.sr_fast:
            raise InputError(
                "sr_rank_validation_items: expected sr_fast: True with it, got False; drop one"
            )
        if self.sr_train_on == "all":
            self._check_trained_on_all()
        is_model = self.initialization and not self.sr_warm_epochs
        if settings.get("epochs") == 0 and not is_model:
            raise InputError(
                "epochs: expected at least 1, as only an sr_init without a warm phase ranks "
                f"untrained, got 0 with sr_init: {self.sr_init} and sr_warm_epochs: "
                f"{self.sr_warm_epochs}; raise it"
            )
        if self.sr_switch == "metric" and self.sr_warm_epochs and settings.get("eval_step", 1) <= 0:
            raise InputError(
                "sr_switch: metric needs validation scores but eval_step is "
                f"{settings['eval_step']}; set eval_step: 1, or sr_switch: epochs"
            )
        if without := set(self.target_ranks) - set(self.sr_tables):
            raise InputError(
                f"sr_target_rank: expected sides in sr_tables {self.sr_tables}, "
                f"got {without.pop()!r}; drop it or add it to sr_tables"
            )

    def _check_trained_on_all(self) -> None:
        """Refuse what needs validation scores, where none are to be had."""
        by_metric = self.sr_switch == "metric" and self.sr_warm_epochs
        for key, wrong, instead in (
            ("sr_final", self.sr_final, False),
            ("sr_switch", by_metric, "epochs"),
        ):
            if wrong:
                raise InputError(
                    f"sr_train_on: expected 'training' with {key}: {getattr(self, key)}, which "
                    f"needs validation scores, got 'all'; set {key}: {instead}, or drop one"
                )


# Keys that `sr_published: True` holds at their defaults.
_PUBLISHED_DEFAULTS = (
    "sr_tables",
    "sr_temperature",
    "sr_popularity",
    "sr_uniformity_rows",
    "sr_regularize_every",
    "sr_target_rank",
    "sr_init",
    "sr_init_als_iterations",
    "sr_keep_untrained",
)
_PUBLISHED_WARM_EPOCHS = 5


def published(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that ``sr_published: True`` sets, above defaults and the model's recipe.

    Args:
        given: the keys that the user has set.

    Raises:
        InputError: one of these is set to something else.

    Example:
        >>> published({"sr_loss": "align"})["sr_warm_regularizers"]
        {'stable_rank': 1.0}

    """
    defaults = {key: Options.model_fields[key].default for key in _PUBLISHED_DEFAULTS}
    loss = LOSSES.get(given.get("sr_loss", "model"))
    main = dict(loss.published_main_weights) if loss else {}
    fixed = dict(defaults)
    if not main:  # the authors tuned the weight of uniformity
        fixed["sr_main_regularizers"] = {}
    for key, value in fixed.items():
        if key in given and given[key] != value:
            raise InputError(
                f"sr_published: True fixes {key} at {value} but got {given[key]!r}; "
                "drop one of the two keys"
            )
    return {
        "sr_warm_epochs": _PUBLISHED_WARM_EPOCHS,
        "sr_warm_regularizers": {WARM_REGULARIZER: 1.0},
        "sr_main_regularizers": main,
        **fixed,
    }
