"""What each row of a raw table is checked for, and the reason for quarantine of those that fail.

In: the settings of ``validate``. Out: the checks of a table. Each is two forms of one condition: an
Ibis expression, by which ``validate`` finds the rows; and an expectation of Great Expectations,
which checks the expression on a sample and makes the pages (``data_docs``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import great_expectations.expectations as gxe
import ibis
import ibis.expr.types as ir
import pandas as pd
from great_expectations.expectations.row_conditions import Column

from components.data.attributes import kind_of, label_of
from components.data.schema import EVENTS, UNREADABLE
from components.settings import Validate

COPY = "copy"
"""Column of the rows that are checked: the number of equal rows before this one in the table."""

DUPLICATE = "duplicate"
NOT_A_PRODUCT, NO_PRICE = "not a product", "price not positive"

READ_AS = {
    "interactions": ("timestamp", "price", "quantity", "rating", "version"),
    "items": ("price",),
    "users": (),
    "reviews": ("timestamp", "rating"),
}
"""Columns whose text in a file may not be of their type, by table."""

FOLLOWS = {
    "no time": "timestamp cannot be read",
    "rating event without a rating": "rating cannot be read",
}
"""Reasons that follow from another one of the same row: reason, cause."""

Condition = Callable[[ir.Table], ir.BooleanValue]


@dataclass(frozen=True)
class Check:
    """A condition on each row of a table.

    reason: why a row that fails goes to quarantine. column: that is looked at. fails: the rows that
    fail; null is no failure. expectation: the same for Great Expectations. among: the rows that the
    condition is about; None: all.
    """

    reason: str
    column: str
    fails: Condition
    expectation: gxe.Expectation
    among: Condition | None = None


def checks(
    table: str,
    settings: Validate,
    now: pd.Timestamp,
    attributes: Iterable[str] = (),
) -> list[Check]:
    """Return the checks of ``table``, in the order in which a row's reasons are listed.

    now: no event can be later (a day is allowed for clocks that are wrong). attributes: columns of
    the table's attributes.
    """
    typed = [label_of(one) for one in attributes if kind_of(one) in ("number", "date")]
    return [
        *(_readable(name) for name in (*READ_AS[table], *typed)),
        *_of_values(table, settings, now),
    ]


def reasons_of(rows: ir.Table, made: Sequence[Check]) -> ir.Table:
    """Return (row, reasons) of the rows that fail a check, with those reasons in their order.

    rows: those of a raw table, with ``row`` and COPY. A reason that follows from another one of the
    row is not listed.
    """
    bad = rows.filter(ibis.or_(*(one.fails(rows).fill_null(False) for one in made)))
    failed = {one.reason: one.fails(bad).fill_null(False) for one in made}
    for reason, cause in FOLLOWS.items():
        if reason in failed:
            failed[reason] &= ~failed[cause]
    listed = [ibis.ifelse(fails, reason, ibis.null("string")) for reason, fails in failed.items()]
    return bad.select("row", reasons=ibis.array(listed).filter(lambda one: one.notnull()))


def _of_values(table: str, settings: Validate, now: pd.Timestamp) -> list[Check]:
    """Return the checks of values that could be read."""
    no_copy = Check(
        reason=DUPLICATE,
        column=COPY,
        fails=lambda rows: rows[COPY] > 0,
        expectation=gxe.ExpectColumnValuesToBeInSet(
            column=COPY, value_set=[0], meta=_meta(DUPLICATE)
        ),
    )
    of_item = [
        _given("item_id", "no item"),
        _no_match("item_id", settings.non_product_codes, NOT_A_PRODUCT, "(?i)"),
    ]
    first, last = pd.Timestamp(settings.min_timestamp, tz="UTC"), now + pd.Timedelta(days=1)
    possible_time = _between("timestamp", "impossible time", first, last.floor("us"))
    stars = _between("rating", "rating not within 1 to 5", 1, 5)
    price = _positive("price", NO_PRICE)
    if table == "interactions":
        cancelled = [settings.cancelled_orders] if settings.cancelled_orders else []
        return [
            _given("user_id", "no customer"),
            *of_item,
            _given("timestamp", "no time"),
            possible_time,
            _known_event(),
            _no_match("order_id", cancelled, "cancellation"),
            _positive("quantity", "quantity not positive"),
            price,
            stars,
            _rated(),
            no_copy,
        ]
    if table == "items":
        return [*of_item, price, no_copy]
    if table == "users":
        return [_given("user_id", "no customer"), no_copy]
    return [of_item[0], _given("text", "no text"), stars, possible_time, no_copy]


def _readable(name: str) -> Check:
    """Return the check that a column's text could be read as its type."""
    reason = f"{name} cannot be read"
    return Check(
        reason=reason,
        column=UNREADABLE,
        fails=lambda rows: (ibis.literal("; ") + rows[UNREADABLE]).contains(f"; {name}: '"),
        expectation=gxe.ExpectColumnValuesToNotMatchRegex(
            column=UNREADABLE, regex=rf"(?:^|; ){name}: '", meta=_meta(reason)
        ),
    )


