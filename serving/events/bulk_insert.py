"""Inserts of many rows by few statements.

In: rows as dictionaries. Out: the keys of those that were new. Statements come in a few sizes that
the driver keeps prepared. SQLAlchemy's overhead per row would exceed SQLite's own work, and all
requests wait for the interpreter's lock during that time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

ROWS_PER_STATEMENT = (256, 64, 16, 4, 1)


def insert_new(
    connection: sa.Connection, table: sa.Table, key: str, rows: list[dict[str, Any]]
) -> list[str]:
    """Insert ``rows`` except those whose ``key`` exists; return the keys of the inserted ones.

    rows: every column of ``table`` but ``row_id``. key: a unique column.
    """
    names = tuple(column.name for column in table.c if column.name != "row_id")
    is_postgres = connection.dialect.name == "postgresql"
    placeholder = "%s" if is_postgres else "?"
    if is_postgres:
        # Known rows are left out first: in PostgreSQL a conflict uses up a row id, and retention
        # takes the range of row ids for the number of rows.
        statement = f"SELECT {key} FROM {table.name} WHERE {key} = ANY(%s)"
        known = set(connection.exec_driver_sql(statement, ([row[key] for row in rows],)).scalars())
        rows = [row for row in rows if row[key] not in known]
    inserted: list[str] = []
    start = 0
    while start < len(rows):
        size = next(size for size in ROWS_PER_STATEMENT if size <= len(rows) - start)
        values = tuple(row[name] for row in rows[start : start + size] for name in names)
        statement = _statement(table.name, names, key, size, placeholder)
        inserted += connection.exec_driver_sql(statement, values).scalars()
        start += size
    return inserted


@cache
def _statement(table: str, names: tuple[str, ...], key: str, rows: int, placeholder: str) -> str:
    row = f"({', '.join([placeholder] * len(names))})"
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join([row] * rows)} "
        f"ON CONFLICT ({key}) DO NOTHING RETURNING {key}"
    )
