"""A shopper's history, and a batch of histories as the recommenders take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from components.data.attribute_codes import UserAttributes, Vocabulary
from components.data.dataset import Histories, without_disliked
from components.data.schema import EVENTS

Codes = NDArray[np.int32]
NO_CODES: Codes = np.empty(0, dtype=np.int32)
EXPLAINED = 50
"""The newest so many events may be named as the reason of an item."""
ABSENT = {
    "ratings": np.float32(np.nan),
    "strengths": np.float32(1),
    "excluding": np.True_,
    "events": np.int8(EVENTS.index("purchase")),
}
"""What each event has where the optional array of that name is None. See ``Histories``."""


@dataclass(frozen=True)
class Events:
    """Events of a shopper in the codes of a model, oldest first.

    items: int32 (n,). times: int64 (n,) seconds. ratings, strengths, excluding: (n,) as in
    ``Histories``, or None. events: int8 (n,), index into ``schema.EVENTS``; None: all purchases.
    """

    items: np.ndarray
    times: np.ndarray
    ratings: np.ndarray | None = None
    strengths: np.ndarray | None = None
    excluding: np.ndarray | None = None
    events: np.ndarray | None = None

    def optional(self) -> dict[str, np.ndarray]:
        """Return the optional arrays that are there, by name."""
        given = {name: getattr(self, name) for name in ABSENT}
        return {name: array for name, array in given.items() if array is not None}

    def pick(self, index: slice | np.ndarray) -> Self:
        """Return the chosen events."""
        given = {name: array[index] for name, array in self.optional().items()}
        return replace(self, items=self.items[index], times=self.times[index], **given)

    def newest(self, n: int) -> Self:
        """Return the newest ``n`` events, all dislikes, and one event for each other older item
        that is excluded, with strength 0: it says nothing any more, but excludes its item."""
        if len(self.items) <= n:
            return self
        start = len(self.items) - n
        disliked = np.zeros(start, dtype=bool)
        if self.strengths is not None:
            disliked = self.strengths[:start] < 0
        owned = ~disliked if self.excluding is None else self.excluding[:start] & ~disliked
        places = np.flatnonzero(owned)
        # Reversed: the newest event of each.
        _, last = np.unique(self.items[places[::-1]], return_index=True)
        places = places[::-1][last]
        keep = np.ones(len(self.items), dtype=bool)
        keep[:start] = disliked
        keep[places] = True
        if not len(places):
            return self.pick(keep)
        strengths = self.whole("strengths").astype(np.float32)
        strengths[places] = 0
        return replace(self, strengths=strengths).pick(keep)

    def of_kinds(self, counting: Sequence[str] | None, excluding: Sequence[str] | None) -> Self:
        """Return the events of which only some kinds count, and only some exclude their item.

        counting, excluding: names of ``schema.EVENTS``; None: as they do. Dislikes stay, and events
        that do neither are gone.
        """
        kinds, strengths = self.whole("events"), self.whole("strengths")
        excludes = self.whole("excluding").astype(bool)
        if counting is not None:
            counts = np.isin(kinds, [EVENTS.index(name) for name in counting])
            strengths = np.where(counts | (strengths < 0), strengths, np.float32(0))
        if excluding is not None:
            excludes = np.isin(kinds, [EVENTS.index(name) for name in excluding])
        chosen = replace(self, strengths=strengths.astype(np.float32), excluding=excludes)
        return chosen.pick((strengths != 0) | excludes)

    @property
    def length(self) -> int:
        """The number of events that say something, which are those that ``newest`` counts."""
        if self.strengths is None:
            return len(self.items)
        return int(np.count_nonzero(self.strengths))

    def whole(self, name: str) -> np.ndarray:
        """Return an optional array, with what ``ABSENT`` says where it is None."""
        array: np.ndarray | None = getattr(self, name)
        return np.full(len(self.items), ABSENT[name]) if array is None else array


@dataclass(frozen=True)
class History(Events):
    """A shopper's history.

    now: seconds, not before any event. kinds: what the newest EXPLAINED of the stored events were,
    by item code ("purchase", …). attributes: int32 (n,), codes of the shopper's attributes in the
    model's vocabulary.
    """

    now: int = 0
    kinds: dict[int, str] = field(default_factory=dict)
    attributes: np.ndarray | None = None

    @cached_property
    def disliked(self) -> np.ndarray:
        """int32 (items,): codes that are never recommended to this shopper."""
        if self.strengths is None:
            return self.items[:0]
        return self.items[self.strengths < 0]

    @cached_property
    def excluded(self) -> np.ndarray:
        """int32 (items,): codes that ``exclude_seen`` leaves out, ``disliked`` included."""
        if self.excluding is None:
            return self.items
        disliked = self.whole("strengths") < 0
        return self.items[self.excluding | disliked]

    @cached_property
    def liked(self) -> np.ndarray:
        """int32 (items,): codes of the events of ``Histories.liked``."""
        if self.strengths is None:
            return self.items
        return self.items[without_disliked(self.strengths, self.items) > 0]


NO_HISTORY = History(NO_CODES, np.empty(0, dtype=np.int64))


def stack(histories: Sequence[History], vocabulary: Vocabulary | None = None) -> Histories:
    """Return a batch of histories as the recommenders take them.

    vocabulary: of the shoppers' attributes; None: they do not matter.
    """
    lengths = [len(one.items) for one in histories]
    there = {name for one in histories for name in one.optional()} - {"events"}
    return Histories(
        np.concatenate([one.items for one in histories]).astype(np.int32, copy=False),
        np.concatenate([one.times for one in histories]).astype(np.int64, copy=False),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([one.now for one in histories], dtype=np.int64),
        **{name: np.concatenate([one.whole(name) for one in histories]) for name in there},
        attributes=None if vocabulary is None else _attributes(histories, vocabulary),
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


def merged(one: Events, other: Events) -> Events:
    """Return both by time; one event for each item, second and strength, as the training data have
    one for each kind.

    An event that is in both has the rating of either.
    """
    keys = _keys(np.concatenate([one.items, other.items]), np.concatenate([one.times, other.times]))
    there = one.optional() | other.optional()
    if not there:
        keys.sort()
        return Events(*_unpacked(keys[_first(keys)]))
    both = {name: np.concatenate([one.whole(name), other.whole(name)]) for name in there}
    strengths = both.get("strengths", np.ones(len(keys), dtype=np.float32))
    order = np.lexsort((strengths, keys))
    new = _first(keys[order]) | _first(strengths[order])
    starts = np.flatnonzero(new)
    # Of equal strengths and of bools the maximum is either.
    found = {name: np.fmax.reduceat(array[order], starts) for name, array in both.items()}
    return Events(*_unpacked(keys[order][new]), **found)


def _keys(items: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return one int64 an event: one sort and one comparison for both."""
    return items.astype(np.int64) | times << 31


def _unpacked(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (keys & 0x7FFFFFFF).astype(np.int32), keys >> 31


def _first(values: np.ndarray) -> np.ndarray:
    """Return bool (n,): false where a value is the same as the one before it."""
    first = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first
