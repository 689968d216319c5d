"""``recbole-sr models``: which models can be regularised, and what of them is."""

from __future__ import annotations

from collections.abc import Iterator

from recbole.utils import get_model, get_trainer

from recbole_sr.representation import REFUSED, REPRESENTATIONS

__all__ = ["lines"]


def lines() -> Iterator[str]:
    """The models of RecBole as tables in Markdown, line by line.

    Example:
        >>> next(lines())
        '| Model | Family | User side | Item side | Trainer | Status |'

    """
    yield from _row("Model", "Family", "User side", "Item side", "Trainer", "Status")
    yield from _row(*["---"] * 6)
    for name, where in REPRESENTATIONS.items():
        kind = get_model(name).type
        trainer = get_trainer(kind, name).__name__
        yield from _row(name, kind.name.lower(), where.user.about, where.item.about, trainer,
                        "; ".join(_status(name)))  # fmt: skip
    yield ""
    yield from _row("Refused", "Why, and what to do instead")
    yield from _row("---", "---")
    for name, reason in REFUSED.items():
        yield from _row(name, reason)


def _status(name: str) -> Iterator[str]:
    where = REPRESENTATIONS[name]
    yield "supported"
    if where.note:
        yield where.note
    yield from (f"`{key}: {value}` only" for key, value in where.needs.items())


def _row(*cells: str) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
