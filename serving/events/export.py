"""Export of the event store to Parquet files, for training and monitoring.

In: the database. Out: events and impressions in one file a day, the products put by ``PUT /items``
and the attributes put by ``PUT /users``. A file whose rows did not change is left as it is.

The export goes on where the one before it ended: a small file in the folder has the newest row id
that was exported, and only days with newer rows or removed rows (``changed_days``) are counted.
Rows become visible in the order of their ids (``database.WRITER_LOCK``), so none is left behind.
All days are counted where that file is missing or does not belong to this database.
"""

from __future__ import annotations

import calendar
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa

from components import file_erasure
from components.data.attributes import ARROW, valid
from components.data.schema import INTERACTIONS, UTC
from components.file_lock import folder_lock
from components.json_files import write_json
from components.settings import AttributeType
from serving.events.catalogue_table import read_items
from serving.events.changed_days import day_of, days_changed_after, last_change
from serving.events.database import Database
from serving.events.event_erasure import ErasureSnapshot, read_erasures
from serving.events.tables import DAY, EVENTS, IMPRESSION_COUNTS, IMPRESSIONS, SECOND
from serving.events.user_table import read_users

logger = logging.getLogger("bentoml.bowerbird")

ROWS_PER_READ = 50_000

ITEM_FILE = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("item_id", "title", "description", "brand")),
        ("category", pa.list_(pa.string())),  # most general level first
        ("price", pa.float32()),
        ("currency", pa.string()),
        ("available", pa.bool_()),
        ("image", pa.string()),
        ("url", pa.string()),
    ]
)
IMPRESSION_FILE = pa.schema(
    [
        ("impression_id", pa.string()),
        ("user_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("propensities", pa.list_(pa.float32())),
        ("model_version", pa.string()),
        ("source", pa.string()),
        ("timestamp", UTC),
        ("rules", pa.string()),  # as in the table
    ]
)


@dataclass(frozen=True)
class _Dataset:
    """A table and its files ``<name>-<date>.parquet``, where the date is that of ``moment``.

    key: the table's own unique id of a row. rows: the table's columns, with those of other tables.
    """

    name: str
    table: sa.Table
    key: sa.Column[str]
    rows: sa.Select[Any]
    moment: sa.Column[int]
    schema: pa.Schema
    columns: Callable[[Sequence[Any]], dict[str, list[Any]]]


@dataclass(frozen=True)
class _Day:
    """rows: number of rows in the store. last_row: the newest one's id. removed_until: time of the
    newest impression that retention removed, None if it removed none."""

    number: int  # days since 1970
    rows: int
    last_row: int
    removed_until: int | None


def export_events(database: Database, folder: str | Path) -> list[Path]:
    """Write the events to ``folder`` as INTERACTIONS; return the changed files.

    An event that names a list has what made it and the item's position in it, as long as the
    store has the list. An event without ``impression_id`` is organic.

    There is one file for each day of receipt, ``events-2026-11-24.parquet``. A file whose day has
    neither new nor erased events is left as it is. A session without a user becomes the user
    ``session:<id>``.

    Raises:
        StoreError: the database failed.
    """
    with _snapshot(database) as connection:
        return _export(connection, _EVENTS, Path(folder), {}, ErasureSnapshot({}, 0), "")


def export_impressions(database: Database, folder: str | Path) -> list[Path]:
    """Write the impressions to ``folder``, one file a day; return the changed files.

    Impressions that retention removed from the store stay in the file of their day, unless their
    profile was erased.

    Raises:
        StoreError: the database failed.
    """
    erasures = read_erasures(database)
    with _snapshot(database) as connection:
        removed = _removed_until(connection)
        return _export(
            connection, _IMPRESSIONS, Path(folder), removed, erasures, database.erasure_key
        )


def export_items(
    database: Database, folder: str | Path, types: Mapping[str, AttributeType] | None = None
) -> list[Path]:
    """Write the products of ``PUT /items`` that have a title to ``folder``/items.parquet.

    types: of the attributes that the shop declares, each of which is a column; others are left out.
    Products that were deleted or have expired are left out.

    Return the file, or an empty list if there never was such a product.

    Raises:
        StoreError: the database failed.
    """
    rows = [row for row in read_items(database) if row["title"] and not row["deleted"]]
    file = Path(folder) / "items.parquet"
    if not rows and not file.exists():
        return []
    columns = {name: [row[name] for row in rows] for name in ITEM_FILE.names if name != "category"}
    columns["category"] = [row["categories"] for row in rows]
    columns["available"] = [row["available"] is not False for row in rows]
    attributes = _attribute_fields(types or {})
    for one in attributes:
        kind = (types or {})[one.name]
        columns[one.name] = [valid(kind, (row["attributes"] or {}).get(one.name)) for row in rows]
    schema = pa.schema([*ITEM_FILE, *attributes])
    file.parent.mkdir(parents=True, exist_ok=True)
    file_erasure.replace_table(file, pa.Table.from_pydict(columns, schema=schema))
    return [file]


def export_users(
    database: Database, folder: str | Path, types: Mapping[str, AttributeType]
) -> list[Path]:
    """Write the attributes of ``PUT /users`` to ``folder``/users.parquet, a column by each name.

    types: of the attributes that the shop declares; others are left out. Return the file, or an
    empty list if no user has any.

    Raises:
        StoreError: the database failed.
    """
    file = Path(folder) / "users.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(file.parent):  # before the reading, as ``_export``
        rows = read_users(database)
        if not rows and not file.exists():
            return []
        columns: dict[str, list[Any]] = {"user_id": [user_id for user_id, _ in rows]}
        columns |= {
            name: [valid(kind, one.get(name)) for _, one in rows] for name, kind in types.items()
        }
        file_erasure.write_table(file, pa.Table.from_pydict(columns, schema=_user_file(types)))
    return [file]


@contextmanager
def _snapshot(database: Database) -> Iterator[sa.Connection]:
    """Yield a connection whose statements all see the store as at the first of them.

    A session's events that become a user's in between would else be in two days' files or in none.
    """
    with database.connected(timeout=None) as connection:
        if database.is_postgres:
            connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            connection.exec_driver_sql("BEGIN")
        yield connection


def _user_file(types: Mapping[str, AttributeType]) -> pa.Schema:
    return pa.schema([("user_id", pa.string()), *_attribute_fields(types)])


def _attribute_fields(types: Mapping[str, AttributeType]) -> list[pa.Field]:
    """Return the fields of attributes by name; a date is a text of ISO 8601."""
    return [
        pa.field(name, pa.string() if kind == "date" else ARROW[kind])
        for name, kind in sorted(types.items())
    ]


def _export(
    connection: sa.Connection,
    dataset: _Dataset,
    folder: Path,
    removed: dict[int, int],
    erasures: ErasureSnapshot,
    key: str,
) -> list[Path]:
    """Write the changed days of ``dataset``; return the changed files.

    removed: as ``_removed_until``. key: of the hashes in ``erasures``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder):  # from before the reading: an erasure looks at what is written
        return _export_days(connection, dataset, folder, removed, erasures, key)


def _export_days(
    connection: sa.Connection,
    dataset: _Dataset,
    folder: Path,
    removed: dict[int, int],
    erasures: ErasureSnapshot,
    key: str,
) -> list[Path]:
    position = _read_position(folder, dataset)
    if position is None or not _is_of(connection, dataset, position):
        position = _Position()
    days = _days(connection, dataset, removed, position, folder, erasures)
    reached = _reached(connection, dataset, erasures)
    changed, states = [], dict(position.days)
    for day in days:
        file = _file(folder, dataset, day.number)
        states.pop(_date(day.number), None)
        state = {b"bowerbird.rows": b"%d" % day.rows, b"bowerbird.last": b"%d" % day.last_row}
        if day.removed_until is not None:  # rows that only the file has change by an erasure alone
            state[b"bowerbird.erasures"] = b"%d" % erasures.last_row
        if not (file.exists() and state.items() <= _metadata(file).items()):
            kept = dataset.schema.empty_table()
            if day.removed_until is not None and file.exists():
                kept = _until(file, dataset.schema, day.removed_until)
                kept = _without_erased(kept, file_erasure.ErasedPeople(erasures.times, key))
            if day.rows or kept.num_rows:
                _write_day(connection, dataset, day, file, kept, state)
            elif file.exists():
                file.unlink()
            else:
                continue
            changed.append(file)
        if file.exists():
            states[_date(day.number)] = (day.rows, day.last_row)
    if not position.days:  # all days were counted
        current = {_file(folder, dataset, day.number) for day in days}
        for file in set(folder.glob(f"{dataset.name}-????-??-??.parquet")) - current:
            if b"bowerbird.last" in _metadata(file):
                file.unlink()  # every row of its day was erased
                changed.append(file)
    _write_position(folder, dataset, replace(reached, days=states))
    return sorted(changed)


@dataclass(frozen=True)
class _Position:
    """Up to where a folder was exported.

    row_id, key: of the newest row. change: of ``changed_days``. erasure: the newest erasure. days:
    rows and newest row by date of each file; none: nothing was exported.
    """

    row_id: int = 0
    key: str = ""
    change: int = 0
    erasure: int = 0
    days: dict[str, tuple[int, int]] = field(default_factory=dict)


def _position_file(folder: Path, dataset: _Dataset) -> Path:
    return folder / f".{dataset.name}.position.json"


def _read_position(folder: Path, dataset: _Dataset) -> _Position | None:
    """Return where the last export ended, None where it is not known."""
    try:
        found = json.loads(_position_file(folder, dataset).read_text(encoding="utf-8"))
        days = {str(date): (int(rows), int(last)) for date, (rows, last) in found["days"].items()}
        numbers = (int(found[name]) for name in ("row_id", "change", "erasure"))
        row_id, change, erasure = numbers
        return _Position(row_id, str(found["key"]), change, erasure, days)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_position(folder: Path, dataset: _Dataset, position: _Position) -> None:
    """Write where the export ended, after all of its files."""
    file = _position_file(folder, dataset)
    if position.days:
        write_json(file, asdict(position))
    else:
        file.unlink(missing_ok=True)


def _is_of(connection: sa.Connection, dataset: _Dataset, position: _Position) -> bool:
    """Return whether the database still has the row at which the export ended.

    A restored backup has another one of this id, or none; an erasure of it costs one count of all
    days.
    """
    table = dataset.table
    key = connection.scalar(sa.select(dataset.key).where(table.c.row_id == position.row_id))
    return bool(key == position.key)


def _reached(connection: sa.Connection, dataset: _Dataset, erasures: ErasureSnapshot) -> _Position:
    table = dataset.table
    newest = sa.select(table.c.row_id, dataset.key).order_by(table.c.row_id.desc()).limit(1)
    row_id, key = next(iter(connection.execute(newest)), (0, ""))
    return _Position(row_id, key, last_change(connection), erasures.last_row)


def _date(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * DAY // SECOND))


def _file(folder: Path, dataset: _Dataset, day: int) -> Path:
    return folder / f"{dataset.name}-{_date(day)}.parquet"


def _days(
    connection: sa.Connection,
    dataset: _Dataset,
    removed: dict[int, int],
    position: _Position,
    folder: Path,
    erasures: ErasureSnapshot,
) -> list[_Day]:
    """Return the days that may have changed since ``position``, of the first export all days.

    A day has rows in the store, or had rows that retention removed or that were erased.
    """
    table, day = dataset.table, day_of(dataset.moment)
    counted = sa.select(day.label("day"), sa.func.count(), sa.func.max(table.c.row_id)).group_by(
        sa.text("day")
    )
    if not position.days:
        found = {number: (rows, last) for number, rows, last in connection.execute(counted)}
        numbers = found.keys() | removed.keys()
    else:
        newer = sa.select(day).where(table.c.row_id > position.row_id).distinct()
        numbers = set(connection.scalars(newer))
        numbers |= days_changed_after(connection, table, position.change)
        numbers |= _outdated_files(folder, dataset, position)
        if erasures.last_row != position.erasure:
            numbers |= removed.keys()  # rows that only the files have
        found = {}
        for number in numbers:
            of_day = _is_on(dataset, number)
            found |= {
                n: (rows, last) for n, rows, last in connection.execute(counted.where(of_day))
            }
    return [
        _Day(number, *found.get(number, (0, 0)), removed.get(number)) for number in sorted(numbers)
    ]


def _outdated_files(folder: Path, dataset: _Dataset, position: _Position) -> set[int]:
    """Return the days whose files are not those that the export left there."""
    numbers = set()
    for date, (rows, last) in position.days.items():
        state = {b"bowerbird.rows": b"%d" % rows, b"bowerbird.last": b"%d" % last}
        if not state.items() <= _metadata(folder / f"{dataset.name}-{date}.parquet").items():
            numbers.add(calendar.timegm(time.strptime(date, "%Y-%m-%d")) * SECOND // DAY)
    return numbers


def _is_on(dataset: _Dataset, day: int) -> sa.ColumnElement[bool]:
    return sa.and_(dataset.moment >= day * DAY, dataset.moment < (day + 1) * DAY)


def _write_day(
    connection: sa.Connection,
    dataset: _Dataset,
    day: _Day,
    file: Path,
    kept: pa.Table,
    state: dict[bytes, bytes],
) -> None:
    """Write ``kept`` and the day's rows of the store to ``file``, with ``state`` as metadata."""
    statement = (
        dataset.rows.where(_is_on(dataset, day.number))
        .where(dataset.table.c.row_id <= day.last_row)
        .order_by(dataset.table.c.row_id)
        .execution_options(yield_per=ROWS_PER_READ)
    )
    schema = dataset.schema.with_metadata(state)
    with file_erasure.replacing(file) as partial, pq.ParquetWriter(partial, schema) as writer:
        writer.write_table(kept.cast(schema))
        for rows in connection.execute(statement).mappings().partitions():
            writer.write_table(pa.Table.from_pydict(dataset.columns(rows), schema=schema))


def _metadata(file: Path) -> dict[bytes, bytes]:
    """Return an exported file's metadata; of a damaged file {}, so that it is written again."""
    try:
        return pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException):
        return {}


