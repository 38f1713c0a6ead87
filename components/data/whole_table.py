"""What is wrong with a row only in the light of the whole table, found by the database.

In: the rows of a raw table with their numbers. Out: row numbers with reasons. Nothing here holds a
whole table in memory: the database spills to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.expectations import DUPLICATE, NO_PRICE
from components.data.false_profiles import false_profiles
from components.data.feedback import BAD_CLIENT, above_limits, of_bad_clients
from components.data.held_days import HELD, HeldDays
from components.data.orders import COLUMNS as ORDER_PROBLEM_COLUMNS
from components.data.orders import (
    NO_FAULT,
    PARTLY_RETURNED,
    RETURNS_BREAK,
    USABLE,
    carried_impressions,
    order_problems,
)
from components.data.quarantine import NOT_IN_CATALOGUE, UNKNOWN_PRODUCT
from components.data.schema import ORDER_COLUMNS, RAW, SAME_EVENT, UNREADABLE
from components.data.sources.sql import literal
from components.settings import Validate

SAME_ROW = {
    # Shops send one file twice, and feedback may repeat what the shop's own export has: equal
    # rows are one event, whatever file they came in.
    "interactions": [*SAME_EVENT, *ORDER_COLUMNS.names],
    "items": ["item_id"],
    "users": ["user_id"],
    "reviews": ["user_id", "item_id", "rating", "title", "text", "timestamp"],
}
"""Two rows are duplicates when these columns are equal; the first is kept."""

Gate = Callable[[ir.Table], ir.Table]
"""A check of a table: its rows, with ``row`` and ``reasons``, → (row, reason) of those that fail.

reasons: array<string>, those found before, null if there are none. What a gate says of a row that
has reasons already is not used."""


def raw_rows(con: ibis.BaseBackend, file: Path, table: str) -> ir.Table:
    """Return the rows of a raw table's Parquet file with their number, from 0, as ``row``."""
    rows = con.sql(
        f"SELECT *, file_row_number AS row FROM read_parquet({literal(file)}, file_row_number=true)"
    ).drop("file_row_number")
    absent = [name for name in RAW[table].names if name not in rows.columns]
    nulls = {name: ibis.null(ibis.dtype(RAW[table].field(name).type)) for name in absent}
    return rows.mutate(**nulls) if nulls else rows


def copies(rows: ir.Table, same: Sequence[str]) -> ir.Table:
    """Return (row, copy) of the rows with equal rows before them, and how many those are.

    same: the columns that are compared; null is equal to null. A row that could not be read is no
    copy of one that says nothing.
    """
    names = [*same, UNREADABLE]
    values = {name: _without_nan(rows[name]) for name in names}
    # Numbers instead of rows: only those whose hash occurs twice are compared.
    keyed = rows.select("row", key=ibis.struct(values).hash())
    twice = keyed.group_by("key").having(_.count() > 1).aggregate()
    possible = keyed.semi_join(twice, "key").select("row")
    equal = rows.select("row", **values).semi_join(possible, "row")
    before = ibis.row_number().over(group_by=names, order_by="row")
    return equal.mutate(copy=before).filter(_.copy > 0).select("row", "copy")


def _without_nan(column: ir.Value) -> ir.Value:
    if not column.type().is_floating():
        return column
    return ibis.ifelse(column.isnan(), ibis.null(column.type()), column)


def pass_gates(con: ibis.BaseBackend, rows: ir.Table, reasons: str, gates: Sequence[Gate]) -> None:
    """Add to the table ``reasons`` (row, place, reason) what each gate finds, one after another."""
    for statement in gate_statements(con, rows, reasons, gates):
        con.raw_sql(statement)


def quarantine_false_profiles(con: ibis.BaseBackend, rows: ir.Table, reasons: str) -> None:
    """Add to the table ``reasons`` the feedback of false profiles, of the rows without one."""
    good = rows.anti_join(con.table(reasons), "row")
    con.create_table("false_profiles", false_profiles(good))
    con.raw_sql(f"INSERT INTO {reasons} SELECT row, 0, reason FROM false_profiles")


def gate_statements(
    con: ibis.BaseBackend, rows: ir.Table, reasons: str, gates: Sequence[Gate]
) -> list[str]:
    """Return the SQL by which each gate adds to the table ``reasons``, to be run in this order."""
    before = con.table(reasons)
    marked = rows.left_join(listed(before), "row").drop("row_right")
    statements = []
    for gate in gates:
        found = gate(marked).anti_join(before, "row")
        found = found.select("row", place=ibis.literal(0, "int32"), reason=_.reason)
        statements.append(f"INSERT INTO {reasons} {con.compile(found)}")
    return statements


