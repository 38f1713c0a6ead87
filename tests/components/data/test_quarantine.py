"""What ``validate`` says about the rows as a whole."""

from __future__ import annotations

from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from components.data import quarantine
from components.data.joins import without_common_ids

ROWS = 1200
NUMBERS = np.arange(ROWS)


def events(**columns: Any) -> ir.Table:
    """Return valid events, two of an order, with these columns in the place of others."""
    frame = pd.DataFrame(
        {
            "event": "purchase",
            "source": np.where(NUMBERS < ROWS / 2, "a.csv", "b.csv"),
            "order_id": (NUMBERS // 2).astype(str),
            "user_id": (NUMBERS // 2 % 90).astype(str),
            "item_id": (NUMBERS % 70).astype(str),
            "timestamp": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(NUMBERS // 2, "h"),
        }
    ).assign(**columns)
    return ibis.duckdb.connect().create_table("events", frame)


def test_usual_events_have_nothing_to_say() -> None:
    good = events()
    assert quarantine.states_of_orders(good) == ""
    assert quarantine.frequent_ids(good) == []
    assert without_common_ids(good, "item_id") == without_common_ids(good, "user_id") == []


def test_lines_of_orders_at_several_times_are_their_states() -> None:
    lines = {  # each three times, a day apart
        "order_id": (NUMBERS // 6).astype(str),
        "user_id": (NUMBERS // 6).astype(str),
        "item_id": (NUMBERS // 3).astype(str),
        "timestamp": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(NUMBERS % 3, "D"),
    }
    said = quarantine.states_of_orders(events(**lines))
    assert said.startswith("100% of the lines of orders are there at several times")
    assert "`version`" in said
    assert quarantine.states_of_orders(events(**lines, event="view")) == ""
    no_id = pd.Series([None] * ROWS, dtype="string")
    assert quarantine.states_of_orders(events(**{**lines, "order_id": no_id})) == ""


def test_a_guest_of_a_small_shop_is_named() -> None:
    guest = np.where(NUMBERS % 5 < 2, "99999", (NUMBERS % 30).astype(str))
    small = events(user_id=guest).filter(lambda rows: rows.order_id.cast("int64") < 100)
    (said,) = quarantine.frequent_ids(small)
    assert said.startswith("customer '99999' has 40% of the events")
    assert "`nulls`" in said
    usual = events(user_id=(NUMBERS % 30).astype(str))
    assert quarantine.frequent_ids(usual.filter(usual.order_id.cast("int64") < 100)) == []


def test_only_lines_are_several_pieces() -> None:
    assert "repeated_lines" in quarantine.remedy("duplicate", "interactions")
    assert "repeated_lines" not in quarantine.remedy("duplicate", "items")


def test_a_customer_and_a_product_that_may_be_none_are_named() -> None:
    guest = np.where(NUMBERS % 5 == 0, "guest", (NUMBERS % 90).astype(str))
    shipping = np.where(NUMBERS % 4 == 0, "SHIPPING", (NUMBERS % 70).astype(str))
    said = quarantine.frequent_ids(events(user_id=guest, item_id=shipping))
    assert [one.split(":")[0] for one in said] == [
        "customer 'guest' has 20% of the events",
        "product 'SHIPPING' has 25% of the events",
    ]
    few = (NUMBERS % 5).astype(str)  # of five products, each has a fifth
    assert quarantine.frequent_ids(events(item_id=few)) == []


def test_files_without_a_product_in_common_have_two_kinds_of_ids() -> None:
    kind = pd.Series(np.where(NUMBERS < ROWS / 2, "A-", ""))
    other = kind + pd.Series(NUMBERS % 70).astype(str)
    said = without_common_ids(events(item_id=other), "item_id")
    assert [one.split(",")[0] for one in said] == ["no item_id of a.csv", "no item_id of b.csv"]
    assert without_common_ids(events(item_id=other, source="one.csv"), "item_id") == []
    few = kind + pd.Series(NUMBERS % 9).astype(str)
    assert without_common_ids(events(item_id=few), "item_id") == []
