"""Clean tables of valid rows."""

from __future__ import annotations

import ibis
import pandas as pd
import pyarrow as pa

from components.data.cleaning import clean_interactions, clean_items
from components.data.schema import INTERACTIONS


def test_texts_are_tidied_and_keep_their_signs() -> None:
    rows = {
        "item_id": ["1", "2"],
        "title": ["  a <3 and\n >2 lovers ", "  "],
        "description": [None, "4 < 5"],
        "brand": ["A  B", None],
        "available": [None, False],
    }
    schema = dict.fromkeys(rows, "string") | {"available": "boolean"}
    found = clean_items(ibis.memtable(rows, schema=schema)).order_by("item_id").execute()
    assert found["title"].tolist() == ["a <3 and >2 lovers", "2"]
    assert found["description"].tolist() == ["", "4 < 5"]
    assert found["brand"].tolist() == ["A B", ""]
    assert found["available"].tolist() == [True, False]


def cleaned(*rows: dict[str, object]) -> pd.DataFrame:
    """Return the clean interactions of purchases of one user and item at one moment."""
    same = {
        "user_id": "u",
        "item_id": "i",
        "event": "purchase",
        "quantity": 1.0,
        "timestamp": pd.Timestamp("2024-03-01 23:59:59", tz="UTC"),
    }
    table = pa.Table.from_pylist([{**same, **row} for row in rows], schema=INTERACTIONS)
    users = ibis.memtable({"user_id": ["u"], "user": [0]})
    items = ibis.memtable({"item_id": ["i"], "item": [0]})
    return clean_interactions(ibis.memtable(table), users, items).execute()


def test_lines_without_a_price_are_not_free() -> None:
    found = cleaned({"price": 10.0}, {"price": None, "quantity": 2.0}, {"price": 4.0})
    assert (found["quantity"].tolist(), found["price"].tolist()) == ([4], [7])
    assert cleaned({"price": None})["price"].isna().all()


def test_an_event_is_counted_once_a_second() -> None:
    second = pd.Timestamp("2024-03-01 23:59:59", tz="UTC")
    times = [second, second + pd.Timedelta(milliseconds=999), second + pd.Timedelta(seconds=1)]
    found = cleaned(*({"timestamp": time} for time in times)).sort_values("seconds")
    assert found["seconds"].tolist() == [second.timestamp(), second.timestamp() + 1]
    assert found["quantity"].tolist() == [2, 1]