def _removed_until(connection: sa.Connection) -> dict[int, int]:
    """Return, for each day (since 1970) of which retention removed impressions, the time of the
    newest impression that it removed."""
    rows = connection.execute(sa.select(IMPRESSION_COUNTS.c.hour, IMPRESSION_COUNTS.c.until))
    found: dict[int, int] = {}
    for hour, until in rows:
        day = hour // 24
        found[day] = max(found.get(day, 0), until)
    return found


def _until(file: Path, schema: pa.Schema, until: int) -> pa.Table:
    """Return the impressions of an exported file up to a time: those that only the file has.

    Columns that the file of an earlier version lacks are null.

    A damaged file is put aside, so that the rows that the store still has are exported.
    """
    try:
        table = pq.read_table(file)
        for field in schema:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        table = table.select(schema.names).cast(schema)
    except (OSError, pa.ArrowException) as error:
        damaged = file.with_name(f"{file.name}.damaged")
        file.replace(damaged)
        logger.error("%s is damaged (%s): kept as %s", file, type(error).__name__, damaged.name)
        return schema.empty_table()
    return table.filter(pc.less_equal(table["timestamp"].cast(pa.int64()), until))


def _without_erased(table: pa.Table, erasures: file_erasure.ErasedPeople) -> pa.Table:
    """Return exported impressions without those from before their user's erasure."""
    users = table["user_id"].combine_chunks().dictionary_encode()
    erased = erasures.among(one for one in users.dictionary.to_pylist() if one is not None)
    if not erased:
        return table
    times = np.array([erased.get(one, -1) for one in (*users.dictionary.to_pylist(), None)])
    codes = users.indices.fill_null(len(times) - 1).to_numpy(zero_copy_only=False)
    moments = table["timestamp"].cast(pa.int64()).to_numpy()
    return table.filter(pa.array(moments > times[codes]))


