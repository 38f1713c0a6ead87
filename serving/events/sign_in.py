"""What a session did becomes the user's when the shopper signs in.

In: the event store, a session and a user. Out: the session's events, now the user's. They get new
rows: every worker then adds them to the user's history as it adds new events, and the files that
were exported before are written again. The arms of experiments that the session was in become the
user's, too, where the user was in none: what it did counts for the arm that it saw.
"""

from __future__ import annotations

import sqlalchemy as sa

from serving.events.changed_days import note_changed_days
from serving.events.store import EventStore
from serving.events.tables import EVENTS, EXPOSURES, profile_of


def move_session(store: EventStore, session_id: str, user_id: str) -> int:
    """Give the events of a session without a user to ``user_id``; durable on return.

    The rows still name the session, so an erasure of the user erases the session, too. Lists that
    were shown before stay those of a visitor. Returns the number of events.

    Raises:
        StoreError: the database failed; nothing was changed.
    """
    store.flush()  # events that are still queued belong to the session
    of_session = EVENTS.c.profile == profile_of(None, session_id)
    with store.database.writing() as connection:
        if not store.database.is_postgres:
            # SQLite locks at the first write, and the rows are read before it.
            connection.execute(sa.update(EVENTS).where(sa.false()).values(profile=""))
        found = connection.execute(sa.select(EVENTS).where(of_session).order_by(EVENTS.c.row_id))
        rows = [
            {**row, "user_id": user_id, "profile": profile_of(user_id, session_id)}
            for row in found.mappings()
        ]
        for row in rows:
            del row["row_id"]
        if rows:
            note_changed_days(connection, EVENTS, of_session)
            connection.execute(sa.delete(EVENTS).where(of_session))
            connection.execute(sa.insert(EVENTS), rows)
        _move_exposures(connection, profile_of(None, session_id), profile_of(user_id, session_id))
    if rows:
        store.history.note_commit()
    return len(rows)


def _move_exposures(connection: sa.Connection, session: str | None, user: str | None) -> None:
    users = EXPOSURES.alias()
    has_own = sa.exists().where(
        users.c.experiment == EXPOSURES.c.experiment, users.c.profile == user
    )
    of_session = EXPOSURES.c.profile == session
    connection.execute(sa.update(EXPOSURES).where(of_session, ~has_own).values(profile=user))
    connection.execute(sa.delete(EXPOSURES).where(of_session))
