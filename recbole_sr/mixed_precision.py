"""Models that cannot train in mixed precision, found by trying each."""

from __future__ import annotations

from typing import Any

from recbole_sr.errors import InputError
from recbole_sr.fast.propagation import accelerated
from recbole_sr.representation import is_recboles

__all__ = ["check_mixed_precision"]

# torch 2.13 multiplies, or differentiates, sparse matrices of coordinates in single precision
# alone; RepeatNet scatters numbers of two precisions into one another.
_UNABLE = {
    "DGCF", "GCMC", "KGAT", "KGIN", "LightGCN", "MCCLK", "NCL", "NGCF", "RepeatNet", "SGL",
    "SpectralCF",
}  # fmt: skip


def check_mixed_precision(config: Any) -> None:
    """Refuse mixed precision where the model's operations have none.

    Args:
        config: a :class:`~recbole_sr.config.Config`.

    Raises:
        InputError: ``enable_amp`` with such a model.

    """
    name = config["model"]
    unable = name in _UNABLE and is_recboles(config.model_class)
    if config["enable_amp"] and unable and not _by_fast(config):
        raise InputError(
            f"enable_amp: expected False for {name}, {_why(config)}, got True; drop the key"
            + (", or set sr_fast: True" if _by_fast(config, fast=True) else "")
        )


def _by_fast(config: Any, fast: bool | None = None) -> bool:
    return config["model"] != "NCL" and accelerated(config, fast)


def _why(config: Any) -> str:
    if accelerated(config):
        return "whose trainer asks for it on GPUs alone, where it has not been tried"
    return "as torch has no half precision for RecBole's propagation or scattering in it"
