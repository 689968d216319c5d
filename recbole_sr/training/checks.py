"""Settings and data that a model, or this package, cannot train on are refused.

Each check runs as soon as what it reads is there: settings, the data set, the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from logging import getLogger
from typing import Any

from recbole.trainer import Trainer
from recbole.utils import EvaluatorType, FeatureType, ModelType, get_trainer

from recbole_sr.config.config import Config, recboles_name
from recbole_sr.config.data_files import FILE_SUFFIXES, columns_of
from recbole_sr.config.model_keys import model_keys
from recbole_sr.config.recbole_keys import reads_labels
from recbole_sr.errors import InputError, nearest
from recbole_sr.init.initialization import Initialization
from recbole_sr.models.entry import GraphPath, LayerPath, ModelEntry
from recbole_sr.models.features import columns_of_interactions
from recbole_sr.models.registry import SUPPORTED
from recbole_sr.models.sources import Missing

__all__ = [
    "check_columns",
    "check_features",
    "check_judged",
    "check_labels",
    "check_parts",
    "check_ranked",
    "by_columns",
    "check_settings",
    "check_several",
]

# Mappings from columns, and lists of them.
_OF_COLUMNS = (
    "seq_len", "numerical_features", "val_interval", "threshold", "normalize_field",
    "discretization", "preload_weight", "alias_of_user_id", "alias_of_item_id",
    "alias_of_entity_id", "alias_of_relation_id",
)  # fmt: skip
_OF_NUMBERS = ("numerical_features", "normalize_field", "discretization")
# Fewer for a process are not worth what the processes exchange.
_LEAST_COLUMNS = 16
# Activations that keep small numbers, or one sign of them.
_PASSING = ("tanh", "relu", "leakyrelu")


def check_settings(config: Config, entry: ModelEntry) -> None:
    """Refuse settings that the model cannot follow, or that leave nothing to regularise.

    Raises:
        InputError: names the key, and what the model has or needs instead.

    """
    _check_sides(config, entry)
    order = config["eval_args"]["order"]
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL and order != "TO":
        raise InputError(
            f"eval_args (order): expected TO for {config['model']}, which learns from sequences, "
            f"got {order}; set it"
        )
    for key, value in entry.needs.items():
        if config[key] != value:
            raise InputError(
                f"{key}: expected {value!r}, for which the representations of {config['model']} "
                f"are known, got {config[key]!r}; set {key}: {value}"
            )
    _check_initialization(config, entry)
    _check_mixed_precision(config, entry)


def _check_sides(config: Config, entry: ModelEntry) -> None:
    """Refuse to regularise a side that the model does not have."""
    sides, target = config.options.sr_tables, config.options.sr_target_rank
    missing = {s: entry.side(s) for s in ("user", "item") if isinstance(entry.side(s), Missing)}
    if missing.keys() >= set(sides):
        (other,) = {"user", "item"} - set(sides)
        raise InputError(
            f"sr_tables: expected a side that {config['model']} has, got {sides} "
            f"({missing[sides[0]].about}); set sr_tables: [{other}]"
        )
    for side in target if isinstance(target, Mapping) else ():  # a number is for those there are
        if side in missing:
            raise InputError(
                f"sr_target_rank: expected a side that {config['model']} has, got {side!r} "
                f"({missing[side].about}); drop it"
            )


def _check_initialization(config: Config, entry: ModelEntry) -> None:
    """Refuse to fill tables that the model does not have, or that it reads from another run."""
    name, published = config.options.sr_init, config.options.sr_published
    if initialization := config.options.initialization:
        if name == "spectral" and entry.layer_path:
            _check_layers(config, entry.layer_path)
        else:
            _check_tables(config, entry, initialization)
    key, pretrained = entry.pretrained or ("", None)
    if (initialization or published) and key and config[key] == pretrained:
        raise InputError(
            f"{key}: expected no pretrained tables with "
            f"{'sr_published: True' if published else f'sr_init: {name}'}, which fills them anew, "
            f"got {pretrained!r}; drop one of the two"
        )


def _check_tables(config: Config, entry: ModelEntry, initialization: Initialization) -> None:
    """Refuse an initialisation that needs what the model or its data do not have."""
    name, model = config.options.sr_init, config["model"]
    if initialization.reads == "histories" and config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        raise InputError(
            f"sr_init: expected 'model' for {model}, which is no sequential model and reads no "
            f"order of interactions, got {name!r}; drop the key"
        )
    for side in initialization.sides:
        if not entry.side(side).initialized:
            sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
            raise InputError(
                f"sr_init: expected 'model' for {model}, which has no {side} table of its own to "
                f"initialise ({entry.side(side).about}), got {name!r}; drop the key"
                + (", or set sr_init: transitions" if sequential else "")
            )


def _check_layers(config: Config, path: LayerPath | GraphPath) -> None:
    """Refuse settings under which a model's layers do not lead to scores, or pass nothing on."""
    for key, needed in path.needs.items():
        if config[key] != needed:
            raise InputError(
                f"{key}: expected {needed!r} with sr_init: spectral, got {config[key]!r}; set "
                f"sr_init: model, or drop {key}"
            )
    if isinstance(path, GraphPath):
        return
    if (used := config.final_config_dict.get(path.activation)) not in (None, *_PASSING):
        raise InputError(
            f"{path.activation}: expected one of {', '.join(_PASSING)} with sr_init: spectral, got "
            f"{used!r}; set sr_init: model, or another {path.activation}"
        )


