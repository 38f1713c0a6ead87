"""Counts of events and impressions, for ``GET /status`` and the operator's page.

In: the database and a time. Out: numbers. Times are microseconds since 1970 unless a field says
otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from serving.events.database import Database
from serving.events.tables import EVENTS, HOUR, IMPRESSION_COUNTS, IMPRESSIONS, SECOND

MOST_UNKNOWN = 10
"""Ids that ``unknown_items`` names."""


def count_events(database: Database, since: int = 0) -> dict[str, int]:
    """Return the number of events of each kind received since a time.

    Raises:
        StoreError: the database failed.
    """
    return _counts(database, EVENTS.c.event, since)


def unknown_items(
    database: Database, since: int, is_known: Callable[[str], bool]
) -> tuple[int, list[dict[str, Any]]]:
    """Return how many events received since a time name no product, and the MOST_UNKNOWN ids of
    most of them: item_id, events.

    Raises:
        StoreError: the database failed.
    """
    counts = _counts(database, EVENTS.c.item_id, since)
    found = [(n, one) for one, n in counts.items() if not is_known(one)]
    found.sort(key=lambda pair: (-pair[0], pair[1]))
    ids = [{"item_id": one, "events": n} for n, one in found[:MOST_UNKNOWN]]
    return sum(n for n, _ in found), ids


def _counts(database: Database, column: sa.Column[str], since: int) -> dict[str, int]:
    """Return the number of events received since a time by a column's values."""
    statement = (
        sa.select(column, sa.func.count()).where(EVENTS.c.received_at >= since).group_by(column)
    )
    with database.connected() as connection:
        return {row[0]: row[1] for row in connection.execute(statement)}


def count_impressions(database: Database, since: int = 0) -> int:
    """Return the number of recommendations shown since a time.

    Those that retention removed are counted from the beginning of the hour of ``since``.

    Raises:
        StoreError: the database failed.
    """
    kept = sa.select(sa.func.count()).where(IMPRESSIONS.c.timestamp >= since)
    removed = sa.select(sa.func.sum(IMPRESSION_COUNTS.c.impressions)).where(
        IMPRESSION_COUNTS.c.hour >= since // HOUR
    )
    with database.connected() as connection:
        return (connection.scalar(kept) or 0) + int(connection.scalar(removed) or 0)


def removed_impressions(database: Database, since: int = 0) -> list[dict[str, Any]]:
    """Return the counts of the impressions that retention removed, the oldest hour first.

    Each has: hour (hours since 1970), model_version, source, impressions, items, followed (events
    that named one of the impressions).

    Raises:
        StoreError: the database failed.
    """
    names = ("hour", "model_version", "source", "impressions", "items", "followed")
    columns = [IMPRESSION_COUNTS.c[name] for name in names]
    statement = sa.select(*columns).where(IMPRESSION_COUNTS.c.hour >= since // HOUR)
    with database.connected() as connection:
        rows = connection.execute(statement.order_by(*columns[:3])).mappings()
        return [dict(row) for row in rows]


def surfaces(database: Database, since: int) -> list[dict[str, Any]]:
    """Return what came of the lists shown since a time by their place in the shop, the one with
    most lists first.

    Each has: surface, impressions, followed and bought (lists that an event named, that a purchase
    named).

    Raises:
        StoreError: the database failed.
    """
    named = sa.and_(IMPRESSIONS.c.timestamp >= since, IMPRESSIONS.c.surface.is_not(None))
    joined = IMPRESSIONS.outerjoin(EVENTS, EVENTS.c.impression_id == IMPRESSIONS.c.impression_id)
    of_lists = sa.func.count(sa.distinct(IMPRESSIONS.c.row_id))
    bought = sa.case((EVENTS.c.event == "purchase", IMPRESSIONS.c.row_id))
    followed = sa.case((EVENTS.c.row_id.is_not(None), IMPRESSIONS.c.row_id))
    statement = (
        sa.select(
            IMPRESSIONS.c.surface,
            of_lists.label("impressions"),
            sa.func.count(sa.distinct(followed)).label("followed"),
            sa.func.count(sa.distinct(bought)).label("bought"),
        )
        .select_from(joined)
        .where(named)
        .group_by(IMPRESSIONS.c.surface)
        .order_by(of_lists.desc(), IMPRESSIONS.c.surface)
    )
    with database.connected() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def activity(database: Database, since: int, step: int) -> list[dict[str, Any]]:
    """Return impressions and events in each interval of ``step`` microseconds, the newest last.

    Each has: start (seconds since 1970), impressions, events (count by kind), followed (events that
    named the impression they came from).

    Raises:
        StoreError: the database failed.
    """
    now = time.time_ns() // 1000
    intervals = [
        {"start": start // SECOND, "impressions": 0, "events": {}, "followed": 0}
        for start in range(since, now + 1, step)
    ]
    shown_in = ((IMPRESSIONS.c.timestamp - since) // step).label("step")
    received_in = ((EVENTS.c.received_at - since) // step).label("step")
    impressions = (
        sa.select(shown_in, sa.func.count())
        .where(IMPRESSIONS.c.timestamp >= since)
        .group_by(sa.text("step"))
    )
    events = (
        sa.select(
            received_in, EVENTS.c.event, sa.func.count(), sa.func.count(EVENTS.c.impression_id)
        )
        .where(EVENTS.c.received_at >= since)
        .group_by(sa.text("step"), EVENTS.c.event)
    )
    removed = sa.select(IMPRESSION_COUNTS.c.hour, IMPRESSION_COUNTS.c.impressions).where(
        IMPRESSION_COUNTS.c.hour >= since // HOUR
    )
    with database.connected() as connection:
        for at, count in connection.execute(impressions):
            if at < len(intervals):
                intervals[at]["impressions"] = count
        for hour, count in connection.execute(removed):
            at = max(hour * HOUR - since, 0) // step
            if at < len(intervals):
                intervals[at]["impressions"] += count
        for at, event, count, followed in connection.execute(events):
            if at < len(intervals):
                intervals[at]["events"][event] = count
                intervals[at]["followed"] += followed
    return intervals
