"""RecBole's own keys, which RecBole does not check: types, ranges, and names nobody reads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from logging import getLogger
from pathlib import Path
from typing import Annotated, Any, Literal

import recbole
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from recbole.evaluator import metric_types, smaller_metrics
from recbole.utils import EvaluatorType, ModelType

from recbole_sr.config.validation import (
    Count,
    Finite,
    Natural,
    NotNegative,
    Positive,
    SubKeys,
    Text,
    validated,
)
from recbole_sr.distributed.launch import KEYS, launched, local_size
from recbole_sr.errors import InputError, nearest
from recbole_sr.recbole_compat.classes import is_recboles
from recbole_sr.recbole_compat.data_checks import parse_intervals

__all__ = ["check_unread", "check_values", "empty_parts", "reads_labels", "samples_none"]

Level = Literal["debug", "info", "warning", "error", "critical"]
Learner = Literal["adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"]
Transform = Literal[
    "mask_itemseq", "inverse_itemseq", "crop_itemseq", "reorder_itemseq", "user_defined"
]


def samples_none(arguments: Any) -> bool:
    """Whether ``train_neg_sample_args`` asks for no negatives: by null, or by None as a text.

    Example:
        >>> samples_none("None"), samples_none({"distribution": None}), samples_none({})
        (True, True, False)

    """
    asked = arguments.get("distribution", "uniform") if isinstance(arguments, dict) else arguments
    return asked is None or asked in ("None", "none")


def _device_numbers(text: str) -> str:
    if not re.fullmatch(r"[\d,() ]*", text):
        raise ValueError("numbers of GPUs such as 0 or 0,1")
    return text


def _intervals(text: str) -> str:
    parse_intervals(text)
    return text


def _ratios(ratios: list[float]) -> list[float]:
    if not ratios[0] > 0:
        raise ValueError("a ratio above 0 for the training part")
    return ratios


def _metric(name: str) -> str:
    if name.lower() not in metric_types:
        raise ValueError(f"a metric such as {nearest(name, metric_types)!r}")
    return name


def _mode(mode: str) -> str:
    if not re.fullmatch(r"full|labeled|(uni|pop)[1-9]\d{0,5}", mode):
        raise ValueError("full, labeled, uniN or popN, N being 1 to 999999 candidates")
    return mode


Intervals = Annotated[
    str,
    BeforeValidator(lambda given: str(given) if isinstance(given, list | tuple) else given),
    AfterValidator(_intervals),
]
Ratios = Annotated[list[NotNegative], Field(min_length=3, max_length=3), AfterValidator(_ratios)]
Mode = Annotated[str, AfterValidator(_mode)]
Names = list[Text]
# "*" is every column.
Columns = dict[str, Annotated[Names, BeforeValidator(lambda given: [] if given == "*" else given)]]


# Before the models: older pydantic gives an annotation the names that are there already.
_PARTS = ("valid", "test")


class _Split(SubKeys):
    RS: Ratios | None = None
    LS: Literal["valid_and_test", "valid_only", "test_only"] | None = None
    TS: Ratios | None = None

    @model_validator(mode="after")
    def _one(self) -> _Split:
        given = [getattr(self, name) for name in self.model_fields_set]  # RecBole counts nulls
        if len(given) != 1 or None in given:
            raise ValueError("one of RS (ratios), LS (leave one out) and TS (by time)")
        return self


class _Modes(SubKeys):
    valid: Mode = "full"
    test: Mode = "full"

    @model_validator(mode="before")
    @classmethod
    def _one_for_both(cls, modes: Any) -> Any:
        if isinstance(modes, dict) and len(modes) == 1:
            return {**dict.fromkeys(_PARTS, *modes.values()), **modes}
        return modes


class _Evaluation(SubKeys):
    split: _Split = Field(default_factory=lambda: _Split(RS=[0.8, 0.1, 0.1]))
    order: Literal["RO", "TO"] = "RO"
    group_by: Literal["user", "none", "None"] | None = "user"
    mode: Annotated[
        _Modes,
        BeforeValidator(
            lambda mode: dict.fromkeys(_PARTS, mode) if isinstance(mode, str) else mode
        ),
    ] = Field(default_factory=_Modes)


class _Sampling(SubKeys):
    distribution: Literal["uniform", "popularity", "none", "None"] | None = "uniform"
    sample_num: Annotated[int, Field(ge=1, le=100_000)] | Literal["none"] = 1
    alpha: Finite | Literal["none"] = 1.0
    dynamic: bool = False
    candidate_num: Annotated[int, Field(ge=0, le=100_000)] = 0

    @model_validator(mode="after")
    def _agree(self) -> _Sampling:
        if "none" in (self.sample_num, self.alpha) and self.distribution in (
            "uniform",
            "popularity",
        ):
            raise ValueError("numbers as sample_num and alpha where there are negatives")
        if self.dynamic and not self.candidate_num:
            raise ValueError("a candidate_num of 1 or more with dynamic: True")
        return self


class _Clipping(SubKeys):
    max_norm: Positive
    norm_type: Annotated[float, Field(gt=0)] = 2.0
    error_if_nonfinite: bool = False
    foreach: bool | None = None


class _Buckets(SubKeys):
    method: Literal["ED", "LD"]
    bucket: Count | None = None

    @model_validator(mode="after")
    def _needed(self) -> _Buckets:
        if self.method == "ED" and self.bucket is None:
            raise ValueError("a number of buckets, bucket, with method: ED")
        return self


# RecBole's metrics of all scores, and of the best k; those of a user may be either.
_WHOLE = {"gauc", "auc", "mae", "rmse", "logloss"}
_AT_K = {"recall", "mrr", "ndcg", "hit", "precision", "map", "itemcoverage", "averagepopularity"}
_AT_K |= {"shannonentropy", "giniindex", "tailpercentage"}
# Said by the command line of RecBole's quick start, or derived by its Config.
_QUICK_START = {"model", "dataset", "config_files", "nproc"}
# Of RecBole's distributed training, beside nproc.
_LAUNCHER = ("local_rank", "world_size", "ip", "port", "offset", "group_offset")
_TORCHRUN = (
    "start several processes by recbole-sr --nproc=N, or any program by torchrun "
    "--nproc-per-node N PROGRAM"
)


# What RecBole does with keys that it has by itself.
_OVERWRITTEN = {
    **dict.fromkeys(
        ("MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "single_spec"), "tells it by the model"
    ),
    **dict.fromkeys(("valid_neg_sample_args", "test_neg_sample_args"), "takes it from eval_args"),
    **dict.fromkeys(("neg_sampling", "training_neg_sample_num"), "reads train_neg_sample_args"),
    "device": "takes it from gpu_id",
}
# What RecBole's modules and the class of the configuration are called, whose names look like keys.
_NO_KEYS = {"configurator", "eval_setting", "final_config_dict", "parameters", "yaml_loader"}
# The names of columns that must not be one.
_COLUMNS = (
    "USER_ID_FIELD", "ITEM_ID_FIELD", "LABEL_FIELD", "TIME_FIELD", "ITEM_LIST_LENGTH_FIELD",
    "POSITION_FIELD", "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "RELATION_ID_FIELD",
    "ENTITY_ID_FIELD",
)  # fmt: skip


class _Keys(BaseModel):
    """What a run needs of RecBole's general, training, evaluation and data keys."""

    model_config = ConfigDict(extra="ignore", strict=True)

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    gpu_id: Annotated[str, BeforeValidator(str), AfterValidator(_device_numbers)]
    state: Level | None
    data_path: Text
    checkpoint_dir: Text
    worker: Annotated[int, Field(ge=0, le=256)]
    nproc: Count = 1
    reproducibility: bool
    use_gpu: bool
    show_progress: bool
    save_dataset: bool
    save_dataloaders: bool
    dataset_save_path: str | None
    dataloaders_save_path: str | None
    log_wandb: bool
    wandb_project: Text | None
    shuffle: bool
    epochs: Natural
    additional_feat_suffix: Names | None
    train_batch_size: Count
    learner: Learner
    learning_rate: Positive
    weight_decay: NotNegative
    require_pow: bool
    transform: Transform | None
    eval_step: int
    stopping_step: Natural
    clip_grad_norm: _Clipping | None
    train_neg_sample_args: Annotated[
        _Sampling | None,
        BeforeValidator(lambda given: None if given in ("None", "none") else given),
    ]
    # RecBole takes 0 for its default, 4.
    loss_decimal_place: Annotated[int, Field(ge=1, le=100)]
    enable_amp: bool
    enable_scaler: bool
    eval_args: _Evaluation
    repeatable: bool
    metrics: Annotated[list[Annotated[str, AfterValidator(_metric)]], Field(min_length=1)]
    topk: Annotated[list[Count], Field(min_length=1)]
    valid_metric: str
    valid_metric_bigger: bool
    eval_batch_size: Count
    metric_decimal_place: Annotated[int, Field(ge=0, le=100)]
    tail_ratio: Positive | None = None
    embedding_size: Count = 1
    train_stage: str = ""
    pretrain_epochs: Count = 1
    save_step: Count = 1

    field_separator: Text
    seq_separator: Text
    encoding: str | None = None
    USER_ID_FIELD: Text
    ITEM_ID_FIELD: Text
    RATING_FIELD: Text
    TIME_FIELD: Text
    LABEL_FIELD: Text
    NEG_PREFIX: Text
    ITEM_LIST_LENGTH_FIELD: Text
    LIST_SUFFIX: Text
    MAX_ITEM_LIST_LENGTH: Annotated[int, Field(ge=1, le=100_000)]
    POSITION_FIELD: Text
    HEAD_ENTITY_ID_FIELD: Text
    TAIL_ENTITY_ID_FIELD: Text
    RELATION_ID_FIELD: Text
    ENTITY_ID_FIELD: Text
    seq_len: dict[str, Count] | None
    threshold: Annotated[dict[str, Finite], Field(min_length=1, max_length=1)] | None
    numerical_features: Names
    load_col: Columns | None
    unload_col: dict[str, Names] | None
    unused_col: dict[str, Names] | None
    rm_dup_inter: Literal["first", "last"] | None
    val_interval: dict[str, Intervals | list[Any]] | None
    filter_inter_by_user_or_item: bool
    user_inter_num_interval: Intervals | None
    item_inter_num_interval: Intervals | None
    entity_kg_num_interval: Intervals | None
    relation_kg_num_interval: Intervals | None
    kg_reverse_r: bool
    alias_of_user_id: Names | None
    alias_of_item_id: Names | None
    alias_of_entity_id: Names | None
    alias_of_relation_id: Names | None
    preload_weight: dict[str, str] | None
    normalize_field: Names | None
    normalize_all: bool | None
    discretization: dict[str, _Buckets] | None
    benchmark_filename: Annotated[Names, Field(min_length=3, max_length=3)] | None

    @model_validator(mode="before")
    @classmethod
    def _as_recbole_reads_them(cls, keys: dict[str, Any]) -> dict[str, Any]:
        lists = {
            key: [keys[key]] if isinstance(keys[key], str | int) else keys[key]
            for key in ("metrics", "topk", "additional_feat_suffix")
        }
        lower = {
            key: keys[key].lower() for key in ("state", "learner") if isinstance(keys[key], str)
        }
        return {**keys, **lists, **lower}


