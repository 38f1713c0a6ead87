"""Retention: the age of impressions and the size of the event store are bounded.

In: ``serve.retention`` and the database. Out: small steps that the store's writer takes between its
commits. A step counts the oldest impressions by hour, model version and source and removes them, in
one transaction. ``is_full`` says when new impressions are dropped. Events are never removed.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from components.settings import Retention as Settings
from serving.events.database import Database
from serving.events.postgres import STATEMENT_TIMEOUT
from serving.events.tables import DAY, EVENTS, HOUR, IMPRESSION_COUNTS, IMPRESSIONS

BATCH = 500
"""Impressions removed in one transaction. Events wait no longer than that takes."""

PAUSE = 5.0
"""Seconds between two checks of age and size."""

BATCH_PAUSE = 0.05
"""Seconds between two batches while there is more to remove."""

MARGIN = 0.9
"""Share of the size limit above which the oldest impressions are removed. Above the limit itself
new ones are dropped."""

RETRY = 10.0
"""Seconds for which impressions are dropped after the disk was full."""

RESERVE_BYTES = 16_000_000
"""Size of a reserve file next to SQLite's. It is deleted when the disk is full, because removing
impressions, whose pages events can then use, needs some space itself."""

RETENTION_LOCK = 0x626F7766
"""PostgreSQL's advisory lock: one worker removes at a time."""

ROW_BYTES = 24 + 8
"""PostgreSQL's overhead of a row: header and item pointer, rounded up."""

INDEX_BYTES = {"events": 350, "impressions": 250}
"""Approximate size of a row's entries in all indexes of the table in PostgreSQL."""

SAMPLE = 500
"""Number of a table's newest rows whose mean size is measured in PostgreSQL."""


class Retention:
    """Keeps a store within ``serve.retention``; only the store's writer calls ``step``.

    is_full: whether new impressions are dropped. why: the reason in a few words. used: bytes, as
    last measured. removed: impressions removed by this process.
    """

    pause = PAUSE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_full = False
        self.why = ""
        self.used = 0
        self.removed = 0
        self._disk_full_until = 0.0

    def disk_is_full(self, database: Database) -> None:
        """Drop impressions for RETRY seconds and delete the reserve: a write found the disk
        full."""
        if not database.is_postgres:
            _reserve_file(database).unlink(missing_ok=True)
        self._disk_full_until = time.monotonic() + RETRY
        self.is_full, self.why = True, "the disk is full"

    def step(self, database: Database) -> float:
        """Measure the store and remove one batch if one is due; return seconds until the next step.

        Raises:
            StoreError: the database failed.
        """
        limit = self.settings.max_store_mb * 1e6
        with database.connected() as connection:
            self.used = used_bytes(connection, database.is_postgres)
        self._check_space(database, limit)
        if self.used > MARGIN * limit:
            removed = self.remove_oldest(database)
        else:
            today = time.time_ns() // 1000 // DAY
            removed = self.remove_oldest(database, (today - self.settings.impression_days) * DAY)
        return BATCH_PAUSE if removed >= BATCH else PAUSE

    def _check_space(self, database: Database, limit: float) -> None:
        """Set ``is_full`` and ``why``."""
        free = None
        if not database.is_postgres:
            free = shutil.disk_usage(Path(database.location).parent).free
        if time.monotonic() < self._disk_full_until:
            return
        if free is not None and free > self.settings.min_free_mb * 1e6 + RESERVE_BYTES:
            _make_reserve(database)
        if self.used > limit:
            why = f"the event store is larger than {self.settings.max_store_mb:g} MB"
        elif free is not None and free < self.settings.min_free_mb * 1e6:
            why = f"the disk has less than {self.settings.min_free_mb:g} MB left"
        else:
            why = ""
        self.is_full, self.why = bool(why), why

    def remove_oldest(self, database: Database, before: int | None = None) -> int:
        """Count and remove about BATCH of the oldest impressions at most; return their number.

        before: microseconds since 1970; None: of any age.

        Raises:
            StoreError: the database failed; nothing was removed.
        """
        moment = IMPRESSIONS.c.timestamp
        old = sa.true() if before is None else moment < before
        with database.writing(STATEMENT_TIMEOUT) as connection:
            if database.is_postgres and not connection.scalar(
                sa.select(sa.func.pg_try_advisory_xact_lock(RETENTION_LOCK))
            ):
                return 0
            oldest = sa.select(moment).where(old).order_by(moment).limit(BATCH).subquery()
            until = connection.scalar(sa.select(sa.func.max(oldest.c.timestamp)))
            if until is None:
                return 0
            connection.execute(_count(until, database.is_postgres))
            removed = connection.execute(sa.delete(IMPRESSIONS).where(moment <= until)).rowcount
        self.removed += removed
        return removed


def _reserve_file(database: Database) -> Path:
    return Path(f"{database.location}-reserve")


def _make_reserve(database: Database) -> None:
    """Create the reserve file, if there is none, so that no other program takes its space."""
    file = _reserve_file(database)
    if file.exists():
        return
    try:
        with file.open("xb") as opened:
            os.posix_fallocate(opened.fileno(), 0, RESERVE_BYTES)
    except FileExistsError:  # another worker has just made it
        pass
    except OSError:  # the disk filled up just now: a later step tries again
        file.unlink(missing_ok=True)


def _count(until: int, is_postgres: bool) -> sa.Insert:
    """Return the statement that adds the impressions up to a time to the counts of their hours."""
    counts = IMPRESSION_COUNTS.c
    hour = IMPRESSIONS.c.timestamp.op("/")(sa.literal(HOUR, sa.BigInteger))
    listed = IMPRESSIONS.c.item_ids
    length = sa.func.json_array_length(sa.cast(listed, postgresql.JSON) if is_postgres else listed)
    followed = (
        sa.select(sa.func.count())
        .select_from(EVENTS)
        .where(EVENTS.c.impression_id == IMPRESSIONS.c.impression_id)
        .where(EVENTS.c.impression_id.is_not(None))  # the condition of the partial index
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
        .where(sa.true())  # without it SQLite reads ON CONFLICT as the ON of a join
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
    """Return the size of events and impressions in bytes, without pages that are free again.

    In PostgreSQL it is an estimate: the range of row ids times the mean size of the newest rows.
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
