"""The event store's database: opening, connections, and detection of failures.

In: ``serve.events_url``, SQLite (WAL, synchronous=FULL) or PostgreSQL. Out: connections and
transactions on the newest schema. While the database is unreachable or damaged, a circuit breaker
is open and every use raises ``StoreDown`` at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from components import file_erasure
from components.credentials import mask_credentials
from components.file_lock import file_lock
from serving.events import migrations
from serving.events.circuit_breaker import CircuitBreaker
from serving.events.database_errors import Fault, fault_of, is_login_refused, one_line
from serving.events.errors import ForeignDatabase, NewerSchema, StoreDown, StoreError
from serving.events.postgres import (
    IDLE_TIMEOUT,
    STATEMENT_TIMEOUT,
    bounded_engine,
    set_answer_timeout,
)
from serving.events.tables import KEYS

logger = logging.getLogger("bentoml.bowerbird")

CHANGE_TIMEOUT = 60.0
"""Seconds that a statement of an erasure or of ``put_items`` may take in PostgreSQL."""

MIGRATION_TIMEOUT = 3600.0
"""Seconds that a statement of a migration may take in PostgreSQL: an index covers all events."""

SQLITE_LOCK_TIMEOUT = 30.0
"""Seconds that SQLite waits for another process's transaction."""

SQLITE_FORMAT = 1
"""The SQLite file's user_version."""

WAL_BYTES = 64 * 1024**2

WRITER_LOCK = 0x626F7765
"""PostgreSQL's advisory lock of the store's writers. It makes rows visible in the order of their
ids, so a reader that remembers the last id it saw misses none."""


