"""Export and erasure of a person's rows in the event store; other places: ``serving.erasure``.

In: a profile's key ("user:…" or "session:…"). Out: its rows, or the number of removed rows.
Sessions named in a user's rows belong to the user and are erased too.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from components.file_erasure import ErasedPeople, Place, write_erasures
from serving.events.changed_days import note_changed_days
from serving.events.database import CHANGE_TIMEOUT, Database
from serving.events.store import LINGER, EventStore
from serving.events.tables import ERASURES, EVENTS, EXPOSURES, HISTORIES, IMPRESSIONS, USERS
from serving.events.user_table import attributes_of

_TABLES = (EVENTS, IMPRESSIONS, EXPOSURES)
_WITH_SESSION = (EVENTS, IMPRESSIONS)
_ROWS_PER_STATEMENT = 500


@dataclass(frozen=True)
class Erased:
    """What an erasure removed.

    profiles: the erased keys. rows: number of removed rows by table; ``sessions``: users' rows
    that no longer name the session. erased_at: microseconds since 1970, UTC. overwritten: whether
    no byte of them is left in the database's files.
    """

    profiles: tuple[str, ...]
    rows: dict[str, int]
    erased_at: int
    overwritten: bool

    @property
    def user_ids(self) -> tuple[str, ...]:
        """The profiles as exported files name them: a user's id, or "session:<id>"."""
        return tuple(profile.removeprefix("user:") for profile in self.profiles)


@dataclass(frozen=True)
class ErasureSnapshot:
    """The erased profiles, as read from the event store. Events after an erasure count again.

    times: keyed hash of the profile → microseconds since 1970 of its last erasure. last_row: row
    id of the newest erasure, 0 if there is none.
    """

    times: dict[str, int]
    last_row: int


def read_erasures(database: Database) -> ErasureSnapshot:
    """Return the erased profiles.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        rows = list(connection.execute(sa.select(ERASURES).order_by(ERASURES.c.row_id)))
    times = {row.profile_hash: row.erased_at for row in rows}
    return ErasureSnapshot(times, rows[-1].row_id if rows else 0)


def last_erasure(database: Database) -> int:
    """Return the row id of the newest erasure, 0 if there is none.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        return connection.scalar(sa.select(sa.func.max(ERASURES.c.row_id))) or 0


def sessions_of(database: Database, profile: str) -> list[str]:
    """Return the sessions named in the rows of a user's profile, sorted."""
    named = [
        sa.select(table.c.session_id).where(
            table.c.profile == profile, table.c.session_id.is_not(None)
        )
        for table in _WITH_SESSION
    ]
    with database.connected() as connection:
        return sorted(connection.scalars(sa.union(*named)))


def erase(store: EventStore, profile: str) -> Erased:
    """Delete everything the store holds of a profile; durable on return.

    A keyed hash of the profile stays, so that data of it in models and files is not used again.

    Raises:
        StoreError: the database failed; erase again.
    """
    database = store.database
    store.flush()  # first: a queued row may name a session
    profiles = [profile]
    if profile.startswith("user:"):
        profiles += [f"session:{one}" for one in sessions_of(database, profile)]
    rows = dict.fromkeys((*(table.name for table in (*_TABLES, USERS, HISTORIES)), "sessions"), 0)
    moment = time.time_ns() // 1000
    with database.connected("written", CHANGE_TIMEOUT) as connection:
        if not database.is_postgres:  # else deleted rows stay readable in the file's free pages
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
            connection.commit()
        with connection.begin():
            database.lock(connection)
            _delete(connection, profiles, rows)
            connection.execute(
                sa.insert(ERASURES),
                [{"profile_hash": database.profile_hash(p), "erased_at": moment} for p in profiles],
            )
        time.sleep(3 * LINGER)  # by then other workers have written the impressions they had queued
        with connection.begin():
            database.lock(connection)
            _delete(connection, profiles, rows)
        if profile.startswith("session:"):
            session = profile.removeprefix("session:")
            rows["sessions"] = _clear_session(database, connection, session)
    return Erased(tuple(profiles), rows, moment, database.is_postgres or _checkpoint(database))


