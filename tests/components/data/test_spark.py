"""Preprocess on Spark: the rows of DuckDB, to the last digit, and expressions in portable forms."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis.config import Config

from components.data import split, validation
from components.data.attributes import with_attributes
from components.data.engine import DuckDB, staging
from components.data.features import DAY
from components.data.joins import join
from components.data.schema import EVENTS, ITEMS, TABLES
from components.data.spark import Compiler, Spark, files_of
from components.settings import Settings, Tables
from tests.spark import local_spark

START = 1_700_000_000
USERS = ["17", "17.0", "f", "v", "vf", "found", "é", "É", "ß", " v", "a f"]
ITEMS_OF_SHOP = ["85123", "85123.0", "85123v", "85123f", "f", "v", "V", "ﬁ", "0", "00"]
TITLES = [
    *("  found\v", "v", "\tf ", " \v\f ", None, "", "a\u2028", "a\vb\r\nc", "\u00a0x ", "$1 \\1"),
]
CATEGORIES = [[], None, ["f"], ["a", "v"], ["a", "b", " f"]]


def hostile_shop(valid: Path, rows: int = 1500) -> None:
    """Write valid tables whose ids, texts, names and values engines are known to read differently.

    One item, and one user with attributes, have no interactions.
    """
    valid.mkdir(parents=True)
    random = np.random.default_rng(5)

    def some(values: list[Any]) -> list[Any]:
        return [values[n] for n in random.integers(0, len(values), rows)]

    micros = START * 10**6 + random.integers(0, 90 * DAY, rows) * 10**6
    micros[1::2] = micros[::2] + random.choice([0, 1, 999_999, 1_000_000], rows // 2)
    authentication = some([None, None, "shop", "session", "none"])
    events = {
        "user_id": np.repeat(some(USERS)[: rows // 2], 2),
        "item_id": np.repeat(some(ITEMS_OF_SHOP[:-1])[: rows // 2], 2),
        "event": np.repeat(some(list(EVENTS))[: rows // 2], 2),
        "rating": some([None, None, 1.0, 2.0, 4.5]),
        "quantity": some([1.0, 3.0, 0.1, 1e6]),
        "price": some([None, 0.1, 2.95, 19.99, 16777216.0]),
        "timestamp": micros,
        "impression_id": some([None, "one"]),
        "client": some(["x", "y", None]),
        "authentication": authentication,
    }
    items = {
        "item_id": ITEMS_OF_SHOP,
        "title": TITLES,
        "description": TITLES[::-1],
        "categories": [CATEGORIES[n % len(CATEGORIES)] for n in range(len(ITEMS_OF_SHOP))],
        "available": [None, True, False, *[None] * 7],
        "category:Made in": ["f", None] * 5,
        "category:colour": ["v", None] * 5,
        "set:uses, all": [["a", "f"], None] * 5,
        "date:since": [None, *range(0, 9 * 10**15, 10**15)],
        "number:weight": [None, 0.1] * 5,
    }
    users = {"user_id": [*USERS, "new"], "category:level": [None] * len(USERS) + ["gold"]}
    for name, columns in {"interactions": events, "items": items, "users": users}.items():
        schema = with_attributes(TABLES[name], columns)
        n = len(next(iter(columns.values())))
        arrays = [
            pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(n, field.type)
            for field in schema
        ]
        pq.write_table(pa.table(arrays, schema=schema), valid / f"{name}.parquet")


def with_engine(settings: Settings, engine: str, **others: Any) -> Settings:
    section = settings.preprocess.model_copy(update=others)
    tables = settings.tables.model_copy(update={"engine": engine})
    return settings.model_copy(update={"preprocess": section, "tables": tables})


LIMITS = {
    "min_item_interactions": 3,
    "min_user_interactions": 2,
    "max_item_influence": 2,
    "max_influence": 15,
    "recommended_weight": 0.5,
    "validation_days": 14,
    "test_days": 14,
}
"""Settings by which every branch of the expressions has rows."""


def spark_sql(table: ir.Table) -> str:
    """Return a table's statement as ``Spark`` sends it."""
    return str(Compiler().to_sqlglot(table.unbind()).sql(dialect="spark"))


class Compiled(DuckDB):
    """DuckDB, with the statements of Spark's dialect for what it computes."""

    statements: list[str]

    def __init__(self, con: ibis.BaseBackend) -> None:
        super().__init__(con)
        self.statements = []

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        self.statements.append(spark_sql(table))
        return super().keep(name, table)

    def batches(self, table: ir.Table) -> Iterator[pa.RecordBatch]:
        self.statements.append(spark_sql(table))
        return super().batches(table)


TRAPS = {
    r"\\v": "`strip`: Spark reads \\v and \\f as letters",
    r"'[^']*\\\\\d[^']*'\)": "a back reference, which Java writes $1",
    r"ELEMENT_AT\([^)]*, -": "an array's index from the end",
    r"ORDER BY NULL": "`row_number` without an order, in one partition",
    r"\\\\s(?!\\\\x0b)": "white space, which in Java has the vertical tab",
    r"\$'": "an end of a text, which in Java comes before a last line end",
    r"\(\?i\)": "letters whatever their case, in Java those of ASCII only",
}
"""Patterns in SQL for Spark that mean something else than the same expression on DuckDB."""


