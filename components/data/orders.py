"""What rows of interactions mean for other rows: order versions, returns, cancellations, copies.

In: the raw interactions as an Ibis table with the columns ROW (the number of the row) and USABLE
(whether it met every expectation but those that returns break, RETURNS_BREAK). Out: an Ibis table
of ROW and ``reason``. One row has at most one reason here. PARTLY_RETURNED is no reason for
quarantine: such a purchase is kept with its whole quantity, and is counted.

1. Of an order with several versions, the rows of the newest one count (REPLACED); ``ingest`` marks
   the others.
2. A purchase that feedback reports and that the shop's files have too, by user, order and item, is
   that of the file; of those that only feedback has, the first counts (IN_FILES, IN_FEEDBACK).
3. A row whose status is cancelled or returned does not count (CANCELLED, RETURNED).
4. With ``validate.returns: take_back``, lines of returns and cancellations take purchases back:
   rows of the shop with a negative quantity or the order id of a cancelled order, and rows with
   such a status that a file adds to the earlier row of the purchase. Each takes back up to its
   quantity of purchases of the same user and item: those of the order that it names, or else the
   most recent earlier ones. A purchase of which nothing remains has the reason RETURNED or
   CANCELLED.

Taking back the most recent purchase first is a stack: purchases push their pieces, returns pop
them. Over the cumulated pieces of a user and item, all of it is sums and minima over windows, so
nothing loops over rows.
"""

from __future__ import annotations

import re

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.schema import (
    ATTRIBUTION,
    AUTHENTICATIONS,
    CANCELLED,
    OLDER_VERSION,
    RETURNED,
    SESSION,
    SHOP,
    codes_of,
)
from components.settings import Validate

ROW, USABLE = "row", "usable"
COLUMNS = (
    *("user_id", "item_id", "event", "quantity", "timestamp", "order_id"),
    *("status", "authentication", *ATTRIBUTION, "source"),
)
"""Columns of the raw interactions that are read."""

RETURNS_BREAK = ("quantity not positive", "cancellation")
"""Reasons of lines of returns and cancellations; where they have one of this module's, they follow
from it."""

REPLACED = "replaced by a newer version of the order"
IN_FILES = "duplicate: the order is in the shop's files"
IN_FEEDBACK = "duplicate: the order is in the feedback before"
RETURN_LINE, CANCELLATION_LINE = "line of a return", "line of a cancellation"
WITHOUT_PURCHASE = " without an earlier purchase"
PARTLY_RETURNED = "partly returned"

NO_FAULT = frozenset(
    {
        *(REPLACED, IN_FILES, IN_FEEDBACK, CANCELLED, RETURNED, RETURN_LINE, CANCELLATION_LINE),
        *(line + WITHOUT_PURCHASE for line in (RETURN_LINE, CANCELLATION_LINE)),
    }
)
"""Reasons that are no fault of the file or of the client that sent the row."""

_LEAST = 1e-6  # of a quantity: less is rounding
_PAIR = ["user_id", "item_id"]
_ORDER = [*_PAIR, "order_id"]


def order_problems(rows: ir.Table, settings: Validate) -> ir.Table:
    """Return ROW and ``reason`` of the rows that do not count, and of those partly returned.

    rows: the columns COLUMNS, ROW and USABLE.
    """
    # Each of the tables below filters ``rows`` itself: DuckDB keeps a table that several others use
    # in memory, and these are small where ``rows`` is large.
    replaced = _replaced(rows)
    copies = _copies(rows)
    gone = replaced.union(copies.select(ROW))
    stated = _purchases(rows, rows.status.notnull()).anti_join(gone, ROW)
    found = [
        replaced.mutate(reason=ibis.literal(REPLACED)),
        copies,
        stated.select(ROW, reason=stated.status),
    ]
    if settings.returns == "take_back":
        found.append(_taken_back(rows, stated, gone, settings))
    return ibis.union(*found)


def _purchases(rows: ir.Table, *where: ir.BooleanValue) -> ir.Table:
    """Return the usable purchases that meet all of ``where``, with a quantity that is not null."""
    names = ("timestamp", "status", "authentication", "source")
    return rows.filter(rows.usable, rows.event == "purchase", *where).select(
        *(ROW, *_ORDER, *names), quantity=_.quantity.cast("float64").fill_null(1.0)
    )