def check_values(settings: Mapping[str, Any], given: Collection[str] = ()) -> None:
    """Refuse what RecBole would crash on much later, or silently take for something else.

    Args:
        settings: RecBole's merged keys, before it derives others from them.
        given: those that the user has set.

    Raises:
        InputError: a key of the wrong type or out of range, or keys that contradict each other.
    """
    for key in _LAUNCHER:
        if key in given and (key not in KEYS or not launched()):
            raise InputError(
                f"{key}: expected none, as torchrun tells each process, got {settings[key]!r}; "
                f"drop it, and {_TORCHRUN}"
            )
    keys = validated(_Keys, settings)
    if keys.nproc not in (1, local_size()):
        raise InputError(f"nproc: expected {local_size()}, got {keys.nproc}; {_TORCHRUN}")
    _check_metrics(keys)
    _check_transform(keys.transform, settings)
    if "valid_metric_bigger" in given and keys.valid_metric_bigger != _bigger(keys.valid_metric):
        raise InputError(
            f"valid_metric_bigger: expected {_bigger(keys.valid_metric)}, which RecBole takes for "
            f"{keys.valid_metric} whatever is set, got {keys.valid_metric_bigger}; drop it"
        )
    if keys.normalize_field and keys.normalize_all:
        raise InputError(
            f"normalize_field: expected none with normalize_all: True, got {keys.normalize_field}; "
            "set normalize_all: False"
        )
    if "pretrain" in keys.train_stage and keys.save_step > keys.pretrain_epochs:
        raise InputError(
            f"save_step: expected at most pretrain_epochs, {keys.pretrain_epochs}, as otherwise no "
            f"pretrained model is saved, got {keys.save_step}; lower it"
        )
    for key in ("clip_grad_norm", "weight_decay") if keys.learner == "sparse_adam" else ():
        if value := getattr(keys, key):
            raise InputError(
                f"{key}: expected none with learner: sparse_adam, which has no means to apply it, "
                f"got {value}; drop it, or set learner: adam"
            )
    names = [getattr(keys, key) for key in _COLUMNS]
    if twice := next((name for name in names if names.count(name) > 1), None):
        one, other, *_ = (key for key in _COLUMNS if getattr(keys, key) == twice)
        raise InputError(
            f"{one}: expected another column than {other} is, got {twice!r} for both; rename one"
        )


