"""Training once more on all interactions, for a model that is to serve."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction

from recbole_sr.config.config import Config
from recbole_sr.config.plain import to_plain

__all__ = ["SUFFIX", "final_config", "join_parts"]

SUFFIX = "-final"  # of the files' names, behind the name of the run that chose the epochs


def join_parts(dataset: Any) -> None:
    """Have a data set's training part hold the interactions of all parts, once it is split.

    Args:
        dataset: RecBole's, before ``build``.

    """
    build = dataset.build

    def build_joined() -> list[Any]:
        del dataset.build  # the parts are copies, which need none of this
        training, *others = build()
        parts = [part.inter_feat for part in (training, *others)]
        # Not by RecBole's `cat_interactions`, whose columns are in another order in each process.
        columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return [training.copy(Interaction(columns)), *others]

    dataset.build = build_joined


def final_config(config: Config, epochs: int, switch_epoch: int | None) -> Config:
    """The configuration that trains as a run's best model was trained, but on all interactions.

    Args:
        config: the run's.
        epochs: that its best model had; 0 where that is the untrained one.
        switch_epoch: the first epoch of its main phase; None where there was no switch.

    """
    settings = to_plain(config.final_config_dict)
    settings |= {
        "epochs": epochs,
        "sr_final": False,
        "sr_keep_untrained": False,
        "sr_switch": "epochs",
        "sr_train_on": "all",
    }
    if switch_epoch is not None:  # one more than the key says under sr_published
        settings["sr_warm_epochs"] = switch_epoch - config.options.sr_published
    return Config.from_plain(settings, config.model_class)
