"""Which data loaders serve an experiment: ours where they can, RecBole's everywhere else."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import recbole.data
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.utils import create_samplers, get_dataloader
from recbole.evaluator.register import Register
from recbole.utils import InputType, ModelType

from recbole_sr.errors import InputError
from recbole_sr.fast.loader import TrainLoader
from recbole_sr.fast.pairs import Pairs
from recbole_sr.fast.ranking import FullSortLoader
from recbole_sr.fast.sampler import (
    NegativeSampler,
    popularity_weights,
    refuse_without_negatives,
)

__all__ = ["data_preparation"]

_PHASES = ("train", "valid", "test")


def data_preparation(config: Any, dataset: Any) -> tuple[Any, Any, Any]:
    """RecBole's ``data_preparation``, with the same split and faster loaders.

    Where one of our loaders cannot serve, RecBole's is taken and the log says why.
    """
    whole = _whole(config)
    whys = {
        "train": whole or _training(config),
        "valid": whole or _evaluation(config, "valid"),
        "test": whole or _evaluation(config, "test"),
    }
    if config["sr_rank_validation_items"] and whys["test"]:
        raise InputError(
            "sr_rank_validation_items: expected the fast path's evaluation with it, got RecBole's "
            f"own, for {whys['test']}; drop the key"
        )
    for reason in sorted({reason for reason in whys.values() if reason}):
        phases = [phase for phase in _PHASES if whys[phase] == reason]
        getLogger().info(f"sr_fast: RecBole's own loader for {', '.join(phases)}, for {reason}")
    if whole:
        return recbole.data.data_preparation(config, dataset)
    parts = dataset.build()
    samplers = create_samplers(config, dataset, parts) if any(whys.values()) else (None,) * 3
    train, valid, test = (
        get_dataloader(config, phase)(
            config, part, sampler, shuffle=phase == "train" and config["shuffle"]
        )
        if whys[phase]
        else _OURS[phase](config, parts)
        for phase, part, sampler in zip(_PHASES, parts, samplers, strict=True)
    )
    return train, valid, test


def _whole(config: Any) -> str | None:
    """Why RecBole must prepare everything; None where it need not."""
    reasons = {
        "saved data loaders": config["save_dataloaders"],
        f"a model of type {config['MODEL_TYPE'].name}": config["MODEL_TYPE"] != ModelType.GENERAL,
        "distributed training": not config["single_spec"],
        "repeatable recommendation": config["repeatable"],
        "worker processes": config["worker"],
        "a transform": config["transform"],
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _training(config: Any) -> str | None:
    arguments = config["train_neg_sample_args"]
    if get_dataloader(config, "train") is not TrainDataLoader:
        return "a loader of the model's own"
    if config["MODEL_INPUT_TYPE"] not in (InputType.PAIRWISE, InputType.POINTWISE):
        return f"input of type {config['MODEL_INPUT_TYPE'].name}"
    if arguments["distribution"] not in ("none", "uniform", "popularity"):
        return f"negatives of distribution {arguments['distribution']}"
    if arguments.get("dynamic"):
        return "dynamic negatives"
    return None


def _evaluation(config: Any, phase: str) -> str | None:
    if get_dataloader(config, phase) is not FullSortEvalDataLoader:
        return "evaluation on sampled items"
    register = Register(config)
    if register.need("rec.meanrank") or register.need("rec.score"):
        return "metrics of all scores"
    return None


def _train_loader(config: Any, parts: list[Any]) -> TrainLoader:
    part = parts[0]
    arguments = config["train_neg_sample_args"]
    if arguments["distribution"] == "none":
        return TrainLoader(config, part, None, shuffle=config["shuffle"])
    users, items = (
        [each.inter_feat[field] for each in parts] for field in (part.uid_field, part.iid_field)
    )
    # Like RecBole, refuse also who has everything only with validation and test.
    everywhere = Pairs(torch.cat(users), torch.cat(items), part.item_num)
    refuse_without_negatives(everywhere, part.user_num, part.item_num - 1)
    weights = None
    if arguments["distribution"] == "popularity":  # of all three parts, as in RecBole
        weights = popularity_weights(torch.cat(items), part.item_num, arguments["alpha"])
    positives = Pairs(users[0], items[0], part.item_num, config["device"])
    negatives = NegativeSampler(positives, part.user_num, weights)
    return TrainLoader(config, part, negatives, shuffle=config["shuffle"])


def _left_out_in_test(config: Any, parts: list[Any]) -> list[Any]:
    """The parts whose items a user's test ranking leaves out, unless they are to be found."""
    return [parts[0], parts[2]] if config["sr_rank_validation_items"] else parts


_OURS: dict[str, Any] = {
    "train": _train_loader,
    "valid": lambda config, parts: FullSortLoader(config, parts[1], parts[:2]),
    "test": lambda config, parts: FullSortLoader(
        config, parts[2], _left_out_in_test(config, parts)
    ),
}