def traps(statement: str) -> list[str]:
    return [why for pattern, why in TRAPS.items() if re.search(pattern, statement)]


@pytest.fixture
def spark_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ibis compile for Spark where pyspark is not installed."""

    class Options(Config):
        treat_nan_as_null: bool = False

    monkeypatch.setattr(ibis.options, "pyspark", Options())


def test_the_known_traps_are_found(spark_dialect: None) -> None:
    table = ibis.table({"a": "string", "l": "array<string>"}, "t")
    found = [
        traps(ibis.to_sql(table.mutate(x=one), dialect="pyspark"))
        for one in (
            table.a.strip(),
            table.a.re_replace("(a)", r"\1"),
            table.l[-1],
            ibis.row_number(),
            table.a.re_replace(r"\s+", " "),
            table.a.re_search("a$"),
            table.a.re_search("(?i)a"),
        )
    ]
    assert found == [[why] for why in TRAPS.values()]


def test_the_expressions_are_in_forms_that_spark_computes_as_duckdb(
    tmp_path: Path, settings: Settings, spark_dialect: None
) -> None:
    hostile_shop(tmp_path / "valid")
    (tmp_path / "out").mkdir()
    engine = Compiled(ibis.duckdb.connect())
    section = settings.preprocess.model_copy(update=LIMITS)
    split._prepare(engine, section, tmp_path / "valid", tmp_path / "out")
    assert len(engine.statements) == 8
    assert [traps(one) for one in engine.statements] == [[]] * 8


def test_patterns_and_spaces_are_written_so_that_spark_reads_them_as_duckdb(
    spark_dialect: None,
) -> None:
    table = ibis.table({"a": "string"}, "t")
    written = {
        r"'\\A[\\x20\\x09\\x0a\\x0d\\x0b\\x0c]+|": table.a.strip(),
        "'(?d)(a)', '$1'": table.a.re_replace("(a)", r"\1"),
        r"'(?d)(?iu)a[\\t\\n\\f\\r ]\\z'": table.a.re_search(r"(?i)a\s$"),
        r"'(?d)[\\[]', 0": table.a.re_extract("[[]", 0),
        "COUNT_IF(": table.count(where=table.a == "x"),
    }
    for words, one in written.items():
        assert words in spark_sql(one.as_table())
    with pytest.raises(TypeError, match="the same for all rows"):
        spark_sql(table.select(x=table.a.re_search(table.a)))


@pytest.mark.parametrize(
    ("stage", "file"),
    [(split.run, "prepared/items.parquet"), (validation.run, "valid/interactions.parquet")],
)
def test_without_pyspark_the_error_names_the_extra_and_the_setting(
    small_shop: tuple[Path, Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: Callable[[Settings, Path], None],
    file: str,
) -> None:
    """What the stage made before stays."""
    shutil.copytree(small_shop[0] / "data", tmp_path / "data")
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ValueError, match=r"bowerbird\[spark\].*set tables\.engine to duckdb"):
        stage(with_engine(small_shop[1], "spark"), tmp_path)
    assert (tmp_path / "data" / file).exists()
    assert not staging(tmp_path).exists()


def test_files_of_a_sorted_table_are_read_in_their_order_and_none_is_missing(
    tmp_path: Path,
) -> None:
    places = [(0, 0), (0, 999), (0, 1000), (1, 0), (99_999, 3), (100_000, 0)]
    files = [tmp_path / f"part-{task:05}-2a-c{own:03}.snappy.parquet" for task, own in places]
    for file in files:
        pq.write_table(pa.table({"n": [1, 2]}), file)
    assert files_of(tmp_path, 12) == files
    files[1].unlink()  # as if another machine had written it to its own disk
    with pytest.raises(ValueError, match=r"wrote 12 rows .* 10 of them .* all executors"):
        files_of(tmp_path, 12)


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """A session on two cores that writes several files of each table."""
    several = {"spark.sql.adaptive.enabled": "false", "spark.sql.files.maxRecordsPerFile": "200"}
    with local_spark(several) as found:
        yield found


def rows_of_both(root: Path, settings: Settings) -> dict[str, tuple[Path, Path]]:
    """Return the tables that preprocess writes on DuckDB and on Spark."""
    found: dict[str, dict[str, Path]] = {}
    for engine in ("duckdb", "spark"):
        split.run(with_engine(settings, engine), root)
        (root / "data/prepared").rename(root / engine)
        found[engine] = {file.name: file for file in (root / engine).iterdir()}
    assert found["duckdb"].keys() == found["spark"].keys()
    assert not staging(root).exists()
    return {name: (file, found["spark"][name]) for name, file in found["duckdb"].items()}


def differences(one: Path, other: Path) -> int:
    """Return how many rows are in one file and not in the other, in both directions."""
    both = [
        f"FROM read_parquet('{str(file).replace(chr(39), 2 * chr(39))}')" for file in (one, other)
    ]
    return sum(
        len(duckdb.sql(f"SELECT * {left} EXCEPT ALL SELECT * {right}"))
        for left, right in (both, both[::-1])
    )


def assert_equal(files: dict[str, tuple[Path, Path]]) -> None:
    """Check that the tables have the same schemas and the same rows, in the same order."""
    for name, (one, other) in files.items():
        if name.endswith(".json"):
            assert one.read_bytes() == other.read_bytes()
            continue
        assert differences(one, other) == 0, name
        assert pq.read_table(one).equals(pq.read_table(other)), name


@pytest.mark.slow
def test_hostile_tables_become_the_same_on_both_engines(
    tmp_path: Path, settings: Settings, session: Any
) -> None:
    root = tmp_path / "it's a shop"
    hostile_shop(root / "data/valid")
    files = rows_of_both(root, with_engine(settings, "duckdb", **LIMITS))
    assert files.keys() == {
        *("interactions.parquet", "items.parquet", "users.parquet", "newcomers.parquet"),
        "split.json",
    }
    assert_equal(files)
    rows = pq.read_table(files["interactions.parquet"][1]).to_pandas()
    assert set(rows["weight"]) == {0.0, 0.5, 1.0}
    assert set(rows["split"]) == {0, 1, 2}
    items = pq.read_table(files["items.parquet"][1]).to_pydict()
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    assert titles["85123"] == "found"
    assert (titles["85123.0"], titles["85123v"], titles["85123f"]) == ("v", "f", "85123f")
    assert titles["ﬁ"] == "a b c"


@pytest.mark.slow
def test_real_lines_become_the_same_on_both_engines(
    small_shop: tuple[Path, Settings], tmp_path: Path, session: Any
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/valid").symlink_to(small_shop[0] / "data/valid")
    assert_equal(rows_of_both(tmp_path, small_shop[1]))


@pytest.mark.slow
def test_a_difference_in_the_last_digit_is_found(tmp_path: Path) -> None:
    prices = pa.array([0.1, 2.95], pa.float32())
    other = pa.array([0.1, np.nextafter(np.float32(2.95), np.float32(3))], pa.float32())
    files = [tmp_path / "one.parquet", tmp_path / "other.parquet"]
    for file, column in zip(files, (prices, other), strict=True):
        pq.write_table(pa.table({"price": column}), file)
    assert (differences(*files), differences(files[0], files[0])) == (2, 0)


@pytest.mark.slow
def test_empty_tables_and_several_files_of_one(tmp_path: Path, session: Any) -> None:
    folder = tmp_path / "tables"
    engine = Spark(session, folder)
    pq.write_table(ITEMS.empty_table(), tmp_path / "none.parquet")
    none = engine.keep("none", engine.read(tmp_path / "none.parquet").order_by("item_id"))
    assert none.count().execute() == 0
    assert [batch.num_rows for batch in engine.batches(none) if batch.num_rows] == []
    pq.write_table(
        pa.table({"n": np.random.default_rng(0).permutation(3000)}), tmp_path / "n.parquet"
    )
    table = engine.keep("n", engine.read(tmp_path / "n.parquet").order_by("n"))
    assert len(list((folder / "n").glob("part-*"))) > 10
    batches = list(engine.batches(table.order_by("n")))
    assert len(batches) > 10
    assert pa.Table.from_batches(batches)["n"].to_pylist() == list(range(3000))


@pytest.mark.slow
def test_the_cause_of_ids_that_do_not_match_is_found(session: Any) -> None:
    tables = []
    for name, text in (("written", "e\u0301"), ("listed", "\u00e9")):
        rows = session.createDataFrame(
            [(f"caf{text}{number}",) for number in range(9)], "id string"
        )
        rows.createOrReplaceTempView(name)
        tables.append(ibis.pyspark.connect(session).table(name))
    found = join("product", *tables, "purchases")
    assert (found.events, found.known) == (9, 0)
    assert "letters with accents" in found.cause


@pytest.mark.slow
def test_no_interactions_are_refused_in_the_same_words(
    tmp_path: Path, settings: Settings, session: Any
) -> None:
    hostile_shop(tmp_path / "data/valid")
    file = tmp_path / "data/valid/interactions.parquet"
    pq.write_table(pq.read_schema(file).empty_table(), file)
    for engine in ("duckdb", "spark"):
        with pytest.raises(ValueError, match="no interaction is left"):
            split.run(with_engine(settings, engine), tmp_path)
    assert not (tmp_path / "data/prepared").exists()


@pytest.mark.slow
def test_without_java_the_error_says_what_is_needed(tmp_path: Path) -> None:
    code = "from components.spark_session import spark_session; spark_session()"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "JAVA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ValueError: tables.engine is spark, but no Spark session" in found.stderr
    assert "Java 17 or 21" in found.stderr


def test_the_default_engine_is_duckdb() -> None:
    assert Tables().engine == "duckdb"
