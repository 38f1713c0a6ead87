"""Histories of users: the training data of a model and the events received since.

In: the users' histories of the training data (``models/profiles``) and the ``EventStore``. Out:
the ``History`` of a request. An event counts in the next recommendation: before each one the store
is read from the last row seen, so events that another worker accepted count too.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.data.attribute_codes import Vocabulary
from components.data.event_kinds import EventKinds
from components.data.item_table import read_texts
from components.data.profiles import attributes_file
from components.data.schema import EVENTS
from components.data.sources.spelling import ItemSpelling
from components.file_erasure import change_table, profiles_named
from components.recommenders.base import MISSING
from serving.columns import Ids
from serving.events.errors import StoreError
from serving.events.event_erasure import ErasureSnapshot, last_erasure, read_erasures
from serving.events.history_reader import CHECK_INTERVAL, Event, newest_events_of
from serving.events.store import EventStore
from serving.events.tables import SECOND
from serving.events.user_table import attributes_of, changed_after, users_revision
from serving.profiles.attributes import BaseAttributes
from serving.profiles.history import ABSENT, EXPLAINED, NO_CODES, Codes, Events, History, merged

ErasedAt = Callable[[str], int | None]
"""Profile → microseconds since 1970 of its erasure, None if it was not erased."""
CodesOf = Callable[[Sequence[str]], NDArray[np.int32]]
"""Item ids → int32 (n,), -1 for those that the model does not know."""


class PastAttributes(Protocol):
    """Codes of the users' attributes in the training data."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    def get(self, user_id: str | None) -> Codes: ...

    def values_of(self, user_id: str | None) -> dict[str, Any]: ...


class PastHistories(Protocol):
    """Users' histories in the training data of one model.

    end: seconds since 1970 of the newest event. has_strengths: events differ in strength.
    """

    @property
    def attributes(self) -> PastAttributes: ...

    @property
    def end(self) -> int: ...

    @property
    def has_strengths(self) -> bool: ...

    def __len__(self) -> int: ...

    def get(self, user_id: str | None, codes: CodesOf) -> Events: ...

    def forget(self, erased_at: ErasedAt) -> None: ...


class KeepsRows(Protocol):
    """Histories that are read by customer, where a request may wait for them."""

    def hold(self, user_id: str) -> None: ...

    def clear(self) -> None: ...


COLUMNS = {
    "rating": "ratings",
    "strength": "strengths",
    "excluding": "excluding",
    "event": "events",
}
"""Optional columns of the users' histories, and the arrays of ``Events`` they become."""

CODES = {event: code for code, event in enumerate(EVENTS)}

NOT_KNOWN = 2**62
"""A time after all others, in microseconds."""


def _erased(user_id: str, erased_at: ErasedAt) -> int | None:
    """Return when the person of a table's user_id was erased, None if never."""
    found = (erased_at(profile) for profile in profiles_named(user_id))
    return max((moment for moment in found if moment is not None), default=None)


def _erased_rows(frame: pd.DataFrame, erased_at: ErasedAt) -> pd.Series:
    """Return bool (rows,): which rows are of a person erased since."""
    moments = {user: _erased(user, erased_at) for user in frame["user_id"].unique()}
    erased = pd.to_datetime(frame["user_id"].map(moments), unit="us", utc=True)
    return pd.to_datetime(frame["timestamp"], utc=True) <= erased


def _without_erased(table: pa.Table, erased_at: ErasedAt) -> pa.Table:
    gone = _erased_rows(table.select(["user_id", "timestamp"]).to_pandas(), erased_at)
    return table.filter(pa.array(~gone.to_numpy()))


