"""Tables of SQLite and DuckDB files: values as they are stored, by table or by query."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from components.data.sources import inventory
from components.data.sources.columns import read
from components.data.sources.files import connect, files_of, stored_files_of
from components.settings import Ingest, Settings, Source

COLUMNS = {"user_id": "customer", "item_id": "sku", "timestamp": "day"}
TABLES = """
    CREATE TABLE orders (id INTEGER, customer TEXT, day TEXT);
    INSERT INTO orders VALUES (1, '007', '2024-03-01 12:00'), (2, '8', '2024-03-02 12:00');
    CREATE TABLE lines (order_id INTEGER, sku, price REAL);
    INSERT INTO lines VALUES (1, '0012', 2.5), (1, 13, 3), (2, 14.0, 'free'), (2, '', NULL);
"""
JOINED = "SELECT customer, sku, day, price FROM lines JOIN orders ON id = order_id"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as con:
        con.executescript(TABLES)
    with closing(duckdb.connect(str(tmp_path / "shop.duckdb"))) as con:
        con.execute(
            "CREATE TABLE orders AS SELECT 1 AS id, '007' AS customer, "
            "TIMESTAMP '2024-03-01 12:00' AS day, "
            f"{2**90}::HUGEINT AS large;"
            "CREATE TABLE lines AS SELECT 1 AS order_id, '0012' AS sku, "
            "2.5::DECIMAL(9, 2) AS price;"
            "CREATE SCHEMA old; CREATE TABLE old.orders AS SELECT 5 AS customer;"
            "CREATE VIEW secrets AS SELECT * FROM read_csv('/etc/passwd')"
        )
    return tmp_path


def rows_of(root: Path, **source: Any) -> pd.DataFrame:
    given = Source.model_validate({"columns": COLUMNS, **source})
    (file,) = files_of(given, root)
    return read(connect("UTC"), file, "interactions").order_by("source_row").execute()


def texts(root: Path, column: str, **source: Any) -> list[Any]:
    (file,) = files_of(Source.model_validate({"columns": {}, **source}), root)
    rows, cells = file.columns(connect("UTC"), [column])
    return rows.select(v=cells[column].text).execute()["v"].tolist()


@pytest.mark.parametrize("name", ["shop.sqlite", "shop.db", "shop.sqlite3"])
def test_values_of_sqlite_are_read_as_they_are_stored(shop: Path, name: str) -> None:
    (shop / "shop.sqlite").rename(shop / name)
    assert texts(shop, "sku", path=name, table="lines") == ["0012", "13", "14", None]
    found = rows_of(shop, path=name, query=JOINED, columns={**COLUMNS, "price": "price"})
    assert found["user_id"].tolist() == ["007", "007", "8", "8"]
    assert found["price"].tolist()[:2] == [2.5, 3]
    assert found["unreadable"].tolist() == [None, None, "price: 'free'", None]
    assert found["timestamp"][2] == pd.Timestamp("2024-03-02 12:00", tz="UTC")
    assert set(found["source"]) == {name}


@pytest.mark.parametrize("name", ["shop.duckdb", "shop.db"])
def test_tables_of_duckdb_keep_their_types(shop: Path, name: str) -> None:
    (shop / "shop.duckdb").rename(shop / name)
    found = rows_of(shop, path=name, query=JOINED, columns={**COLUMNS, "price": "price"})
    assert found[["user_id", "item_id", "price"]].to_numpy().tolist() == [["007", "0012", 2.5]]
    assert found["timestamp"][0] == pd.Timestamp("2024-03-01 12:00", tz="UTC")
    assert texts(shop, "large", path=name, table="orders") == [str(2**90)]
    assert texts(shop, "customer", path=name, table="old.orders") == ["5"]
    assert texts(shop, "v", path=name, query="SELECT customer + 1 AS v FROM old.orders") == ["6"]


def test_a_point_in_a_name_is_no_schema(tmp_path: Path) -> None:
    with closing(duckdb.connect(str(tmp_path / "shop.duckdb"))) as con:
        con.execute(
            'CREATE TABLE "orders.2024" AS SELECT 1 AS v; CREATE TABLE "a.b" AS SELECT 2 AS v; '
            'CREATE SCHEMA orders; CREATE TABLE orders."2024" AS SELECT 3 AS v'
        )
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as con:
        con.execute('CREATE TABLE "a.b" AS SELECT 4 AS v')
    tables = {"a.b": "2", "orders.2024": "3", "main.orders.2024": "1"}
    for table, value in tables.items():
        assert texts(tmp_path, "v", path="shop.duckdb", table=table) == [value]
        query = f'SELECT v FROM "{table}"'
        assert texts(tmp_path, "v", path="shop.duckdb", query=query) == [value]
    query = 'SELECT v FROM "orders"."2024"'
    assert texts(tmp_path, "v", path="shop.duckdb", query=query) == ["3"]
    assert texts(tmp_path, "v", path="shop.sqlite", table="a.b") == ["4"]
    assert texts(tmp_path, "v", path="shop.sqlite", query='SELECT v FROM "a.b"') == ["4"]


def test_a_change_that_was_broken_off_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(file)) as con:
        con.execute("CREATE TABLE lines (v, text)")
        con.executemany("INSERT INTO lines VALUES (0, ?)", [("x" * 500,)] * 2000)
        con.commit()
    change = (
        "import os, sqlite3, sys\n"
        "con = sqlite3.connect(sys.argv[1])\n"
        "con.execute('PRAGMA cache_size = 5')\n"
        "con.execute('UPDATE lines SET v = 1')\n"
        "os._exit(0)"  # as if killed: neither committed nor taken back
    )
    subprocess.run([sys.executable, "-c", change, str(file)], check=True)
    source = Source.model_validate({"path": "shop.sqlite", "columns": {}})
    (copied,) = stored_files_of(source, tmp_path)
    assert [one.name for one in copied.paths()] == ["shop.sqlite", "shop.sqlite-journal"]
    copy = tmp_path / "copy"
    copy.mkdir()
    for one in copied.paths():
        shutil.copy(one, copy)
    for root in (tmp_path, copy):
        with pytest.raises(ValueError, match=r"a change of it was broken off .* open it once"):
            texts(root, "v", path="shop.sqlite")
    with closing(sqlite3.connect(file)) as con:  # takes the change back
        con.execute("SELECT * FROM lines").fetchall()
    assert set(texts(tmp_path, "v", path="shop.sqlite")) == {"0"}


def test_tables_of_several_databases_are_joined(shop: Path) -> None:
    found = rows_of(
        shop,
        query=JOINED,
        tables={
            "orders": {"path": "shop.sqlite", "table": "orders"},
            "lines": {"path": "shop.duckdb", "table": "lines"},
        },
    )
    assert found["item_id"].tolist() == ["0012"]
    assert set(found["source"]) == {"shop.sqlite, shop.duckdb"}


@pytest.mark.slow
def test_a_large_table_passes_in_batches(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as con:
        con.execute("CREATE TABLE lines (customer, sku, day)")
        rows = ((n, f"s{n % 7}", 1_700_000_000 + n) for n in range(25_001))
        con.executemany("INSERT INTO lines VALUES (?, ?, ?)", rows)
        con.commit()
    found = rows_of(tmp_path, path="shop.db")
    assert found["user_id"].tolist() == [str(n) for n in range(25_001)]
    assert found["source_row"].tolist() == list(range(25_001))


REFUSED = {
    "several tables": (
        {"path": "shop.sqlite"},
        "has 2 tables: set `table` to one of lines, orders",
    ),
    "a wrong table": ({"path": "shop.duckdb", "table": "order"}, "did you mean 'orders'?"),
    "a wrong column": (
        {"path": "shop.sqlite", "table": "orders"},
        "table 'orders' has no column 'sku'; it has id, customer, day",
    ),
    "a wrong table of a query": (
        {"path": "shop.sqlite", "query": "SELECT * FROM ordes"},
        "did you mean 'orders'?; its tables: lines, orders",
    ),
    "a view of another file": (
        {"path": "shop.duckdb", "table": "secrets"},
        'Cannot access file "/etc/passwd"',
    ),
    "no database": ({"path": "text.sqlite"}, "text.sqlite cannot be read as a SQLite database"),
    "neither database": ({"path": "text.db"}, "text.db has no known format"),
    "no DuckDB database": ({"path": "text.duckdb"}, "cannot be read as a DuckDB database"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused(case: str, shop: Path) -> None:
    for ending in ("sqlite", "db", "duckdb"):
        (shop / f"text.{ending}").write_text("customer,sku,day\n" * 1000)
    source, words = REFUSED[case]
    with pytest.raises(ValueError, match=r"ingest") as caught:
        rows_of(shop, **source)
    assert words in str(caught.value)


def test_a_row_that_is_new_in_a_database_changes_the_inventory(
    settings: Settings, shop: Path
) -> None:
    source = {"path": "shop.sqlite", "query": JOINED, "columns": COLUMNS}
    section = Ingest.model_validate({"interactions": [source]})
    changed = settings.model_copy(update={"ingest": section})

    def listed() -> dict[str, Any]:
        inventory.run(changed, shop)
        return json.loads((shop / inventory.INVENTORY).read_text())

    with closing(sqlite3.connect(shop / "shop.sqlite")) as con:
        con.execute("PRAGMA journal_mode = WAL")
        before = listed()
        assert before == listed()
        con.execute("INSERT INTO lines VALUES (2, 'new', 1)")
        con.commit()  # to the file of changes only
        after = listed()
        assert after != before
        assert "shop.sqlite-wal" in after
        assert "new" in texts(shop, "sku", path="shop.sqlite", table="lines")
