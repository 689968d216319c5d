"""Keys validated by pydantic, and its findings as one sentence."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recbole_sr.config.files import is_quoted_number
from recbole_sr.errors import InputError, nearest

__all__ = [
    "Count",
    "Finite",
    "Natural",
    "NotNegative",
    "Positive",
    "SubKeys",
    "Text",
    "validated",
]

_MOST = 2**31 - 1  # of what is counted; torch and pandas overflow on more than 63 bits
Count = Annotated[int, Field(ge=1, le=_MOST)]
Natural = Annotated[int, Field(ge=0, le=_MOST)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Model = TypeVar("Model", bound=BaseModel)

# What pydantic says, and what a user reads.
_WORDS = {
    r"^Value error, ": "",
    r"^Field required": "it to be there",
    r"^(Input|List|String|Dictionary) should (be |have )?": "",
    r" after validation, not .*": "",
    r"a valid dictionary( or instance of \w+)?": "a mapping such as {key: value}",
    r"greater than or equal to": "at least",
    r"less than or equal to": "at most",
}

_TYPE = re.compile(r"(constrained-)?(int|float|str|bool)$|.*\[")  # as pydantic names them


class SubKeys(BaseModel):
    """A key that is a mapping: each of its own keys is known and checked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, keys: Any) -> Any:
        for key in keys if isinstance(keys, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(
                    f"only {', '.join(cls.model_fields)} in it, got {key!r} (did you mean "
                    f"{nearest(str(key), cls.model_fields)!r}?)"
                )
        return keys


def validated(model: type[Model], keys: Mapping[str, Any]) -> Model:
    """The keys as pydantic's model of them.

    Raises:
        InputError: the first finding: the key, what was expected, what was got.
    """
    try:
        return model.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
    key, *inside = map(str, first["loc"])
    expected = first["msg"]
    for pattern, words in _WORDS.items():
        expected = re.sub(pattern, words, expected)
    places = [part for part in inside if not _TYPE.match(part)]
    where = f"{key} ({', '.join(places)})" if places else key
    got = first["input"]
    advice = "; drop the quotes" if is_quoted_number(got) else ""
    raise InputError(f"{where}: expected {expected}, got {reprlib.repr(got)}{advice}")
