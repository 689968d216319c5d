"""``recbole-sr models``: which models can be regularised, and what of them is."""

from __future__ import annotations

from recbole.utils import get_model, get_trainer
from tabulate import tabulate

from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.registry import MODELS, SUPPORTED

__all__ = ["page"]


_HEAD = """# Models

What is regularised of each model of RecBole. "Propagated" is what the model's graph layers return.
"What enters" a layer is the user's hidden state, and the rows of that layer are the items.

"""


def page() -> str:
    """``docs/models.md``: the models of RecBole, supported and refused, as tables in Markdown."""
    head = ("Model", "Family", "User side", "Item side", "Trainer", "Status")
    supported = [_row(name, entry) for name, entry in SUPPORTED.items()]
    refused = [(name, reason) for name, reason in MODELS.items() if isinstance(reason, str)]
    return (
        _HEAD
        + tabulate(supported, head, "github")
        + "\n\n"
        + tabulate(refused, ("Refused", "Why, and what to do instead"), "github")
        + "\n"
    )


def _row(name: str, entry: ModelEntry) -> tuple[str, ...]:
    kind = get_model(name).type
    extra = entry.extra and f"needs the extra `{entry.extra}`"
    needs = [f"`{key}: {value}` only" for key, value in entry.needs.items()]
    return (
        name,
        kind.name.lower(),
        entry.user.about,
        entry.item.about,
        get_trainer(kind, name).__name__,
        "; ".join(filter(None, ["supported", entry.note, extra, *needs])),
    )
