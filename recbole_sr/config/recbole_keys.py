"""RecBole's own keys, which RecBole does not check: types, ranges, and names nobody reads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
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

from recbole_sr.config.validation import NotNegative, Positive, validated
from recbole_sr.errors import InputError, nearest

__all__ = ["check_unread", "check_values", "empty_parts"]

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Level = Literal["debug", "info", "warning", "error", "critical"]
Learner = Literal["adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"]


def _device_numbers(text: str) -> str:
    if not re.fullmatch(r"[\d,() ]*", text):
        raise ValueError("numbers of GPUs such as 0 or 0,1")
    return text


def _sampling(arguments: Any) -> Any:
    number = arguments.get("sample_num", 1) if isinstance(arguments, dict) else 1
    if number != "none" and (type(number) is not int or number < 1):
        raise ValueError("a sample_num of 1 or more")
    return arguments


# RecBole's metrics of all scores, and of the best k; those of a user may be either.
_WHOLE = {"gauc", "auc", "mae", "rmse", "logloss"}
_AT_K = {"recall", "mrr", "ndcg", "hit", "precision", "map", "itemcoverage", "averagepopularity"}
_AT_K |= {"shannonentropy", "giniindex", "tailpercentage"}
# Said by the command line of RecBole's quick start, or derived by its Config.
_LAUNCHER = {"model", "dataset", "config_files", "nproc", "world_size", "ip", "port", "offset"}


class _Keys(BaseModel):
    """What a run needs of RecBole's general, training and evaluation keys."""

    model_config = ConfigDict(extra="ignore", strict=True)

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    gpu_id: Annotated[str, BeforeValidator(str), AfterValidator(_device_numbers)]
    state: Level | None
    data_path: str
    checkpoint_dir: str
    worker: Natural
    reproducibility: bool
    use_gpu: bool
    show_progress: bool
    save_dataset: bool
    save_dataloaders: bool
    log_wandb: bool
    shuffle: bool
    epochs: Count
    additional_feat_suffix: list[str] | None
    train_batch_size: Count
    learner: Learner
    learning_rate: Positive
    weight_decay: NotNegative
    eval_step: int
    stopping_step: Natural
    clip_grad_norm: dict[str, Any] | None
    train_neg_sample_args: Annotated[Any, AfterValidator(_sampling)]
    loss_decimal_place: Natural
    enable_amp: bool
    enable_scaler: bool
    repeatable: bool
    metrics: Annotated[list[str], Field(min_length=1)]
    topk: Annotated[list[Count], Field(min_length=1)]
    valid_metric: str
    eval_batch_size: Count
    metric_decimal_place: Natural
    embedding_size: Count | None = None
    train_stage: str = ""
    pretrain_epochs: Count = 1
    save_step: Count = 1
    MAX_ITEM_LIST_LENGTH: Count = 1
    rm_dup_inter: Literal["first", "last"] | None = None
    threshold: dict[str, Annotated[float, Field(allow_inf_nan=False)]] | None = None
    seq_len: dict[str, Count] | None = None
    seq_separator: Annotated[str, Field(min_length=1)] = " "
    tail_ratio: NotNegative | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_recbole_reads_them(cls, keys: dict[str, Any]) -> dict[str, Any]:
        lists = {
            key: [keys[key]] for key in ("metrics", "topk") if isinstance(keys[key], str | int)
        }
        lower = {
            key: keys[key].lower() for key in ("state", "learner") if isinstance(keys[key], str)
        }
        return {**keys, **lists, **lower}


def check_values(settings: Mapping[str, Any]) -> None:
    """Refuse what RecBole would crash on much later, or silently take for something else.

    Raises:
        InputError: a key of the wrong type or out of range, or keys that contradict each other.
    """
    keys = validated(_Keys, settings)
    evaluated = []
    for metric in keys.metrics:
        evaluated += [metric] if metric.lower() not in _AT_K else []
        evaluated += [f"{metric}@{k}" for k in keys.topk if metric.lower() not in _WHOLE]
    if keys.valid_metric.lower() not in map(str.lower, evaluated):
        raise InputError(
            f"valid_metric: expected one of those evaluated, {', '.join(evaluated)}, got "
            f"{keys.valid_metric!r}; add it to metrics and topk"
        )
    if "pretrain" in keys.train_stage and keys.save_step > keys.pretrain_epochs:
        raise InputError(
            f"save_step: expected at most pretrain_epochs, {keys.pretrain_epochs}, as otherwise no "
            f"pretrained model is saved, got {keys.save_step}; lower it"
        )
    for key in ("clip_grad_norm", "weight_decay") if keys.learner == "sparse_adam" else ():
        if given := getattr(keys, key):
            raise InputError(
                f"{key}: expected none with learner: sparse_adam, which has no means to apply it, "
                f"got {given}; drop it, or set learner: adam"
            )


def empty_parts(split: Mapping[str, Any]) -> set[str]:
    """Which of ``valid`` and ``test`` RecBole's ``eval_args.split`` leaves without interactions.

    Example:
        >>> empty_parts({"LS": "test_only"}), empty_parts({"RS": [0.8, 0.1, 0.1]})
        ({'valid'}, set())

    """
    if "LS" in split:
        return {"test_only": {"valid"}, "valid_only": {"test"}}.get(split["LS"], set())
    ratios = split.get("RS") or ()
    return {part for part, ratio in zip(("valid", "test"), ratios[1:], strict=False) if not ratio}


def check_unread(given: Iterable[str], known: Collection[str], model_class: type) -> None:
    """Refuse keys that nothing reads: a typing error would otherwise train something else.

    A key counts as read when it has a default, or when RecBole's source or the module of the model
    or of a class it is made from looks it up in the configuration. Nothing is refused where the
    source of one is not there, as in a notebook.

    Raises:
        InputError: names the key and the nearest one that is read.
    """
    unread = set(given) - set(known) - _LAUNCHER
    if not unread:
        return
    looked_up = set(_recbole_look_ups())
    for part in model_class.__mro__[:-1]:
        try:
            looked_up |= _look_ups(Path(inspect.getfile(part)).read_text("utf-8"))
        except (OSError, TypeError):
            return
    for key in sorted(unread - looked_up):
        raise InputError(
            f"unknown key {key!r}: neither RecBole nor {model_class.__name__} reads it; "
            f"did you mean {nearest(key, known)!r}?"
        )


@cache
def _recbole_look_ups() -> frozenset[str]:
    files = Path(recbole.__file__).parent.rglob("*.py")
    return frozenset().union(*(_look_ups(file.read_text("utf-8")) for file in files))


def _look_ups(source: str) -> frozenset[str]:
    found = re.findall(r"""config(?:\[|\.get\()\s*["'](\w+)["']|\bconfig\.(\w+)""", source)
    return frozenset(name for pair in found for name in pair if name)
