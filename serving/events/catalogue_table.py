"""Products and changes of products put by ``PUT /items``.

In: products as dictionaries. Out: the same products, with a revision number that grows with every
change, by which a worker sees that it has to read them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from serving.events.database import Database
from serving.events.tables import CATALOGUE

_JSON = ("categories", "attributes")


def put_items(database: Database, rows: Sequence[dict[str, Any]]) -> int:
    """Insert or change products, all or none; durable on return. Return the new revision.

    rows: the columns of CATALOGUE but revision, ``categories`` as a list, ``attributes`` by name.
    None leaves a value as it was; attributes of other names stay.

    Raises:
        StoreError: the database failed; nothing was written.
    """
    names = [column.name for column in CATALOGUE.c if column.name not in ("item_id", "revision")]
    statement = database.insert(CATALOGUE)
    new = statement.excluded
    changes = {name: sa.func.coalesce(new[name], CATALOGUE.c[name]) for name in names}
    statement = statement.on_conflict_do_update(
        index_elements=["item_id"], set_={**changes, "revision": new.revision}
    )
    filled = [
        {**dict.fromkeys(names), **row, "categories": _as_json(row.get("categories"))}
        for row in rows
    ]
    put = {row["item_id"]: row["attributes"] for row in filled if row["attributes"]}
    with database.writing() as connection:
        if not database.is_postgres:
            # SQLite locks at the first write, and the revision is read before it.
            connection.execute(sa.text("UPDATE catalogue SET revision = revision WHERE 0"))
        revision = _newest_revision(connection) + 1
        for item_id, stored in _attributes(connection, put).items():
            put[item_id] = {**stored, **put[item_id]}
        for row in filled:
            row["attributes"] = _as_json(put.get(row["item_id"]))
        connection.execute(statement, [{**row, "revision": revision} for row in filled])
        return revision


def catalogue_revision(database: Database) -> int:
    """Return the catalogue's revision, 0 while it is empty.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        return _newest_revision(connection)


def read_items(database: Database) -> list[dict[str, Any]]:
    """Return all products as ``put_items`` takes them, and their revisions, sorted by item_id.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        rows = connection.execute(sa.select(CATALOGUE).order_by(CATALOGUE.c.item_id))
        return [
            {**row, **{name: json.loads(row[name]) if row[name] else None for name in _JSON}}
            for row in rows.mappings()
        ]


def _attributes(connection: sa.Connection, item_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the stored attributes of those of the items that have any."""
    columns = (CATALOGUE.c.item_id, CATALOGUE.c.attributes)
    known = CATALOGUE.c.item_id.in_(list(item_ids)), CATALOGUE.c.attributes.is_not(None)
    rows = connection.execute(sa.select(*columns).where(*known))
    return {item_id: json.loads(attributes) for item_id, attributes in rows}


def _newest_revision(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(CATALOGUE.c.revision))) or 0


def _as_json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
