"""Tables of SQLite and DuckDB files → Parquet files.

Both are opened for reading only, and rows pass in batches. SQLite stores the type of each value, so
a value is read as it is stored, whatever the table declares. DuckDB's tables keep their types.
"""

from __future__ import annotations

import sqlite3
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from components.data.sources.hints import Also, check_names, did_you_mean, with_others
from components.data.sources.sql import exported, identifier, literal
from components.data.sources.values import Values, stage_values
from components.settings import FileFormat

SQLITE, DUCKDB = ".sqlite", ".duckdb"
ENDINGS = {".sqlite": SQLITE, ".sqlite3": SQLITE, ".duckdb": DUCKDB}
"""Kinds of databases by the end of the file's name. The first bytes of a ``.db`` tell."""

_BATCH = 10_000  # rows


def kind_by_content(path: Path) -> str:
    """Return SQLITE, DUCKDB, or "" if the file is neither."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return ""
    if start.startswith(b"SQLite format 3"):
        return SQLITE
    return DUCKDB if start[8:12] == b"DUCK" else ""


def change_files(path: Path) -> list[Path]:
    """Return the files that belong to the database file where they are there: the log of changes
    that are not in it yet, and SQLite's journal.

    The journal of a change that was broken off has what the change replaced: without it half of the
    change would be read.
    """
    found = (path.with_name(path.name + end) for end in ("-wal", "-journal", ".wal"))
    return [file for file in found if file.exists()]


def table_names(path: Path, shown: str, kind: str) -> list[str]:
    """Return the names of the database's tables and views.

    Raises:
        ValueError: the file is no such database.
    """
    return _sqlite_names(path, shown) if kind == SQLITE else list(_duckdb_tables(path, shown))


def stage_sqlite(
    path: Path,
    shown: str,
    form: FileFormat,
    wanted: Sequence[str] | None,
    out: Path,
    also: Also | None = None,
) -> Values:
    """Write the wanted columns (None: all) of the table ``form.table`` to the Parquet file ``out``.

    also: which other columns are written after them.

    Raises:
        ValueError: the file is no SQLite database, or table or column are not there.
    """
    table = _table(_sqlite_names(path, shown), shown, form)
    shown = f"{shown}, table {table!r}"
    with _sqlite(path, shown) as con:
        info = con.execute(f"SELECT name FROM pragma_table_info({literal(table)})").fetchall()
        known = [name for (name,) in info]
        names = known if wanted is None else with_others(wanted, known, also)
        check_names(names, known, shown)
        # SQLite takes an unknown name in quotation marks for a text.
        chosen = ", ".join(f"{identifier(table)}.{identifier(name)}" for name in names)
        cursor = con.execute(f"SELECT {chosen} FROM {identifier(table)}")
        rows = enumerate(cursor)
        batches = iter(lambda: [row for _, row in zip(range(_BATCH), rows, strict=False)], [])
        return stage_values(names, batches, out)


def stage_duckdb(path: Path, shown: str, form: FileFormat, out: Path) -> None:
    """Write the table ``form.table`` to the Parquet file ``out``.

    Raises:
        ValueError: the file is no DuckDB database, or the table is not there.
    """
    tables = _duckdb_tables(path, shown)
    table = _table(list(tables), shown, form)
    place = ".".join(map(identifier, tables[table]))
    with _duckdb(path, f"{shown}, table {table!r}") as con:
        for statement in (
            f"SET allowed_paths = [{literal(out.absolute())}]",
            "SET enable_external_access = false",  # of views, which may read files
        ):
            con.execute(statement)
        rows = con.sql(f"SELECT * FROM {place}")
        kinds = map(str, rows.types)
        chosen = [
            f"{exported(identifier(name), kind)} AS {identifier(name)}"
            for name, kind in zip(rows.columns, kinds, strict=True)
        ]
        con.execute(
            f"COPY (SELECT {', '.join(chosen)} FROM {place}) TO {literal(out.absolute())} "
            "(FORMAT parquet, USE_TMP_FILE false)"
        )


@contextmanager
def _sqlite(path: Path, shown: str) -> Iterator[sqlite3.Connection]:
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as con:
            yield con
    except sqlite3.Error as error:
        broken_off = "readonly" in str(error)  # only a journal is a reason to write
        advice = (
            "a change of it was broken off or is not finished: open it once with its program, or "
            "copy it while nothing writes"
            if broken_off
            else "copy or export it again"
        )
        raise ValueError(
            f"{shown} cannot be read as a SQLite database ({error}): {advice}"
        ) from error


@contextmanager
def _duckdb(path: Path, shown: str) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with closing(duckdb.connect(str(path), read_only=True)) as con:
            yield con
    except duckdb.Error as error:
        raise ValueError(
            f"{shown} cannot be read as a DuckDB database ({str(error).splitlines()[0]})"
        ) from error


def _sqlite_names(path: Path, shown: str) -> list[str]:
    with _sqlite(path, shown) as con:
        found = con.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
        ).fetchall()
    return [name for (name,) in found]


def _duckdb_tables(path: Path, shown: str) -> dict[str, tuple[str, str]]:
    """Return schema and name of the tables and views by their names in the settings.

    That is the name, with the schema's before it unless it is main. A table of main that is named
    as one of a schema then has main's before it.
    """
    with _duckdb(path, shown) as con:
        found = con.execute(
            "SELECT table_schema, table_name FROM information_schema.tables ORDER BY ALL"
        ).fetchall()
    others = {f"{schema}.{name}" for schema, name in found if schema != "main"}
    return {
        name if schema == "main" and name not in others else f"{schema}.{name}": (schema, name)
        for schema, name in found
    }


def _table(names: list[str], shown: str, form: FileFormat) -> str:
    """Return the table that the settings name, or the only one."""
    listed = ", ".join(names)
    if form.table and form.table not in names:
        hint = did_you_mean(form.table, names)
        raise ValueError(f"{shown} has no table {form.table!r}{hint}; it has {listed}")
    if not form.table and len(names) != 1:
        options = f"set `table` to one of {listed}, or write a `query`" if names else "it is empty"
        raise ValueError(f"{shown} has {len(names)} tables: {options}")
    return form.table or names[0]
