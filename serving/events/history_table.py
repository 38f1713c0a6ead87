"""Histories of the training data in the event store, a row for each customer and model version.

In: a file of users' histories as ``components.data.profiles`` writes it. Out: rows that endpoints
read by customer (``serve.histories: store``), so that no worker holds all of them and a machine
needs no file of its own. A version is listed in ``SHARED_VERSIONS`` once all of its rows are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow.parquet as pq
import sqlalchemy as sa

from components.data.attributes import as_json, attribute_columns, name_of
from components.data.profiles import attributes_file
from components.file_erasure import ErasedPeople
from serving.events.database import Database
from serving.events.event_erasure import read_erasures
from serving.events.tables import HISTORIES, SECOND, SHARED_VERSIONS

ROWS_PER_COMMIT = 2_000
OPTIONAL = ("rating", "strength", "excluding")
"""Columns that a file of histories need not have."""


@dataclass(frozen=True)
class Shared:
    """A version whose histories are all in the store.

    users: their number. until: the newest event, seconds since 1970. has_strengths: events differ
    in strength. at: microseconds since 1970.
    """

    users: int
    until: int
    has_strengths: bool
    at: int


def shared_versions(database: Database) -> dict[str, Shared]:
    """Return the versions whose histories are in the store.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        rows = connection.execute(sa.select(SHARED_VERSIONS))
        return {
            row.model_version: Shared(row.users, row.until, row.has_strengths, row.shared_at)
            for row in rows
        }


def share_histories(
    database: Database,
    file: Path,
    version: str,
    kept: Collection[str],
    progress: Callable[[int], object] = lambda users: None,
) -> int:
    """Write a version's histories to the store; return the number of customers.

    Nothing is written where they are there already. Other processes may write events at the same
    time. An erased person's rows are left out, also where the erasure happens now.

    file: of the version's histories. kept: versions whose rows stay; others are removed.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: the database failed; call it again.
    """
    there = shared_versions(database)
    if version in there:
        return there[version].users
    columns = ["user_id", "item_id", "timestamp"]
    columns += [name for name in OPTIONAL if name in pq.read_schema(file).names]
    frame = pd.read_parquet(file, columns=columns)
    _remove(database, HISTORIES.c.model_version == version)  # of a run that was killed
    seconds = pd.to_datetime(frame["timestamp"], utc=True).astype("datetime64[s, UTC]")
    frame["timestamp"] = seconds.astype("int64").to_numpy()
    erasures = read_erasures(database)
    people = ErasedPeople(erasures.times, database.erasure_key)
    users, batch = 0, []
    for row in _rows(frame, _attributes(attributes_file(file)), people):
        batch.append({**row, "model_version": version})
        if len(batch) == ROWS_PER_COMMIT:
            _insert(database, batch)
            users += len(batch)
            progress(users)
            batch = []
    _insert(database, batch)
    users += len(batch)
    until = int(frame["timestamp"].max()) if len(frame) else 0
    # Under the writers' lock, as an erasure: it comes before, and is read, or finds the rows.
    with database.writing() as connection:
        if read_erasures(database) != erasures:
            late = ErasedPeople(read_erasures(database).times, database.erasure_key)
            for user_id in late.among(frame["user_id"].unique()):
                if user_id not in people.among([user_id]):
                    of_user = HISTORIES.c.user_id == user_id
                    connection.execute(sa.delete(HISTORIES).where(of_user))
        connection.execute(
            sa.insert(SHARED_VERSIONS).values(
                model_version=version,
                users=users,
                until=until,
                has_strengths="strength" in frame,
                shared_at=time.time_ns() // 1000,
            )
        )
    gone = there.keys() - {version, *kept}
    with database.writing() as connection:
        connection.execute(
            sa.delete(SHARED_VERSIONS).where(SHARED_VERSIONS.c.model_version.in_(gone))
        )
    _remove(database, HISTORIES.c.model_version.in_(gone))
    return users


def _insert(database: Database, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    with database.connected("written", timeout=None) as connection, connection.begin():
        connection.execute(sa.insert(HISTORIES), rows)


def _remove(database: Database, which: sa.ColumnElement[bool]) -> None:
    with database.connected("written", timeout=None) as connection, connection.begin():
        connection.execute(sa.delete(HISTORIES).where(which))


def _rows(
    frame: pd.DataFrame, attributes: dict[str, str], people: ErasedPeople
) -> Iterator[dict[str, Any]]:
    """Yield a row for each customer. frame: times in seconds."""
    codes, names = pd.factorize(frame["user_id"].to_numpy())
    times = frame["timestamp"].to_numpy()
    order = np.lexsort((times, codes))
    lists = {name: frame[name].to_numpy()[order] for name in frame if name != "user_id"}
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    erased = people.among(names) if people.times else {}
    for place, user_id in enumerate(names):
        part = slice(starts[place], starts[place + 1])
        if user_id in erased:
            after = lists["timestamp"][part] * SECOND > erased[user_id]
            if after.any():
                yield _row(user_id, {name: one[part][after] for name, one in lists.items()}, None)
            continue
        of_user = {name: one[part] for name, one in lists.items()}
        yield _row(user_id, of_user, attributes.pop(user_id, None))
    for user_id in attributes.keys() - people.among(attributes).keys():
        nothing = {name: one[:0] for name, one in lists.items()}
        yield _row(user_id, nothing, attributes[user_id])


def _row(user_id: str, lists: dict[str, Any], attributes: str | None) -> dict[str, Any]:
    given = {name: list(one) if name == "item_id" else one for name, one in lists.items()}
    events = orjson.dumps(given, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return {"user_id": user_id, "events": events, "attributes": attributes}


def _attributes(file: Path) -> dict[str, str]:
    """Return the attributes of each customer that has any, as JSON."""
    if not file.exists():
        return {}
    frame = pd.read_parquet(file)
    columns = attribute_columns(frame.columns)
    found = {}
    for row in frame.to_dict("records"):
        given = {name_of(column): as_json(column, row[column]) for column in columns}
        known = {name: value for name, value in given.items() if value is not None}
        found[str(row["user_id"])] = orjson.dumps(known).decode()
    return found
