"""Keys validated by pydantic, and its findings as one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from recbole_sr.errors import InputError

__all__ = ["NotNegative", "Positive", "validated"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Model = TypeVar("Model", bound=BaseModel)

_CHATTER = r"^(Value error, )?((Input|List|String) should (be |have )?)?| after validation, not \d+"


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
    expected = re.sub(_CHATTER, "", first["msg"])
    where = f"{key} ({', '.join(part for part in inside if part != '[key]')})" if inside else key
    raise InputError(f"{where}: expected {expected}, got {first['input']!r}")