def _replaced(rows: ir.Table) -> ir.Table:
    """Return ROW of the rows of older versions of their orders."""
    return rows.filter(_.status == OLDER_VERSION).select(ROW)


def _copies(rows: ir.Table) -> ir.Table:
    """Return ROW and ``reason`` of feedback's purchases that are there already."""
    of_shop, with_order = rows.authentication.isnull(), rows.order_id.notnull()
    bought = (rows.quantity > 0) | rows.quantity.isnull()
    sent = _purchases(rows, ~of_shop, with_order, bought)
    in_files = sent.semi_join(_purchases(rows, of_shop, with_order, bought), _ORDER)
    # An event without authentication must not count in the place of one with the shop's key.
    trust = sent.authentication.cases(*codes_of(AUTHENTICATIONS))
    ranked = sent.mutate(trust=trust).anti_join(in_files, ROW)
    place = ibis.row_number().over(group_by=_ORDER, order_by=["trust", "timestamp", ROW])
    again = ranked.mutate(place=place).filter(_.place > 0)
    return ibis.union(
        in_files.select(ROW, reason=ibis.literal(IN_FILES)),
        again.select(ROW, reason=ibis.literal(IN_FEEDBACK)),
    )


def carried_impressions(rows: ir.Table) -> ir.Table:
    """Return ROW and ATTRIBUTION of the files' purchases that signed feedback reports too.

    Only the feedback says which recommendation led to the purchase, and it does not count. A row
    with an impression of its own is not among them.
    """
    sent = rows.filter(  # also a duplicate of the file's row
        rows.event == "purchase",
        rows.authentication.isin((SHOP, SESSION)),
        rows.impression_id.notnull(),
    )
    place = ibis.row_number().over(group_by=_ORDER, order_by=ROW)
    first = sent.mutate(place=place).filter(_.place == 0).select(*_ORDER, *ATTRIBUTION)
    bought = _purchases(
        rows, rows.authentication.isnull(), rows.impression_id.isnull(), rows.status.isnull()
    )
    return bought.inner_join(first, _ORDER).select(ROW, *ATTRIBUTION)


def _taken_back(rows: ir.Table, stated: ir.Table, gone: ir.Table, settings: Validate) -> ir.Table:
    """Return ROW and ``reason`` of purchases taken back, and of the lines that take them.

    stated: the rows with a status. gone: ROW of rows that do not count for another reason.
    """
    lines = _return_lines(rows, settings).anti_join(gone, ROW)
    pairs = lines.select(*_PAIR).union(stated.select(*_PAIR)).distinct()
    bought = (
        _purchases(
            rows,
            rows.status.isnull(),
            (rows.quantity > 0) | rows.quantity.isnull(),
            ~_cancels(rows, settings),
        )
        .semi_join(pairs, _PAIR)
        .anti_join(gone, ROW)
        .mutate(takes=False, names_order=False, is_cancellation=False)
    )
    states = _later_statuses(stated.anti_join(lines, ROW), bought)
    takes = lines.union(states.select(lines.columns))
    bought = bought.select(lines.columns)
    named = takes.filter(_.names_order).union(
        takes.filter(~_.names_order).semi_join(bought, _ORDER)
    )
    # A line names the whole order, so purchases come first, whatever their time.
    by_order = _stack(
        ibis.union(bought.semi_join(named, _ORDER), named), _ORDER, ["takes", "timestamp", ROW]
    )
    others = takes.anti_join(named, ROW)
    remaining = bought.anti_join(by_order, ROW).union(
        by_order.filter(~_.takes, _.left > _LEAST).mutate(quantity=_.left).select(takes.columns)
    )
    by_time = _stack(
        ibis.union(remaining.semi_join(others, _PAIR), others),
        _PAIR,
        ["timestamp", "takes", ROW],
    )
    return ibis.union(
        _of_lines(by_order), _of_lines(by_time), _of_bought(bought, by_order, by_time)
    )


def _cancels(rows: ir.Table, settings: Validate) -> ir.BooleanValue:
    if not settings.cancelled_orders:
        return ibis.literal(False)
    return rows.order_id.re_search(_whole(settings)).fill_null(False)


def _whole(settings: Validate) -> str:
    return rf"^(?:{settings.cancelled_orders})$"


