"""Columns of unknown files get the contract's names and the settings that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.data.sources.names import likeness
from components.project.guessing import Guess, currency_codes, guess
from components.project.inspection import inspect
from components.project.joining import join_events, join_ids, no_common_ids


def guessed(folder: Path, table: str, columns: dict[str, Any], name: str = "x.csv") -> Guess:
    """Return what a CSV file with these columns is taken for."""
    file = folder / name
    pd.DataFrame(columns).to_csv(file, index=False)
    return guess(table, inspect(file)[0], name)


HEADERS = [
    "user_id item_id timestamp event",
    "CustomerID StockCode InvoiceDate type",
    "visitorid itemid event_time event_type",
    "Kundennummer Artikelnummer Bestelldatum Aktion",
    "id_cliente id_producto fecha evento",
    "USER ITEM TS ACTION",
    "reviewerID asin reviewTime action",
]


@pytest.mark.parametrize("header", HEADERS)
def test_names_of_many_shops(header: str, tmp_path: Path) -> None:
    user, item, time, event = header.split()
    found = guessed(
        tmp_path,
        "interactions",
        {
            "row": range(40),
            time: pd.date_range("2024-01-01", periods=40, freq="h").astype(str),
            item: [f"i{n % 7}" for n in range(40)],
            event: ["view", "add_to_cart"] * 20,
            user: [n % 9 for n in range(40)],
        },
    )
    assert found.columns == {"user_id": user, "item_id": item, "timestamp": time, "event": event}
    assert found.left_out == ["row"]


def test_a_name_alone_decides_nothing(tmp_path: Path) -> None:
    found = guessed(
        tmp_path,
        "interactions",
        {
            "user": ["a", "b"] * 10,
            "product": ["x", "y"] * 10,
            "date": ["gold", "silver"] * 10,  # no times
            "happened": ["2024-03-01T10:00:00Z"] * 20,
            "price": ["cheap", "dear"] * 10,  # no numbers
        },
    )
    assert found.columns == {
        "user_id": "user",
        "item_id": "product",
        "timestamp": "happened",
        "title": "product",  # the ids are what the products are called
    }
    assert set(found.left_out) == {"date", "price"}
    assert any("happened" in doubt for doubt in found.doubts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"),
        ("%Y%m%d", "%Y%m%d"),
        ("%Y-%m-%dT%H:%M:%S+01:00", None),
        ("%Y-%m-%d", None),
    ],
)
def test_formats_of_times(form: str, expected: str | None, tmp_path: Path) -> None:
    days = pd.date_range("2023-01-01", periods=400, freq="D")
    columns = {"user": range(400), "item": range(400), "date": days.strftime(form)}
    assert guessed(tmp_path, "interactions", columns).source.get("timestamp_format") == expected


def test_day_and_month_are_told_by_the_order_of_rows_and_the_doubt_is_said(tmp_path: Path) -> None:
    days = [day for day in pd.date_range("2023-01-01", periods=400) if day.day <= 12]
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        dates = [day.strftime(form) for day in days]
        columns = {"user": range(len(days)), "item": range(len(days)), "date": dates}
        found = guessed(tmp_path, "interactions", columns)
        assert found.source["timestamp_format"] == form
        assert any("it could be" in doubt for doubt in found.doubts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prices", "signs"),
    [
        (["12.50", "1299.00"], {}),
        (["12,50", "1299,00"], {"decimal": ","}),
        (["12,50", "1.299,00"], {"decimal": ",", "thousands": "."}),
        (["12.50", "1,299.00"], {"decimal": ".", "thousands": ","}),
        (["12,50", "1 299,00"], {"decimal": ",", "thousands": " "}),
    ],
)
def test_signs_of_numbers(prices: list[str], signs: dict[str, str], tmp_path: Path) -> None:
    columns = {"sku": ["a", "b"], "name": ["Cup", "Pot"], "price": prices}
    source = guessed(tmp_path, "items", columns).source
    assert {key: source[key] for key in ("decimal", "thousands") if key in source} == signs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prices", "signs", "code"),
    [
        (["12,50 €", "1.299,00 €"], {"decimal": ",", "thousands": "."}, "EUR"),
        (["PLN 12.50", "PLN 1299.00"], {}, "PLN"),
        (["$12.50", "$3"], {}, None),
    ],
)
def test_prices_with_their_currency(
    prices: list[str], signs: dict[str, str], code: str | None, tmp_path: Path
) -> None:
    columns = {"sku": ["a", "b"], "name": ["Cup", "Pot"], "price": prices}
    found = guessed(tmp_path, "items", columns)
    assert found.columns["price"] == "price"
    assert {key: found.source[key] for key in signs} == signs
    assert set(currency_codes(found)) == ({code} if code else set())


def test_columns_that_say_what_rows_are_and_are_not_used(tmp_path: Path) -> None:
    own = {
        "user": [f"u{n}" for n in range(40)],
        "sku": [f"s{n}" for n in range(40)],
        "ordered_at": ["2024-01-01"] * 40,
        "shop": ["Berlin", "Paris"] * 20,
        "gift": [0, 1] * 20,
    }
    assert guessed(tmp_path, "interactions", own).todo == []
    own |= {"Belegart": ["Rechnung", "Gutschrift"] * 20, "added_to_cart": [0, 1] * 20}
    returns, several = guessed(tmp_path, "interactions", own).todo
    assert "'Belegart' says of 20 rows that they take purchases back" in returns
    assert "('Rechnung', 'Gutschrift'): name it as `status`" in returns
    assert "rows may be several events by 'added_to_cart'" in several


def test_formats_are_made_of_what_times_look_like(tmp_path: Path) -> None:
    dates = ["02/01/2024 à 19:06", "13/01/2024 à 09:30"] * 20
    found = guessed(tmp_path, "interactions", {"user": range(40), "item": range(40), "date": dates})
    assert found.source["timestamp_format"] == "%d/%m/%Y à %H:%M"


def test_words_of_availability_that_are_not_known_are_not_left_out(tmp_path: Path) -> None:
    columns = {"sku": range(40), "name": "Cup", "Verfügbarkeit": ["geht", "geht nicht"] * 20}
    found = guessed(tmp_path, "items", columns)
    assert found.columns["available"] == "Verfügbarkeit"


def test_a_name_is_no_id_where_there_is_one(tmp_path: Path) -> None:
    columns = {
        "ID client": [f"K{n % 9}" for n in range(40)],
        "Produit": [f"Tasse numéro {n % 7}" for n in range(40)],
        "Réf. produit": [f"A-{n % 7}" for n in range(40)],
        "Date": ["2024-01-01"] * 40,
    }
    found = guessed(tmp_path, "interactions", columns)
    assert (found.columns["item_id"], found.columns["title"]) == ("Réf. produit", "Produit")


def test_words_for_no_value_among_numbers_and_times(tmp_path: Path) -> None:
    columns = {
        "user": range(40),
        "item": range(40),
        "date": ["2024-01-01"] * 39 + ["#N/A"],
        "price": ["NULL", "-", "1.50", "2.50"] * 10,
    }
    found = guessed(tmp_path, "interactions", columns)
    assert found.columns["price"] == "price"
    assert set(found.source["nulls"]) >= {"NULL", "-"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"Product 1": [f"A-{n}" for n in range(40)], "Product 2": ["B-1"] * 40}, "UNPIVOT"),
        ({"skus": [f"A-{n}; A-{n + 1}" for n in range(40)]}, "unnest"),
        ({"product": [f"Cup {n}, red" for n in range(40)]}, ""),
        ({"sku": [f"A-{n}|red" for n in range(40)]}, ""),
    ],
)
def test_several_products_in_a_row_are_refused(
    columns: dict[str, list[str]], words: str, tmp_path: Path
) -> None:
    columns |= {"user": [f"u{n}" for n in range(40)], "date": ["2024-01-01"] * 40}
    found = guessed(tmp_path, "interactions", columns)
    assert bool(found.todo) is bool(words)
    assert words in "".join(found.todo)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "columns", "event"),
    [
        ("orders.csv", {}, "purchase"),
        ("page_views.csv", {}, "view"),
        ("clicks.csv", {}, "click"),
        ("export.csv", {"qty": [1] * 4, "unit price": [2.5] * 4}, "purchase"),
        ("ml.csv", {"rating": [1, 3, 5, 4]}, "rating"),
    ],
)
def test_the_event_of_a_file_without_such_a_column(
    name: str, columns: dict[str, Any], event: str, tmp_path: Path
) -> None:
    own = {"user": list("abcd"), "item": list("wxyz"), "time": ["2024-01-01"] * 4}
    assert guessed(tmp_path, "interactions", own | columns, name).source["event"] == event


def test_unknown_events_are_named_and_takings_back_are_ignored(tmp_path: Path) -> None:
    columns = {
        "user": list("abcdef"),
        "item": list("uvwxyz"),
        "time": ["2024-01-01"] * 6,
        "event": ["view", "view", "view", "purchase", "remove_from_cart", "hover"],
    }
    found = guessed(tmp_path, "interactions", columns)
    assert found.source["events"] == {"remove_from_cart": "ignore"}
    assert any("'hover'" in doubt for doubt in found.doubts)


def test_words_for_no_id(tmp_path: Path) -> None:
    columns = {"user": ["a", "NULL"] * 5, "item": ["x", "y"] * 5, "time": ["2024-01-01"] * 10}
    file = tmp_path / "x.csv"
    pd.DataFrame(columns).to_csv(file, index=False)
    assert guess("interactions", inspect(file)[0], "x.csv").source["nulls"] == ["NULL"]


def test_the_column_of_ids_is_the_one_that_the_events_have(tmp_path: Path) -> None:
    skus = [f"{n:05d}-B" for n in range(30)]
    time = ["2024-01-01"] * 30
    events = guessed(tmp_path, "interactions", {"user": range(30), "sku": skus, "time": time})
    items = {"id": range(30), "reference": skus, "title": [f"Cup {n}" for n in range(30)]}
    listed = guessed(tmp_path, "items", items, "items.csv")
    assert join_ids([events], listed, "item_id") == {}
    assert listed.columns["item_id"] == "reference"


def test_ids_that_differ_by_zeros_get_a_rule(tmp_path: Path) -> None:
    numbers = np.arange(1, 40)
    time = ["2024-01-01"] * 39
    events = guessed(tmp_path, "interactions", {"user": numbers, "item": numbers, "time": time})
    items = {"item": [f"{n:06d}" for n in numbers], "title": [f"Cup {n}" for n in numbers]}
    listed = guessed(tmp_path, "items", items, "items.csv")
    assert join_ids([events], listed, "item_id") == {"width": 6}


def test_numbers_that_happen_to_be_ids_do_not_count_more_than_the_name(tmp_path: Path) -> None:
    numbers = np.arange(1, 40)
    time = ["2024-01-01"] * 39
    events = guessed(tmp_path, "interactions", {"user": numbers, "sku": numbers, "time": time})
    items = {"sku": [f"{n:06d}" for n in numbers], "title": "Cup", "weight": numbers}
    listed = guessed(tmp_path, "items", items, "items.csv")
    assert join_ids([events], listed, "item_id") == {"width": 6}
    assert listed.columns["item_id"] == "sku"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (["Home > Tea", "Home > Light"], ">"),
        (["A/V Equipment", "Home"], None),
        (["Food / Tea", "Food / Wine"], "/"),
        (["A/V Equipment / Cables", "Home / Light"], " / "),
    ],
)
def test_separators_of_categories(values: list[str], separator: str | None, tmp_path: Path) -> None:
    columns = {"sku": range(20), "title": ["Cup"] * 20, "category": values * 10}
    found = guessed(tmp_path, "items", columns)
    assert found.source.get("category_separator") == separator


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "categories"),
    [
        (["Action|Comedy", "Comedy|Drama", "Drama|Action", "Comedy"], "set"),
        (["Home|Tea|Pots", "Home|Tea|Cups", "Garden|Tools", "Home|Light"], None),
    ],
)
def test_sets_and_paths(values: list[str], categories: str | None, tmp_path: Path) -> None:
    columns = {"sku": range(40), "title": ["Cup"] * 40, "genres": values * 10}
    found = guessed(tmp_path, "items", columns)
    assert found.source["category_separator"] == "|"
    assert found.source.get("categories") == categories
    assert any("categories such as" in doubt for doubt in found.doubts)


def test_states_of_orders_take_part(tmp_path: Path) -> None:
    columns = {
        "user": list("abcdef"),
        "item": list("uvwxyz"),
        "time": ["2024-01-01"] * 6,
        "order status": ["completed", "cancelled", "refunded", "completed", "processing", "failed"],
    }
    assert guessed(tmp_path, "interactions", columns).columns["status"] == "order status"


def test_the_id_of_a_row_is_no_product(tmp_path: Path) -> None:
    rows = {
        "id": range(40),
        "customer_id": [n % 9 for n in range(40)],
        "product_name": [f"Tea {n % 7}" for n in range(40)],
        "order_date": ["2024-05-01"] * 40,
        "amount": ["12.50", "9.90"] * 20,
    }
    found = guessed(tmp_path, "interactions", rows)
    assert found.missing == ["item_id"]
    assert "quantity" not in found.columns  # pieces are whole
    assert found.columns["price"] == "amount"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("shipping_cost", "price"),
        ("order_value_total", "price"),
        ("discount_amount", "quantity"),
        ("units_in_stock", "quantity"),
        ("customer_type", "user_id"),
        ("order_id", "item_id"),
        ("birth_date", "timestamp"),
        ("customer_since", "timestamp"),
    ],
)
def test_names_of_other_things(column: str, name: str) -> None:
    assert likeness(name, column) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("Référence;Désignation;Prix", "item_id title price"),
        ("Kod produktu;Nazwa;Cena", "item_id title price"),
        ("商品コード;商品名;価格", "item_id title price"),
        ("Ürün Kodu;Ürün Adı;Fiyat", "item_id title price"),
    ],
)
def test_headers_in_other_languages(header: str, names: str, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    rows = "".join(f"a{n};Thing {n};{n}.50\n" for n in range(9))
    file.write_text(f"{header}\n{rows}", encoding="utf-8")
    found = guess("items", inspect(file)[0], "x.csv").columns
    assert found == dict(zip(names.split(), header.split(";"), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("time", ["10:15", "23:59"], "joins day and time"),
        ("hhmm", ["1015", "2359"], "joins day and time"),
    ],
)
def test_what_is_not_used_and_may_matter_is_said(
    column: str, values: list[str], words: str, tmp_path: Path
) -> None:
    for day in ("2024-01-01", "2024-01-01 00:00:00"):
        own = {"user": list("abcd"), "sku": list("wxyz"), "date": [day] * 4}
        found = guessed(tmp_path, "interactions", own | {column: values * 2})
        assert column in found.left_out
        assert any(words in doubt for doubt in found.doubts), found.doubts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        *(("Gesperrt", ["J", "N"], "in `available`"), ("Price Ct", ["1290", "95"], "by 100")),
        ("price_eur", ["12.50", "3"], "another currency"),
    ],
)
def test_what_may_matter_of_products_is_said(
    column: str, values: list[str], words: str, tmp_path: Path
) -> None:
    own = {"sku": list("wxyz"), "title": ["Cup", "Pot"] * 2, "price": ["1.5", "2.5"] * 2}
    found = guessed(tmp_path, "items", own | {column: values * 2})
    assert column in found.left_out or column in found.columns.values()
    assert any(words in doubt and repr(column) in doubt for doubt in found.doubts), found.doubts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "code"),
    [("Price (USD)", "USD"), ("price_eur", "EUR"), ("Preis CHF", "CHF"), ("price", None)],
)
def test_the_currency_in_a_name(column: str, code: str | None, tmp_path: Path) -> None:
    found = guessed(tmp_path, "items", {"sku": ["a", "b"], "name": ["A", "B"], column: ["1", "2"]})
    assert found.columns["price"] == column
    assert found.source.get("currency") == code
    assert list(currency_codes(found).unique()) == ([code] if code else [])


def test_prices_in_hundredths_and_with_tax(tmp_path: Path) -> None:
    for name in ("unit_price_minor", "Preis (Ct)", "price pence", "Preis in Rappen"):
        assert likeness("price", name) == 0
    assert likeness("price", "unit_price_tax_incl") > likeness("price", "unit price") > 0


def test_an_afternoon_by_the_words_of_a_language(tmp_path: Path) -> None:
    days = [f"{n % 28 + 1:02d}/{n // 28 + 1:02d}/2024 0{n % 9 + 1}:35 p. m." for n in range(90)]
    columns = {"user": range(90), "item": range(90), "date": days}
    found = guessed(tmp_path, "interactions", columns)
    assert found.source["timestamp_format"] == "%d/%m/%Y %I:%M %p"


def test_two_digits_of_the_year_first_with_points(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=100).strftime("%y.%m.%d")
    columns = {"user": range(100), "item": range(100), "date": days}
    found = guessed(tmp_path, "interactions", columns)
    assert found.source["timestamp_format"] == "%y.%m.%d"
    assert any("it could be" in doubt for doubt in found.doubts)


def test_a_mark_in_some_rows_is_a_flag(tmp_path: Path) -> None:
    columns = {"user": range(20), "sku": [f"s{n}" for n in range(20)], "date": ["2024-01-01"] * 20}
    found = guessed(tmp_path, "interactions", columns | {"Storno": ["X", None] * 10})
    assert found.columns["status"] == "Storno"
    assert found.source["statuses"] == {"X": "cancelled"}


def test_rounded_ids_are_no_lists(tmp_path: Path) -> None:
    columns = {"user": range(9), "sku": ["4,0066E+12"] * 9, "date": ["2024-01-01"] * 9}
    assert guessed(tmp_path, "interactions", columns).todo == []


def test_a_guest_is_no_customer(tmp_path: Path) -> None:
    time = ["2024-01-01"] * 40
    users = [str(n if n % 4 else 0) for n in range(40)]
    columns = {"user": users, "item": ["x"] * 40, "time": time}
    assert guessed(tmp_path, "interactions", columns).source["nulls"] == ["0"]
    columns["user"] = [str(n) for n in range(40)]  # 0 is as good an id as the others
    assert "nulls" not in guessed(tmp_path, "interactions", columns).source


def test_two_files_of_events_write_customers_in_one_way(tmp_path: Path) -> None:
    time = ["2024-01-01"] * 40
    one = {"user": [f"{n}.0" for n in range(40)], "item": range(40), "time": time}
    two = {"user": range(40), "item": range(40), "time": time}
    first = guessed(tmp_path, "interactions", two, "views.csv")
    other = guessed(tmp_path, "interactions", one, "orders.csv")
    assert join_events(first, other, "user_id") == {"integral": True}
    assert join_events(other, first, "user_id") == {"integral": True}


def test_a_file_of_views_is_told_by_its_times(tmp_path: Path) -> None:
    columns = {"user": list("ab"), "item": list("xy"), "viewed_at": ["2024-01-01"] * 2}
    assert guessed(tmp_path, "interactions", columns, "log.csv").source["event"] == "view"
    found = guessed(tmp_path, "interactions", columns, "orders.csv")
    assert found.source["event"] == "view"
    assert any("every row is taken for a view" in doubt for doubt in found.doubts)


def test_a_rule_that_would_join_two_products_is_not_taken(tmp_path: Path) -> None:
    ids = [*(f"Ab{n}" for n in range(7)), *(f"AB{n}" for n in range(7))]
    events = {"user": range(28), "sku": [*ids, *(one.lower() for one in ids)]}
    lines = guessed(tmp_path, "interactions", events | {"time": ["2024-01-01"] * 28})
    listed = guessed(tmp_path, "items", {"sku": ids, "title": "Cup"}, "items.csv")
    assert join_ids([lines], listed, "item_id") == {}


def test_a_word_for_guests_that_is_a_number_of_another_column_stays(tmp_path: Path) -> None:
    users = [-1 if n % 4 == 0 else n for n in range(400)]
    quantity = [-1 if n % 10 == 1 else 1 for n in range(400)]
    columns = {"customer": users, "sku": range(400), "date": ["2024-01-01"] * 400}
    assert guessed(tmp_path, "interactions", columns).source["nulls"] == ["-1"]
    found = guessed(tmp_path, "interactions", columns | {"quantity": quantity})
    assert "nulls" not in found.source
    assert any("'-1' among the ids may mean no id" in doubt for doubt in found.doubts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prices", "settings"),
    [
        (["1,100", "1,999"], {}),  # may be thousands
        (["1,100", "5.50"], {"decimal": ".", "thousands": ","}),
        (["12,50", "3,99"], {"decimal": ","}),
        (["1.100", "1.999"], {}),
        (["1.100,00", "3,99"], {"decimal": ",", "thousands": "."}),
    ],
)
def test_a_comma_before_three_digits_is_not_guessed(
    prices: list[str], settings: dict[str, str], tmp_path: Path
) -> None:
    columns = {"sku": range(20), "title": ["Cup"] * 20, "price": prices * 10}
    found = guessed(tmp_path, "items", columns)
    assert {key: found.source[key] for key in ("decimal", "thousands") if key in found.source} == (
        settings
    )
    assert any("the comma may be" in one for one in found.doubts) == (prices[1] == "1,999")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "columns", "event", "certain"),
    [
        ("orders.csv", {}, "purchase", True),
        ("order_reviews.csv", {"rating": 4}, "rating", False),
        ("viewed_sales_items.csv", {}, "purchase", False),
        ("orders.csv", {"stars": 4}, "purchase", False),
    ],
)
def test_the_event_by_the_name_of_the_file(
    file: str, columns: dict[str, int], event: str, certain: bool, tmp_path: Path
) -> None:
    rows = {"user": range(40), "sku": range(40), "time": ["2024-01-01"] * 40}
    rows |= {name: [value] * 40 for name, value in columns.items()}
    found = guessed(tmp_path, "interactions", rows, file)
    assert found.source["event"] == event
    assert any("every row is taken for a" in one for one in found.doubts) != certain


def test_products_are_called_by_their_ids_only_where_those_are_names(tmp_path: Path) -> None:
    rows = {"user_id": range(40), "order_date": ["2024-01-01"] * 40}
    numbers = guessed(tmp_path, "interactions", {**rows, "product_id": range(40)})
    assert "title" not in numbers.columns
    names = [f"Red cup {n}" for n in range(40)]
    named = guessed(tmp_path, "interactions", {**rows, "product": names})
    assert named.columns["title"] == named.columns["item_id"] == "product"


def test_what_a_product_costs_the_shop_is_doubted_as_a_price(tmp_path: Path) -> None:
    found = guessed(tmp_path, "items", {"sku": range(20), "title": "Cup", "cost": [2.5] * 20})
    assert any(one.startswith("price: 'cost'") for one in found.doubts)


def test_times_with_offsets_in_a_form_of_their_own(tmp_path: Path) -> None:
    times = [f"Fri, {n + 1:02d} Mar 2024 10:00:00 +0200" for n in range(28)]
    rows = {"user": range(28), "sku": range(28), "date": times}
    assert guessed(tmp_path, "interactions", rows).columns["timestamp"] == "date"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "name", "setting", "words"),
    [
        ("is_cancelled", "status", "statuses", {"true": "cancelled", "false": "kept"}),
        ("Refunded", "status", "statuses", {"yes": "returned", "no": "kept"}),
        ("out_of_stock", "available", "available", {"1": False, "0": True}),
        ("sold_out", "available", "available", {"ja": False, "nein": True}),
    ],
)
def test_flags_that_say_the_opposite(
    column: str, name: str, setting: str, words: dict[str, object], tmp_path: Path
) -> None:
    table = "items" if name == "available" else "interactions"
    rows = {"sku": [f"s{n}" for n in range(20)], column: [*words] * 10}
    rows |= {"title": ["Cup"] * 20} if table == "items" else {"user": range(20)}
    found = guessed(tmp_path, table, {**rows, "date": ["2024-01-01"] * 20})
    assert found.columns[name] == column
    assert found.source[setting] == words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("status", ["5", "6"]),
        ("event_type", ["1", "4"]),
        ("action", ["impression", "tap"]),
    ],
)
def test_states_and_events_that_are_not_understood_are_left_to_be_refused(
    name: str, values: list[str], tmp_path: Path
) -> None:
    own = {"user": list("abcd"), "sku": list("wxyz"), "date": ["2024-01-01"] * 4}
    found = guessed(tmp_path, "interactions", own | {name: values * 2})
    assert name in found.columns.values()
    assert any(f"{values[0]!r} are not understood" in one for one in found.doubts)


def test_times_of_an_unknown_form_are_named(tmp_path: Path) -> None:
    own = {"user": range(28), "sku": range(28), "weight": range(28)}
    found = guessed(
        tmp_path, "interactions", own | {"ordered_at": [f"2026-W{n + 10}-1" for n in range(28)]}
    )
    assert found.columns["timestamp"] == "ordered_at"
    assert found.missing == []
    assert any("'2026-W10-1' are not understood" in one for one in found.doubts)


def test_numbers_that_are_not_understood_are_said(tmp_path: Path) -> None:
    own = {"sku": range(20), "title": ["Cup"] * 20, "price": ["12 - 17"] * 20}
    found = guessed(tmp_path, "items", own)
    assert any("'12 - 17' are not understood as price" in one for one in found.doubts)
    cents = guessed(tmp_path, "items", {"sku": range(20), "price_cents": [990] * 20})
    assert "price" not in cents.columns
    assert any("divides prices in cents by 100" in one for one in cents.doubts)


def test_weights_are_quantities_and_rare_prices_are_not_the_price(tmp_path: Path) -> None:
    own = {"user": range(20), "sku": range(20), "date": ["2024-01-01"] * 20}
    kilos = guessed(tmp_path, "interactions", own | {"quantity": [0.375] * 20})
    assert kilos.columns["quantity"] == "quantity"
    prices = {"sale_price": [1.5] * 4 + [""] * 16, "regular_price": [2.5] * 20}
    found = guessed(tmp_path, "items", {"sku": range(20), "title": ["Cup"] * 20, **prices})
    assert found.columns["price"] == "regular_price"


def test_addresses_with_capitals_and_apostrophes(tmp_path: Path) -> None:
    rows = {"sku": range(40), "date": ["2024-01-01"] * 40}
    mails = [f"{'C' if n % 2 else 'c'}{n // 2}@x.org" for n in range(40)]
    found = guessed(tmp_path, "interactions", {"customer": mails, **rows})
    assert found.source["user_ids"] == {"case": "lower"}
    quoted = guessed(tmp_path, "interactions", {"customer": [f"'{n}" for n in range(40)], **rows})
    assert any("the apostrophe that Excel puts" in one for one in quoted.doubts)


def test_kinds_of_rows_are_no_categories(tmp_path: Path) -> None:
    own = {"sku": range(20), "parent_sku": ["1", ""] * 10, "type": ["configurable", "simple"] * 10}
    found = guessed(tmp_path, "items", {**own, "title": ["Cup"] * 20})
    assert "categories" not in found.columns
    assert found.columns["item_id"] == "sku"
    assert any("variants of one product" in one for one in found.doubts)


def test_two_files_of_events_with_other_ids(tmp_path: Path) -> None:
    own = {"user": range(40), "date": ["2024-01-01"] * 40}
    one = guessed(tmp_path, "interactions", {**own, "sku": [f"s{n}" for n in range(40)]}, "o.csv")
    two = guessed(tmp_path, "interactions", {**own, "product_id": range(40)}, "views.csv")
    assert "no item_id of it, such as '0'" in no_common_ids(one, two, "item_id")
    assert no_common_ids(one, one, "item_id") == ""


def test_a_kind_of_row_is_no_category(tmp_path: Path) -> None:
    own = {"user": list("abcd"), "sku": list("wxyz"), "date": ["2024-01-01"] * 4}
    codes = guessed(tmp_path, "interactions", own | {"type": ["S", "S", "R", "S"]})
    assert codes.left_out == ["type"]
    names = guessed(tmp_path, "interactions", own | {"type": ["Tea", "Coffee"] * 2})
    assert names.columns["categories"] == "type"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "newest"),
    [
        (["2024-01-01", "2024-02-01"], '"day" DESC'),
        (["31.01.2024", "01.02.2024"], "strptime(\"day\", '%d.%m.%Y') DESC"),
    ],
)
def test_states_of_products_need_a_query(days: list[str], newest: str, tmp_path: Path) -> None:
    rows = {"sku": list("wxyz") * 2, "title": ["Cup", "Pot"] * 4, "day": np.repeat(days, 4)}
    (said,) = guessed(tmp_path, "items", rows).todo
    assert "'day'" in said
    assert newest in said
    once = {name: list(values[:4]) for name, values in rows.items()}
    assert guessed(tmp_path, "items", once).todo == []
