"""Spark as the engine of a stage: the same Ibis expressions, computed by a Spark session.

Tables that a stage keeps or reads lie as Parquet below ``data/.staging``, so the driver and all
executors need the shop's folder at one path. No Python function runs on an executor.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from ibis.util import gen_name

from components.data.java_patterns import java, java_replacement

PART = re.compile(r"part-(\d+)-.*-c(\d+)\.")
"""The name of a file that Spark writes: its number among the tasks, and of the task's own files."""

OPTIONS = {
    # Attributes of one table may differ in case alone.
    "spark.sql.caseSensitive": "true",
    # By default Spark writes a type that Parquet has deprecated.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
"""Settings of the session that the results depend on; Ibis sets its time zone, UTC."""


class Compiler(PySparkCompiler):  # type: ignore[misc]  # Ibis says nothing of its compilers
    """Ibis' own, but for what it writes so that Spark computes other rows than DuckDB."""

    def visit_RegexSearch(self, op: ops.RegexSearch, *, arg: Any, pattern: Any) -> Any:
        return super().visit_RegexSearch(op, arg=arg, pattern=_java(op.pattern))

    def visit_RegexExtract(
        self, op: ops.RegexExtract, *, arg: Any, pattern: Any, index: Any
    ) -> Any:
        return super().visit_RegexExtract(op, arg=arg, pattern=_java(op.pattern), index=index)

    def visit_RegexReplace(
        self, op: ops.RegexReplace, *, arg: Any, pattern: Any, replacement: Any
    ) -> Any:
        given = java_replacement(_text(op.replacement))
        return self.f.regexp_replace(arg, _java(op.pattern), given)

    def visit_Strip(self, op: ops.Strip, *, arg: Any) -> Any:
        # Spark reads \\v and \\f in a text as the letters.
        space = "".join(rf"\x{ord(one):02x}" for one in string.whitespace)
        return self.f.regexp_replace(arg, rf"\A[{space}]+|[{space}]+\z", "")

    def visit_CountStar(self, op: ops.CountStar, *, arg: Any, where: Any) -> Any:
        # A sum of no rows, as Ibis writes it, would be null.
        return self.f.count("*") if where is None else self.f.count_if(where)


def _java(pattern: ops.Value) -> str:
    return java(_text(pattern))


def _text(value: ops.Value) -> str:
    """Return the text of an argument.

    Raises:
        TypeError: it is computed for each row.
    """
    if not isinstance(value, ops.Literal):
        raise TypeError(f"a pattern must be the same for all rows, not {value.name}")
    return str(value.value)


class Spark:
    """Tables computed by a Spark session; see ``engine.Engine``.

    folder: an empty one, where the tables lie that are kept.
    """

    def __init__(self, session: Any, folder: Path) -> None:
        self._session = session
        self._con = ibis.pyspark.connect(session, **OPTIONS)
        self._con.compiler = Compiler()
        self._folder = folder

    def read(self, file: Path, row: str | None = None) -> ir.Table:
        name = gen_name("read")
        # Ibis' own way takes the scheme off.
        rows = self._session.read.parquet(_address(file))
        if row is not None:
            rows = rows.selectExpr("*", f"_metadata.row_index AS `{row}`")
        rows.createOrReplaceTempView(name)
        table = self._con.table(name)
        # Ibis takes Spark's timestamps, which are moments, for times without a zone.
        moments = [one for one, kind in table.schema().items() if kind.is_timestamp()]
        return table.cast(dict.fromkeys(moments, "timestamp('UTC')")) if moments else table

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        self._write(table, self._folder / name)
        return self.read(self._folder / name)

    def put(self, name: str, rows: pa.Table) -> ir.Table:
        file = self._folder / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, file)
        return self.read(file)

    def batches(self, table: ir.Table) -> Iterator[pa.RecordBatch]:
        # Ibis' own way holds the whole table in memory.
        schema = table.schema().to_pyarrow()
        for file in self._write(table, self._folder / gen_name("batches")):
            for batch in pq.ParquetFile(file).iter_batches():
                yield batch.cast(schema)

    def _write(self, table: ir.Table, folder: Path) -> list[Path]:
        """Write a table to a new folder; return its files in the order of the rows."""
        from pyspark.sql import Observation
        from pyspark.sql.functions import count, lit

        written = Observation()
        rows = self._session.sql(self._con.compile(table))
        rows.observe(written, count(lit(1)).alias("rows")).write.parquet(_address(folder))
        return files_of(folder, written.get["rows"])


def files_of(folder: Path, rows: int) -> list[Path]:
    """Return the files of a table that Spark wrote, in the order of its rows.

    Raises:
        ValueError: they have not as many ``rows`` as Spark wrote: the others are on other machines.
    """
    files = sorted(folder.glob("part-*"), key=_place)
    found = sum(pq.read_metadata(file).num_rows for file in files)
    if found != rows:
        raise ValueError(
            f"Spark wrote {rows:,} rows to {folder}, and {found:,} of them are on this machine: "
            "the shop's folder must be at the same path on the driver and all executors, or set "
            "tables.engine to duckdb"
        )
    return files


def _address(file: Path) -> str:
    """Return the path as Spark reads it; without a scheme it would mean the cluster's own store."""
    return f"file://{file.resolve()}"


def _place(file: Path) -> tuple[int, int]:
    """Return the place of a file among those of a sorted table.

    The numbers in the names have leading zeros, but only up to five and three digits.
    """
    found = PART.match(file.name)
    assert found is not None, file
    return int(found[1]), int(found[2])
