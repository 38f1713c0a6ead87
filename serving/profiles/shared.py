"""Histories of the training data, read by customer from the event store.

In: ``serve.histories: store`` and the rows that ``history_table`` wrote. Out: a ``PastHistories``
for each loaded model, with the histories of the customers that asked last in memory. A row of a
version never changes, so a row in memory is as good as one that is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from components.data.attribute_codes import Vocabulary
from serving.events.errors import StoreError
from serving.events.history_table import Shared, shared_versions
from serving.events.store import EventStore
from serving.profiles.history import ABSENT, Codes, Events
from serving.profiles.profiles import COLUMNS, CodesOf, ErasedAt

MOST_HELD = 20_000
"""Customers whose rows a worker keeps: of a few hundred bytes to a few kilobytes each."""

Rows = dict[str, tuple[str, str | None]]
"""By model version: a customer's events and attributes, as JSON."""


class SharedHistories:
    """The rows of the customers that asked last, of all versions. One for a worker.

    versions: those whose rows are all in the store, as of the last ``watch``.
    """

    def __init__(self, store: EventStore, most: int = MOST_HELD) -> None:
        self.versions: dict[str, Shared] = {}
        self._store = store
        self._most = most
        self._held: OrderedDict[str, Rows] = OrderedDict()
        self._generation = 0
        self._lock = threading.Lock()  # for memory alone: no answer waits for the database
        self.watch()

    def watch(self) -> None:
        """Look which versions are in the store; called every second."""
        try:
            versions = shared_versions(self._store.database)
        except StoreError:
            return  # what is held stays
        if versions != self.versions:
            self.versions = versions
            self.clear()  # a customer without a row may have one now

    def clear(self) -> None:
        """Forget all rows, as after an erasure."""
        with self._lock:
            self._held.clear()
            self._generation += 1

    def hold(self, user_id: str) -> None:
        """Have a customer's rows in memory, if the store can be read."""
        with self._lock:
            if user_id in self._held:
                self._held.move_to_end(user_id)
                return
            generation = self._generation
        try:
            found = self._store.history.trained(user_id)
        except StoreError:
            return  # not kept: it is read when the store is back
        rows = {version: (events, attributes) for version, events, attributes in found}
        with self._lock:
            if generation != self._generation:
                return  # cleared in between: these may be from before
            self._held[user_id] = rows
            if len(self._held) > self._most:
                self._held.popitem(last=False)

    def get(self, user_id: str, version: str) -> tuple[str, str | None] | None:
        """Return a customer's events and attributes; None where none are held.

        Where the store is on this machine, they are read.
        """
        if user_id not in self._held and self._store.history.is_local:
            self.hold(user_id)
        return self._held.get(user_id, {}).get(version)


@dataclass(frozen=True)
class SharedAttributes:
    """Attributes of the customers of one version. vocabulary: of the model."""

    shared: SharedHistories
    version: str
    vocabulary: Vocabulary

    def get(self, user_id: str | None) -> Codes:
        """Return int32 (n,): the codes of a user's values."""
        values = self.values_of(user_id) if self.vocabulary.values else {}
        by_column = self.vocabulary.codes_of(values)
        return np.array([code for codes in by_column.values() for code in codes], dtype=np.int32)

    def values_of(self, user_id: str | None) -> dict[str, Any]:
        """Return a user's values by name; what is not known is absent."""
        found = self.shared.get(user_id or "", self.version)
        values = {} if found is None or found[1] is None else orjson.loads(found[1])
        return {name: value for name, value in values.items() if value is not None}


class SharedProfiles:
    """The histories of one version, read by customer. As ``BaseProfiles``."""

    def __init__(
        self, shared: SharedHistories, version: str, vocabulary: Vocabulary, end: int
    ) -> None:
        """end: seconds since 1970, where the store does not have the version yet."""
        self.attributes = SharedAttributes(shared, version, vocabulary)
        self._shared = shared
        self._version = version
        self._end = end

    @property
    def end(self) -> int:
        found = self._shared.versions.get(self._version)
        return self._end if found is None else found.until

    @property
    def has_strengths(self) -> bool:
        found = self._shared.versions.get(self._version)
        return found is not None and found.has_strengths

    def __len__(self) -> int:
        found = self._shared.versions.get(self._version)
        return 0 if found is None else found.users

    def forget(self, erased_at: ErasedAt) -> None:
        """Forget all rows: those of the erased are gone from the store."""
        self._shared.clear()

    def get(self, user_id: str | None, codes: CodesOf) -> Events:
        """Return the events of a user whose rows are held; none when unknown."""
        found = self._shared.get(user_id or "", self._version)
        given = orjson.loads(found[0]) if found is not None else {"item_id": [], "timestamp": []}
        of_items = codes(given["item_id"])
        optional = {
            name: np.array(given[column], dtype=ABSENT[name].dtype)
            for column, name in COLUMNS.items()
            if column in given
        }
        if "ratings" in optional and np.isnan(optional["ratings"]).all():
            del optional["ratings"]
        events = Events(of_items, np.array(given["timestamp"], dtype=np.int64), **optional)
        return events if (of_items >= 0).all() else events.pick(of_items >= 0)
