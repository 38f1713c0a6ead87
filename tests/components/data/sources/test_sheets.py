"""Sheets of workbooks: cells keep their types, and what is no table is refused in words."""

from __future__ import annotations

import re
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.data.sources.columns import read
from components.data.sources.files import connect, files_of
from components.data.sources.formulas import without_values
from components.settings import Source
from tests.components.data.sources.workbooks import Rows, write_ods, write_xlsx

HEADER = ["customer", "sku", "bought", "price"]
COLUMNS = {"user_id": "customer", "item_id": "sku", "timestamp": "bought", "price": "price"}
ROWS: Rows = [
    HEADER,
    [7, "0012", datetime(2024, 3, 1, 12, 30), 2.5],
    [None] * 4,
    ["A-8", 12, date(2024, 7, 2), 3],
]


def rows_of(root: Path, **source: Any) -> pd.DataFrame:
    given = Source.model_validate({"columns": COLUMNS, **source})
    (file,) = files_of(given, root)
    return read(connect("Europe/Berlin"), file, "interactions").order_by("source_row").execute()


def test_cells_have_the_types_of_the_workbook(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "o.xlsx", {"Orders": ROWS})
    found = rows_of(tmp_path, path="o.xlsx")
    assert found["user_id"].tolist() == ["7", "A-8"]  # the workbook stores 7.0
    assert found["item_id"].tolist() == ["0012", "12"]
    assert found["price"].tolist() == [2.5, 3]
    assert found["timestamp"].tolist() == [
        pd.Timestamp("2024-03-01 11:30", tz="UTC"),  # local times, as those of a CSV file
        pd.Timestamp("2024-07-01 22:00", tz="UTC"),
    ]
    assert found["source_row"].tolist() == [0, 2]  # as the sheet counts, from below the header


def test_a_column_of_numbers_and_texts_loses_neither(tmp_path: Path) -> None:
    rows = [HEADER, ["a", "x", "2024-03-01", 1.299], ["b", "y", "2024-03-01", "1.299,50"]]
    write_xlsx(tmp_path / "o.xlsx", {"Orders": rows})
    found = rows_of(tmp_path, path="o.xlsx", decimal=",", thousands=".")
    assert found["price"].tolist() == [pytest.approx(1.299), 1299.5]


def test_ids_that_the_workbook_rounded_are_refused(tmp_path: Path) -> None:
    rows = [HEADER, [12345678901234567890.0, "x", "2024-03-01", 1]]
    write_xlsx(tmp_path / "o.xlsx", {"Orders": rows})
    with pytest.raises(ValueError, match=r"numbers that do not tell all ids apart"):
        rows_of(tmp_path, path="o.xlsx")


FORMULA = "<f>1+1</f>"


@pytest.mark.parametrize(
    ("cell", "computed"),
    [
        *((f'<c r="D3">{FORMULA}</c>', False), (f'<c r="D3">{FORMULA}<v></v></c>', False)),
        *((f'<c r="D3" s="1">{FORMULA}<v/></c>', False), ('<c r="D3"><f t="shared"/></c>', False)),
        (f'<c r="D3">{FORMULA}<v>2</v></c>', True),
        (f'<c r="D3" t="str">{FORMULA}<v></v></c>', True),  # an empty text
    ],
)
def test_formulas_that_were_never_computed_are_refused(
    cell: str, computed: bool, tmp_path: Path
) -> None:
    rows = [HEADER, ["a", "x", "2024-03-01", 1], ["b", "y", "2024-03-02", "@"]]
    write_xlsx(tmp_path / "plain.xlsx", {"Notes": [["n"], [1]], "Orders": rows})
    with (
        zipfile.ZipFile(tmp_path / "plain.xlsx") as plain,
        zipfile.ZipFile(tmp_path / "o.xlsx", "w") as out,
    ):
        for name in plain.namelist():
            text = plain.read(name).decode()
            out.writestr(name, re.sub(r'<c r="D3".*?</c>', cell, text))
    given = {"path": "o.xlsx", "sheet": "Orders"}
    if computed:
        assert len(rows_of(tmp_path, **given)) == 2
    else:
        with pytest.raises(ValueError, match=r"'price' has formulas .* first in row 3"):
            rows_of(tmp_path, **given)
    others = {name: shop for name, shop in COLUMNS.items() if name != "price"}
    assert len(rows_of(tmp_path, **given, columns=others)) == 2


def test_entities_of_a_hostile_workbook_are_not_expanded(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "plain.xlsx", {"Orders": [["n"], [1]]})
    bomb = '<!DOCTYPE x [<!ENTITY a "Order"><!ENTITY b "&a;s">]>'
    with (
        zipfile.ZipFile(tmp_path / "plain.xlsx") as plain,
        zipfile.ZipFile(tmp_path / "o.xlsx", "w") as out,
    ):
        for name in plain.namelist():
            text = re.sub(
                r'<c r="A2".*?</c>', '<c r="A2"><f>1+1</f></c>', plain.read(name).decode()
            )
            if name == "xl/workbook.xml":
                text = bomb + text.replace('"Orders"', '"&b;"')
            out.writestr(name, text)
    assert without_values(tmp_path / "o.xlsx", "Orders") == {}  # its reader refuses it


