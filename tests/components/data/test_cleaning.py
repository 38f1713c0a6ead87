"""Clean tables of valid rows."""

from __future__ import annotations

import ibis

from components.data.cleaning import clean_items


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