class BaseProfiles:
    """Users' histories in the training data of a model, as CSR arrays.

    end: seconds since 1970 of the newest event known to the model.
    """

    def __init__(self, frame: pd.DataFrame, items: Ids) -> None:
        """Index ``frame``, the table of ``components.data.profiles``; ``items``: item ids, position
        = code."""
        of_rows, distinct = pd.factorize(frame["item_id"])
        codes = items.get_indexer(distinct.tolist())[of_rows] if len(frame) else NO_CODES
        known = codes >= 0
        users, names = pd.factorize(frame["user_id"][known])
        self.users = Ids(pd.Series(names))
        moments = pd.to_datetime(frame["timestamp"], utc=True).astype("datetime64[s, UTC]")
        times = moments.astype("int64").to_numpy()[known]
        order = np.lexsort((times, users))
        optional = {
            name: frame[column].to_numpy(dtype=ABSENT[name].dtype)[known][order]
            for column, name in COLUMNS.items()
            if column in frame
        }
        self.events = Events(codes[known][order].astype(np.int32), times[order], **optional)
        counts = np.bincount(users, minlength=len(self.users))
        self.offsets = np.concatenate([[0], np.cumsum(counts)])
        self.end = int(times.max(initial=0))
        self.attributes = BaseAttributes.empty()
        self._forgotten: set[int] = set()

    @classmethod
    def load(
        cls,
        file: str | Path,
        items: Ids,
        erased_at: ErasedAt | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> BaseProfiles:
        """Return the profiles of a file of users' histories, and of that of their attributes.

        erased_at: when a profile was erased; its earlier rows are removed from the files too, if
        this process may write them. vocabulary: of the model; None: attributes do not matter.
        """
        there = pq.read_schema(file).names
        columns = ["user_id", "item_id", "timestamp", *(name for name in COLUMNS if name in there)]
        frame = read_texts(file, columns)
        if erased_at is not None:
            gone = _erased_rows(frame, erased_at)
            if gone.any():
                frame = frame[~gone]
                with suppress(OSError):
                    change_table(Path(file), lambda table: _without_erased(table, erased_at))
        made = cls(frame, items)
        if vocabulary is not None:
            of_users = attributes_file(Path(file))
            made.attributes = BaseAttributes.load(of_users, vocabulary, erased_at)
        return made

    @classmethod
    def empty(cls, items: Ids, end: int) -> BaseProfiles:
        """Return profiles without users; end: of the model's training data."""
        times = pd.to_datetime([], utc=True)
        made = cls(pd.DataFrame({"user_id": [], "item_id": [], "timestamp": times}), items)
        made.end = end
        return made

    def __len__(self) -> int:
        return len(self.users) - len(self._forgotten)

    def forget(self, erased_at: ErasedAt) -> None:
        """Remove the erased users from memory."""
        self.attributes.forget(erased_at)
        forgotten = set(self._forgotten)
        for row, user in enumerate(self.users):
            moment = None if row in forgotten else _erased(user, erased_at)
            if moment is None:
                continue
            part = slice(self.offsets[row], self.offsets[row + 1])
            if self.events.times[part].max(initial=0) * SECOND > moment:
                continue  # active again since; ``history`` leaves out the earlier events
            forgotten.add(row)
            self.events.items[part] = self.events.times[part] = 0
            for name, array in self.events.optional().items():
                array[part] = ABSENT[name]
        if len(forgotten) > len(self._forgotten):
            named = enumerate(self.users)
            self._forgotten = forgotten
            self.users = Ids.of(["" if row in forgotten else user for row, user in named])

    @property
    def has_strengths(self) -> bool:
        """Whether events differ in strength."""
        return self.events.strengths is not None

    def get(self, user_id: str | None, codes: CodesOf | None = None) -> Events:
        """Return the events of a user; none when unknown. codes: not needed, they are in memory."""
        found = self.events.pick(self._part(user_id))
        if found.ratings is not None and np.isnan(found.ratings).all():
            return replace(found, ratings=None)
        return found

    def _part(self, user_id: str | None) -> slice:
        row = MISSING if user_id is None else self.users.code(user_id)
        if row == MISSING or row in self._forgotten:
            return slice(0, 0)
        return slice(self.offsets[row], self.offsets[row + 1])


MOST_EXCLUDED = 5_000
"""Items of a profile that events before the newest ``max_history`` exclude, at most."""


@dataclass
class _Live:
    """A profile's stored events, oldest first. ratings: NaN where an event has none. last_row: the
    newest row that is in it. attributes: put by ``PUT /users``, as of ``revision``."""

    items: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    ratings: list[float] = field(default_factory=list)
    last_row: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    revision: int = 0
    counts: Counter[tuple[str, str, float | None]] = field(default_factory=Counter)
    """Events by item, kind and rating: those of one key exclude their item in the same way."""

    def add(self, row: Event) -> int:
        """Add an event at the place of its time, which is returned."""
        row_id, _, item, event, time, rating = row
        at = len(self.times)
        while at and self.times[at - 1] > time:
            at -= 1
        self.items.insert(at, item)
        self.times.insert(at, time)
        self.events.insert(at, event)
        self.ratings.insert(at, np.nan if rating is None else rating)
        self.counts[item, event, rating] += 1
        self.last_row = max(self.last_row, row_id)
        return at

    def key(self, at: int) -> tuple[str, str, float | None]:
        rating = self.ratings[at]
        return self.items[at], self.events[at], None if np.isnan(rating) else rating

    def remove(self, at: int) -> None:
        self.counts[self.key(at)] -= 1
        del self.items[at], self.times[at], self.events[at], self.ratings[at]


class LiveProfiles:
    """The stored events of recently requested profiles, kept up to date.

    Of each, the newest ``max_history`` events are in memory, and of those before them one for each
    item that they exclude, at most MOST_EXCLUDED: so no bought item is recommended however long ago
    it was bought.

    A profile is read from the store at its first request; later events are added by ``refresh``. At
    most ``max_profiles`` are in memory; the least recently requested is evicted first.

    While the store cannot be read, profiles in memory are used and other profiles are empty; no
    method raises a StoreError. When it can be read again, the events since are added.
    """

    def __init__(
        self,
        store: EventStore,
        max_history: int,
        kinds: EventKinds,
        max_profiles: int = 100_000,
        past: KeepsRows | None = None,
    ) -> None:
        """past: histories of the training data that are read from the store by customer."""
        self.past = past
        self.store = store
        self.kinds = kinds
        excluding = [event for event, code in CODES.items() if kinds.excluding[code]]
        self._excluding = (*excluding, "dislike")
        self.max_history = max_history
        self.max_profiles = max_profiles
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._newest: tuple[int, int] | None = None
        self._reconnects = store.database.reconnects
        self._last_row: int | None = None  # None: nothing of the store was seen yet
        # Held for memory alone, so that an answer never waits for a database.
        self._lock = threading.Lock()
        # Held while the store is read, so that no event falls between two readings.
        self._reading = threading.RLock()
        self.erasures: ErasureSnapshot | None = None  # not known before the store was read
        self._revision = 0  # of the attributes in the store; 0: it has none
        self._look_for_attributes_at = 0.0
        self.refresh()
        self.refresh_erasures()

    def refresh(self) -> int:
        """Take in the events stored since the last call and return how many there were.

        Attributes that other processes stored are taken in within CHECK_INTERVAL seconds.
        """
        taken = 0
        if monotonic() >= self._look_for_attributes_at:
            self.refresh_attributes()
        with self._reading:
            try:
                if self._reconnects != self.store.database.reconnects:
                    self._look_whether_replaced()
                newest = self.store.history.change_marker()
                if newest is not None and newest == self._newest:
                    return 0
                if self._last_row is None:
                    self._last_row = self.store.history.last_row_id()
                while rows := self.store.history.events_after(self._last_row):
                    with self._lock:
                        for *row, session_id in rows:
                            row_id, profile = row[:2]
                            live = self._live.get(profile)
                            if live is not None and row_id > live.last_row:
                                self._add(live, tuple(row))
                            if session_id is not None and profile != f"session:{session_id}":
                                # A sign-in may have made its events the user's.
                                self._live.pop(f"session:{session_id}", None)
                    self._last_row = rows[-1][0]
                    taken += len(rows)
            except StoreError:
                return taken
            self._newest = newest
        return taken

    def refresh_attributes(self) -> None:
        """Take in the attributes stored since the last call."""
        database = self.store.database
        with self._reading:
            self._look_for_attributes_at = monotonic() + CHECK_INTERVAL
            try:
                # Before the profiles: one that is changed in between is read again.
                revision = users_revision(database)
                if revision == self._revision:
                    return
                changed = changed_after(database, self._revision) if self._live else []
                with self._lock:
                    held = [profile for profile in changed if profile in self._live]
                found = attributes_of(database, held)
            except StoreError:
                return
            with self._lock:
                for profile in held:
                    if (live := self._live.get(profile)) is not None:
                        live.attributes, live.revision = found.get(profile, {}), revision
                self._revision = revision

    def _look_whether_replaced(self) -> None:
        """After the store was away it may be a backup or a new one: then nothing held is of it."""
        reconnects, last = self.store.database.reconnects, self.store.history.last_row_id()
        if self._last_row is not None and last < self._last_row:
            with self._lock:
                self._live.clear()
            self._last_row, self._newest, self._revision = last, None, 0
        self._reconnects = reconnects

    def _add(self, live: _Live, row: Event) -> None:
        at = live.add(row)
        if len(live.items) > self.max_history:
            # The event that is no longer one of the newest; a late one never was.
            self._leave_out(live, min(at, len(live.items) - self.max_history - 1))

    def _leave_out(self, live: _Live, at: int) -> None:
        """Forget an event, unless it alone excludes its item."""
        may_exclude = (
            live.events[at] in self._excluding or live.ratings[at] <= self.kinds.low_rating
        )
        if not may_exclude or live.counts[live.key(at)] > 1:
            live.remove(at)
        self._without_too_many(live)

    def _without_too_many(self, live: _Live) -> None:
        for _ in range(len(live.items) - self.max_history - MOST_EXCLUDED):
            live.remove(0)

    def refresh_erasures(self) -> bool:
        """Forget the profiles that any worker erased since the last call; return if one was."""
        database = self.store.database
        try:
            if self.erasures and last_erasure(database) == self.erasures.last_row:
                return False
            erasures = read_erasures(database)
        except StoreError:
            return False
        if erasures == self.erasures:
            return False
        with self._lock:
            self.erasures = erasures
            self._live.clear()
        if self.past is not None:
            self.past.clear()
        return True

    def get(self, profile: str) -> _Live:
        """Return a profile's stored events, as they are now.

        A profile that is not in memory is read where the store ``is_local``, and is empty else:
        ``hold`` reads it, in a thread that may wait.
        """
        with self._lock:
            live = self._live.get(profile)
        if live is None:
            live = self.hold(profile) if self.store.history.is_local else _Live()
        with self._lock:
            return replace(
                live,
                items=live.items.copy(),
                times=live.times.copy(),
                events=live.events.copy(),
                ratings=live.ratings.copy(),
            )

    def hold(self, profile: str) -> _Live:
        """Have a profile in memory, if the store can be read, and return it; it may change."""
        if self.past is not None:
            self.past.hold(profile.removeprefix("user:"))
        with self._lock:
            held = self._live.get(profile)
            if held is not None:
                self._live.move_to_end(profile)
                return held
        with self._reading:
            try:
                if self._last_row is None:  # before the profile: ``refresh`` adds what comes after
                    self._last_row = self.store.history.last_row_id()
                rows = self.store.history.newest_events(profile, self.max_history)
                if len(rows) == self.max_history:  # what was bought earlier stays excluded
                    older = self.store.history.excluding_events(
                        *(profile, self._excluding, self.kinds.low_rating),
                        self.max_history + MOST_EXCLUDED,  # some are among the newest
                    )
                    known = {(item, event, rating) for _, _, item, event, _, rating in rows}
                    rows = [*(row for row in older if (*row[2:4], row[5]) not in known), *rows]
                attributes = {}
                if self._revision:
                    attributes = attributes_of(self.store.database, [profile]).get(profile, {})
            except StoreError:
                return _Live()  # not kept: it is read when the store is back
            live = _Live(attributes=attributes, revision=self._revision)
            for row in rows:
                live.add(row)
            self._without_too_many(live)
            with self._lock:
                live = self._live.setdefault(profile, live)
                if len(self._live) > self.max_profiles:
                    self._live.popitem(last=False)
        return live

    def hold_only(self, profiles: Sequence[str]) -> None:
        """Have these profiles in memory and no others, read by few queries.

        Raises:
            StoreError: the store cannot be read. Unlike a request, lists of many customers must not
                be made without it.
        """
        with self._reading:
            if self._last_row is None:
                self._last_row = self.store.history.last_row_id()
            rows = newest_events_of(
                self.store.database,
                profiles,
                self.max_history,
                self._excluding,
                self.kinds.low_rating,
            )
            known = attributes_of(self.store.database, profiles)
            held = OrderedDict(
                (one, _Live(attributes=known.get(one, {}), revision=self._revision))
                for one in profiles
            )
            for row in rows:
                held[row[1]].add(row)
            for live in held.values():
                self._without_too_many(live)
            with self._lock:
                self._live = held

    def is_dislike(self, event: str, rating: float | None) -> bool:
        """Return whether an event says that its item, and similar ones, are not wanted."""
        return event == "dislike" or (rating is not None and rating <= self.kinds.low_rating)

    def forget(self, profile: str) -> None:
        """Remove a profile from memory: its events are another profile's now."""
        with self._lock:
            self._live.pop(profile, None)

    def follow(self, profile: str | None) -> None:
        """Take in what was stored since, and have a profile in memory."""
        self.refresh()
        if profile is not None:
            self.hold(profile)

    def state(self, profile: str) -> tuple[int, int, int | None] | None:
        """Return what changes whenever the profile's stored history or attributes do; None: not in
        memory."""
        live = self._live.get(profile)
        return None if live is None else (live.last_row, live.revision, self.erased_at(profile))

    def erased_at(self, profile: str) -> int | None:
        """Return when the profile was erased (microseconds), None if it was not.

        While the erasures are not known, every profile counts as erased.
        """
        if self.erasures is None:
            return NOT_KNOWN
        if not self.erasures.times:
            return None
        return self.erasures.times.get(self.store.database.profile_hash(profile))


class Profiles:
    """The histories of users in the codes of one loaded model.

    items: the model's item ids, position = code. spelling: of other spellings of these ids.
    """

    def __init__(
        self,
        base: PastHistories,
        live: LiveProfiles,
        items: Ids,
        max_history: int,
        spelling: ItemSpelling = ItemSpelling([]),
    ) -> None:
        self.base = base
        self.live = live
        self.max_history = max_history
        self.spelling = spelling
        self._items = items

    def code(self, item_id: str) -> int:
        """Return the item's code, -1 when the model does not know it, however it is spelled."""
        found = self._items.code(item_id)
        return found if found != MISSING else self._code_of_spelling(item_id)

    def codes(self, item_ids: Sequence[str]) -> NDArray[np.int32]:
        """Return int32 (n,): as ``code``."""
        codes = self._items.get_indexer(item_ids)
        for at in np.flatnonzero(codes < 0).tolist():
            codes[at] = self._code_of_spelling(item_ids[at])
        return codes

    def item_id(self, item_id: str) -> str:
        """Return the id as the model has it, else as ingest would spell it."""
        code = self.code(item_id)
        found: str = self.spelling.spellings(item_id)[0] if code < 0 else self._items[code]
        return found

    def _code_of_spelling(self, item_id: str) -> int:
        codes = map(self._items.code, self.spelling.spellings(item_id))
        return next((code for code in codes if code != MISSING), MISSING)

    def past(self, user_id: str | None) -> Events:
        """Return a user's events in the training data."""
        return self.base.get(user_id, self.codes)

    def history(
        self, user_id: str | None, profile: str | None, recent: Codes = NO_CODES
    ) -> History:
        """Return the newest ``max_history`` events of a user or session, then ``recent`` items.

        Before them come the older items that the history excludes (``Events.newest``).

        recent: int32 (n,) codes, the newest last; unknown items, -1, are left out. ``now`` is the
        shopper's newest event, but not before the model's newest: a model's features count days
        from the end of its training data, and nothing else is known of the time since. An event
        that the model was trained with and the store still holds counts once.
        """
        found, kinds = self.past(user_id), {}
        attributes = NO_CODES
        if profile is not None:
            live = self.live.get(profile)
            attributes = self._attributes(user_id, profile, live.attributes)
            if len(found.items) and (erased := self.live.erased_at(profile)) is not None:
                found = found.pick(found.times > erased // SECOND)
            if live.items:
                codes = self.codes(live.items)
                newest = slice(-EXPLAINED, None)
                kinds = dict(zip(codes[newest].tolist(), live.events[newest], strict=True))
                kinds.pop(-1, None)
                found = merged(found, self._events(live, codes).pick(codes >= 0))
        times = found.times
        now = max(self.base.end, int(times[-1]) if len(times) else 0)
        if len(recent):
            found = _followed_by(found, recent[recent >= 0], now, self._strength_of_named())
        found = found.newest(self.max_history)
        return History(
            *(found.items, found.times),
            **found.optional(),
            now=now,
            kinds=kinds,
            attributes=attributes,
        )

    def _strength_of_named(self) -> float:
        """Return the strength of an item that a request names: of a view if events of several
        strengths were learned from, else 1, as all events."""
        if not self.base.has_strengths:
            return 1.0
        return float(self.live.kinds.weights[CODES["view"]])

    def _events(self, live: _Live, codes: Codes) -> Events:
        """Return the stored events. codes: int32 (n,) of their items, -1 for unknown ones."""
        meaning = self.live.kinds
        ratings = np.array(live.ratings, dtype=np.float32)
        events = np.array([CODES[event] for event in live.events])
        strengths = meaning.strengths(events, ratings)
        excluding = meaning.are_excluding(events, ratings)
        return Events(
            codes,
            np.fromiter(live.times, np.int64, len(codes)) // SECOND,
            None if np.isnan(ratings).all() else ratings,
            None if (strengths == 1).all() else strengths,
            None if excluding.all() else excluding,
            None if (events == CODES["purchase"]).all() else events.astype(np.int8),
        )

    def _attributes(self, user_id: str | None, profile: str, put: Mapping[str, Any]) -> Codes:
        """Return int32 (n,): the codes of the user's attributes; those ``put`` since the training
        replace those of the same name."""
        base = self.base.attributes
        if not base.vocabulary.values:
            return NO_CODES
        # Attributes have no time: those of the training may be from before an erasure.
        known = base.get(user_id) if self.live.erased_at(profile) is None else NO_CODES
        given = base.vocabulary.codes_of(put)
        for column in given:
            part = base.vocabulary.parts[column]
            known = known[(known < part.start) | (known >= part.stop)]
        return np.array([*known.tolist(), *chain(*given.values())], dtype=np.int32)

    def attribute_values(self, user_id: str | None, profile: str | None) -> dict[str, Any]:
        """Return the values of a user's attributes by name, those put since the training first.

        profile: None: of nobody, so none. None: cleared.
        """
        if profile is None:
            return {}
        is_erased = self.live.erased_at(profile) is not None
        known = {} if is_erased else self.base.attributes.values_of(user_id)
        return {**known, **self.live.get(profile).attributes}


def _followed_by(events: Events, codes: Codes, now: int, strength: float) -> Events:
    """Return the events, then ``codes``, which count as an event of this strength each."""
    n = len(codes)
    strengths = None if strength == 1 else np.full(n, strength, dtype=np.float32)
    looked_at = np.full(n, CODES["view"], dtype=np.int8)
    named = Events(codes, now - np.arange(n)[::-1], strengths=strengths, events=looked_at)
    given = {
        name: np.concatenate([events.whole(name), named.whole(name)])
        for name in events.optional() | named.optional()
    }
    times = np.concatenate([events.times, named.times])
    return Events(np.concatenate([events.items, codes]), np.maximum.accumulate(times), **given)
