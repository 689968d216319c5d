from __future__ import annotations

from pathlib import Path

import pytest

from recbole_sr.catalogue import lines
from recbole_sr.cli import main
from recbole_sr.representation import REFUSED, REPRESENTATIONS

README = Path(__file__).parents[1] / "README.md"


def test_the_command_lists_every_model_once(capsys):
    assert main(["models"]) == 0
    shown = [line.split(" | ")[0][2:] for line in capsys.readouterr().out.splitlines() if line]
    listed = [name for name in shown if name not in ("Model", "Refused", "---")]
    assert listed == [*REPRESENTATIONS, *REFUSED]


def test_the_readme_shows_what_the_command_prints():
    text = README.read_text(encoding="utf-8")
    shown = text.split("<!-- models -->\n")[1].split("\n<!-- /models -->")[0]
    assert shown == "\n".join(lines()), "put the output of `recbole-sr models` into README.md"


def test_a_stray_argument_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["models", "BPR"])
    assert ended.value.code == 2
    assert "unrecognized arguments: BPR" in capsys.readouterr().err
