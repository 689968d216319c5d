"""All that is known of one model: its entry in the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from recbole_sr.errors import InputError
from recbole_sr.models.sources import Missing, Source

__all__ = ["GraphPath", "LayerPath", "ModelEntry"]


@dataclass(frozen=True)
class LayerPath:
    """The layers, or item tables, that lead from a user's items to the scores of all items.

    Attributes:
        modules: paths of the modules with these linear layers, in order; empty for item tables
            alone.
        activation: between them: ``tanh``, ``relu``, ``swish``, or the model's attribute that has
            its name, which is a key too.
        zeroed: paths of other parameters that would change the scores and are set to zero: tables
            whose rows are added to what the first layer returns, weights of an attention.
        input_table: path of the table of items that takes the first layer's place: the rows of a
            user's items are summed; None where the modules have that layer.
        output_table: path of the table of items whose rows are the last layer; None where the
            modules have that layer.
        length_powers: names of settings; the summed rows are divided by the number of a user's
            items to the power of their sum.
        item_modules: paths of the modules with the linear layers from an item's users to its
            vector, which is multiplied with the user's; empty without such a tower.
        needs: settings under which this is the path, as name and value.

    Example:
        >>> LayerPath(("h_item", "out_layer"), "hid_activation").activation
        'hid_activation'

    """

    modules: tuple[str, ...]
    activation: str = "tanh"
    zeroed: tuple[str, ...] = ()
    input_table: str | None = None
    output_table: str | None = None
    length_powers: tuple[str, ...] = ()
    item_modules: tuple[str, ...] = ()
    needs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphPath:
    """A table averaged over neighbours, ReLU, a linear layer, and scores of two vectors.

    Attributes:
        table: path of the table with a row for each user and then for each item.
        layer: path of the layer.
        bilinear: path of the first of the matrices between a user's and an item's vector.
        logits: path of the weights from their products to the logits of no and of yes.
        needs: settings under which this is the path, as name and value.

    """

    table: str
    layer: str
    bilinear: str
    logits: str
    needs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelEntry:
    """What is known of one model.

    A model of one's own returns one from its class method ``sr_representations``, where the first
    few attributes are enough; ``recbole_sr.Representations`` is the same class.

    Attributes:
        user: source of the user side.
        item: source of the item side.
        loss: path of the module that is called once a step and returns the recommendation loss, a
            function of the dot products of these representations alone, so that ``sr_loss`` can
            take its place; None where a model has no such module.
        sole_loss: whether a step calculates nothing but that loss, and from tables. Where another
            takes its place the model's own code then does not run: nobody would use its scores.
        summed: whether the model's loss is a sum over the rows of its batch, not their mean, or a
            function of the model that says so, where its stages differ. The penalty is then that
            many times as large, so that a weight means the same as in any other model.
        parallel: whether several processes can calculate the loss together, each of a part of the
            batch's rows: it is a mean, or by ``summed`` a sum, of what each row has, beside
            RecBole's ``EmbLoss`` and penalties of parameters.
        of_parameters: names of the model's methods that return a penalty of parameters, which a
            summed loss adds once a batch, however many rows it has.
        columns: whether several processes can each have some columns of the tables: they are
            propagated by linear layers at most, and their dot products go to the module ``loss``
            alone.
        layers: paths of the linear layers between the tables and the score, which the spectral
            initialisation lets pass on what enters, instead of mixing it at random.
        layer_path: of a model without tables of both sides, the way that the spectral
            initialisation fills; None where there is none.
        needs: settings that this entry is right for, as name and permitted value.
        pretrained: a setting, as name and value, by which the model begins with the tables of
            another run's file.
        propagation: how the model propagates, where the fast path has a faster way to the same:
            ``layer mean`` is the mean over the powers of one constant symmetric matrix, ``graph``
            makes such a matrix, ``sampled graphs`` makes a new one for each epoch.
        mixed_precision: whether torch can train the model in mixed precision: ``yes``, ``no``, or
            ``fast path`` where only the faster propagation can.
        repairs: mixins of what the model needs to run on today's packages.
        extra: the extra of this package that installs what the model imports.
        note: what else a user of the model must know.

    Raises:
        InputError: both sides are missing, ``loss`` beside a side that is none of one matrix, or
            ``sole_loss`` beside a source that reads what the model's code calculates.

    Example:
        >>> from recbole_sr.models.sources import Table
        >>> ModelEntry(Table("user_embedding"), Table("item_embedding")).side("user").about
        'rows of user_embedding'

    """

    user: Source
    item: Source
    loss: str | None = None
    sole_loss: bool = False
    summed: bool | Callable[[Any], bool] = False
    parallel: bool = False
    of_parameters: tuple[str, ...] = ()
    columns: bool = False
    layers: tuple[str, ...] = ()
    layer_path: LayerPath | GraphPath | None = None
    needs: Mapping[str, Any] = field(default_factory=dict)
    pretrained: tuple[str, Any] | None = None
    propagation: Literal["layer mean", "graph", "sampled graphs"] | None = None
    mixed_precision: Literal["yes", "fast path", "no"] = "yes"
    repairs: tuple[type, ...] = ()
    extra: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.user, Missing) and isinstance(self.item, Missing):
            raise InputError(
                "Representations: expected a side that has some, got Missing for both; name the "
                "tables of one"
            )
        for name in ("user", "item") if self.loss else ():
            if not self.side(name).single:
                raise InputError(
                    f"Representations (loss): expected one matrix of the {name}s, of whose dot "
                    f"products the loss is a function, got {self.side(name).about}; drop loss"
                )
        if self.sole_loss and (self.user.computed or self.item.computed):
            raise InputError(
                "sole_loss: expected False where a source reads what the model's code calculates, "
                f"got True with users from {self.user.about} and items from {self.item.about}; "
                "drop it"
            )

    def side(self, name: str) -> Source:
        """The source of ``user`` or ``item``."""
        return self.user if name == "user" else self.item

    def is_summed(self, model: nn.Module) -> bool:
        """Whether the model's loss is a sum over the rows of its batch."""
        return self.summed(model) if callable(self.summed) else self.summed

    def terms(self, model: nn.Module, batch: Any) -> int:
        """How many terms of a batch the model's loss adds up; 1 where it is their mean."""
        return len(batch) if self.is_summed(model) else 1