def _return_lines(rows: ir.Table, settings: Validate) -> ir.Table:
    """Return the shop's lines of returns and cancellations; ``order_id`` is the order they name.

    names_order: it is certain that this is an order, and not the id of the return itself.
    """
    lines = _purchases(
        rows,
        rows.authentication.isnull() | (rows.authentication == SHOP),
        (rows.quantity < 0)
        | (_cancels(rows, settings) & ((rows.quantity != 0) | rows.quantity.isnull())),
    )
    cancels = _cancels(lines, settings)
    order, names = lines.order_id, ibis.literal(False)
    if re.compile(settings.cancelled_orders).groups:
        inside = lines.order_id.re_extract(_whole(settings), 1).nullif("")
        order = ibis.ifelse(cancels, inside, order)
        names = cancels & inside.notnull()
    return lines.mutate(
        order_id=order,
        quantity=_.quantity.abs(),
        takes=True,
        names_order=names,
        is_cancellation=ibis.coalesce(lines.status == CANCELLED, cancels),
    )


def _later_statuses(stated: ir.Table, bought: ir.Table) -> ir.Table:
    """Return the rows whose status takes back an earlier row of the same order and item.

    A file that lists each order's states has the purchase at an earlier time; the purchase may also
    be in an earlier file.
    """
    stated = stated.filter(_.quantity > 0, _.order_id.notnull()).mutate(
        takes=True, names_order=True, is_cancellation=_.status == CANCELLED
    )
    earlier = bought.select(
        *_ORDER, at=bought.timestamp, file=bought.source, earlier_row=bought[ROW]
    )
    in_later_file = (stated.source != earlier.file) & (stated[ROW] > earlier.earlier_row)
    return stated.semi_join(earlier, [*_ORDER, (stated.timestamp > earlier.at) | in_later_file])


def _stack(events: ir.Table, key: list[str], order: list[str]) -> ir.Table:
    """Return ``events`` with how much of each quantity is ``left`` at the end.

    events: purchases, and lines that take back (``takes``). key: columns of one stack. order:
    columns by which its events follow each other. A line takes from the newest purchases before it;
    what it cannot take is left of it.
    """
    so_far = ibis.window(group_by=key, order_by=order, rows=(None, 0))
    from_here = ibis.window(group_by=key, order_by=order, rows=(0, None))
    before = ibis.window(group_by=key, order_by=order)
    signed = events.mutate(signed=ibis.ifelse(events.takes, -events.quantity, events.quantity))
    summed = signed.mutate(total=_.signed.sum().over(so_far))
    # Pieces that no purchase had lower the sum below 0: without them it is the stack's height.
    missing = summed.mutate(missing=ibis.greatest(0.0, -_.total.min().over(so_far)))
    heights = missing.mutate(height=_.total + _.missing)
    lows = heights.mutate(
        low=_.height.min().over(from_here),
        new=_.missing - _.missing.lag().over(before).fill_null(0),
    )
    of_purchase = ibis.least(
        ibis.greatest(lows.low - lows.height + lows.quantity, 0.0), lows.quantity
    )
    all_cancel = (~lows.takes | lows.is_cancellation).all().over(ibis.window(group_by=key))
    return lows.mutate(
        left=ibis.ifelse(lows.takes, lows.new, of_purchase), only_cancelled=all_cancel
    ).drop("signed", "total", "missing", "height", "low", "new")


def _of_lines(stack: ir.Table) -> ir.Table:
    """Return ROW and ``reason`` of the lines that take back; those with a status have theirs."""
    lines = stack.filter(_.takes, _.status.isnull())
    kind = ibis.ifelse(lines.is_cancellation, CANCELLATION_LINE, RETURN_LINE)
    took = lines.left < lines.quantity - _LEAST
    return lines.select(ROW, reason=ibis.ifelse(took, kind, kind + WITHOUT_PURCHASE))


def _of_bought(bought: ir.Table, by_order: ir.Table, by_time: ir.Table) -> ir.Table:
    """Return ROW and ``reason`` of the purchases that something was taken of."""
    stacks = ibis.union(by_order, by_time).filter(~_.takes)
    least = stacks.group_by(ROW).aggregate(left=_.left.min(), only=_.only_cancelled.all())
    found = bought.select(ROW, "quantity").inner_join(least, ROW)
    whole = ibis.ifelse(found.only, CANCELLED, RETURNED)
    reason = ibis.ifelse(found.left <= _LEAST, whole, PARTLY_RETURNED)
    return found.filter(found.left < found.quantity - _LEAST).select(ROW, reason=reason)
