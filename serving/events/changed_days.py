"""Days of which rows were removed from the store, so that their exported files are outdated.

In: the rows that an erasure or a sign-in removes. Out: entries by which ``export`` finds these days
without counting the rows of all others. New rows need none: they have new row ids.
"""

from __future__ import annotations

import sqlalchemy as sa

from serving.events.tables import CHANGED_DAYS, DAY, EVENTS, IMPRESSIONS

MOMENTS = {EVENTS.name: EVENTS.c.received_at, IMPRESSIONS.name: IMPRESSIONS.c.timestamp}
"""The time by which each exported table is divided into files."""


def day_of(moment: sa.Column[int]) -> sa.ColumnElement[int]:
    """Return the expression of a time's day since 1970."""
    return moment.op("/")(sa.literal(DAY, sa.BigInteger))


def note_changed_days(
    connection: sa.Connection, table: sa.Table, removed: sa.ColumnElement[bool]
) -> None:
    """Note the days of the rows that are about to be removed from a table that is exported.

    The caller holds the writers' lock, so entries become visible in the order of their ids.
    """
    if table.name not in MOMENTS:
        return
    days = sa.select(sa.literal(table.name), day_of(MOMENTS[table.name])).where(removed).distinct()
    into = (CHANGED_DAYS.c.name, CHANGED_DAYS.c.day)
    connection.execute(sa.insert(CHANGED_DAYS).from_select(into, days))


def days_changed_after(connection: sa.Connection, table: sa.Table, row_id: int) -> set[int]:
    """Return the days that were noted of a table after the entry ``row_id``."""
    noted = sa.select(CHANGED_DAYS.c.day).where(
        CHANGED_DAYS.c.name == table.name, CHANGED_DAYS.c.row_id > row_id
    )
    return set(connection.scalars(noted.distinct()))


def last_change(connection: sa.Connection) -> int:
    """Return the id of the newest entry, 0 when there is none."""
    return connection.scalar(sa.select(sa.func.max(CHANGED_DAYS.c.row_id))) or 0
