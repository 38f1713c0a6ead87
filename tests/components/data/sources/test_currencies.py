"""Prices in several currencies are converted by the shop's rates, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from components.data.sources import inventory
from components.settings import Ingest, Settings
from tests.components.data.shop_files import ingest

LINES = pd.DataFrame(
    {
        "u": list("abcd"),
        "i": "x",
        "t": ["2024-01-15", "2024-02-15", "2024-02-15", "2024-02-15"],
        "p": [10.0, 10.0, 10.0, None],
        "c": ["USD", "usd", "", "GBP"],
        "n": "Mug",
    }
)
COLUMNS = {"user_id": "u", "item_id": "i", "timestamp": "t", "price": "p", "currency": "c"}
ITEMS = pd.DataFrame({"i": ["x", "y"], "n": "Mug", "p": [10.0, 8.0], "c": ["USD", "EUR"]})
ITEM_COLUMNS = {"item_id": "i", "title": "n", "price": "p", "currency": "c"}


def tables(settings: Settings, root: Path, **changes: Any) -> dict[str, pd.DataFrame]:
    LINES.to_csv(root / "lines.csv", index=False)
    ITEMS.to_csv(root / "items.csv", index=False)
    sources = {
        "interactions": [{"path": "lines.csv", "columns": COLUMNS}],
        "items": [{"path": "items.csv", "columns": ITEM_COLUMNS}],
        "currency": "EUR",
    }
    return ingest(settings, root, **(sources | changes))


def test_a_rate_for_each_code(settings: Settings, tmp_path: Path) -> None:
    found = tables(settings, tmp_path, currency_rates={"usd": 0.9})
    rows = found["interactions"]
    assert rows["price"].tolist()[:3] == pytest.approx([9, 9, 10])
    assert rows["price"].isna().tolist() == [False, False, False, True]
    assert rows["price_given"].tolist()[:2] == [10, 10]
    assert rows["currency_given"].tolist() == ["USD", "USD", None, None]
    items = found["items"].set_index("item_id")
    assert items.loc["x", ["price", "currency", "price_given", "currency_given"]].tolist() == [
        9,
        "EUR",
        10,
        "USD",
    ]
    assert items.loc["y", ["price", "currency"]].tolist() == [8, "EUR"]


def test_the_rate_of_the_day(settings: Settings, tmp_path: Path) -> None:
    rates = pd.DataFrame(
        {"date": ["2024-02-01", "2024-01-01"], "currency": ["USD", "usd"], "rate": [0.5, 0.25]}
    )
    rates.to_csv(tmp_path / "rates.csv", index=False)
    found = tables(settings, tmp_path, currency_rates="rates.csv")
    assert found["interactions"]["price"].tolist()[:3] == [2.5, 5, 10]
    assert found["interactions"]["user_id"].tolist() == list("abcd")
    assert found["items"].set_index("item_id").loc["x", "price"] == 5  # the newest
    section = Ingest.model_validate(
        {
            "interactions": [{"path": "lines.csv", "columns": COLUMNS}],
            "currency_rates": "rates.csv",
        }
    )
    inventory.run(settings.model_copy(update={"ingest": section}), tmp_path)
    assert "rates.csv" in (tmp_path / inventory.INVENTORY).read_text()


def test_no_rate(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lines\.csv: prices in other currencies") as caught:
        tables(settings, tmp_path)
    for words in ("than EUR (ingest.currency)", "USD (2), for example row 1", "{USD: …}"):
        assert words in str(caught.value)
    late = pd.DataFrame({"date": ["2024-02-01"], "currency": ["USD"], "rate": [0.5]})
    late.to_csv(tmp_path / "rates.csv", index=False)
    with pytest.raises(ValueError, match=r"no rate on or before their day.*USD \(1\)"):
        tables(settings, tmp_path, currency_rates="rates.csv")


def test_a_file_of_rates_that_cannot_be_read(settings: Settings, tmp_path: Path) -> None:
    bad = pd.DataFrame({"date": ["2024-02-01"] * 2, "currency": ["USD"] * 2, "rate": [0.5, -1]})
    bad.to_csv(tmp_path / "rates.csv", index=False)
    with pytest.raises(ValueError, match=r"currency_rates: rates\.csv: row 2 needs a date"):
        tables(settings, tmp_path, currency_rates="rates.csv")
    bad.drop(columns="rate").to_csv(tmp_path / "rates.csv", index=False)
    with pytest.raises(ValueError, match=r"currency_rates: rates\.csv has no column 'rate'"):
        tables(settings, tmp_path, currency_rates="rates.csv")


def test_a_source_in_another_currency(settings: Settings, tmp_path: Path) -> None:
    columns = {name: shop for name, shop in COLUMNS.items() if name != "currency"}
    source = {"path": "lines.csv", "columns": columns, "currency": "usd"}
    found = tables(settings, tmp_path, interactions=[source], currency_rates={"USD": 0.5})
    assert found["interactions"]["price"].tolist()[:3] == [5, 5, 5]


def test_two_rates_of_one_day(settings: Settings, tmp_path: Path) -> None:
    dates = ["2024-01-01", "2024-01-02", "2024-01-01", "2024-01-01"]
    rates = pd.DataFrame(
        {"date": dates, "currency": ["USD", "USD", "EUR", "usd"], "rate": [0.5, 0.6, 1, 0.7]}
    )
    rates.to_csv(tmp_path / "rates.csv", index=False)
    expected = r"USD has 2 rates of 2024-01-01, in rates\.csv row 1 and rates\.csv row 4: keep one"
    with pytest.raises(ValueError, match=expected):
        tables(settings, tmp_path, currency_rates="rates.csv")


def test_a_row_without_a_time_needs_no_rate_of_a_day(settings: Settings, tmp_path: Path) -> None:
    rates = pd.DataFrame({"date": ["2024-01-01"], "currency": ["USD"], "rate": [0.5]})
    rates.to_csv(tmp_path / "rates.csv", index=False)
    LINES.assign(t=["2024-01-15", "never", "2024-02-15", "2024-02-15"]).to_csv(
        tmp_path / "own.csv", index=False
    )
    source = {"path": "own.csv", "columns": COLUMNS}
    rows = tables(settings, tmp_path, interactions=[source], currency_rates="rates.csv")
    found = rows["interactions"]
    assert found["source_row"].tolist() == [0, 1, 2, 3]
    assert found["price"].tolist()[0] == 5
    assert found["price"].isna().tolist() == [False, True, False, True]
    assert found["unreadable"].tolist()[1] == "timestamp: 'never'"


def test_a_price_that_is_too_large_in_the_shops_currency(
    settings: Settings, tmp_path: Path
) -> None:
    LINES.assign(p=[3e38, 1, 1, 1], t=["never", *LINES["t"][1:]]).to_csv(
        tmp_path / "own.csv", index=False
    )
    source = {"path": "own.csv", "columns": COLUMNS}
    rates = {"USD": 40, "GBP": 2}
    found = tables(settings, tmp_path, interactions=[source], currency_rates=rates)["interactions"]
    assert found["price"].isna().tolist() == [True, False, False, False]
    assert found["price"].tolist()[1:] == [40, 1, 2]
    assert found["unreadable"].tolist() == ["timestamp: 'never'; price: '3e+38 USD'", *[None] * 3]


def test_the_rows_of_a_large_file_keep_their_order(settings: Settings, tmp_path: Path) -> None:
    n = 10_000  # several vectors of the database
    rates = pd.DataFrame({"date": ["2024-01-01"], "currency": ["USD"], "rate": [0.5]})
    rates.to_csv(tmp_path / "rates.csv", index=False)
    rows = {"u": range(n), "i": "x", "t": "2024-02-01", "p": range(1, n + 1)}
    pd.DataFrame({**rows, "c": ["USD", "EUR"] * (n // 2)}).to_csv(tmp_path / "own.csv", index=False)
    source = {"path": "own.csv", "columns": COLUMNS}
    for given in ("rates.csv", {"USD": 0.5}):
        found = tables(settings, tmp_path, interactions=[source], currency_rates=given)
        assert found["interactions"]["source_row"].tolist() == list(range(n))
        assert found["interactions"]["price"].tolist()[:4] == [0.5, 2, 1.5, 4]


@pytest.mark.parametrize(
    ("rates", "words"),
    [({"USD": float("inf")}, "finite number"), ({"usd": 2, "USD": 3}, "USD has two rates")],
)
def test_rates_that_are_none(rates: dict[str, float], words: str) -> None:
    source = {"path": "lines.csv", "columns": COLUMNS}
    with pytest.raises(ValidationError, match=words):
        Ingest.model_validate({"interactions": [source], "currency_rates": rates})


@pytest.mark.parametrize("change", [{"currency": "EURO"}, {"currency_rates": {"$": 1}}])
def test_settings_with_no_code(change: dict[str, Any]) -> None:
    source = {"path": "lines.csv", "columns": COLUMNS}
    with pytest.raises(ValidationError, match="no currency code of ISO 4217"):
        Ingest.model_validate({"interactions": [source], **change})