class Database:
    """The engine, its failures and its reconnections.

    url: SQLAlchemy's. root: folder that a relative SQLite file lies below. start_without_database:
    do not raise while PostgreSQL cannot be reached; the breaker is open until it can.

    location: file or URL, without a password. erasure_key: key of the hashes of erased profiles, ""
    until the database was opened. reconnects: how often it was opened again after a failure.

    Raises:
        StoreError: the database cannot be opened, or is not an event store.
    """

    def __init__(
        self, url: str, root: str | Path = ".", start_without_database: bool = False
    ) -> None:
        self.engine = open_engine(url, Path(root))
        self.is_postgres = self.engine.dialect.name == "postgresql"
        self.insert = (postgresql if self.is_postgres else sqlite).insert
        self.reconnects = 0
        self.erasure_key = ""
        self.breaker = CircuitBreaker("the event store", self._reconnect)
        self._file: os.stat_result | None = None
        try:
            self._open()
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            unreachable = (
                self.is_postgres
                and fault_of(error) is Fault.UNREACHABLE
                and not is_login_refused(error)
            )
            if not (start_without_database and unreachable):
                raise StoreError(self._why_not_opened(error)) from error
            self.breaker.open(one_line(error))

    @property
    def location(self) -> str:
        """The database's file or URL, without a password."""
        url = self.engine.url
        return mask_credentials(url.render_as_string()) if self.is_postgres else str(url.database)

    @property
    def is_down(self) -> bool:
        """Whether the database cannot be used now."""
        return self.breaker.is_open

    def _open(self) -> None:
        """Upgrade the schema and read the erasure key; several processes may do so at once."""
        with self.engine.begin() as connection:
            if self.is_postgres:
                current = migrations.is_current(connection)
                timeout = STATEMENT_TIMEOUT if current else MIGRATION_TIMEOUT
            else:
                timeout = None
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                # Writes a page, so that a read-only file fails now and not at the first event.
                connection.exec_driver_sql(f"PRAGMA user_version={SQLITE_FORMAT}")
            with self._answer_timeout(connection, timeout):
                self.lock(connection)
                migrations.upgrade(connection)
                key = sa.select(KEYS.c.key).where(KEYS.c.name == "erasures")
                self.erasure_key = connection.scalars(key).one()
        if not self.is_postgres:
            self._file = os.stat(str(self.engine.url.database))

    def _reconnect(self) -> None:
        """Connect again; raise while the database is unreachable or damaged."""
        self.engine.dispose()  # old connections may hang, or belong to a removed file
        if not self.is_postgres:
            with contextlib.closing(sqlite3.connect(str(self.engine.url.database))) as connection:
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        self._open()
        self.reconnects += 1

    def _why_not_opened(self, error: Exception) -> str:
        """Return one sentence: why the database cannot be opened, where it is, what to do."""
        fault, words = fault_of(error), one_line(error)
        if isinstance(error, ForeignDatabase):
            return f"{self.location} is no event store of Bowerbird ({words}): set serve.events_url"
        if isinstance(error, NewerSchema):
            advice = "install that version of Bowerbird, or set serve.events_url"
        elif self.is_postgres and is_login_refused(error):
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
        return f"cannot open the event store {self.location} ({words}): {advice}"

    def failure(self, error: Exception, verb: str) -> StoreError:
        """Return the error for the caller; open the breaker if the database is unusable.

        verb: what could not be done: "read" or "written".
        """
        fault = fault_of(error)
        if fault is Fault.DAMAGED:
            self.breaker.open(f"{self.location} is damaged: {one_line(error)}", damaged=True)
        elif fault is Fault.UNREACHABLE and (self.is_postgres or verb == "read"):
            self.breaker.open(one_line(error))
        elif self.breaker.should_log(f"{verb} {fault}"):
            logger.error("the event store could not be %s: %s", verb, one_line(error))
        if self.breaker.is_open:
            return _down(verb)
        return StoreError(f"the event store could not be {verb}: try again")

    def check_up(self, verb: str) -> None:
        """Raise StoreDown while the breaker is open. verb: "read" or "written"."""
        if self.breaker.is_open:
            raise _down(verb)

    def check_file(self) -> None:
        """Open the breaker if SQLite's file was moved or removed: new rows would be lost."""
        if self._file is None:
            return
        try:
            same = os.path.samestat(os.stat(str(self.engine.url.database)), self._file)
        except FileNotFoundError:
            same = False
        if not same:
            self.breaker.open(f"{self.location} was moved or removed")

    @contextlib.contextmanager
    def connected(
        self, verb: str = "read", timeout: float | None = STATEMENT_TIMEOUT
    ) -> Iterator[sa.Connection]:
        """Yield a connection.

        verb: what fails without the database, for the error: "read" or "written". timeout: seconds
        that PostgreSQL may take for a statement; None: no limit.

        Raises:
            StoreError: the database failed; StoreDown while it is unreachable.
        """
        self.check_up(verb)
        try:
            with self.engine.connect() as connection, self._answer_timeout(connection, timeout):
                yield connection
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise self.failure(error, verb) from error

    @contextlib.contextmanager
    def writing(self, timeout: float | None = CHANGE_TIMEOUT) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that excludes the store's other writers.

        Raises:
            StoreError: the database failed, and nothing of the transaction was written.
        """
        self.check_up("written")
        try:
            with self.transaction(timeout) as connection:
                yield connection
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise self.failure(error, "written") from error

    @contextlib.contextmanager
    def transaction(self, timeout: float | None) -> Iterator[sa.Connection]:
        """As ``writing``, with the database's own errors and without regard to the breaker."""
        with self.engine.begin() as connection, self._answer_timeout(connection, timeout):
            self.lock(connection)
            yield connection

    @contextlib.contextmanager
    def _answer_timeout(self, connection: sa.Connection, seconds: float | None) -> Iterator[None]:
        if not self.is_postgres:
            yield
            return
        set_answer_timeout(connection, seconds)
        yield
        # Not after an error: the connection may be closed, and the pool discards it then.
        set_answer_timeout(connection, IDLE_TIMEOUT)

    def lock(self, connection: sa.Connection) -> None:
        """Exclude the store's other writers until the transaction of ``connection`` ends.

        SQLite does so itself from the first write on.
        """
        if self.is_postgres:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITER_LOCK)))

    def profile_hash(self, profile: str) -> str:
        """Return the keyed hash that is kept of an erased profile."""
        return file_erasure.profile_hash(profile, self.erasure_key)

    def close(self) -> None:
        """Stop the probes and close all connections."""
        self.breaker.close()
        self.engine.dispose()


def _down(verb: str) -> StoreDown:
    return StoreDown(f"the event store could not be {verb}: it cannot be reached now")


def open_engine(url: str, root: Path) -> sa.Engine:
    """Return the engine of a database URL; a relative SQLite file lies below ``root``.

    Raises:
        StoreError: the URL is invalid, or the file's folder cannot be made.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StoreError(
            "serve.events_url is no database URL (sqlite:///… or postgresql://…)"
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "postgresql":
        return bounded_engine(parsed)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise StoreError(
            f"serve.events_url names {parsed.get_backend_name()}: "
            "use sqlite:///file or postgresql://"
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
        parsed.set(database=str(file)),
        connect_args={"timeout": SQLITE_LOCK_TIMEOUT},
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            # Another process may be creating the file and hold its lock.
            cursor.execute(f"PRAGMA busy_timeout={int(SQLITE_LOCK_TIMEOUT * 1000)}")
            # Of processes that change the mode at once, SQLite refuses all but one without waiting.
            with file_lock(file.with_name(f".{file.name}.lock")):
                cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            # The log shrinks to this size again after a large transaction.
            cursor.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")

    return engine
