"""For tests of whole runs."""

from __future__ import annotations

import psutil
import pytest


@pytest.fixture(autouse=True)
def _no_second_at_the_end(monkeypatch):
    """RecBole's table of the environment measures the processor for a second after each run."""
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval=None: 0.0)