def _bigger(metric: str) -> bool:
    return metric.split("@")[0].lower() not in smaller_metrics


def _check_transform(name: str | None, settings: Mapping[str, Any]) -> None:
    """Refuse a transform of sequences where there are none, or without the key that it reads."""
    if name in (None, "user_defined"):
        return
    key = {"mask_itemseq": "mask_ratio", "crop_itemseq": "eta", "reorder_itemseq": "beta"}.get(name)
    if settings["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        needs = "a sequential model"
    elif key and not isinstance(settings.get(key), int | float):
        needs = f"a number as {key}"
    else:
        return
    raise InputError(f"transform: expected {needs} with {name}, got none; drop the key or set it")


def _check_metrics(keys: _Keys) -> None:
    """Refuse metrics that the mode of evaluation cannot have, and a valid_metric not among them."""
    types = {metric_types[name.lower()] for name in keys.metrics}
    modes = keys.eval_args.mode.valid, keys.eval_args.mode.test
    if len(types) > 1:
        raise InputError(
            f"metrics: expected metrics of values, such as AUC, or of ranking, such as NDCG, got "
            f"both in {keys.metrics}; drop one kind"
        )
    if EvaluatorType.VALUE in types and "full" in modes:
        raise InputError(
            f"eval_args (mode): expected labeled, uniN or popN for {', '.join(keys.metrics)}, "
            "which compare predictions with labels, got full; set "
            "eval_args: {mode: labeled} and a threshold for labels from ratings, or rank items: "
            "metrics: [Recall, NDCG], valid_metric: NDCG@10 and train_neg_sample_args: "
            "{distribution: uniform, sample_num: 1}"
        )
    if EvaluatorType.RANKING in types and "labeled" in modes:
        raise InputError(
            f"eval_args (mode): expected full, uniN or popN for {', '.join(keys.metrics)}, which "
            "rank items, got labeled; change the mode, or set metrics: [AUC, LogLoss] and "
            "valid_metric: AUC"
        )
    evaluated = []
    for metric in keys.metrics:
        evaluated += [metric] if metric.lower() not in _AT_K else []
        evaluated += [f"{metric}@{k}" for k in keys.topk if metric.lower() not in _WHOLE]
    if keys.valid_metric.lower() not in map(str.lower, evaluated):
        raise InputError(
            f"valid_metric: expected one of those evaluated, {', '.join(evaluated)}, got "
            f"{keys.valid_metric!r}; set valid_metric: {evaluated[0]}, say, or metrics and topk"
        )


def empty_parts(split: Mapping[str, Any]) -> set[str]:
    """Which of ``valid`` and ``test`` RecBole's ``eval_args.split`` leaves without interactions.

    Example:
        >>> empty_parts({"LS": "test_only"}), empty_parts({"RS": [0.8, 0.1, 0.1]})
        ({'valid'}, set())

    """
    if "LS" in split:
        return {"test_only": {"valid"}, "valid_only": {"test"}}.get(split["LS"], set())
    ratios = split.get("RS") or split.get("TS") or ()
    return {part for part, ratio in zip(_PARTS, ratios[1:], strict=False) if not ratio}


def check_unread(given: Iterable[str], known: Collection[str], model_class: type) -> None:
    """Refuse keys that nothing reads: a typing error would otherwise train something else.

    A key counts as read when it has a default, or when RecBole's source or the module of the model
    or of a class it is made from looks it up in the configuration. Keys of RecBole's other models,
    such as models of a study may share, are warned of. So is every key of a class outside RecBole,
    which may read it in ways that nobody can tell from its source.

    Raises:
        InputError: names the key, and the nearest one that is read or what is read instead.
    """
    for key in sorted(_OVERWRITTEN.keys() & set(given)):
        raise InputError(f"{key}: expected none, as RecBole {_OVERWRITTEN[key]}; drop it")
    unread = set(given) - set(known) - _QUICK_START - set(_LAUNCHER)
    if not unread:
        return
    try:
        unread -= _recbole_look_ups() | _look_ups(_source(model_class))
    except (OSError, TypeError):  # a class of a notebook
        return
    for key in sorted(unread & _recbole_look_ups(of_models=True)):
        getLogger().warning(f"{key}: has no effect, as {model_class.__name__} does not read it")
    for key in sorted(unread - _recbole_look_ups(of_models=True)):
        sentence = (
            f"unknown key {key!r}: neither RecBole nor {model_class.__name__} reads it; "
            f"did you mean {nearest(key, {*known, *_QUICK_START})!r}?"
        )
        if is_recboles(model_class):
            raise InputError(sentence)
        getLogger().warning(sentence)


def reads_labels(model_class: type) -> bool:
    """Whether a model's source reads the labels of interactions; False where there is no source."""
    try:
        return "self.LABEL]" in _source(model_class)
    except (OSError, TypeError):
        return False


def _source(model_class: type) -> str:
    """The modules of a model and of the classes it is made from."""
    files = {inspect.getfile(part) for part in model_class.__mro__[:-1]}
    return "\n".join(Path(file).read_text("utf-8") for file in files)


@cache
def _recbole_look_ups(of_models: bool = False) -> frozenset[str]:
    """The keys that single models of RecBole read, or that everything else of it reads."""
    files = [
        file
        for file in Path(recbole.__file__).parent.rglob("*.py")
        if file.parent.name.endswith("_recommender") is of_models
    ]
    return frozenset().union(*(_look_ups(file.read_text("utf-8")) for file in files))


def _look_ups(source: str) -> frozenset[str]:
    found = re.findall(r"""config(?:\[|\.get\()\s*["']([\w-]+)["']|\bconfig\.(\w+)""", source)
    return frozenset(name for pair in found for name in pair if name) - _NO_KEYS
