"""What the sources name: the files to read, and one by one their columns.

In: a ``Source`` of the settings. Out: its files, or as one file the result of its query or the
table of a database server; of each the columns that the source names, as ``Cells``.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import ibis
import ibis.expr.types as ir

from components.data.engine import staging
from components.data.sources.cells import Cells
from components.data.sources.hints import Also, did_you_mean
from components.data.sources.markup import register
from components.data.sources.places import Place
from components.data.sources.queries import Query
from components.data.sources.servers import ServerTable
from components.data.sources.stored import ROW, StoredFile
from components.settings import Source

__all__ = ["ROW", "File", "connect", "files_of", "stored_files_of"]


class Content(Protocol):
    """Rows and columns by name: a stored file, the result of a query, or a server's table."""

    def columns(
        self, con: ibis.BaseBackend, wanted: Sequence[str], also: Also | None = None
    ) -> tuple[ir.Table, dict[str, Cells]]: ...


@dataclass(frozen=True)
class File:
    """What a source reads at once: one of its files, or the result of its query.

    shown: the path, or those of the query's tables, in messages and in the column ``source``.
    notes: what a reader should know of the file, by column or subject; there once it is read.
    """

    shown: str
    source: Source
    content: Content
    notes: dict[str, str] = field(default_factory=dict, compare=False)

    def columns(
        self, con: ibis.BaseBackend, wanted: Sequence[str], also: Also | None = None
    ) -> tuple[ir.Table, dict[str, Cells]]:
        """Return the rows (with the column ROW), and the wanted columns by name.

        also: which other columns are returned, too.

        Raises:
            ValueError: a file cannot be read, the query is wrong, or a column is missing.
        """
        return self.content.columns(con, wanted, also)


def connect(timezone: str) -> ibis.BaseBackend:
    """Return an embedded DuckDB that reads times without an offset as times in ``timezone``.

    Raises:
        ValueError: there is no such time zone.
    """
    known = zoneinfo.available_timezones()
    if timezone not in known:
        hint = did_you_mean(timezone, known)
        raise ValueError(f"ingest.timezone: there is no time zone {timezone!r}{hint}")
    con = ibis.duckdb.connect()
    con.raw_sql(f"SET TimeZone = '{timezone}'")  # safe: one of the names checked above
    con.raw_sql("SET autoinstall_known_extensions = false")  # nothing is downloaded
    register(con)
    return con


def files_of(source: Source, root: Path) -> list[File]:
    """Return the files of ``source``, sorted by name, or its query or server's table as one file.

    Raises:
        FileNotFoundError: there is no such file or folder, or the folder has no readable file.
        ValueError: a file is of no known format, or a folder has tables of an unread one.
    """
    if source.database:
        return [File(source.shown, source, server_table(source, root))]
    tables = _tables(source, root)
    if not source.query:
        return [File(file.shown, source, file) for files in tables.values() for file in files]
    query = Query(source.query, source.shown, tables, staging(root))
    return [File(source.shown, source, query)]


def server_table(source: Source, root: Path) -> ServerTable:
    """Return the table or query that ``source`` reads from a database server."""
    return ServerTable(source.database, source.table, source.query, source.shown, staging(root))


def stored_files_of(source: Source, root: Path) -> list[StoredFile]:
    """Return the stored files of ``source``, those of a query's tables included.

    Raises:
        FileNotFoundError, ValueError: as for ``files_of``.
    """
    if source.database:
        return []
    return [file for place in _places(source, root).values() for file in place.files()]


def _places(source: Source, root: Path) -> dict[str, Place]:
    """Return where the files of each table are; those of ``path`` are the table ``source``."""
    if source.path:
        return {"source": Place(source.path, source, root, staging(root))}
    return {
        name: Place(table.path, table, root, staging(root)) for name, table in source.tables.items()
    }


def _tables(source: Source, root: Path) -> dict[str, list[StoredFile]]:
    """Return the files of each of the query's tables; a database or a workbook of several sheets at
    ``path`` has its own."""
    tables = {name: place.files() for name, place in _places(source, root).items()}
    if not source.path or not source.query or len(tables["source"]) > 1:
        return tables
    (file,) = tables["source"]
    own = {name: [table] for name, table in file.tables().items()}
    return own or tables
