"""What is wrong with a row only in the light of the whole table, found by the database.

In: the rows of a raw table with their numbers. Out: row numbers with reasons. Nothing here holds a
whole table in memory: the engine spills to disk. (False profiles are found in arrays of numbers,
where there is feedback without the shop's key.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.engine import Engine
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


def raw_rows(engine: Engine, file: Path, table: str) -> ir.Table:
    """Return the rows of a raw table's Parquet file with their number, from 0, as ``row``.

    Columns that the file lacks are null, and so is a number that is not one (NaN).
    """
    rows = engine.read(file, "row")
    absent = [name for name in RAW[table].names if name not in rows.columns]
    nulls = {name: ibis.null(ibis.dtype(RAW[table].field(name).type)) for name in absent}
    numbers = {
        name: ibis.ifelse(rows[name].isnan(), ibis.null(kind), rows[name])
        for name, kind in rows.schema().items()
        if kind.is_floating()
    }
    return rows.mutate(**numbers, **nulls)


def copies(rows: ir.Table, same: Sequence[str]) -> ir.Table:
    """Return (row, copy) of the rows with equal rows before them, and how many those are.

    same: the columns that are compared; null is equal to null. A row that could not be read is no
    copy of one that says nothing.
    """
    names = [*same, UNREADABLE]
    # Numbers instead of rows: only those whose hash occurs twice are compared.
    keyed = rows.select("row", key=ibis.struct({name: rows[name] for name in names}).hash())
    twice = keyed.group_by("key").having(_.count() > 1).aggregate()
    possible = keyed.semi_join(twice, "key").select("row")
    equal = rows.select("row", *names).semi_join(possible, "row")
    before = ibis.row_number().over(group_by=names, order_by="row")
    return equal.mutate(copy=before).filter(_.copy > 0).select("row", "copy")


def with_gate(rows: ir.Table, reasons: ir.Table, gate: Gate) -> ir.Table:
    """Return the table ``reasons`` (row, reasons) with what a gate finds in the rows that have
    none."""
    marked = rows.left_join(reasons, "row").drop("row_right")
    found = gate(marked).anti_join(reasons, "row")
    return reasons.union(_single(found))


def with_false_profiles(engine: Engine, rows: ir.Table, reasons: ir.Table) -> ir.Table:
    """Return the table ``reasons`` with the feedback of false profiles, of the rows without one."""
    found = engine.put("false_profiles", false_profiles(rows.anti_join(reasons, "row")))
    return reasons.union(_single(found))


def _single(found: ir.Table) -> ir.Table:
    """Return (row, reasons) of (row, reason)."""
    return found.select("row", reasons=ibis.array([found.reason]))


def apply_orders(
    engine: Engine, rows: ir.Table, reasons: ir.Table, settings: Validate
) -> tuple[ir.Table, ir.Table, ir.Table]:
    """Return the table ``reasons`` with what ``orders`` finds; (row) of the purchases that were
    partly returned; and (row, *ATTRIBUTION) of those whose list only feedback has.

    Reasons that returns break follow from those of ``orders``, so they are removed from its rows.
    So is a price that is not positive of such a row: what a return cost does not matter.
    """
    broken = reasons.filter(_others(reasons.reasons).length() > 0).select("row", broken=True)
    marked = rows.select(*ORDER_PROBLEM_COLUMNS, "row").left_join(broken, "row")
    marked = marked.mutate(**{USABLE: _.broken.isnull()}).drop("row_right", "broken")
    found = engine.keep("found_in_orders", order_problems(marked, settings))
    impressions = engine.keep("carried_impressions", carried_impressions(marked))
    partly = found.filter(_.reason == PARTLY_RETURNED).select("row")
    stopped = found.filter(_.reason != PARTLY_RETURNED)
    joined = reasons.inner_join(stopped, "row")
    both = joined.select("row", reasons=_others(joined.reasons).concat(ibis.array([joined.reason])))
    new = _single(stopped.anti_join(reasons, "row"))
    return ibis.union(reasons.anti_join(stopped, "row"), both, new), partly, impressions


def _others(reasons: ir.ArrayValue) -> ir.ArrayValue:
    """Return the reasons without those that returns break, and then without that of the price."""
    of_return = ibis.or_(*(reasons.contains(one) for one in RETURNS_BREAK))
    without = reasons.filter(lambda one: one.notin([*RETURNS_BREAK, NO_PRICE]))
    return ibis.ifelse(of_return, without, reasons)


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
