"""What Great Expectations expects of each raw table, and the reason for quarantine of each.

In: the settings of ``validate``. Out: a suite of expectations for each table.
"""

from __future__ import annotations

from collections.abc import Iterable

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.expectations.row_conditions import Column

from components.data.attributes import kind_of, label_of
from components.data.schema import EVENTS, UNREADABLE
from components.settings import Validate

COPY = "copy"
"""Column of a batch: the number of equal rows before this one in the whole table."""

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


def suite(
    table: str, settings: Validate, now: pd.Timestamp, attributes: Iterable[str] = ()
) -> list[gxe.Expectation]:
    """Return the expectations of ``table``; the meta of each holds the reason for quarantine.

    now: no event can be later (a day is allowed for clocks that are wrong). attributes: columns of
    the table's attributes.
    """
    typed = [label_of(one) for one in attributes if kind_of(one) in ("number", "date")]
    unread = [
        gxe.ExpectColumnValuesToNotMatchRegex(
            column=UNREADABLE, regex=rf"(?:^|; ){name}: '", meta=_why(f"{name} cannot be read")
        )
        for name in (*READ_AS[table], *typed)
    ]
    return [*unread, *_suite(table, settings, now)]


def _suite(table: str, settings: Validate, now: pd.Timestamp) -> list[gxe.Expectation]:
    """Return the expectations on values that could be read."""
    no_copy = gxe.ExpectColumnValuesToBeInSet(column=COPY, value_set=[0], meta=_why(DUPLICATE))
    item = [
        gxe.ExpectColumnValuesToNotBeNull(column="item_id", meta=_why("no item")),
        gxe.ExpectColumnValuesToNotMatchRegexList(
            column="item_id",
            regex_list=[rf"(?i)^(?:{code})$" for code in settings.non_product_codes]
            or [r"^$"],  # Great Expectations refuses an empty list
            meta=_why(NOT_A_PRODUCT),
        ),
    ]
    possible_time = gxe.ExpectColumnValuesToBeBetween(
        column="timestamp",
        min_value=pd.Timestamp(settings.min_timestamp, tz="UTC"),
        max_value=now + pd.Timedelta(days=1),
        meta=_why("impossible time"),
    )
    stars = gxe.ExpectColumnValuesToBeBetween(
        column="rating", min_value=1, max_value=5, meta=_why("rating not within 1 to 5")
    )
    price = gxe.ExpectColumnValuesToBeBetween(
        column="price", min_value=0, strict_min=True, meta=_why(NO_PRICE)
    )
    if table == "interactions":
        return [
            gxe.ExpectColumnValuesToNotBeNull(column="user_id", meta=_why("no customer")),
            *item,
            gxe.ExpectColumnValuesToNotBeNull(column="timestamp", meta=_why("no time")),
            possible_time,
            gxe.ExpectColumnValuesToBeInSet(
                column="event", value_set=list(EVENTS), meta=_why("unknown event")
            ),
            gxe.ExpectColumnValuesToNotMatchRegex(
                column="order_id",
                regex=rf"^(?:{settings.cancelled_orders})$" if settings.cancelled_orders else "^$",
                meta=_why("cancellation"),
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="quantity", min_value=0, strict_min=True, meta=_why("quantity not positive")
            ),
            price,
            stars,
            gxe.ExpectColumnValuesToNotBeNull(
                column="rating",
                row_condition=Column("event") == "rating",
                meta=_why("rating event without a rating"),
            ),
            no_copy,
        ]
    if table == "items":
        return [*item, price, no_copy]
    if table == "users":
        no_user = gxe.ExpectColumnValuesToNotBeNull(column="user_id", meta=_why("no customer"))
        return [no_user, no_copy]
    no_text = gxe.ExpectColumnValuesToNotBeNull(column="text", meta=_why("no text"))
    return [item[0], no_text, stars, possible_time, no_copy]


def _why(reason: str) -> dict[str, str]:
    return {"reason": reason}
