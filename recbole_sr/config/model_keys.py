"""A model's own keys in RecBole: the default gives a key's type, its name the range.

RecBole's models take a key of the wrong type or range for something else, or fail on it after the
data are loaded. What two keys must be to each other, such as ``n_heads`` to ``hidden_size``, is
left to the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import recbole
from pydantic import BaseModel, ConfigDict, Field, create_model

from recbole_sr.config.files import read_properties
from recbole_sr.config.validation import Natural, NotNegative, Positive, Text, validated

__all__ = ["check_model_keys", "model_keys"]

Size = Annotated[int, Field(ge=1, le=100_000)]
Depth = Annotated[int, Field(ge=0, le=1_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
_Activation = Literal["sigmoid", "tanh", "relu", "leakyrelu", "dice", "none"]

# Keys whose type or choices the default does not tell; those of a model before those of all.
_TYPES: dict[str, Any] = {
    "CDAE.loss_type": Literal["BCE", "MSE"],
    "CORE.loss_type": Literal["CE"],
    "FPMC.loss_type": Literal["BPR"],
    "MCCLK.loss_type": Literal["BPR"],
    "SINE.loss_type": Literal["BPR", "CE", "NLL"],
    "SimpleX.aggregator": Literal["mean", "user_attention", "self_attention"],
    "SimpleX.margin": Annotated[float, Field(ge=-1, le=1)],
    "RaCT.train_stage": Literal["actor_pretrain", "critic_pretrain", "finetune"],
    "S3Rec.train_stage": Literal["pretrain", "finetune"],
    "accum": Literal["sum", "stack"],
    "ae_act_func": _Activation,
    "aggregator": Literal["sum", "neighbor", "concat"],
    "aggregator_type": Literal["gcn", "graphsage", "bi"],
    "algorithm": Literal["prod", "concat"],
    "dnn_type": Literal["trm", "ave"],
    "fields": dict[Any, Any] | None,
    "fredom_type": Literal["us", "un", "su", "us_x", "None"] | None,
    "hid_activation": Literal["sigmoid", "relu", "tanh"],
    "hidden_act": Literal["gelu", "relu", "swish", "tanh", "sigmoid"],
    "ind": Literal["mi", "distance", "cosine"],
    "inter_matrix_type": Literal["01", "rating"],
    "loss_function": Literal["inner_product", "transe"],
    "loss_type": Literal["BPR", "CE"],
    "mean_type": Literal["x0", "eps"],
    "mlp_act_func": _Activation,
    "n_iter": Annotated[int, Field(ge=1, le=5)],  # neighbours of neighbours: a power
    "neigh_info_method": Literal["random", "knn", "louvain"],
    "noise_schedule": Literal["linear", "linear-var", "cosine", "binomial"],
    "order": Annotated[int, Field(ge=1, le=2)],
    "out_activation": Literal["sigmoid", "relu"],
    "pooling_mode": Literal["max", "mean", "sum"],
    "pooling_type": Literal["max", "average"],
    "pooling_type_layer_1": Literal["max", "average"],
    "pooling_type_layer_2": Literal["max", "average"],
    "sampling_steps": Annotated[int, Field(ge=0, le=100_000)],
    "steps": Size,
    "structure": Literal["stacked", "parallel"],
    "topk_factor": Positive,
    "train_method": Literal["after_pretrain", "no_pretrain"],
    "type": Literal["ED", "ND", "RW"],
}
# What a number is, by a part of its name; the first that fits.
_NUMBERS: dict[str, Any] = {
    "drop": Dropout,
    "mask_ratio|ft_ratio|corruption|spatial_ratio|global_ratio|lambda_coeff": Share,
    "tau|temp": Positive,
    "reg_weight|negative_weight|resolution|w_max|w_min|noise": NotNegative,
}
_DEPTHS = "layer|_hops|hop$|iter|block_num|heads|split_to|cross_layer"
_COUNTS = "anneal_steps|warm_up_step"


def check_model_keys(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse values of a model's own keys that RecBole's model cannot have.

    Args:
        name: of a model of RecBole.
        settings: RecBole's merged keys.

    Raises:
        InputError: a key of the wrong type, out of range, or not among the choices.

    """
    validated(_model(name), settings)


@cache
def model_keys(name: str) -> dict[str, Any]:
    """RecBole's defaults of a model's own keys; none where it has no file of them."""
    file = Path(recbole.__file__).parent / "properties" / "model" / f"{name}.yaml"
    return read_properties([str(file)]) if file.is_file() else {}


@cache
def _model(name: str) -> type[BaseModel]:
    """The keys as a pydantic model; a dash in a name is no matter to it."""
    fields: dict[str, Any] = {
        key: (_TYPES.get(f"{name}.{key}", _TYPES.get(key)) or _type(key, default), ...)
        for key, default in model_keys(name).items()
    }
    return create_model(name, __config__=ConfigDict(extra="ignore", strict=True), **fields)


def _type(key: str, default: Any) -> Any:
    if isinstance(default, list):
        # Of a fixed number of weights RecBole reads the first few, and no more.
        fixed = re.search("weight|dropout_probs", key)
        length = len(default) if fixed else None
        each = _type(key, default[0]) if default else Size
        return Annotated[list[each], Field(min_length=length, max_length=length)]  # type: ignore[valid-type]
    if isinstance(default, bool):
        return bool
    if isinstance(default, int | float):
        named = next((kind for part, kind in _NUMBERS.items() if re.search(part, key)), None)
        return named or (NotNegative if isinstance(default, float) else _integer(key))
    return str | None if default is None else str if key.endswith("_path") else Text


def _integer(key: str) -> Any:
    if re.search(_COUNTS, key):
        return Natural
    return Depth if re.search(_DEPTHS, key) and "size" not in key else Size