def _check_mixed_precision(config: Config, entry: ModelEntry) -> None:
    """Refuse mixed precision where torch has no half precision for the model's operations."""
    if not config["enable_amp"] or entry.mixed_precision == "yes":
        return
    # Only RecBole's own propagation drops nodes, and only that is inherited by a subclass.
    able = entry.propagation is not None and not config["node_dropout"]
    by_fast = entry.mixed_precision == "fast path" and able
    if not (by_fast and config.options.sr_fast):
        raise InputError(
            f"enable_amp: expected False for {config['model']}, as torch has no half precision for "
            "its sparse products or scattering, or it has not been tried, got True; drop the key"
            + (", or set sr_fast: True" if by_fast else "")
        )


def check_several(config: Config, entry: ModelEntry) -> None:
    """Refuse several processes where they would not train as one does.

    Raises:
        InputError: names the model or the key.

    """
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])
    if not entry.parallel or trainer is not Trainer:
        able = [name for name, other in SUPPORTED.items() if other.parallel]
        reason = (
            "whose loss of a batch is more than what its rows have, or has not been tried"
            if trainer is Trainer
            else f"which has a trainer of its own, {trainer.__name__}"
        )
        raise InputError(
            f"torchrun: expected one process for {config['model']}, {reason}, got several; start "
            f"it without torchrun, or use one of {', '.join(able)}"
        )
    for key in ("enable_amp", "enable_scaler"):
        if config[key]:
            raise InputError(
                f"{key}: expected False with several processes, as gradients of mixed precision "
                "are not added up exactly, got True; drop the key, or start one process"
            )


def by_columns(config: Config, entry: ModelEntry, processes: int) -> bool:
    """Whether each of several processes has some columns of the tables.

    Raises:
        InputError: ``sr_parallel`` asks for it where it cannot be.

    """
    wanted, width = config.options.sr_parallel, config["embedding_size"]
    if wanted == "data":
        return False
    reason = None
    if not entry.columns:
        able = [name for name, other in SUPPORTED.items() if other.columns]
        reason = f"of {config['model']}, as its loss is not one of dot products of tables; use " + (
            f"one of {', '.join(able)}"
        )
    elif width % processes:
        reason = f"of embedding_size {width} by {processes} processes; set a multiple of them"
    elif config["clip_grad_norm"]:
        reason = "with clip_grad_norm, whose norm is of all columns; drop that key"
    elif wanted == "auto" and width < _LEAST_COLUMNS * processes:
        reason = "of so few columns"
    if reason and wanted == "columns":
        raise InputError(
            f"sr_parallel: expected data, got columns {reason}, or set sr_parallel: data"
        )
    return reason is None


def check_columns(config: Config) -> None:
    """Refuse settings that name columns which the data set does not have, where RecBole would not.

    Raises:
        InputError: names the key, the column and the one most like it.

    """
    suffixes = [*FILE_SUFFIXES, *(config["additional_feat_suffix"] or ())]
    columns = {suffix: columns_of(config.final_config_dict, suffix) for suffix in suffixes}
    given = config.external_config_dict
    for key in ("load_col", "unload_col"):
        _check_names(key, given.get(key) or (), suffixes, "names of files")
    loaded = dict.fromkeys(FILE_SUFFIXES) if config["load_col"] is None else config["load_col"]
    if loaded.get("inter", []) == []:  # null is all columns
        raise InputError(
            f"load_col: expected columns of inter among others, got {config['load_col']}; add "
            f"inter: [{config['USER_ID_FIELD']}, {config['ITEM_ID_FIELD']}]"
        )
    types = {name: kind for found in columns.values() for name, kind in found.items()}
    for key in _OF_COLUMNS:
        _check_names(key, given.get(key) or (), types, "columns of the data")
    for key in _OF_NUMBERS:
        for name in given.get(key) or ():
            if not types.get(name, "float").startswith("float"):
                raise InputError(
                    f"{key}: expected columns of type float or float_seq, got {name} of type "
                    f"{types[name]}; drop it, or write {name}:float in the header of its file"
                )


def _check_names(key: str, names: Iterable[str], known: Collection[str], what: str) -> None:
    for name in names:
        if known and name not in known:  # a file that is not there is another matter
            raise InputError(
                f"{key}: expected {what} ({', '.join(sorted(known))}), got {name!r}; did you mean "
                f"{nearest(name, known)!r}?"
            )


