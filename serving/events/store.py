"""Events and impressions: durable before acknowledged, each event kept exactly once.

In: events of shoppers (``submit``) and what was shown to them (``log_impression``). Out: the
histories that profiles are updated from, and Parquet files for training (``export_events``,
``export_impressions``).

SQLite (WAL, synchronous=FULL) or PostgreSQL by URL, the same statements for both. One writer
thread commits everything that queued up while the last commit ran (group commit), so the cost of
an fsync is shared; a future resolves only after its commit. The queue is bounded: a full one
raises ``StoreBusy`` at once (back-pressure), nothing is accepted that could be lost.

While the database is away a ``Breaker`` is open: reading and writing raise ``StoreDown`` at once,
impressions are counted as dropped, and after its return all is as before. Between its commits the
writer does what a ``Retention`` asks for, in small steps.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from components import erasure
from components.credentials import mask_credentials
from components.data.schema import INTERACTIONS, UTC
from serving.events.circuit_breaker import Breaker
from serving.events.database_errors import Fault, fault_of, in_words, was_refused
from serving.events.postgres import IDLE_PATIENCE, PATIENCE, NoAnswer, bounded_engine, set_patience

if TYPE_CHECKING:
    from serving.events.retention import Retention

logger = logging.getLogger("bentoml.bowerbird")

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
"""Times in the store are integer microseconds since 1970, UTC: the same in every database."""

LINGER = 0.1
"""Seconds that impressions wait for company, unless an event comes: nobody waits for them, and
a commit for each few would cost more than the recommendations they tell of."""

LOOK_EVERY = 1.0
"""Seconds."""

READ_PATIENCE = 0.2
"""Seconds that a read on the hot path may take: an answer without a profile is better than none."""

COMMIT_PATIENCE = 2.0
"""Seconds that a statement of the writer may take; its events are not acknowledged then."""

CHANGE_PATIENCE = 60.0
"""Seconds that a statement of an erasure or of ``put_items`` may take."""

GIVE_UP = 1.0
"""Seconds after which events are refused at once while the database is away: a short absence is
waited for."""

FORMAT = 1
"""Of the SQLite file, its user_version."""

WAL_BYTES = 64 * 1024**2

WRITER_LOCK = 0x626F7765
"""PostgreSQL's advisory lock of this store: rows become visible in the order of their ids, so
that a reader who remembers the last id it saw never misses one."""

_metadata = sa.MetaData()
# SQLite counts rows by itself only in a column declared exactly INTEGER.
_RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")

EVENTS = sa.Table(
    "events",
    _metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.String(200), nullable=False, unique=True),
    sa.Column("profile", sa.String(220), nullable=False),
    sa.Column("user_id", sa.String(200)),
    sa.Column("session_id", sa.String(200)),
    sa.Column("item_id", sa.String(200), nullable=False),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("rating", sa.Float),
    sa.Column("quantity", sa.Float, nullable=False),
    sa.Column("price", sa.Float),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Column("impression_id", sa.String(200)),
    sa.Column("client", sa.String(64)),  # hash of the client that sent it; null: not known
    sa.Column("authentication", sa.String(16)),  # one of schema.AUTHENTICATIONS; null: not known
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Index("events_profile", "profile", "timestamp"),
    sa.Index("events_received_at", "received_at"),
    sa.Index(
        "events_impression",
        "impression_id",
        sqlite_where=sa.text("impression_id IS NOT NULL"),
        postgresql_where=sa.text("impression_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)
IMPRESSIONS = sa.Table(
    "impressions",
    _metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("impression_id", sa.String(64), nullable=False, unique=True),
    sa.Column("profile", sa.String(220)),
    sa.Column("user_id", sa.String(200)),
    sa.Column("session_id", sa.String(200)),
    sa.Column("item_ids", sa.Text, nullable=False),  # JSON lists, in the order of the positions
    sa.Column("scores", sa.Text, nullable=False),
    sa.Column("propensities", sa.Text, nullable=False),
    sa.Column("model_version", sa.String(200), nullable=False),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Index("impressions_profile", "profile"),
    sa.Index("impressions_timestamp", "timestamp"),
    sqlite_autoincrement=True,
)
IMPRESSION_COUNTS = sa.Table(  # of the impressions that retention removed
    "impression_counts",
    _metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),  # since 1970
    sa.Column("model_version", sa.String(200), primary_key=True),
    sa.Column("source", sa.String(32), primary_key=True),
    sa.Column("impressions", sa.BigInteger, nullable=False),
    sa.Column("items", sa.BigInteger, nullable=False),
    sa.Column("followed", sa.BigInteger, nullable=False),  # events that named such an impression
    sa.Column("until", sa.BigInteger, nullable=False),  # time of the newest one that is counted
)
ERASURES = sa.Table(
    "erasures",
    _metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("profile_hash", sa.String(64), nullable=False),
    sa.Column("erased_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
KEYS = sa.Table(
    "keys",
    _metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(64), nullable=False),  # hexadecimal
)

EXPOSURES = sa.Table(
    "exposures",
    _metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("experiment", sa.String(100), nullable=False),
    sa.Column("profile", sa.String(220), nullable=False),
    sa.Column("arm", sa.String(16), nullable=False),
    sa.Column("model_version", sa.String(200), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),  # of the first one: no other is kept
    sa.Index("exposures_once", "experiment", "profile", unique=True),
    sa.Index("exposures_profile", "profile"),
    sqlite_autoincrement=True,
)
CATALOGUE = sa.Table(
    "catalogue",
    _metadata,
    sa.Column("item_id", sa.String(200), primary_key=True),
    # Null: as the model knows it.
    sa.Column("title", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("brand", sa.Text),
    sa.Column("categories", sa.Text),  # JSON list
    sa.Column("price", sa.Float),
    sa.Column("currency", sa.String(3)),
    sa.Column("available", sa.Boolean),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("catalogue_revision", "revision"),
)

ITEM_FILE = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("item_id", "title", "description", "brand")),
        ("category", pa.string()),  # levels joined with " > ", as ingest reads them
        ("price", pa.float32()),
        ("currency", pa.string()),
        ("available", pa.bool_()),
    ]
)
IMPRESSION_FILE = pa.schema(
    [
        ("impression_id", pa.string()),
        ("user_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("propensities", pa.list_(pa.float32())),
        ("model_version", pa.string()),
        ("source", pa.string()),
        ("timestamp", UTC),
    ]
)


class StoreBusy(RuntimeError):
    """The queue of unwritten events is full; try again after ``retry_after`` seconds."""

    retry_after = 1


class StoreError(RuntimeError):
    """The database refused or could not be reached; nothing of the batch was acknowledged.

    The message is one sentence: what, where, what to do.
    """

    retry_after = 1


class StoreDown(StoreError):
    """The database cannot be reached; it is looked for, and no request waits for that."""


def profile_of(user_id: str | None, session_id: str | None) -> str | None:
    """Return the key a history is kept under: the user's, else the session's, else None.

    >>> profile_of("7", "abc"), profile_of(None, "abc")
    ('user:7', 'session:abc')
    """
    if user_id is not None:
        return f"user:{user_id}"
    return f"session:{session_id}" if session_id is not None else None


@dataclass(frozen=True)
class Erasures:
    """Erased profiles: hash → microseconds since 1970; what came later counts again."""

    times: dict[str, int]
    last_row: int


@dataclass
class _Batch:
    """What the writer commits together. ``futures[i]`` waits for ``groups[i]``."""

    groups: list[list[dict[str, Any]]] = field(default_factory=list)
    futures: list[Future[list[bool]]] = field(default_factory=list)
    impressions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class ArmOutcome:
    """users: shoppers exposed to the arm. converted: those with an outcome event in the window.

    versions: the model versions that they were first shown.
    """

    arm: str
    users: int
    converted: int
    versions: tuple[str, ...]


class EventStore:
    """The one place that events are kept in.

        store = EventStore("sqlite:///var/events/events.db")
        store.submit([row]).result()   # [True]: durable now; [False]: was there already

    max_pending: events that may wait for the writer. max_batch: events in one commit. alone: no
    other process writes events; if one does all the same, ``newest`` knows within LOOK_EVERY.
    retention: what is removed, and when impressions are not written. wait: begin even while
    PostgreSQL cannot be reached. on_dropped: called with why and how many impressions were
    dropped, from any thread.

    Raises:
        StoreError: the database cannot be opened, or is no event store.
    """

    def __init__(
        self,
        url: str,
        root: str | Path = ".",
        max_pending: int = 10_000,
        max_batch: int = 2_000,
        alone: bool = False,
        retention: Retention | None = None,
        wait: bool = False,
        on_dropped: Callable[[str, int], None] | None = None,
    ) -> None:
        self.engine = _engine(url, Path(root))
        self.max_pending = max_pending
        self.max_batch = max_batch
        self.is_postgres = self.engine.dialect.name == "postgresql"
        self._insert = (postgresql if self.is_postgres else sqlite).insert
        self._alone = alone
        self._commits = 0  # with events, of this process
        self._seen = (0, 0)
        self._look_again = 0.0
        self._reader_lock = threading.Lock()
        self._reader: Any = None
        self._far_reader: sa.Connection | None = None
        self.returns = 0  # how often the database came back after it was away
        self.erasure_key = ""  # not known before the store was opened
        self.breaker = Breaker("the event store", self._probe)
        self.write_problem: str | None = None
        self._queue: queue.SimpleQueue[tuple[list[dict[str, Any]], Any] | None] = (
            queue.SimpleQueue()
        )
        self._pending = 0
        self._pending_lock = threading.Lock()
        self._closed = False
        self.dropped: Counter[str] = Counter()
        self._on_dropped = on_dropped
        self.retention = retention
        self._upkeep_at = 0.0
        self._urgent = threading.Event()
        try:
            self._prepare()
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            away = self.is_postgres and fault_of(error) is Fault.AWAY and not was_refused(error)
            if not (wait and away):
                raise StoreError(self._unopened(error)) from error
            self.breaker.open(in_words(error))
        self._writer = threading.Thread(target=self._write_forever, name="events", daemon=True)
        self._writer.start()

    def _prepare(self) -> None:
        """Make what tables are missing, and connect the hot path's reader."""
        with self.engine.begin() as connection:
            if not self.is_postgres:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                # Writes a page: else a file that cannot be written is noticed with the first event.
                connection.exec_driver_sql(f"PRAGMA user_version={FORMAT}")
            self.lock(connection)
            _check_tables(connection)
            # Several workers start at once: no look first, create after.
            for table in _metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            _add_missing_columns(connection)
            for table in _metadata.sorted_tables:
                for index in table.indexes:
                    connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
            self.erasure_key = self._erasure_key(connection)
        if not self.is_postgres:
            reader = sqlite3.connect(
                str(self.engine.url.database),
                check_same_thread=False,
                isolation_level=None,
                timeout=READ_PATIENCE,
            )
            with self._reader_lock:
                if self._reader is not None:
                    self._reader.close()
                self._reader = reader
                self._seen = (0, 0)
            self._file = os.stat(str(self.engine.url.database))

    def _unopened(self, error: Exception) -> str:
        """Return why the store cannot be opened, where it is, and what to do."""
        fault, words = fault_of(error), in_words(error)
        if isinstance(error, _NoEventStore):
            return f"{self.place} is no event store of Bowerbird ({words}): set serve.events_url"
        if self.is_postgres and was_refused(error):
            advice = (
                "set the user and the password of serve.events_url (BOWERBIRD_SERVE__EVENTS_URL)"
            )
        elif self.is_postgres:
            advice = "start it, or set serve.events_url (BOWERBIRD_SERVE__EVENTS_URL)"
        elif fault is Fault.DAMAGED:
            advice = "put its backup there, or move it away to begin with an empty one"
        elif fault is Fault.FULL:
            advice = "free some space on its disk"
        elif fault is Fault.BUSY:
            advice = "end the program that holds it locked"
        else:
            advice = "make the file and its folder writable for this user, or set serve.events_url"
        return f"cannot open the event store {self.place} ({words}): {advice}"

    @property
    def place(self) -> str:
        """Return where the store is, without a password."""
        url = self.engine.url
        return mask_credentials(url.render_as_string()) if self.is_postgres else str(url.database)

    def _probe(self) -> None:
        """Connect afresh; raise while the database is away or damaged."""
        self.engine.dispose()  # what was connected before may hang, or be of a file that is gone
        with self._reader_lock:
            if self._far_reader is not None:
                with contextlib.suppress(sa.exc.SQLAlchemyError):
                    self._far_reader.invalidate()
                self._far_reader = None
        if not self.is_postgres:
            with contextlib.closing(sqlite3.connect(str(self.engine.url.database))) as connection:
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        self._prepare()
        self.returns += 1

    @property
    def is_down(self) -> bool:
        """Whether the database is away: what is known of it is in memory only."""
        return self.breaker.is_open

    def _failed(self, error: Exception, verb: str) -> StoreError:
        """Return the error for the caller; take the database for away if that is what it means."""
        fault = fault_of(error)
        if fault is Fault.DAMAGED:
            self.breaker.open(f"{self.place} is damaged: {in_words(error)}", damaged=True)
        elif fault is Fault.AWAY and (self.is_postgres or verb == "read"):
            self.breaker.open(in_words(error))
        elif self.breaker.say(f"{verb} {fault}"):
            logger.error("the event store could not be %s: %s", verb, in_words(error))
        if self.breaker.is_open:
            return StoreDown(f"the event store could not be {verb}: it cannot be reached now")
        return StoreError(f"the event store could not be {verb}: try again")

    def _check_up(self, verb: str) -> None:
        if self.breaker.is_open:
            raise StoreDown(f"the event store could not be {verb}: it cannot be reached now")

    @contextlib.contextmanager
    def connected(
        self, verb: str = "read", patience: float | None = PATIENCE
    ) -> Iterator[sa.Connection]:
        """Connect. verb: what cannot be done without the database: "read" or "written".

        Raises:
            StoreError: it could not be done.
        """
        self._check_up(verb)
        try:
            with self.engine.connect() as connection, self._patient(connection, patience):
                yield connection
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise self._failed(error, verb) from error

    @contextlib.contextmanager
    def writing(self, patience: float | None = CHANGE_PATIENCE) -> Iterator[sa.Connection]:
        """Begin a transaction that only one of the store's processes is in at a time.

        Raises:
            StoreError: it could not be written; nothing of the transaction was.
        """
        self._check_up("written")
        try:
            with self._transaction(patience) as connection:
                yield connection
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise self._failed(error, "written") from error

    @contextlib.contextmanager
    def _transaction(self, patience: float | None) -> Iterator[sa.Connection]:
        with self.engine.begin() as connection, self._patient(connection, patience):
            self.lock(connection)
            yield connection

    @contextlib.contextmanager
    def _patient(self, connection: sa.Connection, seconds: float | None) -> Iterator[None]:
        if not self.is_postgres:
            yield
            return
        set_patience(connection, seconds)
        yield
        # Not after an error: the connection may be closed, and then it goes from the pool anyway.
        set_patience(connection, IDLE_PATIENCE)

    @property
    def pending(self) -> int:
        """Return how many events and impressions wait for the writer."""
        return self._pending

    def submit(self, rows: Sequence[dict[str, Any]]) -> Future[list[bool]]:
        """Return a future of one bool a row, true: new, false: its event_id was there already.

        The future resolves when the rows are durable. rows: the columns of EVENTS but row_id,
        profile and received_at, which are filled in here; times in microseconds.

        Raises:
            StoreBusy: too many rows wait; none of these was taken.
            StoreDown: the database is away; none of these was taken.
        """
        if self.breaker.is_open and self.breaker.open_for() > GIVE_UP:
            raise StoreDown("the events could not be written: the event store cannot be reached")
        now = time.time_ns() // 1000
        filled = [
            {
                "rating": None,
                "price": None,
                "impression_id": None,
                "client": None,
                "authentication": None,
                "quantity": 1.0,
                "session_id": None,
                "user_id": None,
                **row,
                "profile": profile_of(row.get("user_id"), row.get("session_id")),
                "received_at": now,
            }
            for row in rows
        ]
        future: Future[list[bool]] = Future()
        self._put(filled, future)
        self._urgent.set()
        return future

    def log_impression(self, row: dict[str, Any]) -> bool:
        """Queue what was shown, without waiting; return whether there was room for it.

        row: the columns of IMPRESSIONS but row_id and profile; the lists as JSON. An answer
        does not wait for its own record, so a crash can lose the last moment's impressions.
        """
        if self.breaker.is_open:
            self.drop("store down")
            return False
        if self.retention is not None and self.retention.full:
            self.drop("store full")
            return False
        filled = {**row, "profile": profile_of(row["user_id"], row["session_id"])}
        try:
            self._put([filled], None)
        except StoreBusy:
            self.drop("queue full")
            return False
        return True

    def drop(self, why: str, impressions: int = 1) -> None:
        """Count impressions that were shown but are not kept."""
        self.dropped[why] += impressions
        if self._on_dropped is not None:
            self._on_dropped(why, impressions)

    @property
    def impressions_dropped(self) -> int:
        """Return how many impressions were shown but not kept."""
        return sum(self.dropped.values())

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
                self._keep(batch)
                with self._pending_lock:
                    self._pending -= sum(map(len, batch.groups)) + len(batch.impressions)
            if self.retention is not None and not last and time.monotonic() >= self._upkeep_at:
                self._upkeep(self.retention)

    def _keep(self, batch: _Batch) -> None:
        """Commit a batch and resolve its futures; what cannot be written is not acknowledged."""
        if not self.breaker.wait(GIVE_UP):
            self._refuse(batch, StoreDown("the events could not be written: try again"))
            return
        try:
            results = self._commit(batch)
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            self._keep_what_fits(batch, error)
            return
        self.write_problem = None
        for future, result in zip(batch.futures, results, strict=True):
            future.set_result(result)

    def _keep_what_fits(self, batch: _Batch, error: Exception) -> None:
        """Do what can be done after a commit failed: where there is no space, impressions go first,
        then all events but purchases."""
        failure = self._failed(error, "written")
        self.write_problem = in_words(error)
        if fault_of(error) is not Fault.FULL or self.breaker.is_open:
            self._refuse(batch, failure)
            return
        if batch.impressions:
            self.drop("store full", len(batch.impressions))
            batch.impressions = []
        if self.retention is not None:
            self.retention.no_space(self)
            with contextlib.suppress(StoreError):
                self.retention.remove_oldest(self)
        purchases = [any(row["event"] == "purchase" for row in group) for group in batch.groups]
        for wanted in ([True] * len(purchases), purchases):
            part = _Batch(
                [group for group, taken in zip(batch.groups, wanted, strict=True) if taken],
                [future for future, taken in zip(batch.futures, wanted, strict=True) if taken],
            )
            try:
                results = self._commit(part)
            except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError):
                continue
            for future, result in zip(part.futures, results, strict=True):
                future.set_result(result)
            break
        self._refuse(
            _Batch(batch.groups, [one for one in batch.futures if not one.done()]), failure
        )

    def _refuse(self, batch: _Batch, error: StoreError) -> None:
        for future in batch.futures:
            future.set_exception(error)
        if batch.impressions:
            self.drop(
                "store down" if self.breaker.is_open else "not written", len(batch.impressions)
            )

    def _check_file(self) -> None:
        """Notice that SQLite's file was moved or removed: what is written now would be lost."""
        if self.is_postgres:
            return
        try:
            same = os.path.samestat(os.stat(str(self.engine.url.database)), self._file)
        except FileNotFoundError:
            same = False
        if not same:
            self.breaker.open(f"{self.place} was moved or removed")

    def _upkeep(self, retention: Retention) -> None:
        """Take one small step of retention; the next is due when it says."""
        seconds = retention.pause
        if not self.breaker.is_open:
            try:
                self._check_file()
                seconds = retention.step(self)
            except StoreError:
                pass  # it was logged where it was raised
            except OSError as error:
                self._failed(error, "read")
        self._upkeep_at = time.monotonic() + seconds

    def _collect(self) -> tuple[_Batch, bool]:
        """Return everything that waits, up to max_batch rows; true when the store closes."""
        batch, size = _Batch(), 0
        waits, lingered = True, False
        self._urgent.clear()
        while size < self.max_batch:
            until = None
            if waits and self.retention is not None:
                until = max(0.0, self._upkeep_at - time.monotonic())
            try:
                entry = self._queue.get(block=waits, timeout=until)
            except queue.Empty:
                if waits or batch.futures or lingered:
                    break
                lingered = True
                self._urgent.wait(LINGER)
                continue
            waits = False
            if entry is None:
                return batch, True
            rows, future = entry
            if future is None:
                batch.impressions += rows
            # A caller who gave up (a closed connection) cancels: nothing was promised to it.
            elif future.set_running_or_notify_cancel():
                batch.groups.append(rows)
                batch.futures.append(future)
            else:
                with self._pending_lock:
                    self._pending -= len(rows)
            size += len(rows)
        return batch, False

    def lock(self, connection: sa.Connection) -> None:
        """Let no other process of this store write until the transaction ends."""
        if self.is_postgres:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITER_LOCK)))

    def _add(
        self, connection: sa.Connection, table: sa.Table, key: str, rows: list[dict[str, Any]]
    ) -> list[str]:
        """Insert rows, but for those whose ``key`` is there already; return the new keys.

        Many rows a statement, in a few sizes that the driver keeps prepared: SQLAlchemy's share of
        each would be more than SQLite's, and all requests wait for the interpreter meanwhile.
        """
        names = tuple(column.name for column in table.c if column.name != "row_id")
        new: list[str] = []
        at = 0
        while at < len(rows):
            size = next(size for size in ROWS_OF_A_STATEMENT if size <= len(rows) - at)
            values = tuple(row[name] for row in rows[at : at + size] for name in names)
            statement = _insert(table.name, names, key, size, "%s" if self.is_postgres else "?")
            new += connection.exec_driver_sql(statement, values).scalars()
            at += size
        return new

    def _commit(self, batch: _Batch) -> list[list[bool]]:
        rows = [row for group in batch.groups for row in group]
        if not rows and not batch.impressions:
            return [[] for _ in batch.groups]
        with self._transaction(COMMIT_PATIENCE) as connection:
            new = set(self._add(connection, EVENTS, "event_id", rows))
            self._add(connection, IMPRESSIONS, "impression_id", batch.impressions)
        self._commits += bool(rows)
        results = []
        for group in batch.groups:
            flags = []
            for row in group:
                flags.append(row["event_id"] in new)
                new.discard(row["event_id"])  # of one id twice in a batch the first is the new one
            results.append(flags)
        return results

    def close(self) -> None:
        """Write what waits, then release the database."""
        with self._pending_lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._urgent.set()
        self._writer.join()
        self.breaker.close()
        for reader in (self._reader, self._far_reader):
            if reader is not None:
                reader.close()
        self.engine.dispose()

    @property
    def is_near(self) -> bool:
        """Whether ``newest``, ``since`` and ``of_profile`` take microseconds: SQLite's do, and
        PostgreSQL lies across a network."""
        return self._reader is not None

    def newest(self) -> tuple[int, int] | None:
        """Return what changes with every new event; None: ask ``since``.

        Even the shortest look into SQLite hands the interpreter's lock to another thread: who is
        alone looks for others' events now and then only.
        """
        if self._reader is None or self.breaker.is_open:
            return None
        now = time.monotonic()
        if self._alone and now < self._look_again and self._seen[1] == self._commits:
            return self._seen
        commits = self._commits
        try:
            with self._reader_lock:
                found = self._reader.execute(
                    "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
                ).fetchone()
        except sqlite3.Error:
            return None
        self._look_again = now + LOOK_EVERY
        self._seen = (found[0] if found else 0, commits)
        return self._seen

    def _read(self, statement: sa.Select[Any], **values: Any) -> list[tuple[Any, ...]]:
        """Return a statement's rows: on the hot path SQLite is asked without SQLAlchemy's share,
        and PostgreSQL on a connection of its own, without three questions about the question."""
        self._check_up("read")
        try:
            with self._reader_lock:
                self._check_up("read")  # those who waited for the lock may have waited for that
                if self._reader is None:
                    return self._read_far(statement, values)
                text, names, constants = _as_sqlite(statement)
                values = {**constants, **values}
                return self._reader.execute(text, [values[name] for name in names]).fetchall()
        except (sqlite3.Error, sa.exc.SQLAlchemyError) as error:
            raise self._failed(error, "read") from error

    def _read_far(
        self, statement: sa.Select[Any], values: dict[str, Any], again: bool = True
    ) -> list[tuple[Any, ...]]:
        if self._far_reader is None:
            connection = self.engine.connect()
            set_patience(connection, READ_PATIENCE)
            self._far_reader = connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            return [tuple(row) for row in self._far_reader.execute(statement, values)]
        except sa.exc.SQLAlchemyError as error:
            self._far_reader.invalidate()
            self._far_reader = None
            cut = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
            if again and cut and not isinstance(error.__cause__, NoAnswer):
                return self._read_far(statement, values, again=False)  # the server was restarted
            raise

    def last_row(self) -> int:
        """Return the newest event's row id, 0 when there is none."""
        with self.connected() as connection:
            return connection.scalar(sa.select(sa.func.max(EVENTS.c.row_id))) or 0

    def since(self, row_id: int, limit: int = 10_000) -> list[tuple[int, str, str, str, int]]:
        """Return (row_id, profile, item_id, event, timestamp) of the events after ``row_id``."""
        return self._read(_SINCE, row_id=row_id, most=limit)

    def of_profile(self, profile: str, limit: int) -> list[tuple[int, str, str, str, int]]:
        """Return the newest ``limit`` events of a profile, oldest first, as ``since`` does."""
        return self._read(_OF_PROFILE, profile=profile, most=limit)[::-1]

    def flush(self) -> None:
        """Return when everything that waited at the call is durable."""
        self.submit([]).result()

    def expose(self, rows: Sequence[dict[str, Any]]) -> None:
        """Keep that shoppers were first shown an arm; durable on return.

        rows: the columns of EXPOSURES but row_id. A shopper's later exposures change nothing.
        """
        with self.writing() as connection:
            connection.execute(
                self._insert(EXPOSURES).on_conflict_do_nothing(
                    index_elements=["experiment", "profile"]
                ),
                list(rows),
            )

    def experiments(self) -> list[str]:
        """Return the names of the experiments that anybody was exposed to."""
        statement = sa.select(EXPOSURES.c.experiment).distinct().order_by(EXPOSURES.c.experiment)
        with self.connected() as connection:
            return list(connection.scalars(statement))

    def outcomes(
        self, experiment: str, events: Sequence[str], window_hours: float
    ) -> list[ArmOutcome]:
        """Return what became of each arm of an experiment.

        A shopper converted if one of ``events`` followed the first exposure within the window.
        """
        end = EXPOSURES.c.timestamp + int(window_hours * 3600 * SECOND)
        followed = sa.exists().where(
            EVENTS.c.profile == EXPOSURES.c.profile,
            EVENTS.c.event.in_(list(events)),
            EVENTS.c.timestamp >= EXPOSURES.c.timestamp,
            EVENTS.c.timestamp < end,
        )
        converted = sa.case((followed, 1), else_=0)
        mine = EXPOSURES.c.experiment == experiment
        counts = (
            sa.select(EXPOSURES.c.arm, sa.func.count(), sa.func.sum(converted))
            .where(mine)
            .group_by(EXPOSURES.c.arm)
            .order_by(EXPOSURES.c.arm)
        )
        named = sa.select(EXPOSURES.c.arm, EXPOSURES.c.model_version).where(mine).distinct()
        with self.connected() as connection:
            versions: dict[str, list[str]] = {}
            for arm, version in connection.execute(named):
                versions.setdefault(arm, []).append(version)
            return [
                ArmOutcome(arm, users, int(hits or 0), tuple(sorted(versions[arm])))
                for arm, users, hits in connection.execute(counts)
            ]

    def put_items(self, rows: Sequence[dict[str, Any]]) -> int:
        """Keep products or changes of products; return the catalogue's new revision.

        rows: the columns of CATALOGUE but revision, ``categories`` as a list; None leaves what
        was known. Durable on return, all rows or none.
        """
        revision = sa.select(sa.func.coalesce(sa.func.max(CATALOGUE.c.revision), 0) + 1)
        names = [
            column.name for column in CATALOGUE.c if column.name not in ("item_id", "revision")
        ]
        filled = [
            {
                **dict.fromkeys(names),
                **row,
                "categories": None
                if row.get("categories") is None
                else json.dumps(row["categories"], ensure_ascii=False),
            }
            for row in rows
        ]
        with self.writing() as connection:
            if not self.is_postgres:  # SQLite locks at the first write; the revision is read first
                connection.execute(sa.text("UPDATE catalogue SET revision = revision WHERE 0"))
            new = connection.scalar(revision)
            statement = self._insert(CATALOGUE)
            statement = statement.on_conflict_do_update(
                index_elements=["item_id"],
                set_={
                    **{
                        name: sa.func.coalesce(statement.excluded[name], CATALOGUE.c[name])
                        for name in names
                    },
                    "revision": statement.excluded.revision,
                },
            )
            connection.execute(statement, [{**row, "revision": new} for row in filled])
            return int(new or 0)

    def revision(self) -> int:
        """Return the catalogue's revision: it grows with every ``put_items``."""
        with self.connected() as connection:
            return connection.scalar(sa.select(sa.func.max(CATALOGUE.c.revision))) or 0

    def items(self) -> list[dict[str, Any]]:
        """Return all kept products, in the order of their ids."""
        with self.connected() as connection:
            rows = connection.execute(sa.select(CATALOGUE).order_by(CATALOGUE.c.item_id))
            return [
                {**row, "categories": json.loads(row["categories"]) if row["categories"] else None}
                for row in rows.mappings()
            ]

    def export_items(self, folder: str | Path) -> list[Path]:
        """Write the kept products that have a title to ``folder``/items.parquet, for ingest.

        Return the file, or nothing when there is no such product.
        """
        rows = [row for row in self.items() if row["title"]]
        if not rows:
            return []
        columns = {
            name: [row[name] for row in rows] for name in ITEM_FILE.names if name != "category"
        }
        columns["category"] = [" > ".join(row["categories"] or []) or None for row in rows]
        columns["available"] = [row["available"] is not False for row in rows]
        file = Path(folder) / "items.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        pq.write_table(pa.Table.from_pydict(columns, schema=ITEM_FILE), partial)
        partial.replace(file)
        return [file]

    def _erasure_key(self, connection: sa.Connection) -> str:
        """Return the key of the hashes of erased profiles, made with the database; hash the rows of
        earlier versions, which had none, with it."""
        statement = self._insert(KEYS).on_conflict_do_nothing(index_elements=["name"])
        connection.execute(statement, {"name": "erasures", "key": secrets.token_hex(32)})
        key = connection.scalars(sa.select(KEYS.c.key).where(KEYS.c.name == "erasures")).one()
        unkeyed = sa.select(ERASURES).where(sa.func.length(ERASURES.c.profile_hash) == 64)
        for row in connection.execute(unkeyed).all():
            connection.execute(
                sa.update(ERASURES)
                .where(ERASURES.c.row_id == row.row_id)
                .values(profile_hash=erasure.keyed_hash(row.profile_hash, key))
            )
        return key

    def profile_hash(self, profile: str) -> str:
        """Return what is remembered of an erased profile."""
        return erasure.profile_hash(profile, self.erasure_key)

    def erasures(self) -> Erasures:
        """Return the erased profiles."""
        with self.connected() as connection:
            rows = list(connection.execute(sa.select(ERASURES).order_by(ERASURES.c.row_id)))
        return Erasures(
            {row.profile_hash: row.erased_at for row in rows}, rows[-1].row_id if rows else 0
        )

    def counts(self, since: int = 0) -> dict[str, int]:
        """Return how many events of each kind were received since a time in microseconds."""
        statement = (
            sa.select(EVENTS.c.event, sa.func.count())
            .where(EVENTS.c.received_at >= since)
            .group_by(EVENTS.c.event)
        )
        with self.connected() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def impressions(self, since: int = 0) -> int:
        """Return how many recommendations were shown since a time in microseconds.

        Those that retention removed count by their hour.
        """
        kept = sa.select(sa.func.count()).where(IMPRESSIONS.c.timestamp >= since)
        removed = sa.select(sa.func.sum(IMPRESSION_COUNTS.c.impressions)).where(
            IMPRESSION_COUNTS.c.hour >= since // HOUR
        )
        with self.connected() as connection:
            return (connection.scalar(kept) or 0) + int(connection.scalar(removed) or 0)

    def impression_counts(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what was counted of the impressions that retention removed, the oldest hour first.

        Each: hour (since 1970), model_version, source, impressions, items, followed (events that
        named one of them).
        """
        names = ("hour", "model_version", "source", "impressions", "items", "followed")
        columns = [IMPRESSION_COUNTS.c[name] for name in names]
        statement = sa.select(*columns).where(IMPRESSION_COUNTS.c.hour >= since // HOUR)
        with self.connected() as connection:
            rows = connection.execute(statement.order_by(*columns[:3])).mappings()
            return [dict(row) for row in rows]

    def activity(self, since: int, step: int) -> list[dict[str, Any]]:
        """Return what was shown and done in each step of time since ``since``, the newest last.

        since, step: microseconds. Each step: ``start`` (seconds since 1970), ``impressions``,
        ``events`` by kind, and ``followed``: events that named the impression they came from.
        """
        now = time.time_ns() // 1000
        steps = [
            {"start": start // SECOND, "impressions": 0, "events": {}, "followed": 0}
            for start in range(since, now + 1, step)
        ]
        shown = ((IMPRESSIONS.c.timestamp - since) // step).label("step")
        done = ((EVENTS.c.received_at - since) // step).label("step")
        impressions = (
            sa.select(shown, sa.func.count())
            .where(IMPRESSIONS.c.timestamp >= since)
            .group_by(sa.text("step"))
        )
        events = (
            sa.select(done, EVENTS.c.event, sa.func.count(), sa.func.count(EVENTS.c.impression_id))
            .where(EVENTS.c.received_at >= since)
            .group_by(sa.text("step"), EVENTS.c.event)
        )
        removed = sa.select(IMPRESSION_COUNTS.c.hour, IMPRESSION_COUNTS.c.impressions).where(
            IMPRESSION_COUNTS.c.hour >= since // HOUR
        )
        with self.connected() as connection:
            for at, count in connection.execute(impressions):
                if at < len(steps):
                    steps[at]["impressions"] = count
            for hour, count in connection.execute(removed):
                at = max(hour * HOUR - since, 0) // step
                if at < len(steps):
                    steps[at]["impressions"] += count
            for at, event, count, followed in connection.execute(events):
                if at < len(steps):
                    steps[at]["events"][event] = count
                    steps[at]["followed"] += followed
        return steps

    def export_events(self, folder: str | Path) -> list[Path]:
        """Write the events to ``folder`` as the contract's interactions; return changed files.

        One file for each day of receipt, ``events-2026-11-24.parquet``. A file whose day has
        neither new nor erased events is left as it is. Sessions without a user become users
        ``session:<id>``.
        """
        return self._export(
            EVENTS, EVENTS.c.received_at, Path(folder), "events", INTERACTIONS, _interactions
        )

    def export_impressions(self, folder: str | Path) -> list[Path]:
        """Write the impressions to ``folder``, one file a day; return the changed files.

        What retention removed from the store stays in the file of its day, unless it was erased.
        """
        return self._export(
            IMPRESSIONS,
            IMPRESSIONS.c.timestamp,
            Path(folder),
            "impressions",
            IMPRESSION_FILE,
            _impressions,
            expires=True,
        )

    def _export(
        self,
        table: sa.Table,
        moment: sa.Column[int],
        folder: Path,
        name: str,
        schema: pa.Schema,
        convert: Any,
        expires: bool = False,
    ) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        erasures = self.erasures() if expires else Erasures({}, 0)
        day = moment.op("/")(sa.literal(DAY, sa.BigInteger)).label("day")
        changed, current = [], set()
        with self.connected(patience=None) as connection:
            days = connection.execute(
                sa.select(day, sa.func.count(), sa.func.max(table.c.row_id)).group_by(day)
            ).all()
            expired = _expired(connection) if expires else {}
            found = [(number, count, newest) for number, count, newest in days]
            found += [(number, 0, 0) for number in expired.keys() - {one[0] for one in found}]
            for number, count, newest in found:
                date = time.strftime("%Y-%m-%d", time.gmtime(number * DAY // SECOND))
                file = folder / f"{name}-{date}.parquet"
                current.add(file)
                state = {b"bowerbird.rows": b"%d" % count, b"bowerbird.last": b"%d" % newest}
                if number in expired:  # what the file alone knows is looked through at an erasure
                    state[b"bowerbird.erasures"] = b"%d" % erasures.last_row
                if file.exists() and state.items() <= (pq.read_schema(file).metadata or {}).items():
                    continue
                kept = schema.empty_table()
                if number in expired and file.exists():
                    kept = _removed(file, schema, expired[number])
                    kept = _not_erased(kept, erasure.Erasures(erasures.times, self.erasure_key))
                if not count and not kept.num_rows:
                    if file.exists():
                        file.unlink()
                        changed.append(file)
                    continue
                partial = file.with_suffix(".partial")
                statement = (
                    sa.select(table)
                    .where(moment >= number * DAY, moment < (number + 1) * DAY)
                    .where(table.c.row_id <= newest)
                    .order_by(table.c.row_id)
                    .execution_options(yield_per=50_000)
                )
                marked = schema.with_metadata(state)
                with pq.ParquetWriter(partial, marked) as writer:
                    writer.write_table(kept.cast(marked))
                    for rows in connection.execute(statement).mappings().partitions():
                        made = pa.Table.from_pydict(convert(rows), schema=schema)
                        writer.write_table(made.cast(marked))
                partial.replace(file)
                changed.append(file)
        for file in set(folder.glob(f"{name}-????-??-??.parquet")) - current:
            if b"bowerbird.last" in (pq.read_schema(file).metadata or {}):
                file.unlink()  # every event of its day was erased
                changed.append(file)
        return sorted(changed)


def _expired(connection: sa.Connection) -> dict[int, int]:
    """Return the days (since 1970) of which retention removed impressions, and the time of the
    newest one that it did."""
    rows = connection.execute(sa.select(IMPRESSION_COUNTS.c.hour, IMPRESSION_COUNTS.c.until))
    found: dict[int, int] = {}
    for hour, until in rows:
        day = hour // 24
        found[day] = max(found.get(day, 0), until)
    return found


def _removed(file: Path, schema: pa.Schema, until: int) -> pa.Table:
    """Return the impressions of an exported file that retention has removed from the store."""
    table = pq.read_table(file, columns=schema.names).cast(schema)
    return table.filter(pc.less_equal(table["timestamp"].cast(pa.int64()), until))


def _not_erased(table: pa.Table, erasures: erasure.Erasures) -> pa.Table:
    """Return exported impressions without those of people who were erased after them."""
    users = table["user_id"].combine_chunks().dictionary_encode()
    erased = erasures.among(one for one in users.dictionary.to_pylist() if one is not None)
    if not erased:
        return table
    times = np.array([erased.get(one, -1) for one in (*users.dictionary.to_pylist(), None)])
    codes = users.indices.fill_null(len(times) - 1).to_numpy(zero_copy_only=False)
    moments = table["timestamp"].cast(pa.int64()).to_numpy()
    return table.filter(pa.array(moments > times[codes]))


ROWS_OF_A_STATEMENT = (256, 64, 16, 4, 1)


@cache
def _insert(table: str, names: tuple[str, ...], key: str, rows: int, mark: str) -> str:
    """Return the statement for so many rows. mark: the driver's sign for a bound value."""
    row = f"({', '.join([mark] * len(names))})"
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join([row] * rows)} "
        f"ON CONFLICT ({key}) DO NOTHING RETURNING {key}"
    )


