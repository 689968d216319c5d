"""Shared by the tests of lists and vectors."""

from __future__ import annotations

import pytest
from contract import settings_of

from recbole_sr.config.config import Config
from recbole_sr.serve import scores
from recbole_sr.training.experiment import prepare


@pytest.fixture
def serve(tiny, monkeypatch):
    """An experiment that is taken for the one of any checkpoint."""

    def make(model, **settings):
        made = prepare(Config(model, "tiny", config_dict={**settings_of(model, tiny), **settings}))
        monkeypatch.setattr(scores, "load_data_and_model", lambda *_: (*made,))
        return made

    return make
