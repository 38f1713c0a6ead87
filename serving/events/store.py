"""The durable writer of events and impressions.

In: events (``submit``) and what was recommended (``log_impression``). Out: committed rows, each
event exactly once.

One thread commits everything that was queued during its last commit (group commit), so many
requests share the cost of an fsync. A future resolves only after its commit. The queue is bounded:
a full one raises ``StoreBusy`` at once, and nothing is accepted that could be lost. While the
database cannot be used, events are refused and impressions are dropped and counted. Between its
commits the thread removes old impressions in small steps (``Retention``).

Reads are elsewhere: ``history_reader``, ``traffic``, ``exposures``, ``catalogue_table``,
``export``.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from serving.events.bulk_insert import insert_new
from serving.events.database import Database
from serving.events.database_errors import Fault, fault_of, one_line
from serving.events.errors import StoreBusy, StoreDown, StoreError
from serving.events.history_reader import HistoryReader
from serving.events.retention import Retention
from serving.events.tables import EVENTS, IMPRESSIONS, profile_of

logger = logging.getLogger("bentoml.bowerbird")
LINGER = 0.1
"""Seconds that impressions wait for more rows, unless an event comes. No request waits for them,
and a commit for every few would cost more than the recommendations themselves."""

COMMIT_TIMEOUT = 2.0
"""Seconds that a statement of the writer may take in PostgreSQL; then its events are refused."""

GRACE = 1.0
"""Seconds for which events wait while the database is unreachable, before they are refused at
once."""

_DATABASE_ERRORS = (sa.exc.SQLAlchemyError, sqlite3.Error, OSError)

_EVENT_DEFAULTS = {
    "rating": None,
    "price": None,
    "impression_id": None,
    "order_id": None,
    "client": None,
    "authentication": None,
    "quantity": 1.0,
    "session_id": None,
    "user_id": None,
}


@dataclass
class _Batch:
    """Rows that are committed together. ``futures[i]`` resolves when ``groups[i]`` is durable."""

    groups: list[list[dict[str, Any]]] = field(default_factory=list)
    futures: list[Future[list[bool]]] = field(default_factory=list)
    impressions: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.groups)) + len(self.impressions)

    def acknowledge(self, new: set[str]) -> None:
        """Resolve the futures. new: the event ids that the commit inserted."""
        for group, future in zip(self.groups, self.futures, strict=True):
            flags = []
            for row in group:
                flags.append(row["event_id"] in new)
                new.discard(row["event_id"])  # if an id is in a batch twice, the first row is new
            future.set_result(flags)

    def only(self, wanted: Sequence[bool]) -> _Batch:
        """Return the groups for which ``wanted`` is true, without impressions."""
        pairs = zip(self.groups, self.futures, wanted, strict=True)
        kept = [(group, future) for group, future, is_wanted in pairs if is_wanted]
        return _Batch([group for group, _ in kept], [future for _, future in kept])


class EventStore:
    """Writes events and impressions.

        store = EventStore("sqlite:///var/events/events.db")
        store.submit([row]).result()   # [True]: durable now; [False]: the event was there already

    max_pending: rows that may wait for the writer. max_batch: rows of one commit. single_process:
    no other process writes events. retention: removes old impressions, and says when to drop new
    ones. start_without_database: start even while PostgreSQL cannot be reached. on_dropped: called
    with the reason and the number of dropped impressions, from any thread.

    database: connections for the queries of other modules. history: shoppers' events. dropped:
    impressions by the reason for which they were not kept. write_problem: why the last commit
    failed; None after a success.

    Raises:
        StoreError: the database cannot be opened, or is not an event store.
    """

    def __init__(
        self,
        url: str,
        root: str | Path = ".",
        max_pending: int = 10_000,
        max_batch: int = 2_000,
        single_process: bool = False,
        retention: Retention | None = None,
        start_without_database: bool = False,
        on_dropped: Callable[[str, int], None] | None = None,
    ) -> None:
        self.database = Database(url, root, start_without_database)
        self.history = HistoryReader(self.database, single_process)
        self.max_pending = max_pending
        self.max_batch = max_batch
        self.retention = retention
        self.dropped: Counter[str] = Counter()
        self.write_problem: str | None = None
        self._on_dropped = on_dropped
        self._queue: queue.SimpleQueue[
            tuple[list[dict[str, Any]], Future[list[bool]] | None] | None
        ] = queue.SimpleQueue()
        self._pending = 0
        self._pending_lock = threading.Lock()
        self._closed = False
        self._retention_at = 0.0
        self._event_queued = threading.Event()
        self._writer = threading.Thread(target=self._write_forever, name="events", daemon=True)
        self._writer.start()

    @property
    def pending(self) -> int:
        """The number of events and impressions that wait for the writer."""
        return self._pending

    @property
    def impressions_dropped(self) -> int:
        """The number of recommendations that were shown and not kept."""
        return sum(self.dropped.values())

    def problem(self) -> str | None:
        """Return why impressions or events are not kept, or not read; None when all is well.

        Without names of files or hosts: /readyz shows it without a key.
        """
        if self.database.is_down:
            since = datetime.fromtimestamp(self.database.breaker.since, UTC)
            return f"event store unreachable since {since:%Y-%m-%dT%H:%M:%SZ}"
        if self.retention is not None and self.retention.is_full:
            return f"impressions are not kept: {self.retention.why}"
        if self.write_problem is not None:
            return "the event store cannot be written: see the log"
        return None

    def submit(self, rows: Sequence[dict[str, Any]]) -> Future[list[bool]]:
        """Queue events; return a future that resolves when they are durable.

        Its result has one bool a row: true for a new event, false if its event_id existed. rows:
        the columns of EVENTS but row_id, profile and received_at, which are filled in here; times
        in microseconds. The future raises StoreError if the rows could not be written.

        Raises:
            StoreBusy: too many rows wait; none of these was accepted.
            StoreDown: the database cannot be used; none of these was accepted.
        """
        breaker = self.database.breaker
        if breaker.is_open and breaker.open_for() > GRACE:
            raise StoreDown("the events could not be written: the event store cannot be reached")
        now = time.time_ns() // 1000
        filled = [
            {
                **_EVENT_DEFAULTS,
                **row,
                "profile": profile_of(row.get("user_id"), row.get("session_id")),
                "received_at": now,
            }
            for row in rows
        ]
        future: Future[list[bool]] = Future()
        self._put(filled, future)
        self._event_queued.set()
        return future

    def log_impression(self, row: dict[str, Any]) -> bool:
        """Queue what was recommended, without waiting; return false if it was dropped.

        row: the columns of IMPRESSIONS but row_id and profile, and surface and rules where there
        are none; lists as JSON. A response does not wait for its own record, so a crash can lose
        the impressions of the last moment.
        """
        if self.database.is_down:
            self.count_dropped("store down")
            return False
        if self.retention is not None and self.retention.is_full:
            self.count_dropped("store full")
            return False
        profile = profile_of(row["user_id"], row["session_id"])
        filled = {"surface": None, "rules": None, **row, "profile": profile}
        try:
            self._put([filled], None)
        except StoreBusy:
            self.count_dropped("queue full")
            return False
        return True

    def count_dropped(self, reason: str, impressions: int = 1) -> None:
        """Count impressions that were shown and are not kept."""
        self.dropped[reason] += impressions
        if self._on_dropped is not None:
            self._on_dropped(reason, impressions)

    def flush(self) -> None:
        """Return when every row that was queued before the call is durable.

        Raises:
            StoreError: the database cannot be used.
        """
        self.submit([]).result()

    def close(self) -> None:
        """Write the queued rows, then close the database."""
        with self._pending_lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._event_queued.set()
        self._writer.join()
        self.history.close()
        self.database.close()

    def _put(self, rows: list[dict[str, Any]], future: Future[list[bool]] | None) -> None:
        with self._pending_lock:
            if self._closed:
                raise StoreError("the event store is closed")
            if self._pending + len(rows) > self.max_pending:
                raise StoreBusy(f"{self._pending} events wait to be written; try again")
            self._pending += len(rows)
            self._queue.put((rows, future))

    def _write_forever(self) -> None:
        last = False
        while not last:
            batch, last = self._collect()
            if batch.futures or batch.impressions:
                size = len(batch)
                try:
                    self._write(batch)
                except Exception as error:  # without its writer the store would wait for ever
                    logger.exception("events were not written: %s", type(error).__name__)
                    self._refuse(batch, StoreError("the events could not be written: see the log"))
                with self._pending_lock:
                    self._pending -= size
            if self.retention is not None and not last and time.monotonic() >= self._retention_at:
                self._apply_retention(self.retention)

    def _collect(self) -> tuple[_Batch, bool]:
        """Return the queued rows, up to max_batch, and whether the store closes."""
        batch, size = _Batch(), 0
        block, lingered = True, False
        self._event_queued.clear()
        while size < self.max_batch:
            timeout = None
            if block and self.retention is not None:
                timeout = max(0.0, self._retention_at - time.monotonic())
            try:
                entry = self._queue.get(block=block, timeout=timeout)
            except queue.Empty:
                if block or batch.futures or lingered:
                    break
                lingered = True
                self._event_queued.wait(LINGER)
                continue
            block = False
            if entry is None:
                return batch, True
            rows, future = entry
            if future is None:
                batch.impressions += rows
            # A client that closed its connection cancels: it was promised nothing.
            elif future.set_running_or_notify_cancel():
                batch.groups.append(rows)
                batch.futures.append(future)
            else:
                with self._pending_lock:
                    self._pending -= len(rows)
            size += len(rows)
        return batch, False

    def _write(self, batch: _Batch) -> None:
        """Commit a batch and resolve its futures."""
        if not self.database.breaker.wait(GRACE):
            self._refuse(batch, StoreDown("the events could not be written: try again"))
            return
        try:
            new = self._commit(batch)
        except _DATABASE_ERRORS as error:
            self._write_part(batch, error)
            return
        self.write_problem = None
        batch.acknowledge(new)

    def _commit(self, batch: _Batch) -> set[str]:
        """Write a batch in one transaction; return the ids of the events that were new."""
        rows = [row for group in batch.groups for row in group]
        if not rows and not batch.impressions:
            return set()
        with self.database.transaction(COMMIT_TIMEOUT) as connection:
            new = insert_new(connection, EVENTS, "event_id", rows)
            insert_new(connection, IMPRESSIONS, "impression_id", batch.impressions)
        if rows:
            self.history.note_commit()
        return set(new)

    def _write_part(self, batch: _Batch, error: Exception) -> None:
        """After a failed commit: on a full disk, write the events without impressions, or else the
        purchases alone; refuse the rest."""
        failure = self.database.failure(error, "written")
        self.write_problem = one_line(error)
        if fault_of(error) is not Fault.FULL or self.database.is_down:
            self._refuse(batch, failure)
            return
        if batch.impressions:
            self.count_dropped("store full", len(batch.impressions))
            batch.impressions = []
        if self.retention is not None:
            self.retention.disk_is_full(self.database)
            with contextlib.suppress(StoreError):
                self.retention.remove_oldest(self.database)
        purchases = [any(row["event"] == "purchase" for row in group) for group in batch.groups]
        for wanted in ([True] * len(purchases), purchases):
            part = batch.only(wanted)
            try:
                new = self._commit(part)
            except _DATABASE_ERRORS:
                continue
            part.acknowledge(new)
            break
        self._refuse(batch.only([not future.done() for future in batch.futures]), failure)

    def _refuse(self, batch: _Batch, error: StoreError) -> None:
        for future in batch.futures:
            if not future.done():
                future.set_exception(error)
        if batch.impressions:
            reason = "store down" if self.database.is_down else "not written"
            self.count_dropped(reason, len(batch.impressions))

    def _apply_retention(self, retention: Retention) -> None:
        """Take one small step of retention and set the time of the next."""
        seconds = retention.pause
        if not self.database.is_down:
            try:
                self.database.check_file()
                seconds = retention.step(self.database)
            except StoreError:
                pass  # logged where it was raised
            except OSError as error:
                self.database.failure(error, "read")
        self._retention_at = time.monotonic() + seconds


@contextlib.contextmanager
def open_store(url: str, root: str | Path = ".") -> Iterator[EventStore]:
    """Open the store for a ``with`` block.

    Raises:
        StoreError: it cannot be opened; the message is one line for the terminal.
    """
    store = EventStore(url, root)
    try:
        yield store
    finally:
        store.close()


def check_store(url: str, root: str | Path = ".") -> None:
    """Open the store, upgrade its schema and close it: called before the workers start.

    Raises:
        StoreError: it cannot be opened or written; the message says what, where, what to do.
    """
    with open_store(url, root):
        pass
