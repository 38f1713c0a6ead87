"""Summaries of lines by user or item."""

from __future__ import annotations

import ibis

from components.data.sources.lines import most_frequent


def test_the_most_frequent_value_of_each_key_and_the_first_of_equals() -> None:
    rows = ibis.memtable(
        {
            "item": ["a", "a", "a", "b", "b", "c"],
            "title": ["old", "new", "new", "y", "x", None],
        },
        schema={"item": "string", "title": "string"},
    )
    found = most_frequent(rows, "item", "title").order_by("item").execute()
    assert found.values.tolist() == [["a", "new"], ["b", "x"]]
