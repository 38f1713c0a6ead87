"""The database that a stage works in: an embedded DuckDB with a limit of memory.

Its tables lie in a file below ``data/.staging``, and what a query cannot hold in memory goes there,
too, so large tables need disk and not memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ibis


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
    """
    folder = staging(root)
    clear_staging(root)
    folder.mkdir(parents=True)
    con.settings["memory_limit"] = f"{round(memory_gb * 1000)}MB"
    con.settings["temp_directory"] = folder / "spilled"
    con.settings["enable_progress_bar"] = False
    tables = str(folder / "tables.duckdb").replace("'", "''")  # Ibis does not quote it
    con.attach(tables, "staged")
    con.raw_sql("USE staged")
    try:
        yield con
    finally:
        con.disconnect()
        clear_staging(root)


@contextmanager
def database(root: Path, memory_gb: float) -> Iterator[ibis.BaseBackend]:
    """Yield an empty database whose days are UTC; see ``on_disk``."""
    con = ibis.duckdb.connect()
    con.raw_sql("SET TimeZone = 'UTC'")
    with on_disk(con, root, memory_gb):
        yield con
