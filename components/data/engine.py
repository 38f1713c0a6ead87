"""The engine that computes a stage's tables: an embedded DuckDB with a limit of memory, or Spark.

DuckDB's tables lie in a file below ``data/.staging``, and what a query cannot hold in memory goes
there, too, so large tables need disk and not memory. ``validate`` and ``preprocess`` can run on
Spark instead (``open_engine``): ``tests/components/data/test_spark.py`` compares the rows.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from components.data.spark import Spark
from components.file_lock import folder_lock
from components.settings import Settings
from components.spark_session import spark_session


class Engine(Protocol):
    """What a stage needs of its engine, besides Ibis expressions."""

    def read(self, file: Path, row: str | None = None) -> ir.Table:
        """Return the table of a Parquet file.

        row: name of a further column, int64: the number of the row in the file, from 0.
        """

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        """Compute a table once and return it by its name, which is free; it is there until the
        engine is closed."""

    def put(self, name: str, rows: pa.Table) -> ir.Table:
        """Keep rows of this process as a table; see ``keep``."""

    def batches(self, table: ir.Table) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table in their order, a part of them in memory at a time."""


class DuckDB:
    """Tables computed in this process; see ``Engine``."""

    def __init__(self, con: ibis.BaseBackend) -> None:
        self._con = con

    def read(self, file: Path, row: str | None = None) -> ir.Table:
        if row is None:
            return self._con.read_parquet(str(file))
        rows = self._con.read_parquet(str(file), file_row_number=True)
        return rows.rename({row: "file_row_number"})

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        return self._con.create_table(name, table)

    def put(self, name: str, rows: pa.Table) -> ir.Table:
        return self._con.create_table(name, rows)

    def batches(self, table: ir.Table) -> Iterator[pa.RecordBatch]:
        yield from table.to_pyarrow_batches()


def staging(root: Path) -> Path:
    """Return the folder for copies of files and tables; only there while a stage runs."""
    return root / "data/.staging"


def clear_staging(root: Path) -> None:
    """Remove what a stage, also one that was killed, left in the folder."""
    shutil.rmtree(staging(root), ignore_errors=True)


@contextmanager
def on_disk(con: ibis.BaseBackend, root: Path, memory_gb: float) -> Iterator[ibis.BaseBackend]:
    """Let the database keep its tables in the staging folder, which is empty before and after.

    The connection is closed afterwards.

    memory_gb: gigabytes that DuckDB uses at most for its buffers and queries.

    Raises:
        ValueError: another command works in the folder, or the memory or the disk is too small.
    """
    try:
        with tables_of_one_command(root):
            try:
                clear_staging(root)
                _attach(con, staging(root), memory_gb)
                yield con
            finally:
                con.disconnect()
                clear_staging(root)
    except duckdb.OutOfMemoryException as error:
        raise ValueError(
            f"the database needs more than the {memory_gb:g} GB of `ingest.memory_gb`, or more "
            f"disk than is free for {staging(root)} ({_first_line(error)}): raise the one or free "
            "the other"
        ) from error
    except duckdb.IOException as error:
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise ValueError(
            f"the disk is full ({_first_line(error)}): free space for {staging(root)}, where the "
            "database keeps what exceeds `ingest.memory_gb`"
        ) from error


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]


def _attach(con: ibis.BaseBackend, folder: Path, memory_gb: float) -> None:
    """Let the database keep its tables in a file in ``folder``."""
    folder.mkdir(parents=True)
    con.settings["memory_limit"] = f"{round(memory_gb * 1000)}MB"
    con.settings["temp_directory"] = folder / "spilled"
    con.settings["enable_progress_bar"] = False
    tables = str(folder / "tables.duckdb").replace("'", "''")  # Ibis does not quote it
    con.attach(tables, "staged")
    con.raw_sql("USE staged")


@contextmanager
def tables_of_one_command(root: Path) -> Iterator[None]:
    """Lock the folder ``data``, so that no two commands clear or change each other's tables.

    The system unlocks it at the end of the process, too.

    Raises:
        ValueError: another command has locked it.
    """
    folder = root / "data"
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, wait=False) as mine:
        if not mine:
            raise ValueError(
                f"another command works on the tables in {folder}: start this one again when it "
                "has ended"
            )
        yield


@contextmanager
def database(root: Path, memory_gb: float) -> Iterator[ibis.BaseBackend]:
    """Yield an empty database whose days are UTC; see ``on_disk``."""
    con = ibis.duckdb.connect()
    con.raw_sql("SET TimeZone = 'UTC'")
    with on_disk(con, root, memory_gb):
        yield con


@contextmanager
def open_engine(settings: Settings, root: Path) -> Iterator[Engine]:
    """Yield the engine that ``tables.engine`` names, without tables.

    Raises:
        ValueError: another command works in the folder; Spark cannot be started; the memory or the
            disk is too small for DuckDB.
    """
    if settings.tables.engine == "duckdb":
        with database(root, settings.ingest.memory_gb) as con:
            yield DuckDB(con)
        return
    with tables_of_one_command(root):
        clear_staging(root)
        try:
            yield Spark(spark_session(), staging(root))
        finally:
            clear_staging(root)
