"""Options of a command and properties on one line."""

from itertools import chain

import pytest

from recbole_sr.arguments import parse
from recbole_sr.compare import _parser

SAMPLING = "{'distribution': 'uniform', 'sample_num': 4}"


@pytest.mark.parametrize("place", range(4))
def test_a_property_with_spaces_is_one_wherever_it_stands(place):
    options = [["--seeds", "2"], ["--variants", "a.yaml", "b.yaml"], ["--baseline", "c.yaml"]]
    options.insert(place, [f"--train_neg_sample_args={SAMPLING}"])
    given, properties = parse(_parser(), list(chain(*options)))
    assert properties == {"train_neg_sample_args": SAMPLING}
    assert (given.seeds, given.variants, given.baseline) == (2, ["a.yaml", "b.yaml"], "c.yaml")


def test_an_option_may_be_joined_to_its_value():
    given, properties = parse(_parser(), ["--config_files=a.yaml b.yaml", "--epochs=3"])
    assert given.config_files == "a.yaml b.yaml"
    assert properties == {"epochs": "3"}


@pytest.mark.parametrize("stray", ["--epochs", "epochs=3"])
def test_what_is_neither_is_refused(stray, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(_parser(), ["--seeds", "2", stray])
    assert ended.value.code == 2
    assert f"expected --key=value for every property, got '{stray}'" in capsys.readouterr().err
