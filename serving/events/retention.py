"""How long impressions are kept, and how large the event store may become.

In: ``serve.retention``. Out: small steps that the store's writer takes between its commits: the
oldest impressions are counted by the hour, model version and source, and removed, in one
transaction; and ``full``, while there is no space for impressions. Events are never removed.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from components.settings import Retention as Settings
from serving.events.store import DAY, EVENTS, HOUR, IMPRESSION_COUNTS, IMPRESSIONS, PATIENCE

if TYPE_CHECKING:
    from serving.events.store import EventStore

BATCH = 500
"""Impressions removed in one transaction: events wait for no longer than that takes."""

PAUSE = 5.0
"""Seconds between two looks at age and size."""

BETWEEN = 0.05
"""Seconds between two batches."""

MARGIN = 0.9
"""Of the size limit: above it the oldest impressions go, above the limit new ones are dropped."""

RETRY = 10.0
"""Seconds for which impressions are dropped after the disk was full."""

RESERVE_BYTES = 16_000_000
"""Of a file next to SQLite's that is given up when the disk is full: removing impressions, whose
pages events can then use, takes some space itself."""

RETENTION_LOCK = 0x626F7766
"""PostgreSQL's advisory lock: one worker removes at a time."""

ROW_BYTES = 24 + 8
"""PostgreSQL's own of a row."""

INDEX_BYTES = {"events": 350, "impressions": 250}
"""Of a row's entries in all indexes of the table in PostgreSQL, about."""

SAMPLE = 500
"""Newest rows of a table whose size is measured in PostgreSQL."""


class Retention:
    """Keeps a store within its settings; ``step`` is called by the store's writer only.

    full: whether impressions are dropped now; why: in a few words. used: bytes, as last measured.
    """

    pause = PAUSE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.full = False
        self.why = ""
        self.used = 0
        self.removed = 0
        self._no_space_until = 0.0

    def no_space(self, store: EventStore) -> None:
        """Take note that a write failed because the disk is full, and give up the reserve."""
        if not store.is_postgres:
            _reserve(store).unlink(missing_ok=True)
        self._no_space_until = time.monotonic() + RETRY
        self.full, self.why = True, "the disk is full"

    def step(self, store: EventStore) -> float:
        """Measure, remove one batch if there is one to remove; return seconds until the next."""
        limit = self.settings.max_store_mb * 1e6
        with store.connected() as connection:
            self.used = used_bytes(connection, store.is_postgres)
        self._judge(store, limit)
        if self.used > MARGIN * limit:
            removed = self.remove_oldest(store)
        else:
            today = time.time_ns() // 1000 // DAY
            removed = self.remove_oldest(store, (today - self.settings.impression_days) * DAY)
        return BETWEEN if removed >= BATCH else PAUSE

    def _judge(self, store: EventStore, limit: float) -> None:
        free = None if store.is_postgres else shutil.disk_usage(Path(store.place).parent).free
        if time.monotonic() < self._no_space_until:
            return
        if free is not None and free > self.settings.min_free_mb * 1e6 + RESERVE_BYTES:
            _hold_reserve(store)
        if self.used > limit:
            why = f"the event store is larger than {self.settings.max_store_mb:g} MB"
        elif free is not None and free < self.settings.min_free_mb * 1e6:
            why = f"the disk has less than {self.settings.min_free_mb:g} MB left"
        else:
            why = ""
        self.full, self.why = bool(why), why

    def remove_oldest(self, store: EventStore, before: int | None = None) -> int:
        """Count and remove at most about BATCH of the oldest impressions; return how many.

        before: microseconds since 1970; None: whatever their age.
        """
        moment = IMPRESSIONS.c.timestamp
        old = sa.true() if before is None else moment < before
        with store.writing(PATIENCE) as connection:
            if store.is_postgres and not connection.scalar(
                sa.select(sa.func.pg_try_advisory_xact_lock(RETENTION_LOCK))
            ):
                return 0
            oldest = sa.select(moment).where(old).order_by(moment).limit(BATCH).subquery()
            until = connection.scalar(sa.select(sa.func.max(oldest.c.timestamp)))
            if until is None:
                return 0
            connection.execute(_count(until, store.is_postgres))
            removed = connection.execute(sa.delete(IMPRESSIONS).where(moment <= until)).rowcount
        self.removed += removed
        return removed


