"""Products and changes of products put by ``PUT /items``, and those of ``DELETE /items``.

In: products as dictionaries. Out: the same products, with a revision number that grows with every
change, by which a worker sees that it has to read them again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from serving.events.database import Database
from serving.events.tables import CATALOGUE

_JSON = ("categories", "attributes", "cleared")
_FIELDS = [column.name for column in CATALOGUE.c if column.name not in ("item_id", "revision")]
_NEVER_CLEARED = ("expires_at", "deleted")
"""Fields of which null says the same as no value at all."""


def put_items(database: Database, rows: Sequence[dict[str, Any]]) -> int:
    """Insert or change products, all or none; durable on return. Return the new revision.

    rows: item_id and some of the columns of CATALOGUE, but not revision, cleared and deleted;
    ``categories`` as a list, ``attributes`` by name. A field that a row lacks stays as it was, and
    so do attributes of other names. None: the product has no such value, whatever the training data
    say. A product that was deleted, or has expired, begins as one of the training data.

    Raises:
        StoreError: the database failed; nothing was written.
    """
    return _change(database, [(row["item_id"], row) for row in rows])


def delete_items(database: Database, item_ids: Sequence[str]) -> int:
    """Have products gone until they are put again; durable on return. Return the new revision.

    Raises:
        StoreError: the database failed; nothing was written.
    """
    return _change(database, [(item_id, None) for item_id in item_ids])


def _change(database: Database, changes: Sequence[tuple[str, dict[str, Any] | None]]) -> int:
    """Write changes of products by their ids; None: it is deleted."""
    statement = database.insert(CATALOGUE)
    new = {name: statement.excluded[name] for name in (*_FIELDS, "revision")}
    statement = statement.on_conflict_do_update(index_elements=["item_id"], set_=new)
    with database.writing() as connection:
        if not database.is_postgres:
            # SQLite locks at the first write, and the rows are read before it.
            connection.execute(sa.text("UPDATE catalogue SET revision = revision WHERE 0"))
        revision = _newest_revision(connection) + 1
        named = CATALOGUE.c.item_id.in_([item_id for item_id, _ in changes])
        found = connection.execute(sa.select(CATALOGUE).where(named)).mappings()
        rows = {row["item_id"]: _parsed(row) for row in found}
        now = time.time_ns() // 1000
        for item_id, change in changes:
            rows[item_id] = _changed(rows.get(item_id), item_id, change, now)
        written = [{**_as_columns(row), "revision": revision} for row in rows.values()]
        if written:
            connection.execute(statement, written)
        return revision


def _changed(
    row: dict[str, Any] | None, item_id: str, change: dict[str, Any] | None, now: int
) -> dict[str, Any]:
    """Return a product's row after a change of it; ``row``: before, None without one."""
    if row is None or change is None or _is_gone(row, now):
        row = {**dict.fromkeys(_FIELDS), "item_id": item_id}
    if change is None:
        return {**row, "deleted": True}
    cleared = set(row["cleared"] or ())
    for name, value in change.items():
        if value is None:
            cleared.add(name)
        elif name != "attributes":  # those of the training stay cleared, whichever are put
            cleared.discard(name)
    made = {**row, **change, "cleared": sorted(cleared.difference(_NEVER_CLEARED)) or None}
    if change.get("attributes") is not None:
        made["attributes"] = {**(row["attributes"] or {}), **change["attributes"]}
    return made


def catalogue_revision(database: Database) -> int:
    """Return the catalogue's revision, 0 while it is empty.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        return _newest_revision(connection)


def read_items(database: Database, now: int | None = None) -> list[dict[str, Any]]:
    """Return the rows of all products, sorted by item_id.

    ``deleted`` is true from ``expires_at`` on. now: microseconds since 1970; None: the clock's.

    Raises:
        StoreError: the database failed.
    """
    now = time.time_ns() // 1000 if now is None else now
    with database.connected() as connection:
        found = connection.execute(sa.select(CATALOGUE).order_by(CATALOGUE.c.item_id)).mappings()
        rows = [_parsed(row) for row in found]
    return [{**row, "deleted": _is_gone(row, now)} for row in rows]


def is_stored(database: Database, item_id: str) -> bool:
    """Return whether a product was ever put or deleted by this id.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        one = sa.select(CATALOGUE.c.item_id).where(CATALOGUE.c.item_id == item_id)
        return connection.scalar(one) is not None


def _newest_revision(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(CATALOGUE.c.revision))) or 0


def _is_gone(row: dict[str, Any], now: int) -> bool:
    expires = row["expires_at"]
    return bool(row["deleted"]) or (expires is not None and expires <= now)


def _parsed(row: sa.RowMapping) -> dict[str, Any]:
    return {**row, **{name: json.loads(row[name]) if row[name] else None for name in _JSON}}


def _as_columns(row: dict[str, Any]) -> dict[str, Any]:
    texts = {
        name: None if row[name] is None else json.dumps(row[name], ensure_ascii=False)
        for name in _JSON
    }
    return {**row, **texts}