def _delete(connection: sa.Connection, profiles: list[str], rows: dict[str, int]) -> None:
    for table in (*_TABLES, USERS):
        for profile in profiles:
            note_changed_days(connection, table, table.c.profile == profile)
            done = connection.execute(sa.delete(table).where(table.c.profile == profile))
            rows[table.name] += done.rowcount
    for profile in profiles:
        of_user = HISTORIES.c.user_id == profile.removeprefix("user:")
        rows["histories"] += connection.execute(sa.delete(HISTORIES).where(of_user)).rowcount


def _clear_session(database: Database, connection: sa.Connection, session_id: str) -> int:
    """Remove a session's id from users' rows; return the number of these rows.

    session_id has no index, so the rows are searched for before the writer's lock is taken.
    """
    count = 0
    for table in _WITH_SESSION:
        named = sa.select(table.c.row_id).where(table.c.session_id == session_id)
        with connection.begin():
            found = list(connection.scalars(named))
        for start in range(0, len(found), _ROWS_PER_STATEMENT):
            with connection.begin():
                database.lock(connection)
                connection.execute(
                    sa.update(table)
                    .where(table.c.row_id.in_(found[start : start + _ROWS_PER_STATEMENT]))
                    .values(session_id=None)
                )
        count += len(found)
    return count


def _checkpoint(database: Database) -> bool:
    """Empty SQLite's write-ahead log, which holds old pages; return whether that succeeded."""
    with closing(sqlite3.connect(str(database.engine.url.database), timeout=0.5)) as connection:
        for _ in range(6):
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return True
            time.sleep(0.2)
    return False


def places_of(database: Database, erased: Erased) -> list[Place]:
    """Return the event store's entries of an erasure's receipt."""
    todo = ""
    if database.is_postgres:
        todo = "PostgreSQL frees the deleted rows at its next VACUUM, and its archives as you set"
    elif not erased.overwritten:
        todo = "a reader held the write-ahead log: SQLite empties it at a later checkpoint"
    names = {
        "events": "event store: events",
        "impressions": "event store: recommendations shown",
        "exposures": "event store: experiments",
        "users": "event store: attributes",
        "histories": "event store: histories of the training data",
        "sessions": "event store: the session's id in users' rows",
    }
    return [
        Place(name, "erased" if erased.rows[key] else "nothing kept", erased.rows[key], todo)
        for key, name in names.items()
        if key != "sessions" or erased.profiles[0].startswith("session:")
    ]


def export_profile(database: Database, profile: str) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of a profile by table, the oldest first, and its erasures.

    For a session, users' rows that name the session are included.

    Raises:
        StoreError: the database failed.
    """
    session = profile.removeprefix("session:") if profile.startswith("session:") else None
    with database.connected() as connection:
        found: dict[str, list[dict[str, Any]]] = {}
        for table in _TABLES:
            mine = table.c.profile == profile
            if session is not None and "session_id" in table.c:
                mine = sa.or_(mine, table.c.session_id == session)
            rows = connection.execute(sa.select(table).where(mine).order_by(table.c.row_id))
            found[table.name] = [
                {key: value for key, value in row.items() if key not in ("row_id", "profile")}
                for row in rows.mappings()
            ]
        digest = database.profile_hash(profile)
        times = connection.scalars(
            sa.select(ERASURES.c.erased_at)
            .where(ERASURES.c.profile_hash == digest)
            .order_by(ERASURES.c.row_id)
        )
        found["erasures"] = [{"profile_hash": digest, "erased_at": moment} for moment in times]
    found["attributes"] = list(attributes_of(database, [profile]).values())
    return found


def export_erasures(database: Database, root: Path) -> list[Path]:
    """Write the list of erased people below ``root``, for ingest; return the changed files.

    Raises:
        StoreError: the database failed.
    """
    times = read_erasures(database).times
    return write_erasures(root, ErasedPeople(times, database.erasure_key))
