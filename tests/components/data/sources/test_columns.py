"""The shop's columns become the contract's, or the error names the column and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from components.settings import Settings
from tests.components.data.shop_files import COLUMNS, LINES, ingest


def test_a_csv_keeps_ids_as_the_shop_writes_them(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": COLUMNS}
    as_written = ingest(settings, tmp_path, interactions=[source])["interactions"]
    assert as_written["user_id"].tolist() == ["12345.0", None, "7.0"]
    source["user_ids"] = {"integral": True}
    tables = ingest(settings, tmp_path, interactions=[source], currency="EUR")
    rows = tables["interactions"]
    assert rows["user_id"].tolist() == ["12345", None, "7"]
    assert rows["item_id"].tolist() == ["00123", "ab1", "AB1"]  # zeros stay, case is the shop's
    assert rows["timestamp"].isna().tolist() == [False, False, True]  # kept, for the quarantine
    assert rows["source_row"].tolist() == [0, 1, 2]
    assert set(rows["event"]) == {"purchase"}
    items = tables["items"].set_index("item_id")
    assert items.loc["AB1", "title"] == "Blue Mug"
    assert items.loc["AB1", "price"] == pytest.approx(3.5)
    assert "ab1" not in items.index  # only ever given away: a price of 0 makes no product


def test_ids_of_two_spellings_become_one_on_request(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": COLUMNS, "item_id_case": "upper"}
    tables = ingest(settings, tmp_path, interactions=[source])
    assert tables["interactions"]["item_id"].tolist() == ["00123", "AB1", "AB1"]


def test_times_without_offset_are_the_shops(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": COLUMNS}
    tables = ingest(settings, tmp_path, interactions=[source], timezone="Europe/Berlin")
    times = tables["interactions"]["timestamp"]
    assert times[0] == pd.Timestamp("2020-01-01 09:00", tz="UTC")  # winter
    assert times[1] == pd.Timestamp("2020-07-01 08:00", tz="UTC")  # summer


@pytest.mark.parametrize(
    ("times", "form"),
    [
        (["31/12/2020 10:00", "01/02/2021 11:00"], "%d/%m/%Y %H:%M"),
        (["1609408800", "1612177200"], None),  # seconds, as numbers in JSON lines
        (["1609408800000", "1612177200000"], None),  # milliseconds
        (["2020-12-31T11:00:00+01:00", "2021-02-01T11:00:00Z"], None),
    ],
)
def test_times_of_many_spellings(
    settings: Settings, tmp_path: Path, times: list[str], form: str | None
) -> None:
    rows = [
        {"u": "a", "i": "x", "t": int(time) if time.isdigit() else time, "title": "mug"}
        for time in times
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    source = {
        "path": "lines.jsonl",
        "columns": {"user_id": "u", "item_id": "i", "timestamp": "t", "title": "title"},
        "timestamp_format": form,
    }
    found = ingest(settings, tmp_path, interactions=[source])["interactions"]["timestamp"]
    expected = ["2020-12-31 10:00", "2021-02-01 11:00"]
    assert found.tolist() == [pd.Timestamp(time, tz="UTC") for time in expected]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "line.csv"}, ["line.csv", "did you mean 'lines.csv'"]),
        ({"columns": {**COLUMNS, "price": "cost"}}, ["'cost'", "did you mean 'Cost'"]),
        ({"columns": {**COLUMNS, "prize": "Cost"}}, ["'prize'", "did you mean 'price'"]),
        ({"columns": {"user_id": "Customer"}}, ["item_id"]),
        ({"columns": {**COLUMNS, "price": "Name"}}, ["'Name'", "a number", "'Red Mug'"]),
        ({"columns": {**COLUMNS, "timestamp": "Name"}}, ["'Name'", "a time", "timestamp_format"]),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_do(
    settings: Settings, tmp_path: Path, change: dict[str, object], words: list[str]
) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": COLUMNS, **change}
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        ingest(settings, tmp_path, interactions=[source])
    for word in words:
        assert word in str(caught.value)


def categories(settings: Settings, root: Path, table: pd.DataFrame, **source: object) -> list:
    """Return the items' categories of a Parquet file with the columns sku, name and path."""
    table.to_parquet(root / "items.parquet")
    LINES.head(0).to_csv(root / "lines.csv", index=False)
    columns = {"item_id": "sku", "title": "name", "categories": "path"}
    found = ingest(
        settings,
        root,
        interactions=[{"path": "lines.csv", "columns": COLUMNS}],
        items=[{"path": "items.parquet", "columns": columns, **source}],
    )["items"]
    return found["categories"].map(list).tolist()


def test_a_category_is_split_only_where_the_shop_says_by_what(
    settings: Settings, tmp_path: Path
) -> None:
    paths = ["Food/Drink > Tea", " A|B ", None, " > ", "Tea >"]
    table = pd.DataFrame({"sku": list("abcde"), "name": "x", "path": paths})
    whole = categories(settings, tmp_path, table)
    assert whole == [["Food/Drink > Tea"], ["A|B"], [], [">"], ["Tea >"]]
    split = categories(settings, tmp_path, table, category_separator=">")
    assert split == [["Food/Drink", "Tea"], ["A|B"], [], [], ["Tea"]]
    bar = categories(settings, tmp_path, table, category_separator="|")  # no regular expression
    assert bar[1] == ["A", "B"]


def test_a_list_of_categories_is_never_split(settings: Settings, tmp_path: Path) -> None:
    lists = [["Food/Drink", " Tea > Green "], [], None, ["", None, "Home"]]
    table = pd.DataFrame({"sku": list("abcd"), "name": "x", "path": lists})
    found = categories(settings, tmp_path, table, category_separator=">")
    assert found == [["Food/Drink", "Tea > Green"], [], [], ["Home"]]


def test_category_is_another_name_for_categories(settings: Settings, tmp_path: Path) -> None:
    lines = LINES.assign(Group=["Cups", "Cups", "Cups"])
    lines.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": {**COLUMNS, "category": "Group"}}
    items = ingest(settings, tmp_path, interactions=[source])["items"]
    assert items["categories"].map(list).tolist() == [["Cups"], ["Cups"]]
    twice = {**source, "columns": {**source["columns"], "categories": "Group"}}
    with pytest.raises(ValueError, match=r"lines\.csv: columns has 'categories' twice.*keep one"):
        ingest(settings, tmp_path, interactions=[twice])