_PROFILE_COLUMNS = (
    EVENTS.c.row_id,
    EVENTS.c.profile,
    EVENTS.c.item_id,
    EVENTS.c.event,
    EVENTS.c.timestamp,
)


_SINCE = (
    sa.select(*_PROFILE_COLUMNS)
    .where(EVENTS.c.row_id > sa.bindparam("row_id"))
    .order_by(EVENTS.c.row_id)
    .limit(sa.bindparam("most"))
)
_OF_PROFILE = (
    sa.select(*_PROFILE_COLUMNS)
    .where(EVENTS.c.profile == sa.bindparam("profile"))
    .order_by(EVENTS.c.timestamp.desc(), EVENTS.c.row_id.desc())
    .limit(sa.bindparam("most"))
)


@cache
def _as_sqlite(statement: sa.Select[Any]) -> tuple[str, Sequence[str], dict[str, Any]]:
    """Return a statement as SQLite takes it, the names of its values in order, and the values it
    brings itself."""
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    return str(compiled), compiled.positiontup or (), compiled.params


def _user_of(row: Any) -> str:
    return row["user_id"] if row["user_id"] is not None else row["profile"]


def _interactions(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Return INTERACTIONS' columns of stored events."""
    same = (
        *("item_id", "event", "rating", "quantity", "price", "timestamp", "impression_id"),
        *("client", "authentication"),
    )
    return {
        "user_id": [_user_of(row) for row in rows],
        **{name: [row[name] for row in rows] for name in same},
        "order_id": [None] * len(rows),
        "source": ["serving"] * len(rows),
        "source_row": [row["row_id"] for row in rows],
    }


def _impressions(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Return IMPRESSION_FILE's columns of stored impressions."""
    same = ("impression_id", "model_version", "source", "timestamp")
    lists = ("item_ids", "scores", "propensities")
    return {
        "user_id": [_user_of(row) for row in rows],
        **{name: [row[name] for row in rows] for name in same},
        **{name: [json.loads(row[name]) for row in rows] for name in lists},
    }


class _NoEventStore(sa.exc.SQLAlchemyError):
    """The database holds something else."""


def _check_tables(connection: sa.Connection) -> None:
    """Refuse tables of another program that happen to have the names of the store's.

    A column that may be null can be missing: an earlier version knew nothing of it.
    """
    inspector = sa.inspect(connection)
    for table in _metadata.sorted_tables:
        if not inspector.has_table(table.name):
            continue
        found = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if not column.nullable and column.name not in found:
                raise _NoEventStore(f"its table {table.name} has no column {column.name}")


def _add_missing_columns(connection: sa.Connection) -> None:
    """Add the columns that a database made by an earlier version lacks; they are all nullable."""

    def existing(table: sa.Table) -> set[str]:
        return {column["name"] for column in sa.inspect(connection).get_columns(table.name)}

    quote = connection.dialect.identifier_preparer.quote
    for table in _metadata.sorted_tables:
        for column in [one for one in table.columns if one.name not in existing(table)]:
            kind = column.type.compile(connection.dialect)
            try:
                connection.exec_driver_sql(
                    f"ALTER TABLE {quote(table.name)} ADD COLUMN {quote(column.name)} {kind}"
                )
            except sa.exc.OperationalError:
                if column.name not in existing(table):  # else another worker was first
                    raise


def _engine(url: str, root: Path) -> sa.Engine:
    """Return the database's engine; a relative SQLite file lies below ``root``."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StoreError(
            "serve.events_url is no database URL (sqlite:///… or postgresql://…)"
        ) from (error)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "postgresql":
        return bounded_engine(parsed)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise StoreError(
            f"serve.events_url names {parsed.get_backend_name()}: use sqlite:///file or postgresql://"
        )
    file = root / parsed.database
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the event store's folder {file.parent} ({error.strerror}): "
            "make it writable for this user, or set serve.events_url"
        ) from error
    engine = sa.create_engine(
        parsed.set(database=str(file)), connect_args={"timeout": 30}, hide_parameters=True
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            # Another process may hold the file while it is made.
            cursor.execute("PRAGMA busy_timeout=30000")
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            # After a large transaction the log gives its space back.
            cursor.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")

    return engine


@contextlib.contextmanager
def open_store(url: str, root: str | Path = ".") -> Iterator[EventStore]:
    """Open the store for a block and close it after.

    Raises:
        StoreError: it cannot be opened; the message is one line for the command line.
    """
    store = EventStore(url, root)
    try:
        yield store
    finally:
        store.close()


def check_store(url: str, root: str | Path = ".") -> None:
    """Open the store, write to it what is missing, and close it: to be called before workers start.

    Raises:
        StoreError: it cannot be opened or written; the message says what, where, what to do.
    """
    with open_store(url, root):
        pass
