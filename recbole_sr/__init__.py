"""Warm starts for 76 models of RecBole: stable-rank regularisation and a spectral start.

Method: Loveland et al., "Understanding and Scaling Collaborative Filtering Optimization from the
Perspective of Matrix Rank", WWW 2025, doi 10.1145/3696410.3714904.

The names below are imported on first use, so that the mathematics can be used without paying for
RecBole's own imports.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from recbole_sr.compat import refuse_unsupported_packages

if TYPE_CHECKING:
    from recbole_sr.config import Config
    from recbole_sr.model import inject
    from recbole_sr.quick_start import load_data_and_model, objective_function, run_recbole_sr
    from recbole_sr.sources import Encoded, Missing, Propagated, Representations, Table
    from recbole_sr.spectral import stable_rank
    from recbole_sr.trainer import inject_trainer

__version__ = "0.1.0"

__all__ = [
    "run_recbole_sr",
    "objective_function",
    "load_data_and_model",
    "Config",
    "inject",
    "inject_trainer",
    "stable_rank",
    "Representations",
    "Table",
    "Propagated",
    "Encoded",
    "Missing",
]

_HOME = {
    "run_recbole_sr": "quick_start",
    "objective_function": "quick_start",
    "load_data_and_model": "quick_start",
    "Config": "config",
    "inject": "model",
    "inject_trainer": "trainer",
    "stable_rank": "spectral",
    "Representations": "sources",
    "Table": "sources",
    "Propagated": "sources",
    "Encoded": "sources",
    "Missing": "sources",
}

refuse_unsupported_packages()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'recbole_sr' has no attribute {name!r}")
    return getattr(importlib.import_module(f"recbole_sr.{_HOME[name]}"), name)
