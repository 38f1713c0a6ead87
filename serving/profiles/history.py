"""A shopper's history, and a batch of histories as the recommenders take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.data.dataset import Histories

EXPLAINED = 50
"""The newest so many events may be named as the reason of an item."""


@dataclass(frozen=True)
class History:
    """A shopper's history in the codes of a model, oldest first.

    items: int32 (n,). times: int64 (n,) seconds. now: seconds, not before any event.
    events: what the newest EXPLAINED of the stored ones were, by item code ("purchase", …).
    ratings: float32 (n,), NaN where an event has none; None where no event has one.
    """

    items: np.ndarray
    times: np.ndarray
    now: int
    events: dict[int, str]
    ratings: np.ndarray | None = None


def stack(histories: Sequence[History]) -> Histories:
    """Return a batch of histories as the recommenders take them."""
    lengths = [len(one.items) for one in histories]
    return Histories(
        np.concatenate([one.items for one in histories]).astype(np.int32, copy=False),
        np.concatenate([one.times for one in histories]).astype(np.int64, copy=False),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([one.now for one in histories], dtype=np.int64),
        _ratings(histories),
    )


def _ratings(histories: Sequence[History]) -> np.ndarray | None:
    """Return float32 (events,) of all histories, None where no history has a rating."""
    if all(one.ratings is None for one in histories):
        return None
    parts = [
        np.full(len(one.items), np.nan, np.float32) if one.ratings is None else one.ratings
        for one in histories
    ]
    return np.concatenate(parts).astype(np.float32, copy=False)
