"""The impressions of lists for many customers: written directly, so that none is dropped.

In: lists as a part keeps them (``lists.PART``). Out: rows of the event store, durable on return.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa

from components.data.schema import BATCH
from components.settings import Retention
from serving.batch.output import OutputError
from serving.events.bulk_insert import insert_new
from serving.events.database import Database
from serving.events.exposures import record_exposures
from serving.events.retention import MARGIN, used_bytes
from serving.events.tables import IMPRESSIONS

ROWS_PER_COMMIT = 500
"""Impressions of one transaction: the endpoint's events wait no longer than one takes."""
ROW_BYTES = 400
"""Of an impression in the event store besides its lists, with its index entries; rounded up."""
LISTS = ("item_ids", "scores", "propensities")
UNSIGNED = 32
"""Characters of an impression's id before its signature."""


def check_room(database: Database, retention: Retention, parts: Iterable[Path]) -> None:
    """Return if the event store has room for the lists of ``parts``.

    Raises:
        OutputError: retention would soon remove impressions to make room for these.
        StoreError: the database failed.
    """
    needed = 0
    for file in parts:
        table = pq.read_table(file, columns=list(LISTS))
        needed += sum(pc.sum(pc.binary_length(table[one])).as_py() or 0 for one in LISTS)
        needed += ROW_BYTES * len(table)
    with database.connected(timeout=None) as connection:
        used = used_bytes(connection, database.is_postgres)
    free = MARGIN * retention.max_store_mb * 1e6 - used
    what = "serve.retention.max_store_mb leaves"
    if not database.is_postgres:
        disk = shutil.disk_usage(Path(database.location).parent).free - retention.min_free_mb * 1e6
        if disk < free:
            free, what = disk, "its disk leaves"
    if needed > free:
        raise OutputError(
            f"the impressions of the lists need about {needed / 1e6:,.0f} MB of the event store, "
            f"{what} {max(free, 0) / 1e6:,.0f} MB: make room and run again (finished parts are "
            "kept), or use --no-log for lists that nobody is shown"
        )


def log(
    database: Database,
    version: str,
    lists: Sequence[Mapping[str, Any]],
    surface: str | None = None,
) -> None:
    """Write the impressions and the exposures to the holdout; durable on return.

    Those that a killed run wrote already stay as they are. version: of the model. surface: of the
    request.

    Raises:
        StoreError: the database failed; call it again.
    """
    for start in range(0, len(lists), ROWS_PER_COMMIT):
        some = lists[start : start + ROWS_PER_COMMIT]
        rows = [
            {
                **{name: one[name] for name in ("impression_id", "user_id", *LISTS)},
                "profile": f"user:{one['user_id']}",
                "session_id": None,
                "model_version": version,
                "source": BATCH,
                "surface": surface,
                "timestamp": one["made_at"],
                "rules": one["rules"],
            }
            for one in some
        ]
        with database.writing() as connection:
            insert_new(connection, IMPRESSIONS, "impression_id", rows)
        exposed = [
            {
                "experiment": one["experiment"],
                "profile": f"user:{one['user_id']}",
                "arm": one["arm"],
                "model_version": version,
                "timestamp": one["made_at"],
            }
            for one in some
            if one["experiment"] is not None
        ]
        if exposed:
            record_exposures(database, exposed)


def is_signed_elsewhere(database: Database, sign: Callable[[str, str | None, str], str]) -> bool:
    """Return whether the newest impression of the endpoint has another signature than ``sign``
    makes: then the endpoint will not recognise the ids of these lists.

    Raises:
        StoreError: the database failed.
    """
    statement = (
        sa.select(IMPRESSIONS.c.impression_id, IMPRESSIONS.c.profile)
        .where(IMPRESSIONS.c.profile.is_not(None), IMPRESSIONS.c.source != BATCH)
        .order_by(IMPRESSIONS.c.row_id.desc())
        .limit(1)
    )
    with database.connected(timeout=None) as connection:
        newest = connection.execute(statement).one_or_none()
    return newest is not None and sign(newest[0][:UNSIGNED], newest[1], "") != newest[0]
