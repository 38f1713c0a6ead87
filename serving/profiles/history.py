"""A shopper's history, and a batch of histories as the recommenders take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from components.data.attribute_codes import UserAttributes, Vocabulary
from components.data.dataset import Histories

NO_CODES = np.empty(0, dtype=np.int32)
EXPLAINED = 50
"""The newest so many events may be named as the reason of an item."""


@dataclass(frozen=True)
class History:
    """A shopper's history in the codes of a model, oldest first.

    items: int32 (n,). times: int64 (n,) seconds. now: seconds, not before any event.
    events: what the newest EXPLAINED of the stored ones were, by item code ("purchase", …).
    ratings: float32 (n,), NaN where an event has none; None where no event has one.
    attributes: int32 (n,), codes of the shopper's attributes in the model's vocabulary.
    """

    items: np.ndarray
    times: np.ndarray
    now: int
    events: dict[int, str]
    ratings: np.ndarray | None = None
    attributes: np.ndarray | None = None


def stack(histories: Sequence[History], vocabulary: Vocabulary | None = None) -> Histories:
    """Return a batch of histories as the recommenders take them.

    vocabulary: of the shoppers' attributes; None: they do not matter.
    """
    lengths = [len(one.items) for one in histories]
    return Histories(
        np.concatenate([one.items for one in histories]).astype(np.int32, copy=False),
        np.concatenate([one.times for one in histories]).astype(np.int64, copy=False),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([one.now for one in histories], dtype=np.int64),
        _ratings(histories),
        None if vocabulary is None else _attributes(histories, vocabulary),
    )


def _attributes(histories: Sequence[History], vocabulary: Vocabulary) -> UserAttributes | None:
    """Return the attributes of all histories, None where no history has any."""
    codes = [NO_CODES if one.attributes is None else one.attributes for one in histories]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in codes])])
    if not offsets[-1]:
        return None
    flat = np.concatenate(codes)
    ones = np.ones(len(flat), dtype=np.float32)
    shape = (len(histories), len(vocabulary))
    return UserAttributes(sp.csr_matrix((ones, flat, offsets), shape=shape), vocabulary)


def _ratings(histories: Sequence[History]) -> np.ndarray | None:
    """Return float32 (events,) of all histories, None where no history has a rating."""
    if all(one.ratings is None for one in histories):
        return None
    parts = [
        np.full(len(one.items), np.nan, np.float32) if one.ratings is None else one.ratings
        for one in histories
    ]
    return np.concatenate(parts).astype(np.float32, copy=False)
