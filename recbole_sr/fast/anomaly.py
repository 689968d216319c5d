"""Training without torch's anomaly detection, which RecBole switches on unasked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["no_stray_detection"]

_CULPRIT = "recbole.model.sequential_recommender.sine"


@contextmanager
def no_stray_detection() -> Iterator[None]:
    """Switch anomaly detection off for the block, where importing RecBole has switched it on.

    The module of SINE does so for the whole process, and comes with any sequential or
    knowledge-aware model. Each operation then keeps a traceback and each gradient is looked through
    for NaN. Where that module is not imported the setting is the user's and stays.

    Example:
        >>> with torch.autograd.set_detect_anomaly(True), no_stray_detection():
        ...     torch.is_anomaly_enabled() is (_CULPRIT not in sys.modules)
        True

    """
    if _CULPRIT not in sys.modules:
        yield
        return
    with torch.autograd.set_detect_anomaly(False):
        yield
