"""A checkpoint for RecBole itself, from one of ours."""

from __future__ import annotations

import os

import recbole.config
import torch

from recbole_sr.config.config import Config, without_sr
from recbole_sr.errors import InputError, check_output
from recbole_sr.runs import checkpoint
from recbole_sr.runs.files import replacing

__all__ = ["export"]


def export(model_file: str | os.PathLike[str], exported_file: str | os.PathLike[str]) -> None:
    """Write the checkpoint that RecBole would have written for the same model.

    RecBole's ``load_data_and_model`` needs its ``Config`` as an object, hence a pickle: on
    torch >= 2.6 it reads the file, as any of its own, only where the environment variable
    ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1`` is set. recbole_sr itself refuses to read it.

    Args:
        model_file: path of a checkpoint of this package.
        exported_file: where to; nothing is there yet.

    Raises:
        InputError: ``model_file`` is not a checkpoint of this package, its model scores as RecBole
            cannot, there is no such folder, or something has the name ``exported_file`` already.

    Example:
        >>> export("saved/BPR.pth", "recboles.pth")  # doctest: +SKIP

    """
    place = check_output(exported_file)
    state = checkpoint.read_model(model_file)
    keys = ("epoch", "cur_step", "best_valid_score", "state_dict", "other_parameter", "optimizer")
    exported = {name: getattr(state, name) for name in keys}
    with checkpoint.restoring(model_file):
        ours = Config.from_plain(state.config)
        if ours.options.popularity:
            raise InputError(
                f"{model_file}: expected sr_popularity: 0, as RecBole scores by dot products, got "
                f"{ours.options.popularity:g}; serve it with recbole-sr recommend or embeddings"
            )
        exported["config"] = _stock_config(ours)
    with replacing(place) as file:
        torch.save(exported, file)


def _stock_config(ours: Config) -> recbole.config.Config:
    stock = recbole.config.Config.__new__(recbole.config.Config)
    stock.__dict__ = {name: value for name, value in vars(ours).items() if name != "options"}
    stock.yaml_loader = stock._build_yaml_loader()  # ours would need this package where it is read
    stock.final_config_dict = without_sr(ours.final_config_dict)
    return stock
