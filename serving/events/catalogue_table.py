"""Products and changes of products put by ``PUT /items``.

In: products as dictionaries. Out: the same products, with a revision number that grows with every
change, by which a worker sees that it has to read them again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from serving.events.database import Database
from serving.events.tables import CATALOGUE


def put_items(database: Database, rows: Sequence[dict[str, Any]]) -> int:
    """Insert or change products, all or none; durable on return. Return the new revision.

    rows: the columns of CATALOGUE but revision, ``categories`` as a list. None leaves a value as it
    was.

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
    with database.writing() as connection:
        if not database.is_postgres:
            # SQLite locks at the first write, and the revision is read before it.
            connection.execute(sa.text("UPDATE catalogue SET revision = revision WHERE 0"))
        revision = _newest_revision(connection) + 1
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
            {**row, "categories": json.loads(row["categories"]) if row["categories"] else None}
            for row in rows.mappings()
        ]


def _newest_revision(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(CATALOGUE.c.revision))) or 0


def _as_json(categories: list[str] | None) -> str | None:
    return None if categories is None else json.dumps(categories, ensure_ascii=False)
