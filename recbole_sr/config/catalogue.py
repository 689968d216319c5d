"""``recbole-sr models``: what of each model can be regularised, and what is on by default."""

from __future__ import annotations

import re

from recbole.utils import get_model, get_trainer
from tabulate import tabulate

from recbole_sr.config.files import read_shipped
from recbole_sr.config.shipped import properties_folder
from recbole_sr.models.entry import ModelEntry
from recbole_sr.models.registry import MODELS, SUPPORTED

__all__ = ["page"]


_PRECISION = {
    "yes": "",
    "fast path": "mixed precision by `sr_fast` alone",
    "no": "no mixed precision",
}
_HEAD = """# Models

The table shows what is regularised of each model of RecBole, and the recipe it has by default.
"Propagated" is what the model's graph layers return.
"What enters" a layer is the user's hidden state, and the rows of that layer are the items.
A recipe is the property files that set a model's keys, the gain what it brought over stock RecBole.
The method is off where nothing was measured to rank better; a run names the files that turn it on.
"`sr_loss`" in the status says that the model's loss can be replaced, and alignment added.
Models with "several processes" in their status can be trained by several, the others by one.

"""


def page() -> str:
    """``docs/models.md``: the models of RecBole, supported and refused, as tables in Markdown."""
    head = ("Model", "Family", "User side", "Item side", "Recipe", "Gain", "Status")
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
    trainer = get_trainer(kind, name).__name__
    own = f"trained by {trainer}" if trainer != "Trainer" else ""
    several = "several processes" if entry.parallel else ""
    divided = "also by columns" if entry.columns else ""
    precision = _PRECISION[entry.mixed_precision]
    extra = entry.extra and f"needs the extra `{entry.extra}`"
    loss = "`sr_loss`" if entry.loss else ""
    needs = [f"`{key}: {value}` only" for key, value in entry.needs.items()]
    return (
        name,
        kind.name.lower(),
        entry.user.about,
        entry.item.about,
        _recipe(name),
        _gain(name),
        "; ".join(
            filter(
                None,
                ["supported", loss, several, divided, precision, own, entry.note, extra, *needs],
            )
        ),
    )


def _gain(name: str) -> str:
    """What the model's property file says that was measured."""
    file = properties_folder() / "model" / f"{name}.yaml"
    text = file.read_text("utf-8") if file.is_file() else ""
    found = re.search(r"^# Measured: (.+?)\.?$", text, re.MULTILINE)
    return found[1] if found else "not measured"


def _recipe(name: str) -> str:
    _, origins = read_shipped(f"model/{name}.yaml")
    files = {file: None for key, file in origins.items() if key.startswith("sr_")}
    return ", ".join(files) or "off"