def check_judged(config: Any) -> None:
    """Refuse a run for serving where runs are compared by validation and test.

    Raises:
        InputError: names the key.

    """
    for key, value in (("sr_train_on", "training"), ("sr_final", False)):
        if config[key] not in (value, None):  # stock RecBole has no such key
            raise InputError(
                f"{key}: expected {value!r}, as trials are judged by validation and test, got "
                f"{config[key]!r}; drop it"
            )


def check_features(config: Config, dataset: Any) -> None:
    """Refuse features of items that a model of RecBole reads and that were not loaded.

    Raises:
        InputError: names the key, the feature and those there are.

    """
    own = model_keys(recboles_name(config.model_class))
    features = getattr(dataset, "item_feat", None)
    known = [] if features is None else sorted({*features.columns} - {config["ITEM_ID_FIELD"]})
    for key in own.keys() & {"selected_features", "item_attribute"}:
        for name in [config[key]] if isinstance(config[key], str) else config[key]:
            if name not in known:
                raise InputError(
                    f"{key}: expected columns of the items that are read, "
                    f"{', '.join(known) or 'none'}, got {name!r}; add it to load_col, as in "
                    f"load_col: {{item: [{config['ITEM_ID_FIELD']}, {name}]}}, or set {key}"
                )


def check_labels(config: Config, dataset: Any) -> None:
    """Refuse data without the labels that training or evaluation reads, and labels beyond 0 to 1.

    Raises:
        InputError: says which settings make labels, and which do without them.

    """
    label, columns = config["LABEL_FIELD"], list(dataset.inter_feat)
    unsampled = config["train_neg_sample_args"]["distribution"] == "none"
    trained = unsampled and reads_labels(config.model_class)
    evaluated = "labeled" in config["eval_args"]["mode"].values()
    if not (trained or evaluated):
        if config["threshold"]:
            ((column, least),) = config["threshold"].items()
            getLogger(__name__).warning(
                f"threshold: {config['model']} reads no labels, so that its loss counts all "
                "interactions alike; to leave out those below, set "
                f"val_interval: {{{column}: '[{least:g},inf)'}}"
            )
        return
    if label in columns:
        _check_probabilities(label, dataset)
        return
    reader = f"{config['model']} without negatives" if trained else "eval_args (mode): labeled"
    if label in columns_of(config.final_config_dict, "inter"):
        raise InputError(
            f"load_col (inter): expected {label}, the labels, for {reader}, got "
            f"{', '.join(columns)}; add {label}"
        )
    raise InputError(
        f"LABEL_FIELD: expected a column {label!r} of the interactions for {reader}, got "
        f"{', '.join(columns)}; set threshold, as in threshold: {{rating: 3}} with rating in "
        "load_col, for labels from a column, or sample negatives: train_neg_sample_args: "
        "{distribution: uniform, sample_num: 1}, eval_args: {mode: full}, metrics: [Recall, NDCG] "
        "and valid_metric: NDCG@10"
    )


def _check_probabilities(label: str, dataset: Any) -> None:
    """Refuse what no logistic loss can be of: RecBole trains on ratings and numbers of texts."""
    kind, values = dataset.field2type[label], dataset.inter_feat[label]
    if kind != FeatureType.FLOAT:
        raise InputError(
            f"LABEL_FIELD: expected a column of type float, got {label} of type {kind.value}; "
            f"write {label}:float in the header of its file"
        )
    beyond = values[(values < 0) | (values > 1)]
    if len(beyond):
        raise InputError(
            f"LABEL_FIELD: expected labels from 0 to 1 as {label}, got {beyond.iloc[0]:g}; for "
            f"labels from ratings set threshold, as in threshold: {{{label}: 3}}, and drop "
            "LABEL_FIELD"
        )


def check_parts(config: Config, training: Any) -> None:
    """Refuse lists longer than there are items, and a training part without interactions.

    Raises:
        InputError: names the key and the number.

    """
    items = training.item_num - 1  # without the padding
    if config["eval_type"] == EvaluatorType.RANKING and max(config["topk"]) > items:
        raise InputError(
            f"topk: expected at most {items}, the number of items in {config['dataset']}, got "
            f"{config['topk']}; lower it, and valid_metric with it"
        )
    if not len(training):
        raise InputError(
            f"eval_args: expected a split that leaves interactions to train on, got "
            f"{config['eval_args']['split']} of {config['dataset']}; raise the first ratio"
        )


def check_ranked(config: Config, model: Any, dataset: Any) -> None:
    """Refuse a ranking of all items by a model that reads more of an interaction than its ids.

    Raises:
        InputError: names the columns.

    """
    found = columns_of_interactions(model, dataset)
    if found and "full" in config["eval_args"]["mode"].values():
        raise InputError(
            f"load_col (inter): expected users and items alone for {config['model']}, as items "
            "that a user has no interaction with are ranked (eval_args: {mode: full}), got "
            f"{', '.join(found)} too; take that out, or set eval_args: {{mode: uni100}}"
        )
