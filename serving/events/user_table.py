"""Attributes of users put by ``PUT /users``. They are personal data: erased and exported with them.

In: attributes by name. Out: the same, with a revision number that grows with every change, by which
a worker sees that it has to read them again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from serving.events.database import Database
from serving.events.tables import USERS

MOST_PARAMETERS = 10_000
"""Of a statement: databases refuse more than some ten thousand."""
Attributes = Mapping[str, Any]
"""Name → number, text, list of texts, or None: not known."""


def put_users(database: Database, rows: Sequence[tuple[str, Attributes]]) -> int:
    """Insert or change users' attributes, all or none; durable on return. Return the new revision.

    rows: user id and attributes, which replace those of the same name; the others stay.

    Raises:
        StoreError: the database failed; nothing was written.
    """
    given: dict[str, dict[str, Any]] = {}
    for user_id, attributes in rows:
        given.setdefault(user_id, {}).update(attributes)
    statement = database.insert(USERS)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["profile"], set_={"attributes": new.attributes, "revision": new.revision}
    )
    with database.writing() as connection:
        if not database.is_postgres:
            # SQLite locks at the first write, and the rows are read before it.
            connection.execute(sa.text("UPDATE users SET revision = revision WHERE 0"))
        newest = connection.scalar(sa.select(sa.func.max(USERS.c.revision))) or 0
        # By the clock: an erasure takes revisions away, and none may come twice.
        revision = max(newest + 1, time.time_ns() // 1000)
        profiles = [f"user:{user_id}" for user_id in given]
        stored = _read(connection, USERS.c.profile.in_(profiles))
        changed = [
            {
                "profile": f"user:{user_id}",
                "user_id": user_id,
                "attributes": json.dumps(
                    {**stored.get(f"user:{user_id}", {}), **attributes}, ensure_ascii=False
                ),
                "revision": revision,
            }
            for user_id, attributes in given.items()
        ]
        connection.execute(statement, changed)
        return revision


def attributes_of(database: Database, profiles: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the attributes of those of the profiles that have any.

    Raises:
        StoreError: the database failed.
    """
    found: dict[str, dict[str, Any]] = {}
    with database.connected() as connection:
        for start in range(0, len(profiles), MOST_PARAMETERS):
            some = profiles[start : start + MOST_PARAMETERS]
            found |= _read(connection, USERS.c.profile.in_(some))
    return found


def users_revision(database: Database) -> int:
    """Return the newest revision, 0 while no user has attributes.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        return connection.scalar(sa.select(sa.func.max(USERS.c.revision))) or 0


def changed_after(database: Database, revision: int) -> list[str]:
    """Return the profiles changed after ``revision``.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        return list(
            connection.scalars(sa.select(USERS.c.profile).where(USERS.c.revision > revision))
        )


def read_users(database: Database) -> list[tuple[str, dict[str, Any]]]:
    """Return user id and attributes of all users, sorted by the id.

    Raises:
        StoreError: the database failed.
    """
    with database.connected(timeout=None) as connection:
        rows = connection.execute(
            sa.select(USERS.c.user_id, USERS.c.attributes).order_by(USERS.c.user_id)
        )
        return [(user_id, json.loads(attributes)) for user_id, attributes in rows]


def _read(connection: sa.Connection, where: sa.ColumnElement[bool]) -> dict[str, dict[str, Any]]:
    rows = connection.execute(sa.select(USERS.c.profile, USERS.c.attributes).where(where))
    return {profile: json.loads(attributes) for profile, attributes in rows}