def test_the_other_workbooks_are_read(tmp_path: Path) -> None:
    write_ods(tmp_path / "o.ods", "Orders", [HEADER, [7, "0012", "2024-03-01 12:30", 2.5]])
    found = rows_of(tmp_path, path="o.ods")
    assert found[["user_id", "item_id"]].to_numpy().tolist() == [["7", "0012"]]
    # Written by Excel 97's format library xlwt: id 7, t 2024-03-01 12:00.
    source = Source(path=Path(__file__).with_name("orders.xls"), columns={})
    (file,) = files_of(source, tmp_path)
    rows, cells = file.columns(connect("UTC"), ["id", "t"])
    found = rows.select(id=cells["id"].text, t=cells["t"].time).execute()
    assert found.to_numpy().tolist() == [["7", pd.Timestamp("2024-03-01 12:00")]]


def test_a_sheet_is_a_table_of_a_query(tmp_path: Path) -> None:
    lines = [["order", "sku"], [1, "x"], [1, "y"], [2, "x"]]
    orders = [["id", "who", "day", "paid"], [1, "a", datetime(2024, 3, 1), True]]
    write_xlsx(tmp_path / "shop.xlsx", {"Orders": orders, "Lines": lines})
    found = rows_of(
        tmp_path,
        query='SELECT who, sku, day FROM lines JOIN orders ON id = "order" WHERE paid AND id < 2',
        tables={
            "orders": {"path": "shop.xlsx", "sheet": "Orders"},
            "lines": {"path": "shop.xlsx", "sheet": "Lines"},
        },
        columns={"user_id": "who", "item_id": "sku", "timestamp": "day"},
    )
    assert found["item_id"].tolist() == ["x", "y"]
    assert set(found["timestamp"]) == {pd.Timestamp("2024-02-29 23:00", tz="UTC")}


def test_without_a_header_columns_are_named_by_position(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "o.xlsx", {"Orders": ROWS[1:]})
    columns = {"user_id": 1, "item_id": 2, "timestamp": 3}
    found = rows_of(tmp_path, path="o.xlsx", header=False, columns=columns)
    assert found["user_id"].tolist() == ["7", "A-8"]
    assert found["source_row"].tolist() == [0, 2]


REFUSED: dict[str, tuple[dict[str, Rows], dict[str, Any], tuple[str, ...]]] = {
    "several sheets": (
        {"Orders": ROWS, "Notes": [["x"]]},
        {},
        ("o.xlsx has 2 sheets", "set `sheet` to one of Orders, Notes"),
    ),
    "no such sheet": (
        {"Orders": ROWS},
        {"sheet": "Order"},
        ("no sheet 'Order'", "did you mean 'Orders'?"),
    ),
    "a title": (
        {"Orders": [["Sales of 2024"], [None], *ROWS]},
        {},
        ("sheet 'Orders'", "row 1 ('Sales of 2024') is a title", "named in row 3", "delete"),
    ),
    "a title of several cells": (
        {"Orders": [["Sales", "2024"], *ROWS]},
        {},
        ("row 1 ('Sales, 2024') is a title", "named in row 2"),
    ),
    "an empty sheet": ({"Orders": []}, {}, ("sheet 'Orders' is empty",)),
    "a missing column": (
        {"Orders": [["custmer", *HEADER[1:]], *ROWS[1:]]},
        {},
        ("has no column 'customer'", "did you mean 'custmer'?"),
    ),
    "a column twice": (
        {"Orders": [[*HEADER, "sku"], *ROWS[1:]]},
        {},
        ("the column 'sku' 2 times",),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_is_refused(case: str, tmp_path: Path) -> None:
    sheets, settings, words = REFUSED[case]
    write_xlsx(tmp_path / "o.xlsx", sheets)
    with pytest.raises(ValueError, match=r"ingest\.interactions: o\.xlsx") as caught:
        rows_of(tmp_path, path="o.xlsx", **settings)
    assert not [word for word in words if word not in str(caught.value)], str(caught.value)


def test_a_title_is_refused_as_a_table_of_a_query_too(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "o.xlsx", {"Orders": [["Sales of 2024"], *ROWS]})
    with pytest.raises(ValueError, match="is a title and names no columns"):
        rows_of(tmp_path, path="o.xlsx", query="SELECT * FROM source")


def test_a_damaged_workbook_is_named_and_one_that_is_open_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_xlsx(tmp_path / "in/o.xlsx", {"Orders": ROWS})
    (tmp_path / "in/~$o.xlsx").write_bytes(b"who has it open")
    assert len(rows_of(tmp_path, path="in")) == 2
    (tmp_path / "in/o.xlsx").write_bytes((tmp_path / "in/o.xlsx").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"in/o\.xlsx is no workbook that can be read"):
        rows_of(tmp_path, path="in")
