"""The GELU of RecBole's transformers by one operation of torch in place of six."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.functional import gelu

__all__ = ["fuse_gelu"]


def fuse_gelu(model: nn.Module) -> None:
    r"""Have feed-forward layers compute :math:`x \Phi(x)` at once; rounded differently, no more.

    RecBole writes it out, so that each term is a tensor of its own that the gradient needs.

    Args:
        model: RecBole's; its feed-forward layers of another activation stay as they are.

    Example:
        >>> from recbole.model.layers import FeedForward
        >>> layer = FeedForward(4, 8, 0.0, "gelu", 1e-12)
        >>> fuse_gelu(layer)
        >>> layer.intermediate_act_fn is gelu
        True

    """
    module: Any
    for module in model.modules():
        own = getattr(module, "gelu", None)
        if own and getattr(module, "intermediate_act_fn", None) == own:
            module.intermediate_act_fn = gelu
