"""Shipping, vouchers and totals are found by their names."""

from __future__ import annotations

import ibis
import pandas as pd
import pytest

from components.data.charges import charges
from components.data.schema import LINES


def noted(item_id: str, title: str | None, source: str = LINES, share: float = 0.25) -> list[str]:
    """Return what is said of 40 customers, of whom a share has also bought a product."""
    users = [str(n) for n in range(40)]
    lines = [(user, "mug") for user in users]
    lines += [(user, item_id) for user in users[: int(share * 40)]]
    items = pd.DataFrame(
        {"item_id": ["mug", item_id], "title": ["Blue mug", title], "source": [source] * 2}
    )
    con = ibis.duckdb.connect()
    good = con.create_table("good", pd.DataFrame(lines, columns=["user_id", "item_id"]))
    schema = {"item_id": "string", "title": "string", "source": "string"}
    return charges(good, con.create_table("items", items, schema=schema))


@pytest.mark.parametrize(
    ("item_id", "title"),
    [
        *(("VERSAND", "Versandkosten DHL"), ("GUTSCHEIN50", None), ("Zwischensumme", None)),
        *(("S1", "Shipping fee"), ("S2", "Frais de port"), ("送料", None), ("x-1", "Pfand")),
    ],
)
def test_names_of_no_products(item_id: str, title: str | None) -> None:
    (said,) = noted(item_id, title)
    assert f"{item_id!r}" in said
    assert "20% of the events" in said
    assert f"validate.non_product_codes: ['{item_id}']" in said


@pytest.mark.parametrize(
    ("item_id", "title"),
    [("7", "Port wine glass"), ("8", "Total War"), ("9", None), ("10", "Book of discount coupons")],
)
def test_names_of_products(item_id: str, title: str | None) -> None:
    assert noted(item_id, title) == []


def test_a_product_of_the_item_file_is_meant_if_nearly_all_buy_it() -> None:
    assert noted("S1", "Shipping fee", "items.csv") == []
    assert len(noted("S1", "Shipping fee", "items.csv", share=0.9)) == 1
