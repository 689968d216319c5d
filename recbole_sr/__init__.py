"""Stable-rank warm starts and spectral initialisation for 76 models of RecBole.

Method: Loveland et al., "Understanding and Scaling Collaborative Filtering Optimization from the
Perspective of Matrix Rank", WWW 2025, doi 10.1145/3696410.3714904.

A property file names phases, a phase is an objective on the batch's user and item representations,
and everything else is RecBole's. A room imports only from rooms below it:

==================  ==============================================================================
``study``           comparisons with a baseline, tuning, statistics, reports
``serve``           events to data sets, checkpoints to lists and vectors
``training``        the pipeline and the trainer with phases
``runs``            checkpoints, resuming, what a run leaves on disk
``config``          property keys, recipes, data files
``models``          what is known of each model, and the method inside one
``init``            spectral initialisation
``fast``            fast loaders, ranking, optimiser and propagation
``distributed``     several processes that train one model
``objectives``      stable rank, losses, regularisers, phases
``recbole_compat``  what RecBole needs on today's packages
==================  ==============================================================================

The names below are imported on first use, so that the mathematics can be used without paying for
RecBole's own imports.
"""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

# The command line cannot catch what its own import raises: Ctrl-C ends it at once until it can,
# and a refusal is one sentence.
_name = Path(sys.argv[0]).name if sys.argv else ""
_is_command = _name in ("recbole-sr", "recbole-sr.exe", "run_recbole_sr.py") or (
    _name == "-m" and "recbole_sr" in sys.orig_argv
)
if _is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from recbole_sr.errors import InputError  # noqa: E402
from recbole_sr.recbole_compat.versions import refuse_unsupported_packages  # noqa: E402

if TYPE_CHECKING:
    from recbole_sr.config.config import Config
    from recbole_sr.models.entry import ModelEntry as Representations
    from recbole_sr.models.inject import inject, with_representations
    from recbole_sr.models.sources import Encoded, Missing, Propagated, Table
    from recbole_sr.objectives.stable_rank import stable_rank
    from recbole_sr.runs.export import export
    from recbole_sr.serve.embeddings import embeddings
    from recbole_sr.serve.events import prepare
    from recbole_sr.serve.recommend import recommend
    from recbole_sr.study.compare import compare
    from recbole_sr.study.report.page import report
    from recbole_sr.training.experiment import (
        load_data_and_model,
        objective_function,
        resume,
        run_recbole_sr,
    )
    from recbole_sr.training.trainer import inject_trainer

__version__ = "0.1.0"

__all__ = [
    "prepare",
    "run_recbole_sr",
    "resume",
    "objective_function",
    "load_data_and_model",
    "recommend",
    "embeddings",
    "export",
    "compare",
    "report",
    "Config",
    "InputError",
    "inject",
    "inject_trainer",
    "with_representations",
    "stable_rank",
    "Representations",
    "Table",
    "Propagated",
    "Encoded",
    "Missing",
]

_HOME = {
    "prepare": "serve.events",
    "run_recbole_sr": "training.experiment",
    "resume": "training.experiment",
    "objective_function": "training.experiment",
    "load_data_and_model": "training.experiment",
    "embeddings": "serve.embeddings",
    "recommend": "serve.recommend",
    "export": "runs.export",
    "compare": "study.compare",
    "report": "study.report.page",
    "Config": "config.config",
    "inject": "models.inject",
    "inject_trainer": "training.trainer",
    "with_representations": "models.inject",
    "stable_rank": "objectives.stable_rank",
    "Representations": "models.entry",
    "Table": "models.sources",
    "Propagated": "models.sources",
    "Encoded": "models.sources",
    "Missing": "models.sources",
}
_NAMED_OTHERWISE = {"Representations": "ModelEntry"}

try:
    refuse_unsupported_packages()
except InputError as refusal:
    if not _is_command:
        raise
    print(f"recbole-sr: {refusal}", file=sys.stderr)
    sys.exit(2)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'recbole_sr' has no attribute {name!r}")
    home = importlib.import_module(f"recbole_sr.{_HOME[name]}")
    return getattr(home, _NAMED_OTHERWISE.get(name, name))
