"""Events and impressions: durable before acknowledged, each event kept exactly once.

In: events of shoppers (``submit``) and what was shown to them (``log_impression``). Out: the
histories that profiles are updated from, and Parquet files for training (``export_events``,
``export_impressions``).

SQLite (WAL, synchronous=FULL) or PostgreSQL by URL, the same statements for both. One writer
thread commits everything that queued up while the last commit ran (group commit), so the cost of
an fsync is shared; a future resolves only after its commit. The queue is bounded: a full one
raises ``StoreBusy`` at once (back-pressure), nothing is accepted that could be lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from components.credentials import mask_credentials
from components.data.schema import INTERACTIONS, UTC
from components.erasure import keyed_hash, profile_hash

logger = logging.getLogger("bentoml.bowerbird")

SECOND = 1_000_000
DAY = 86_400 * SECOND
"""Times in the store are integer microseconds since 1970, UTC: the same in every database."""

LINGER = 0.1
"""Seconds that impressions wait for company, unless an event comes: nobody waits for them, and
a commit for each few would cost more than the recommendations they tell of."""

LOOK_EVERY = 1.0
"""Seconds."""

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
    """The database refused or could not be reached; nothing of the batch was acknowledged."""


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
    """

    def __init__(
        self,
        url: str,
        root: str | Path = ".",
        max_pending: int = 10_000,
        max_batch: int = 2_000,
        alone: bool = False,
    ) -> None:
        self.engine = _engine(url, Path(root))
        self.max_pending = max_pending
        self.max_batch = max_batch
        self.is_postgres = self.engine.dialect.name == "postgresql"
        self._insert = (postgresql if self.is_postgres else sqlite).insert
        try:
            with self.engine.begin() as connection:
                self.lock(connection)
                # Several workers start at once: no look first, create after.
                for table in _metadata.sorted_tables:
                    connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
                _add_missing_columns(connection)
                self.erasure_key = self._erasure_key(connection)
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(
                mask_credentials(
                    f"cannot open the event store {self.engine.url.render_as_string()}: "
                    f"{error.__cause__ or error}; set serve.events_url"
                )
            ) from error
        self._alone = alone
        self._commits = 0  # with events, of this process
        self._seen = (0, 0)
        self._look_again = 0.0
        self._reader_lock = threading.Lock()
        self._reader: Any = None
        self._far_reader: sa.Connection | None = None
        if not self.is_postgres:
            self._reader = sqlite3.connect(
                str(self.engine.url.database), check_same_thread=False, isolation_level=None
            )
        self._queue: queue.SimpleQueue[tuple[list[dict[str, Any]], Any] | None] = (
            queue.SimpleQueue()
        )
        self._pending = 0
        self._pending_lock = threading.Lock()
        self._closed = False
        self.impressions_dropped = 0
        self._urgent = threading.Event()
        self._writer = threading.Thread(target=self._write_forever, name="events", daemon=True)
        self._writer.start()

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
        """
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
        filled = {**row, "profile": profile_of(row["user_id"], row["session_id"])}
        try:
            self._put([filled], None)
        except StoreBusy:
            self.impressions_dropped += 1
            return False
        return True

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
            try:
                results = self._commit(batch)
            except (sa.exc.SQLAlchemyError, OSError) as error:
                # The rows themselves stay out of the log: they are personal data.
                logger.error("events not written (%s)", type(error).__name__)
                for future in batch.futures:
                    future.set_exception(StoreError("the event store could not write; try again"))
            else:
                for future, result in zip(batch.futures, results, strict=True):
                    future.set_result(result)
            with self._pending_lock:
                self._pending -= sum(map(len, batch.groups)) + len(batch.impressions)

    def _collect(self) -> tuple[_Batch, bool]:
        """Return everything that waits, up to max_batch rows; true when the store closes."""
        batch, size = _Batch(), 0
        waits, lingered = True, False
        self._urgent.clear()
        while size < self.max_batch:
            try:
                entry = self._queue.get(block=waits)
            except queue.Empty:
                if batch.futures or lingered:
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
        with self.engine.begin() as connection:
            self.lock(connection)
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
        if self._reader is None:
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
        try:
            with self._reader_lock:
                if self._reader is None:
                    return self._read_far(statement, values)
                text, names, constants = _as_sqlite(statement)
                values = {**constants, **values}
                return self._reader.execute(text, [values[name] for name in names]).fetchall()
        except (sqlite3.Error, sa.exc.SQLAlchemyError) as error:
            raise StoreError("the event store could not be read; try again") from error

    def _read_far(
        self, statement: sa.Select[Any], values: dict[str, Any], again: bool = True
    ) -> list[tuple[Any, ...]]:
        if self._far_reader is None:
            connection = self.engine.connect()
            self._far_reader = connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            return [tuple(row) for row in self._far_reader.execute(statement, values)]
        except sa.exc.SQLAlchemyError as error:
            self._far_reader.invalidate()
            self._far_reader = None
            if again and isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
                return self._read_far(statement, values, again=False)  # the server was restarted
            raise

    def last_row(self) -> int:
        """Return the newest event's row id, 0 when there is none."""
        with self.engine.connect() as connection:
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
        with self.engine.begin() as connection:
            self.lock(connection)
            connection.execute(
                self._insert(EXPOSURES).on_conflict_do_nothing(
                    index_elements=["experiment", "profile"]
                ),
                list(rows),
            )

    def experiments(self) -> list[str]:
        """Return the names of the experiments that anybody was exposed to."""
        statement = sa.select(EXPOSURES.c.experiment).distinct().order_by(EXPOSURES.c.experiment)
        with self.engine.connect() as connection:
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
        with self.engine.connect() as connection:
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
        with self.engine.begin() as connection:
            self.lock(connection)
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
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.max(CATALOGUE.c.revision))) or 0

    def items(self) -> list[dict[str, Any]]:
        """Return all kept products, in the order of their ids."""
        with self.engine.connect() as connection:
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
                .values(profile_hash=keyed_hash(row.profile_hash, key))
            )
        return key

    def profile_hash(self, profile: str) -> str:
        """Return what is remembered of an erased profile."""
        return profile_hash(profile, self.erasure_key)

    def erasures(self) -> Erasures:
        """Return the erased profiles."""
        with self.engine.connect() as connection:
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
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def impressions(self, since: int = 0) -> int:
        """Return how many recommendations were shown since a time in microseconds."""
        statement = sa.select(sa.func.count()).where(IMPRESSIONS.c.timestamp >= since)
        with self.engine.connect() as connection:
            return connection.scalar(statement) or 0

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
        with self.engine.connect() as connection:
            for at, count in connection.execute(impressions):
                if at < len(steps):
                    steps[at]["impressions"] = count
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
        """Write the impressions to ``folder``, one file a day; return the changed files."""
        return self._export(
            IMPRESSIONS,
            IMPRESSIONS.c.timestamp,
            Path(folder),
            "impressions",
            IMPRESSION_FILE,
            _impressions,
        )

    def _export(
        self,
        table: sa.Table,
        moment: sa.Column[int],
        folder: Path,
        name: str,
        schema: pa.Schema,
        convert: Any,
    ) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        day = moment.op("/")(sa.literal(DAY, sa.BigInteger)).label("day")
        changed, current = [], set()
        with self.engine.connect() as connection:
            days = connection.execute(
                sa.select(day, sa.func.count(), sa.func.max(table.c.row_id)).group_by(day)
            ).all()
            for number, count, newest in days:
                date = time.strftime("%Y-%m-%d", time.gmtime(number * DAY // SECOND))
                file = folder / f"{name}-{date}.parquet"
                current.add(file)
                state = {b"bowerbird.rows": str(count).encode(), b"bowerbird.last": b"%d" % newest}
                if file.exists() and state.items() <= (pq.read_schema(file).metadata or {}).items():
                    continue
                partial = file.with_suffix(".partial")
                statement = (
                    sa.select(table)
                    .where(moment >= number * DAY, moment < (number + 1) * DAY)
                    .where(table.c.row_id <= newest)
                    .order_by(table.c.row_id)
                    .execution_options(yield_per=50_000)
                )
                with pq.ParquetWriter(partial, schema.with_metadata(state)) as writer:
                    for rows in connection.execute(statement).mappings().partitions():
                        writer.write_table(
                            pa.Table.from_pydict(convert(rows), schema=schema).cast(
                                schema.with_metadata(state)
                            )
                        )
                partial.replace(file)
                changed.append(file)
        for file in set(folder.glob(f"{name}-????-??-??.parquet")) - current:
            if b"bowerbird.last" in (pq.read_schema(file).metadata or {}):
                file.unlink()  # every event of its day was erased
                changed.append(file)
        return sorted(changed)


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
        return sa.create_engine(parsed, pool_pre_ping=True, pool_size=8, hide_parameters=True)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise StoreError(
            f"serve.events_url names {parsed.get_backend_name()}: use sqlite:///file or postgresql://"
        )
    file = root / parsed.database
    file.parent.mkdir(parents=True, exist_ok=True)
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

    return engine


@contextlib.contextmanager
def open_store(url: str, root: str | Path = ".") -> Iterator[EventStore]:
    """Open the store for a block and close it after."""
    store = EventStore(url, root)
    try:
        yield store
    finally:
        store.close()
