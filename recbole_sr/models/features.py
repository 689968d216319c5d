"""What a model reads beside users, items and their features."""

from __future__ import annotations

from typing import Any

__all__ = ["columns_of_interactions"]

# What RecBole's models of features read.
_FIELDS = [f"{kind}_field_names" for kind in ("token", "float", "token_seq", "float_seq")]


def columns_of_interactions(model: Any, dataset: Any) -> list[str]:
    """The columns of single interactions that a model scores with, as a rating or a time.

    Without an interaction there is nothing to read there, so that no lists can be made.

    Args:
        model: the recommender.
        dataset: RecBole's, of its interactions and features.

    """
    own = [dataset.uid_field, dataset.iid_field]
    features = (dataset.user_feat, dataset.item_feat)
    known = {*own, *(name for part in features if part is not None for name in part.columns)}
    return [name for kind in _FIELDS for name in getattr(model, kind, ()) if name not in known]
