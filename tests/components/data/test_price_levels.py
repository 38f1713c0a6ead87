"""Prices in another unit, and prices of lines, are found by those of the same products."""

from __future__ import annotations

from fractions import Fraction

import ibis
import numpy as np
import pandas as pd
import pytest

from components.data.price_levels import price_levels, prices_of_lines, totals_of_lines
from components.data.schema import LINES
from components.settings import Validate

PRODUCTS, ROWS = 30, 600


def shop(factor: float = 1.0, months: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return events and items; prices of the second half are ``factor`` times those of the first.

    months: both halves are in one file.
    """
    random = np.random.default_rng(0)
    item = random.integers(0, PRODUCTS, ROWS)
    list_price = np.exp(random.normal(3, 1, PRODUCTS))
    late = np.arange(ROWS) >= ROWS / 2
    quantity = random.integers(1, 4, ROWS)
    events = pd.DataFrame(
        {
            "item_id": item.astype(str),
            "source": "a.csv" if months else np.where(late, "b.csv", "a.csv"),
            "timestamp": pd.date_range("2024-01-01", periods=ROWS, freq="6h", tz="UTC"),
            "quantity": quantity.astype("float32"),
            "price": (list_price[item] * random.uniform(0.7, 1, ROWS) * np.where(late, factor, 1)),
        }
    )
    ids = [str(n) for n in range(PRODUCTS)]
    items = pd.DataFrame({"item_id": ids, "source": "items.csv", "price": list_price})
    return events.astype({"price": "float32"}), items.astype({"price": "float32"})


def levels(events: pd.DataFrame, items: pd.DataFrame, **settings: float) -> list[str]:
    con = ibis.duckdb.connect()
    tables = con.create_table("e", events), con.create_table("i", items)
    return price_levels(*tables, Validate(**settings))


@pytest.mark.parametrize("factor", [100, 1000, 0.01])
def test_a_later_file_in_another_unit(factor: float) -> None:
    events, items = shop(factor)
    for known in (items, items.assign(source=LINES)):
        found = levels(events, known)
        assert len(found) == 1
        assert "from 2024-0" in found[0]
    (found,) = levels(events, items)
    assert found.startswith("prices in b.csv from 2024-03 to 2024-05 are about ")
    times, of = found.split("about ")[1].replace(",", "").split()[:2]
    assert of == ("times" if factor > 1 else "of")
    assert float(Fraction(times)) == pytest.approx(factor, rel=0.2)
    assert "validate.max_price_ratio is 50" in found


def test_another_unit_from_a_month_on_in_one_file() -> None:
    (found,) = levels(*shop(100, months=True))
    assert "prices in a.csv from 2024-04 to 2024-05 are about" in found  # March has both


def test_a_catalogue_in_another_unit() -> None:
    events, items = shop()
    (found,) = levels(events, items.assign(price=items["price"] * 100))
    assert "prices in items.csv are about" in found


def test_usual_differences_are_none() -> None:
    assert levels(*shop()) == []
    assert levels(*shop(40)) == []
    assert levels(*shop(100), max_price_ratio=200) == []
    events, items = shop(100)
    few = events["item_id"].isin(["1", "2"])  # two products may differ by chance
    assert levels(events[few], items) == []


def test_prices_of_lines_grow_with_the_quantity() -> None:
    events, _ = shop()
    con = ibis.duckdb.connect()
    assert prices_of_lines(con.create_table("pieces", events)) == []
    of_lines = events.assign(price=events["price"] * events["quantity"] ** 0.95)
    found = prices_of_lines(con.create_table("lines", of_lines))
    assert [one.split(" grow")[0] for one in found] == ["prices in a.csv", "prices in b.csv"]
    once = of_lines.assign(quantity=1.0)
    assert prices_of_lines(con.create_table("once", once)) == []


def test_totals_of_lines_without_a_quantity() -> None:
    random = np.random.default_rng(0)
    item, pieces = random.integers(0, PRODUCTS, ROWS), random.integers(1, 4, ROWS)
    unit = np.round(np.exp(random.normal(3, 1, PRODUCTS)), 2)
    events = pd.DataFrame(
        {
            "item_id": item.astype(str),
            "source": "a.csv",
            "event": "purchase",
            "quantity": np.float32(1),
            "price": unit[item] * pieces,
        }
    )
    items = pd.DataFrame(
        {"item_id": np.arange(PRODUCTS).astype(str), "source": "items.csv", "price": unit}
    )

    def noted(events: pd.DataFrame) -> list[str]:
        con = ibis.duckdb.connect()
        return totals_of_lines(con.create_table("e", events), con.create_table("i", items))

    (said,) = noted(events)
    assert "a.csv are 2, 3 or more times" in said
    assert "`quantity`" in said
    assert noted(events.assign(price=unit[item])) == []
    assert noted(events.assign(quantity=pieces.astype("float32"))) == []
    assert noted(events.assign(price=unit[item] * random.uniform(0.7, 2.5, ROWS))) == []
