"""Operations on the interactions of all files together (lines)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _


def together(con: ibis.BaseBackend, name: str, tables: list[ir.Table]) -> ir.Table:
    """Return the rows of all tables, of which there is at least one, as the table ``name``.

    The order of the tables and of their rows stays, which it does not in a union.
    """
    con.create_table(name, tables[0])
    for table in tables[1:]:
        con.raw_sql(f"INSERT INTO {name} {con.compile(table)}")
    return con.table(name)


def most_frequent(rows: ir.Table, key: str, name: str) -> ir.Table:
    """Return (key, name): the most frequent value of ``name`` for each key, the first of equals."""
    counts = rows.filter(rows[name].notnull()).group_by([key, name]).aggregate(n=_.count())
    place = ibis.row_number().over(group_by=key, order_by=[ibis.desc("n"), name])
    return counts.mutate(place=place).filter(_.place == 0).select(key, name)