def apply_orders(
    con: ibis.BaseBackend, rows: ir.Table, reasons: str, settings: Validate
) -> tuple[ir.Table, ir.Table]:
    """Add to the table ``reasons`` what ``orders`` finds.

    Returns: (row) of the purchases that were partly returned, and (row, *ATTRIBUTION) of those
    whose list only feedback has.

    Reasons that returns break follow from those of ``orders``, so they are removed from its rows.
    So is a price that is not positive of such a row: what a return cost does not matter.
    """
    found = con.table(reasons)
    of_returns = found.filter(_.reason.isin(RETURNS_BREAK)).select("row").distinct()
    follows = found.reason.isin(RETURNS_BREAK) | (
        (found.reason == NO_PRICE) & found.row.isin(of_returns.row)
    )
    broken = found.filter(~follows).select("row").distinct()
    usable = ~rows.row.isin(broken.row)
    marked = rows.select(*ORDER_PROBLEM_COLUMNS, "row", **{USABLE: usable})
    con.create_table("found_in_orders", order_problems(marked, settings))
    impressions = con.create_table("carried_impressions", carried_impressions(marked))
    words = ", ".join(map(literal, RETURNS_BREAK))
    con.raw_sql(
        f"DELETE FROM {reasons} WHERE row IN (SELECT row FROM {reasons} WHERE reason IN ({words})) "
        f"AND reason IN ({words}, {literal(NO_PRICE)}) AND row IN "
        f"(SELECT row FROM found_in_orders WHERE reason <> {literal(PARTLY_RETURNED)})"
    )
    con.raw_sql(
        f"INSERT INTO {reasons} SELECT row, 1000, reason FROM found_in_orders "
        f"WHERE reason <> {literal(PARTLY_RETURNED)}"
    )
    partly = con.table("found_in_orders").filter(_.reason == PARTLY_RETURNED).select("row")
    return con.create_table("partly_returned", partly), impressions


def listed(reasons: ir.Table) -> ir.Table:
    """Return (row, reasons): the reasons of each row as a list, in the order of their places."""
    return reasons.group_by("row").aggregate(reasons=_.reason.collect(order_by="place"))


def gates_of_interactions(
    settings: Validate,
    products: ir.Table,
    quarantined: ir.Table,
    feedback: bool = True,
    held: HeldDays = HeldDays(),
) -> tuple[Gate, ...]:
    """Return the checks of interactions in their order.

    products: (item_id) of the valid items. quarantined: (item_id, why) of the other raw items.
    feedback: whether there are rows of feedback.
    """
    of_catalogue: Gate = partial(without_product, products=products, quarantined=quarantined)
    # First: on a held day, an unknown product is no further problem.
    on_held_days: tuple[Gate, ...] = (partial(_held, held=held),) if held.reasons() else ()
    if not feedback:
        return (*on_held_days, of_catalogue)
    return (
        *on_held_days,
        partial(bad_clients, settings=settings),
        of_catalogue,
        lambda rows: above_limits(_good(rows), settings),
    )


def _held(rows: ir.Table, held: HeldDays) -> ir.Table:
    """Return the rows of held days."""
    return rows.filter(held.rows(rows)).select("row", reason=ibis.literal(HELD))


def _good(rows: ir.Table) -> ir.Table:
    return rows.filter(rows.reasons.isnull())


def bad_clients(rows: ir.Table, settings: Validate) -> ir.Table:
    """Return the feedback of clients of whose rows too large a share is bad."""
    # A repeated event, a returned purchase or a held day is no sign of a bad client.
    harmless = sorted(NO_FAULT | {DUPLICATE, HELD})
    bad = rows.reasons.filter(lambda reason: reason.notin(harmless)).length() > 0
    found = of_bad_clients(rows.mutate(bad=bad.fill_null(False)), settings)
    return found.select("row", reason=ibis.literal(BAD_CLIENT))


def without_product(rows: ir.Table, products: ir.Table, quarantined: ir.Table) -> ir.Table:
    """Return the rows whose product is no valid item."""
    rows = _good(rows).select("row", "item_id", "authentication").anti_join(products, "item_id")
    joined = rows.left_join(quarantined, "item_id")
    unknown = ibis.ifelse(joined.authentication.notnull(), UNKNOWN_PRODUCT, NOT_IN_CATALOGUE)
    return joined.select(
        "row", reason=ibis.coalesce(ibis.literal("product in quarantine: ") + joined.why, unknown)
    )
