"""Operations on the interactions of all files together (lines)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _


def union(tables: list[ir.Table]) -> ir.Table:
    """Return the rows of all tables, of which there is at least one."""
    return ibis.union(*tables) if len(tables) > 1 else tables[0]


def most_frequent(rows: ir.Table, key: str, name: str) -> ir.Table:
    """Return (key, name): the most frequent value of ``name`` for each key, the first of equals."""
    counts = rows.filter(rows[name].notnull()).group_by([key, name]).aggregate(n=_.count())
    place = ibis.row_number().over(group_by=key, order_by=[ibis.desc("n"), name])
    return counts.mutate(place=place).filter(_.place == 0).select(key, name)
