"""The same rows in any format, or by a query, give the same table, or are refused in all."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from components.data.sources.columns import read
from components.data.sources.files import connect, files_of
from components.data.sources.sql import identifier, literal
from components.settings import Source

CASES = int(os.environ.get("FORMAT_CASES", "2"))
"""Cases of the property; each is read in every format."""
NAMES = ("user", "item", "when", "kind", "price", "quantity", "name", "group")
COLUMNS = {
    "user_id": "user",
    "item_id": "item",
    "timestamp": "when",
    "event": "kind",
    "price": "price",
    "quantity": "quantity",
    "title": "name",
    "categories": "group",
}
Row = tuple[str, ...]

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
) | st.sampled_from(
    ["", " ", '"', 'a "b"', "a,b;c|d::e\tf", "x\ny", "x\r\ny", "\\", "'", "007", "7.0"]
)
NUMBERS = (
    ["1", "12.5", "", "-3", "1e3", "+.5", "7."],
    ["1", "12,50", "1.299", "1.299,00", ""],
    ["1", "2", "3", "4", "inf", "nan", "0x1f", "1_0", "1e39", "x"],
)
TIMES = (
    ["2024-03-01", "2024-03-01T12:00:00Z", "2024-03-01 12:00", "2024-07-01T12:00+02:00", ""],
    ["2024-03-01", "2024/3/1 1:00", "2024-03-02", "2024-02-30", "never", "infinity"],
    ["1709294400", "1709294400.5", "1.7092944e9", ""],
    ["1709294400123", "1709294400000"],
    ["2024-03-01", "1709294400", "1709294400123", "20240301"],
)
EVENTS = ["view", "Add to cart", "BUY", "", "fav", "refund"]
SETTINGS: tuple[dict[str, object], ...] = (
    {},
    {"decimal": ",", "thousands": "."},
    {"timestamp_unit": "s"},
    {"user_ids": {"integral": True, "case": "upper"}, "category_separator": ";"},
)


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Return rows whose numbers and times are of a few spellings each."""
    # Most of the tables can be read.
    number = st.sampled_from(draw(_one_of((NUMBERS[0], NUMBERS[0], NUMBERS[0], *NUMBERS))))
    time = st.sampled_from(draw(_one_of((TIMES[0], TIMES[0], TIMES[2], *TIMES))))
    row = st.tuples(TEXT, TEXT, time, st.sampled_from(EVENTS), number, number, TEXT, TEXT)
    return draw(st.lists(row, min_size=1, max_size=8))


def _one_of(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def delimited(delimiter: str, encoding: str = "utf-8") -> Callable[[Path, list[Row]], None]:
    def write(path: Path, rows: list[Row]) -> None:
        with path.open("w", newline="", encoding=encoding) as file:
            # csv does not see that \r needs quotation marks.
            quoting = (
                csv.QUOTE_ALL
                if any("\r" in value for row in rows for value in row)
                else csv.QUOTE_MINIMAL
            )
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=quoting)
            writer.writerows([NAMES, *rows])

    return write


def _objects(rows: list[Row]) -> list[dict[str, str]]:
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def json_lines(path: Path, rows: list[Row]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in _objects(rows))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def json_array(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps(_objects(rows), ensure_ascii=False), encoding="utf-8")


def parquet(path: Path, rows: list[Row]) -> None:
    pq.write_table(
        pa.Table.from_pylist(_objects(rows), pa.schema([(n, pa.string()) for n in NAMES])), path
    )


def sqlite(path: Path, rows: list[Row]) -> None:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as con:
        con.execute(f"CREATE TABLE orders ({', '.join(map(identifier, NAMES))})")
        con.executemany(f"INSERT INTO orders VALUES ({', '.join('?' * len(NAMES))})", rows)
        con.commit()


def duckdb_file(path: Path, rows: list[Row]) -> None:
    path.unlink(missing_ok=True)
    parquet(path.with_suffix(".copied"), rows)
    with closing(duckdb.connect(str(path))) as con:
        place = literal(path.with_suffix(".copied"))
        con.execute(f"CREATE TABLE orders AS SELECT * FROM read_parquet({place})")


FORMATS: dict[str, Callable[[Path, list[Row]], None]] = {
    "o.csv": delimited(","),
    "o.tsv": delimited("\t"),
    "semicolons.csv": delimited(";"),
    "utf16.csv": delimited(",", "utf-16"),
    "o.jsonl": json_lines,
    "o.jsonl.gz": json_lines,
    "o.json": json_array,
    "o.parquet": parquet,
    "o.sqlite": sqlite,
    "o.duckdb": duckdb_file,
}
QUERIES = {
    **dict.fromkeys(("semicolons.csv", "o.jsonl", "o.parquet"), "SELECT * FROM source"),
    **dict.fromkeys(("o.sqlite", "o.duckdb"), "SELECT * FROM orders"),
}
CONNECTION = connect("Europe/Berlin")


def outcome(root: Path, name: str, rows: list[Row], **settings_: object) -> pd.DataFrame | str:
    """Return the rows as the contract's, or the refusal."""
    FORMATS[name](root / name, rows)
    source = Source.model_validate(
        {"path": name, "columns": COLUMNS, "nulls": [], "events": {"refund": "ignore"}, **settings_}
    )
    (file,) = files_of(source, root)
    try:
        table = read(CONNECTION, file, "interactions").order_by("source_row").execute()
    except ValueError as error:
        return str(error).replace(name, "FILE")
    return table.drop(columns="source")


@pytest.mark.slow
@settings(
    max_examples=CASES,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
)
@given(tables(), st.sampled_from(SETTINGS))
def test_every_format_gives_the_same_table(rows: list[Row], how: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = outcome(Path(folder), "o.parquet", rows, **how)
        event("refused" if isinstance(first, str) else "a table")
        read_by = [(name, {}) for name in FORMATS]
        read_by += [(name, {"query": query}) for name, query in QUERIES.items()]
        for name, query in read_by:
            other = outcome(Path(folder), name, rows, **how, **query)
            if isinstance(first, str) or isinstance(other, str):
                assert isinstance(first, str), other
                assert other == first, (name, query)
            else:
                pd.testing.assert_frame_equal(other, first)