def _given(column: str, reason: str) -> Check:
    return Check(
        reason=reason,
        column=column,
        fails=lambda rows: rows[column].isnull(),
        expectation=gxe.ExpectColumnValuesToNotBeNull(column=column, meta=_meta(reason)),
    )


def _no_match(column: str, patterns: Sequence[str], reason: str, flags: str = "") -> Check:
    """Return the check that no pattern matches the whole text, or that it is not empty without any.

    flags: what the patterns begin with.
    """
    # Python's $ is also before a last line end; \z means the same to all engines.
    either = "|".join(f"(?:{one})" for one in patterns)
    pattern = rf"{flags}\A(?:{either})\n?\z"
    return Check(
        reason=reason,
        column=column,
        fails=lambda rows: rows[column].re_search(pattern),
        expectation=gxe.ExpectColumnValuesToNotMatchRegexList(
            column=column,
            # Great Expectations refuses an empty list.
            regex_list=[rf"{flags}^(?:{one})$" for one in patterns] or [r"^$"],
            meta=_meta(reason),
        ),
    )


def _between(column: str, reason: str, least: Any, most: Any) -> Check:
    """Return the check that a value is within two bounds, which count."""
    return Check(
        reason=reason,
        column=column,
        fails=lambda rows: (
            (rows[column] < ibis.literal(least)) | (rows[column] > ibis.literal(most))
        ),
        expectation=gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=least, max_value=most, meta=_meta(reason)
        ),
    )


def _positive(column: str, reason: str) -> Check:
    return Check(
        reason=reason,
        column=column,
        fails=lambda rows: rows[column] <= 0,
        expectation=gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=0, strict_min=True, meta=_meta(reason)
        ),
    )


def _known_event() -> Check:
    reason = "unknown event"
    return Check(
        reason=reason,
        column="event",
        fails=lambda rows: rows.event.notin(EVENTS),
        expectation=gxe.ExpectColumnValuesToBeInSet(
            column="event", value_set=list(EVENTS), meta=_meta(reason)
        ),
    )


def _rated() -> Check:
    reason = "rating event without a rating"
    return Check(
        reason=reason,
        column="rating",
        fails=lambda rows: (rows.event == "rating") & rows.rating.isnull(),
        expectation=gxe.ExpectColumnValuesToNotBeNull(
            column="rating", row_condition=Column("event") == "rating", meta=_meta(reason)
        ),
        among=lambda rows: rows.event == "rating",
    )


def _meta(reason: str) -> dict[str, str]:
    return {"reason": reason}


@dataclass(frozen=True)
class Counts:
    """Of a check and a table: the rows that it is about, those without a value, and those that
    fail."""

    elements: int
    missing: int
    unexpected: int


def counted(rows: ir.Table, made: Sequence[Check]) -> list[Counts]:
    """Return the counts of each check.

    rows: as in ``reasons_of``.
    """
    columns = {}
    for n, one in enumerate(made):
        absent = rows[one.column].isnull()
        about = None if one.among is None else one.among(rows)
        columns[f"elements_{n}"] = rows.count(where=about)
        columns[f"missing_{n}"] = rows.count(where=absent if about is None else about & absent)
        columns[f"unexpected_{n}"] = rows.count(where=one.fails(rows))
    found = rows.aggregate(**columns).execute().iloc[0]
    return [
        Counts(*(int(found[f"{name}_{n}"]) for name in ("elements", "missing", "unexpected")))
        for n in range(len(made))
    ]
