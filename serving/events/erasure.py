"""A person in the event store: all that is kept, and its erasure.

In: a profile's key ("user:…" or "session:…"). Out: its rows, or the count of those that were
removed. Sessions that a user's own rows name belong to the user and are erased with it.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from components import erasure
from components.erasure import Place
from serving.events.store import (
    CHANGE_PATIENCE,
    ERASURES,
    EVENTS,
    EXPOSURES,
    IMPRESSIONS,
    LINGER,
    EventStore,
)

_TABLES = (EVENTS, IMPRESSIONS, EXPOSURES)
_WITH_SESSION = (EVENTS, IMPRESSIONS)
_ROWS = 500
"""Rows of one statement."""


@dataclass(frozen=True)
class Erased:
    """profiles: the keys that were erased. rows: removed rows by table; ``sessions``: rows of users
    that no longer name the session. erased_at: microseconds since 1970, UTC. overwritten: whether
    the database's files hold nothing of them any more."""

    profiles: tuple[str, ...]
    rows: dict[str, int]
    erased_at: int
    overwritten: bool

    @property
    def user_ids(self) -> tuple[str, ...]:
        """What the tables of files call the profiles: a user's id, "session:<id>" of a session."""
        return tuple(profile.removeprefix("user:") for profile in self.profiles)


def sessions_of(store: EventStore, profile: str) -> list[str]:
    """Return the sessions that the rows of a user's profile name."""
    named = [
        sa.select(table.c.session_id).where(
            table.c.profile == profile, table.c.session_id.is_not(None)
        )
        for table in _WITH_SESSION
    ]
    with store.connected() as connection:
        return sorted(connection.scalars(sa.union(*named)))


def erase(store: EventStore, profile: str) -> Erased:
    """Delete everything the store keeps of a profile; it is durable on return.

    Keyed hashes stay, so that what models and files still know of the profile is not used again.
    """
    profiles = [profile]
    if profile.startswith("user:"):
        profiles += [f"session:{one}" for one in sessions_of(store, profile)]
    store.flush()
    rows = dict.fromkeys((*(table.name for table in _TABLES), "sessions"), 0)
    moment = time.time_ns() // 1000
    with store.connected("written", CHANGE_PATIENCE) as connection:
        if not store.is_postgres:  # else deleted rows stay readable in the file's free pages
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
            connection.commit()
        with connection.begin():
            store.lock(connection)
            _delete(connection, profiles, rows)
            connection.execute(
                sa.insert(ERASURES),
                [{"profile_hash": store.profile_hash(p), "erased_at": moment} for p in profiles],
            )
        time.sleep(3 * LINGER)  # then what other workers had shown and not written yet is there
        with connection.begin():
            store.lock(connection)
            _delete(connection, profiles, rows)
        if profile.startswith("session:"):
            rows["sessions"] = _unname(store, connection, profile.removeprefix("session:"))
    return Erased(tuple(profiles), rows, moment, store.is_postgres or _checkpoint(store))


def _delete(connection: sa.Connection, profiles: list[str], rows: dict[str, int]) -> None:
    for table in _TABLES:
        for profile in profiles:
            done = connection.execute(sa.delete(table).where(table.c.profile == profile))
            rows[table.name] += done.rowcount


def _unname(store: EventStore, connection: sa.Connection, session_id: str) -> int:
    """Take a session's id out of users' rows; return how many there were.

    There is no index on it: the rows are looked for before the writer's lock is taken.
    """
    count = 0
    for table in _WITH_SESSION:
        named = sa.select(table.c.row_id).where(table.c.session_id == session_id)
        with connection.begin():
            found = list(connection.scalars(named))
        for start in range(0, len(found), _ROWS):
            with connection.begin():
                store.lock(connection)
                connection.execute(
                    sa.update(table)
                    .where(table.c.row_id.in_(found[start : start + _ROWS]))
                    .values(session_id=None)
                )
        count += len(found)
    return count


def _checkpoint(store: EventStore) -> bool:
    """Empty SQLite's write-ahead log, which holds old pages; return whether it could be."""
    with closing(sqlite3.connect(str(store.engine.url.database), timeout=0.5)) as connection:
        for _ in range(6):
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return True
            time.sleep(0.2)
    return False


def places_of(store: EventStore, erased: Erased) -> list[Place]:
    """Return the store's places of a receipt."""
    todo = ""
    if store.is_postgres:
        todo = "PostgreSQL frees the deleted rows at its next VACUUM, and its archives as you set"
    elif not erased.overwritten:
        todo = "a reader held the write-ahead log: SQLite empties it at a later checkpoint"
    names = {
        "events": "event store: events",
        "impressions": "event store: recommendations shown",
        "exposures": "event store: experiments",
        "sessions": "event store: the session's id in users' rows",
    }
    return [
        Place(name, "erased" if erased.rows[key] else "nothing kept", erased.rows[key], todo)
        for key, name in names.items()
        if key != "sessions" or erased.profiles[0].startswith("session:")
    ]


def export(store: EventStore, profile: str) -> dict[str, list[dict[str, Any]]]:
    """Return all that the store keeps of a profile, oldest first: events, impressions, exposures,
    and when it was erased. Of a session, also the rows of users that name it."""
    session = profile.removeprefix("session:") if profile.startswith("session:") else None
    with store.connected() as connection:
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
        digest = store.profile_hash(profile)
        times = connection.scalars(
            sa.select(ERASURES.c.erased_at)
            .where(ERASURES.c.profile_hash == digest)
            .order_by(ERASURES.c.row_id)
        )
        found["erasures"] = [{"profile_hash": digest, "erased_at": moment} for moment in times]
    return found


def export_erasures(store: EventStore, root: Path) -> list[Path]:
    """Write the list of erased people below ``root``, for ingest; return the changed files."""
    times = store.erasures().times
    return erasure.write_erasures(root, erasure.Erasures(times, store.erasure_key))
