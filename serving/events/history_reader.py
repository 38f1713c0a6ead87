"""Reads of shoppers' events on the path of a request.

In: the database. Out: the events of a profile, or all events after a row. SQLite is read without
SQLAlchemy, whose overhead would exceed the query. PostgreSQL is read on a connection of its own,
which saves three round trips a query (liveness check, BEGIN, ROLLBACK).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from serving.events.database import Database
from serving.events.postgres import NoAnswer, set_answer_timeout
from serving.events.tables import EVENTS, HISTORIES
from serving.events.user_table import MOST_PARAMETERS

CHECK_INTERVAL = 1.0
"""Seconds after which ``change_marker`` looks for events of another process even though there
should be none."""

READ_TIMEOUT = 0.2
"""Seconds that a read may take: a recommendation without the profile is better than none."""

Event = tuple[int, str, str, str, int, float | None]
"""row_id, profile, item_id, event, timestamp (microseconds since 1970), rating."""

_COLUMNS = (
    EVENTS.c.row_id,
    EVENTS.c.profile,
    EVENTS.c.item_id,
    EVENTS.c.event,
    EVENTS.c.timestamp,
    EVENTS.c.rating,
)
_AFTER_ROW = (
    sa.select(*_COLUMNS, EVENTS.c.session_id)
    .where(EVENTS.c.row_id > sa.bindparam("row_id"))
    .order_by(EVENTS.c.row_id)
    .limit(sa.bindparam("most"))
)
_OF_PROFILE = (
    sa.select(*_COLUMNS)
    .where(EVENTS.c.profile == sa.bindparam("profile"))
    .order_by(EVENTS.c.timestamp.desc(), EVENTS.c.row_id.desc())
    .limit(sa.bindparam("most"))
)
_TRAINED = sa.select(HISTORIES.c.model_version, HISTORIES.c.events, HISTORIES.c.attributes).where(
    HISTORIES.c.user_id == sa.bindparam("user_id")
)


class HistoryReader:
    """Reads events, with one connection that all threads share.

    single_process: no other process writes events. If one does nevertheless, its events are
    seen within CHECK_INTERVAL.
    """

    def __init__(self, database: Database, single_process: bool = False) -> None:
        self.database = database
        self._single_process = single_process
        self._commits = 0  # of this process, with events
        self._marker = (0, 0)
        self._check_at = 0.0
        self._lock = threading.Lock()
        self._sqlite: sqlite3.Connection | None = None
        self._postgres: sa.Connection | None = None
        self._connected_at = -1  # the database's reconnects when the connection was made

    @property
    def is_local(self) -> bool:
        """Whether a read takes microseconds: SQLite is local, PostgreSQL is across a network."""
        return not self.database.is_postgres

    def note_commit(self) -> None:
        """Take note that this process committed events."""
        self._commits += 1

    def change_marker(self) -> tuple[int, int] | None:
        """Return a value that changes with every new event; None: unknown, call ``events_after``.

        Even the shortest SQLite query hands the interpreter's lock to another thread. A single
        process therefore queries only after its own commits, and every CHECK_INTERVAL.
        """
        if self.database.is_postgres or self.database.is_down:
            return None
        now, commits = time.monotonic(), self._commits
        current = self._connected_at == self.database.reconnects
        if self._single_process and current and now < self._check_at and self._marker[1] == commits:
            return self._marker
        try:
            with self._lock:
                found = (
                    self._sqlite_connection()
                    .execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
                    .fetchone()
                )
        except sqlite3.Error:
            return None
        self._check_at = now + CHECK_INTERVAL
        self._marker = (found[0] if found else 0, commits)
        return self._marker

    def last_row_id(self) -> int:
        """Return the newest event's row id, 0 when there is none.

        Raises:
            StoreError: the database failed.
        """
        with self.database.connected() as connection:
            return connection.scalar(sa.select(sa.func.max(EVENTS.c.row_id))) or 0

    def events_after(self, row_id: int, limit: int = 10_000) -> list[tuple[Any, ...]]:
        """Return the first ``limit`` events after ``row_id``, in the order of their rows, each as
        an ``Event`` and its session's id.

        Raises:
            StoreError: the database failed.
        """
        return self._read(_AFTER_ROW, row_id=row_id, most=limit)

    def newest_events(self, profile: str, limit: int) -> list[Event]:
        """Return the newest ``limit`` events of a profile, the oldest first.

        Raises:
            StoreError: the database failed.
        """
        return self._read(_OF_PROFILE, profile=profile, most=limit)[::-1]

    def trained(self, user_id: str) -> list[tuple[str, str, str | None]]:
        """Return a customer's histories in the training data: version, events and attributes.

        Raises:
            StoreError: the database failed.
        """
        return self._read(_TRAINED, user_id=user_id)

    def excluding_events(
        self, profile: str, kinds: tuple[str, ...], low_rating: float, limit: int
    ) -> list[Event]:
        """Return the newest event of each item, kind and rating of a profile, the oldest first.

        Of all its events of these kinds, and all with a rating up to ``low_rating``: those that may
        exclude their item, however old they are. limit: the newest so many.

        Raises:
            StoreError: the database failed.
        """
        statement = _excluding_of_profile(kinds, low_rating)
        return self._read(statement, profile=profile, most=limit)[::-1]

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._disconnect()

    def _read(self, statement: sa.Select[Any], **values: Any) -> list[Any]:
        self.database.check_up("read")
        try:
            with self._lock:
                self.database.check_up("read")  # it may have failed while this thread waited
                if self.database.is_postgres:
                    return self._read_postgres(statement, values)
                text, names, constants = _as_sqlite(statement)
                values = {**constants, **values}
                found = self._sqlite_connection().execute(text, [values[name] for name in names])
                return found.fetchall()
        except (sqlite3.Error, sa.exc.SQLAlchemyError) as error:
            raise self.database.failure(error, "read") from error

    def _sqlite_connection(self) -> sqlite3.Connection:
        if self._sqlite is None or self._connected_at != self.database.reconnects:
            self._disconnect()
            self._sqlite = sqlite3.connect(
                str(self.database.engine.url.database),
                check_same_thread=False,
                isolation_level=None,
                timeout=READ_TIMEOUT,
            )
            self._connected_at = self.database.reconnects
        return self._sqlite

    def _postgres_connection(self) -> sa.Connection:
        if self._postgres is None or self._connected_at != self.database.reconnects:
            self._disconnect()
            connection = self.database.engine.connect()
            set_answer_timeout(connection, READ_TIMEOUT)
            self._postgres = connection.execution_options(isolation_level="AUTOCOMMIT")
            self._connected_at = self.database.reconnects
        return self._postgres

    def _read_postgres(
        self, statement: sa.Select[Any], values: dict[str, Any], retry: bool = True
    ) -> list[Any]:
        connection = self._postgres_connection()
        try:
            return [tuple(row) for row in connection.execute(statement, values)]
        except sa.exc.SQLAlchemyError as error:
            self._disconnect()
            closed = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
            if retry and closed and not isinstance(error.__cause__, NoAnswer):
                # The server was restarted since the last read.
                return self._read_postgres(statement, values, retry=False)
            raise

    def _disconnect(self) -> None:
        if self._sqlite is not None:
            self._sqlite.close()
            self._sqlite = None
        if self._postgres is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._postgres.invalidate()  # it may hang: it must not return to the pool
            self._postgres = None


def newest_events_of(
    database: Database,
    profiles: Sequence[str],
    limit: int,
    kinds: tuple[str, ...],
    low_rating: float,
) -> list[Event]:
    """Return the newest ``limit`` events of each profile and its ``excluding_events``, ordered by
    profile, the oldest first.

    Raises:
        StoreError: the database failed.
    """
    same = (EVENTS.c.profile, EVENTS.c.item_id, EVENTS.c.event, EVENTS.c.rating)
    newest = (EVENTS.c.timestamp.desc(), EVENTS.c.row_id.desc())
    profile = EVENTS.c.profile
    found: list[Event] = []
    with database.connected(timeout=None) as connection:
        for start in range(0, len(profiles), MOST_PARAMETERS):
            place = sa.func.row_number()
            ranked = (
                sa.select(
                    *_COLUMNS,
                    _excludes(kinds, low_rating).label("excludes"),
                    place.over(partition_by=profile, order_by=newest).label("place"),
                    place.over(partition_by=same, order_by=newest).label("of_same"),
                )
                .where(profile.in_(profiles[start : start + MOST_PARAMETERS]))
                .subquery()
            )
            wanted = sa.or_(
                ranked.c.place <= limit, sa.and_(ranked.c.excludes, ranked.c.of_same == 1)
            )
            rows = connection.execute(
                sa.select(*(ranked.c[column.name] for column in _COLUMNS))
                .where(wanted)
                .order_by(ranked.c.profile, ranked.c.timestamp, ranked.c.row_id)
            )
            found += (tuple(row) for row in rows)
    return found


def _excludes(kinds: tuple[str, ...], low_rating: float) -> sa.ColumnElement[bool]:
    """Return the condition that an event may exclude its item, however old it is."""
    is_kind = [EVENTS.c.event == kind for kind in kinds]
    return sa.or_(EVENTS.c.rating <= low_rating, *is_kind)


@cache
def _excluding_of_profile(kinds: tuple[str, ...], low_rating: float) -> sa.Select[Any]:
    newest = (sa.func.max(EVENTS.c.row_id), sa.func.max(EVENTS.c.timestamp))
    same = (EVENTS.c.profile, EVENTS.c.item_id, EVENTS.c.event, EVENTS.c.rating)
    return (
        sa.select(newest[0], *same[:3], newest[1], EVENTS.c.rating)
        .where(EVENTS.c.profile == sa.bindparam("profile"), _excludes(kinds, low_rating))
        .group_by(*same)
        .order_by(newest[1].desc(), newest[0].desc())
        .limit(sa.bindparam("most"))
    )


@cache
def _as_sqlite(statement: sa.Select[Any]) -> tuple[str, Sequence[str], dict[str, Any]]:
    """Return a statement's SQLite text, the names of its parameters in order, and the values of
    those that the statement itself holds."""
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    return str(compiled), compiled.positiontup or (), compiled.params
