"""Validation errors as one sentence: the key, what was expected, what was got."""

from __future__ import annotations

import re

from pydantic import ValidationError

__all__ = ["sentence"]

_CHATTER = r"^(Value error, )?((Input|List|String) should (be |have )?)?| after validation, not \d+"


def sentence(error: ValidationError) -> str:
    """The first of pydantic's findings, in one sentence."""
    first = error.errors()[0]
    key, *inside = map(str, first["loc"])
    expected = re.sub(_CHATTER, "", first["msg"])
    where = f"{key} ({', '.join(part for part in inside if part != '[key]')})" if inside else key
    return f"{where}: expected {expected}, got {first['input']!r}"