def _user_of(row: Any) -> str:
    return row["user_id"] if row["user_id"] is not None else row["profile"]


def _event_columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the columns of INTERACTIONS for stored events."""
    same = (
        *("item_id", "event", "rating", "quantity", "price", "timestamp", "impression_id"),
        *("order_id", "client", "authentication", "list_source"),
    )
    return {
        "user_id": [_user_of(row) for row in rows],
        **{name: [row[name] for row in rows] for name in same},
        "position": [_position(row) for row in rows],
        "source": ["serving"] * len(rows),
        "source_row": [row["row_id"] for row in rows],
    }


def _position(row: Any) -> int | None:
    """Return the item's place, from 1, in the list that led to an event; None where not known."""
    shown = [] if row["item_ids"] is None else json.loads(row["item_ids"])
    return shown.index(row["item_id"]) + 1 if row["item_id"] in shown else None


def _impression_columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the columns of IMPRESSION_FILE for stored impressions."""
    same = ("impression_id", "model_version", "source", "timestamp", "rules")
    lists = ("item_ids", "scores", "propensities")
    return {
        "user_id": [_user_of(row) for row in rows],
        **{name: [row[name] for row in rows] for name in same},
        **{name: [json.loads(row[name]) for row in rows] for name in lists},
    }


_ATTRIBUTED = sa.select(
    EVENTS, IMPRESSIONS.c.item_ids, IMPRESSIONS.c.source.label("list_source")
).select_from(EVENTS.outerjoin(IMPRESSIONS, EVENTS.c.impression_id == IMPRESSIONS.c.impression_id))
_EVENTS = _Dataset(
    *("events", EVENTS, EVENTS.c.event_id, _ATTRIBUTED, EVENTS.c.received_at),
    *(INTERACTIONS, _event_columns),
)
_IMPRESSIONS = _Dataset(
    "impressions",
    IMPRESSIONS,
    IMPRESSIONS.c.impression_id,
    sa.select(IMPRESSIONS),
    IMPRESSIONS.c.timestamp,
    IMPRESSION_FILE,
    _impression_columns,
)
