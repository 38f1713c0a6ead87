"""What the database finds in a whole table."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.engine import DuckDB, database, staging
from components.data.schema import RAW
from components.data.whole_table import SAME_ROW, copies, raw_rows, with_gate


def test_copies_are_counted_and_null_equals_null(tmp_path: Path) -> None:
    rows = [
        {"user_id": "u", "item_id": "a", "price": None, "source": "x"},
        {"user_id": "u", "item_id": "a", "price": float("nan"), "source": "y"},
        {"user_id": "u", "item_id": "a", "price": 1.0},
        {"user_id": "u", "item_id": "a", "price": None},
        {"user_id": "u", "item_id": "a", "price": None, "unreadable": "price: 'x'"},
        {"user_id": None, "item_id": "a", "price": 1.0},
    ]
    file = tmp_path / "it's.parquet"
    pq.write_table(pa.Table.from_pylist(rows, RAW["interactions"]), file)
    with database(tmp_path, 1) as con:
        found = copies(raw_rows(DuckDB(con), file, "interactions"), SAME_ROW["interactions"])
        assert found.order_by("row").execute().values.tolist() == [[1, 1], [3, 2]]
    assert not staging(tmp_path).exists()


def test_columns_that_a_raw_table_lacks_are_null(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["a", "b"]}), tmp_path / "users.parquet")
    engine = DuckDB(ibis.duckdb.connect())
    rows = raw_rows(engine, tmp_path / "users.parquet", "users").execute()
    assert rows["row"].tolist() == [0, 1]
    assert rows[["country", "unreadable"]].isna().all(axis=None)


def test_a_gate_sees_what_the_gates_before_it_found(tmp_path: Path) -> None:
    with database(tmp_path, 1) as con:
        rows = con.create_table("rows", pd.DataFrame({"row": range(4), "n": [1, 2, 3, 4]}))
        reasons = con.create_table("reasons", schema={"row": "int64", "reasons": "array<string>"})
        con.raw_sql("INSERT INTO reasons VALUES (0, ['first', 'second'])")

        def even(table: ir.Table) -> ir.Table:
            return table.filter(table.n % 2 == 0).select("row", reason=ibis.literal("even"))

        def the_rest(table: ir.Table) -> ir.Table:
            return table.select("row", reason=ibis.coalesce(table.reasons[0], "nothing before"))

        for gate in (even, the_rest):
            reasons = with_gate(rows, reasons, gate)
        found = reasons.order_by("row").execute()
    assert [list(one) for one in found["reasons"]] == [
        ["first", "second"],
        ["even"],
        ["nothing before"],
        ["even"],
    ]