def _reserve(store: EventStore) -> Path:
    return Path(f"{store.place}-reserve")


def _hold_reserve(store: EventStore) -> None:
    """Make the reserve, if it is not there: space that no other program takes."""
    file = _reserve(store)
    if file.exists():
        return
    try:
        with file.open("xb") as opened:
            os.posix_fallocate(opened.fileno(), 0, RESERVE_BYTES)
    except FileExistsError:  # another worker was first
        pass
    except OSError:  # the disk filled up just now: the reserve is for later
        file.unlink(missing_ok=True)


def _count(until: int, is_postgres: bool) -> sa.Insert:
    """Return the statement that adds the impressions up to a time to their hours' counts."""
    counts = IMPRESSION_COUNTS.c
    hour = IMPRESSIONS.c.timestamp.op("/")(sa.literal(HOUR, sa.BigInteger))
    listed = IMPRESSIONS.c.item_ids
    length = sa.func.json_array_length(sa.cast(listed, postgresql.JSON) if is_postgres else listed)
    followed = (
        sa.select(sa.func.count())
        .select_from(EVENTS)
        .where(EVENTS.c.impression_id == IMPRESSIONS.c.impression_id)
        .where(EVENTS.c.impression_id.is_not(None))  # so that the partial index is used
        .scalar_subquery()
    )
    each = (
        sa.select(
            hour.label("hour"),
            IMPRESSIONS.c.model_version,
            IMPRESSIONS.c.source,
            length.label("items"),
            followed.label("followed"),
            IMPRESSIONS.c.timestamp,
        )
        .where(IMPRESSIONS.c.timestamp <= until)
        .subquery()
    )
    keys = (each.c.hour, each.c.model_version, each.c.source)
    summed = (
        sa.select(
            *keys,
            sa.func.count(),
            sa.func.sum(each.c["items"]),
            sa.func.sum(each.c.followed),
            sa.func.max(each.c.timestamp),
        )
        .where(sa.true())  # SQLite would take ON CONFLICT for a join's ON
        .group_by(*keys)
    )
    names = ["hour", "model_version", "source", "impressions", "items", "followed", "until"]
    statement = (postgresql if is_postgres else sqlite).insert(IMPRESSION_COUNTS)
    statement = statement.from_select(names, summed)
    new = statement.excluded
    greater = sa.func.greatest if is_postgres else sa.func.max
    return statement.on_conflict_do_update(
        index_elements=["hour", "model_version", "source"],
        set_={
            **{name: counts[name] + new[name] for name in ("impressions", "items", "followed")},
            "until": greater(counts.until, new.until),
        },
    )


def used_bytes(connection: sa.Connection, is_postgres: bool) -> int:
    """Return how large the events and impressions are; pages that are free again do not count.

    In PostgreSQL it is an estimate: rows by their ids, times the newest rows' size.
    """
    if not is_postgres:
        pages, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size
    used = 0.0
    for table in (EVENTS, IMPRESSIONS):
        ids = connection.execute(
            sa.select(sa.func.min(table.c.row_id), sa.func.max(table.c.row_id))
        ).one()
        if ids[0] is None:
            continue
        newest = sa.select(table).order_by(table.c.row_id.desc()).limit(SAMPLE).subquery()
        size = sa.func.pg_column_size(newest.table_valued())
        mean = connection.execute(sa.select(sa.func.avg(size)).select_from(newest)).scalar_one()
        used += (ids[1] - ids[0] + 1) * (float(mean) + ROW_BYTES + INDEX_BYTES[table.name])
    return int(used)
