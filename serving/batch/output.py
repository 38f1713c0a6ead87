"""Where lists are written: a folder with a Parquet or CSV file, or a table of a database.

In: one row a product of a list. Out: nothing until ``publish``, then all rows and the manifest at
once. A folder is renamed into place, a table in one transaction.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from components.credentials import mask_credentials
from components.manifest import sync
from serving.events.database_errors import one_line
from serving.events.tables import metadata as event_store

Row = dict[str, Any]
Format = Literal["parquet", "csv"]

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("position", pa.int32()),  # from 1
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("price", pa.float64()),
        ("currency", pa.string()),
        ("score", pa.float64()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("impression_id", pa.string()),  # null where the lists are not logged
    ]
)
MANIFEST = "manifest.json"
TABLE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheet programs run a cell that begins so as a formula."""


class OutputError(ValueError):
    """The lists cannot be written there; the message says why and what to do."""


class Output(Protocol):
    """place: for the manifest and for messages."""

    place: str

    def check(self) -> None:
        """Raise OutputError if the lists could not be published there."""

    def begin(self) -> None:
        """Make room for rows that are not visible yet; those of a killed run are removed."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows, whose keys are the columns of SCHEMA."""

    def publish(self, manifest: dict[str, Any]) -> None:
        """Make all rows visible at once, durably."""


def plain(value: Any) -> Any:
    """Return a cell that no spreadsheet program takes for a formula: a text that would be one gets
    an apostrophe before it, as OWASP recommends (CSV injection).

    >>> plain("=HYPERLINK(1)"), plain("tea"), plain(-1.5)
    ("'=HYPERLINK(1)", 'tea', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


class Folder:
    """A folder that holds ``lists.parquet`` or ``lists.csv`` and the manifest.

    partial: the folder that rows are collected in, on the same file system.
    """

    def __init__(self, folder: Path, form: Format, overwrite: bool) -> None:
        self.place = str(folder.absolute())
        self._folder = folder
        self._partial = folder.with_name(f".{folder.name}.partial")
        self._form = form
        self._overwrite = overwrite
        self._parquet: pq.ParquetWriter | None = None
        self._csv: tuple[TextIO, csv.DictWriter[str]] | None = None

    def check(self) -> None:
        """Raise OutputError if there is something that may not be replaced."""
        there = self._folder
        if not os.path.lexists(there):
            return
        if not self._overwrite:
            raise OutputError(f"{self.place} is there already: name another, or use --overwrite")
        if there.is_symlink() or not (there / MANIFEST).is_file():
            raise OutputError(
                f"{there} is no folder of earlier lists (it has no {MANIFEST}): name another"
            )

    def begin(self) -> None:
        """Open the file in a hidden folder next to the published one."""
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(mode=0o700, parents=True)
        file = self._partial / f"lists.{self._form}"
        if self._form == "parquet":
            self._parquet = pq.ParquetWriter(file, SCHEMA, compression="zstd")
        else:
            stream = file.open("w", encoding="utf-8", newline="")
            writer = csv.DictWriter(stream, SCHEMA.names)
            writer.writeheader()
            self._csv = stream, writer

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        if self._parquet is not None:
            self._parquet.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA))
        if self._csv is not None:
            self._csv[1].writerows(
                {name: plain(cell) for name, cell in row.items()} for row in rows
            )

    def publish(self, manifest: dict[str, Any]) -> None:
        """Rename the folder; one that is replaced is removed afterwards."""
        if self._parquet is not None:
            self._parquet.close()
        if self._csv is not None:
            self._csv[0].close()
        (self._partial / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False))
        for file in self._partial.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        sync(self._partial)
        self.check()
        old = self._folder.with_name(f".{self._folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self._folder.exists():
            self._folder.rename(old)
        self._partial.rename(self._folder)
        sync(self._folder.parent)
        shutil.rmtree(old, ignore_errors=True)


class Table:
    """A table of PostgreSQL or SQLite; its manifest is the only row of ``<name>_manifest``."""

    def __init__(self, url: str, name: str, overwrite: bool) -> None:
        if not TABLE_NAME.fullmatch(name) or name in event_store.tables:
            raise OutputError(
                f"--table {name!r:.60}: name it by small letters, digits and _, at most 48, and "
                "not as a table of the event store"
            )
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise OutputError("recommend_all.database is no URL of a database") from error
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("postgresql", "sqlite"):
            raise OutputError("recommend_all.database: use postgresql://… or sqlite:///file")
        wait = {"connect_timeout": 10} if parsed.get_backend_name() == "postgresql" else {}
        self._engine = sa.create_engine(parsed, hide_parameters=True, connect_args=wait)
        self.place = f"table {name} of {mask_credentials(parsed.render_as_string())}"
        self._name = name
        self._overwrite = overwrite
        self._staging = _table(f"_bowerbird_{name}")
        self._manifest = sa.Table(
            f"{name}_manifest", sa.MetaData(), sa.Column("manifest", sa.Text, nullable=False)
        )

    @contextmanager
    def _transaction(self) -> Any:
        try:
            with self._engine.begin() as connection:
                if self._engine.dialect.name == "sqlite":
                    # The driver begins none before a DROP or an ALTER.
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise OutputError(
                f"{self.place} cannot be written: {mask_credentials(one_line(error))}"
            ) from error

    def check(self) -> None:
        """Raise OutputError if there is a table that may not be replaced."""
        with self._transaction() as connection:
            self._check(connection)

    def _check(self, connection: sa.Connection) -> None:
        there = sa.inspect(connection)
        staging = self._staging.name
        if there.has_table(staging) and {one["name"] for one in there.get_columns(staging)} != set(
            SCHEMA.names
        ):
            raise OutputError(f"{self.place} needs the name {staging}, which is another table's")
        if not there.has_table(self._name):
            if there.has_table(self._manifest.name):
                raise OutputError(
                    f"{self.place} needs the name {self._manifest.name}, which is another table's"
                )
            return
        if not self._overwrite:
            raise OutputError(f"{self.place} is there already: name another, or use --overwrite")
        if not there.has_table(self._manifest.name):
            raise OutputError(
                f"{self.place} has no {self._manifest.name}, so it is not one of earlier lists: "
                "name another"
            )

    def begin(self) -> None:
        """Create an empty table for the rows."""
        with self._transaction() as connection:
            self._check(connection)
            self._staging.drop(connection, checkfirst=True)
            self._staging.create(connection)

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        with self._transaction() as connection:
            connection.execute(sa.insert(self._staging), list(rows))

    def publish(self, manifest: dict[str, Any]) -> None:
        """Replace the table and its manifest in one transaction."""
        quoted = self._engine.dialect.identifier_preparer.quote_identifier
        with self._transaction() as connection:
            self._check(connection)
            _table(self._name).drop(connection, checkfirst=True)
            connection.exec_driver_sql(
                f"ALTER TABLE {quoted(self._staging.name)} RENAME TO {quoted(self._name)}"
            )
            self._manifest.create(connection, checkfirst=True)
            connection.execute(sa.delete(self._manifest))
            text = json.dumps(manifest, ensure_ascii=False)
            connection.execute(sa.insert(self._manifest), {"manifest": text})
        self._engine.dispose()


def _table(name: str) -> sa.Table:
    types = {pa.string(): sa.Text, pa.int32(): sa.Integer, pa.float64(): sa.Double}
    columns = (
        sa.Column(one.name, types[one.type], primary_key=one.name in ("user_id", "position"))
        for one in SCHEMA
    )
    return sa.Table(name, sa.MetaData(), *columns)
