"""Spark as the engine of a stage: the same Ibis expressions, computed by a Spark session.

Tables that a stage keeps or reads lie as Parquet below ``data/.staging``, so the driver and all
executors need the shop's folder at one path. No Python function runs on an executor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.util import gen_name

PART = re.compile(r"part-(\d+)-.*-c(\d+)\.")
"""The name of a file that Spark writes: its number among the tasks, and of the task's own files."""

OPTIONS = {
    # Attributes of one table may differ in case alone.
    "spark.sql.caseSensitive": "true",
    # By default Spark writes a type that Parquet has deprecated.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
"""Settings of the session that the results depend on; Ibis sets its time zone, UTC."""


class Spark:
    """Tables computed by a Spark session; see ``engine.Engine``.

    folder: an empty one, where the tables lie that are kept.
    """

    def __init__(self, session: Any, folder: Path) -> None:
        self._session = session
        self._con = ibis.pyspark.connect(session, **OPTIONS)
        self._folder = folder

    def read(self, file: Path) -> ir.Table:
        name = gen_name("read")
        # Ibis' own way takes the scheme off.
        self._session.read.parquet(_address(file)).createOrReplaceTempView(name)
        table = self._con.table(name)
        # Ibis takes Spark's timestamps, which are moments, for times without a zone.
        moments = [one for one, kind in table.schema().items() if kind.is_timestamp()]
        return table.cast(dict.fromkeys(moments, "timestamp('UTC')")) if moments else table

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        self._write(table, self._folder / name)
        return self.read(self._folder / name)

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
            "preprocess.engine to duckdb"
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
