"""Tables and queries of database servers → Parquet files.

In: the name of the environment variable that holds the server's URL, and a table or a query in the
database's own SQL. Read by SQLAlchemy, whose drivers stream the rows: Ibis's backend for MySQL
needs a driver that is compiled with a C compiler, and its results are whole tables.

The URL is used here alone: no message, log or file has it.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import sqlalchemy as sa
import sqlglot
from sqlglot import TokenType
from sqlglot.errors import SqlglotError

from components.credentials import MASK, mask_credentials
from components.data.sources.cells import Cells
from components.data.sources.hints import Also, check_names, did_you_mean, with_others
from components.data.sources.stored import ROW, read_parquet
from components.data.sources.values import as_text, stage_values

_DRIVERS = {
    **dict.fromkeys(("postgresql", "postgres"), "postgresql+psycopg"),
    **dict.fromkeys(("mysql", "mariadb"), "mysql+pymysql"),
}
_PACKAGES = {"bigquery": "sqlalchemy-bigquery", "snowflake": "snowflake-sqlalchemy"}
_SQLGLOT = {"postgresql": "postgres"}  # names of dialects that differ from SQLAlchemy's
_BATCH = 10_000  # rows
_TIMEOUT = 10  # seconds until there is a connection
_STARTS = (TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN, TokenType.VALUES)


def _instant(moment: datetime | str) -> datetime | str:
    """Return a TIMESTAMP of MySQL, which is in the session's zone, with its offset.

    PyMySQL gives what is no time, such as 0000-00-00 00:00:00, as a text; it stays one.
    """
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) else moment


_OF_MYSQL: dict[int, Callable[[Any], Any]] = {  # by the protocol's number of the column's type
    7: _instant,
    16: lambda bits: int.from_bytes(bits, "big"),  # BIT
    245: json.loads,
}


@dataclass(frozen=True)
class ServerTable:
    """A table or the result of a query on a server.

    variable: of the environment, holds the URL. table: its name, with a schema's if it has one.
    query: SQL, instead of a table. shown: in messages. staging: folder for the copy.
    """

    variable: str
    table: str
    query: str
    shown: str
    staging: Path

    def columns(
        self, con: ibis.BaseBackend, wanted: Sequence[str], also: Also | None = None
    ) -> tuple[ir.Table, dict[str, Cells]]:
        """Return the rows (with the column ROW), and the wanted columns by name.

        also: which other columns are returned, too.

        The rows pass in batches, in a transaction that cannot write where the database has such.

        Raises:
            ValueError: the server cannot be reached or refuses, or table or column are not there.
        """
        self.staging.mkdir(parents=True, exist_ok=True)
        out = self.staging / f"{ibis.util.gen_name('server')}.parquet"
        with self._connected() as connection:
            names = self._known(connection)
            chosen = with_others(wanted, names, also)
            check_names(chosen, names, self.shown)
            result, places = self._result(connection, chosen, names)
            values = stage_values(chosen, _batches(result, places), out)
        rows = read_parquet(con, str(out))
        return rows.mutate(**{ROW: rows["row"]}), values.cells(rows)

    def state(self, watermark: str) -> dict[str, int | str | None]:
        """Return the number of rows, and the highest value of the column ``watermark``.

        Raises:
            ValueError: as for ``columns``.
        """
        with self._connected() as connection:
            check_names([watermark], self._known(connection), self.shown)
            quoted = connection.dialect.identifier_preparer
            place = self._found(connection) if self.query else quoted.format_table(self._table())
            statement = f"SELECT count(*), max({quoted.quote(watermark)}) FROM {place}"
            count, highest = tuple(_run(connection, statement).one())
        return {"rows": count, "watermark": as_text(highest)}

    def _result(
        self, connection: sa.Connection, wanted: Sequence[str], names: list[str]
    ) -> tuple[sa.CursorResult[Any], list[int]]:
        """Return the rows, and the positions of the wanted columns in them."""
        if self.query:
            places = [names.index(name) for name in wanted]
            return _run(connection, self._select(connection)), places
        columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in wanted]
        found = connection.execute(sa.select(*columns).select_from(self._table()))
        return found, list(range(len(wanted)))

    def _table(self) -> sa.TableClause:
        schema, _, name = self.table.rpartition(".")
        return sa.table(name, schema=schema or None)

    def _known(self, connection: sa.Connection) -> list[str]:
        """Return the names of the columns of the table, or of the query's result."""
        if self.query:
            nothing = _run(connection, f"SELECT * FROM {self._found(connection)} LIMIT 0")
            nothing.close()
            return list(nothing.keys())
        schema, _, name = self.table.rpartition(".")
        inspector = sa.inspect(connection)
        try:
            return [one["name"] for one in inspector.get_columns(name, schema=schema or None)]
        except sa.exc.NoSuchTableError:
            names = inspector.get_table_names(schema or None)
            names += inspector.get_view_names(schema or None)
            listed = ", ".join(sorted(names)[:40]) or "none"
            raise ValueError(
                f"{self.shown}: there is no such table{did_you_mean(name, names)}; there are "
                f"{listed}"
            ) from None

    def _select(self, connection: sa.Connection) -> str:
        """Return the query without a semicolon at its end.

        Raises:
            ValueError: it is not exactly one SELECT.
        """
        dialect = connection.dialect.name
        try:
            tokens = sqlglot.tokenize(self.query, read=_SQLGLOT.get(dialect, dialect))
        except (SqlglotError, ValueError) as error:
            raise ValueError(
                f"{self.shown} cannot be read: {str(error).splitlines()[0]}"
            ) from error
        text = self.query
        if tokens and tokens[-1].token_type == TokenType.SEMICOLON:
            text = text[: tokens.pop().start]
        kinds = [token.token_type for token in tokens]
        if not kinds or kinds[0] not in _STARTS or {TokenType.SEMICOLON, TokenType.INTO} & {*kinds}:
            raise ValueError(f"{self.shown} must be exactly one SELECT")
        return text

    def _found(self, connection: sa.Connection) -> str:
        """Return the query as a table in another query."""
        return f"({self._select(connection)}\n) AS found"

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        """Yield a connection that streams and cannot write.

        Raises:
            ValueError: for an error of the server or of SQLAlchemy, without the URL.
        """
        url = self._url()
        try:
            engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=_options(url))
            try:
                with engine.connect() as connection:
                    _make_read_only(connection)
                    yield connection.execution_options(stream_results=True, max_row_buffer=_BATCH)
            finally:
                engine.dispose()
        except (sa.exc.NoSuchModuleError, ImportError):
            name = url.get_backend_name()
            package = _PACKAGES.get(name, f"SQLAlchemy's driver of {name}")
            message = f"{self.shown}: no driver for {name}:// is installed: pip install {package}"
        except sa.exc.SQLAlchemyError as error:
            message = f"{self.shown}: {_reason(error, url)}"
        else:
            return
        raise ValueError(message)  # outside of the except: the cause may hold the URL

    def _url(self) -> sa.URL:
        given = os.environ.get(self.variable, "").strip()
        if not given:
            raise ValueError(
                f"{self.shown}: the environment has no {self.variable}: set it to the URL of the "
                "database, such as postgresql://reader:…@host/shop"
            )
        try:
            url = sa.make_url(given)
        except (sa.exc.ArgumentError, ValueError):
            url = None
        if url is None:
            raise ValueError(
                f"{self.shown}: {self.variable} holds no URL of a database, such as "
                "postgresql://reader:…@host/shop; in a password @ is written %40, : %3A, / %2F"
            )
        return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _run(connection: sa.Connection, statement: str) -> sa.CursorResult[Any]:
    """Return the result of a statement in which a % is a %."""
    return connection.execution_options(no_parameters=True).exec_driver_sql(statement)


def _options(url: sa.URL) -> dict[str, Any]:
    known = url.drivername in _DRIVERS.values()
    return {"connect_timeout": _TIMEOUT} if known else {}


def _make_read_only(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execution_options(postgresql_readonly=True)
    elif connection.dialect.name == "mysql":
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        connection.exec_driver_sql(
            "SET time_zone = '+00:00'"
        )  # of TIMESTAMP columns, see _OF_MYSQL


def _batches(
    result: sa.CursorResult[Any], places: list[int]
) -> Iterator[list[tuple[int, Sequence[Any]]]]:
    """Yield the rows' values at these places, with the numbers of the rows."""
    converters: list[tuple[int, Callable[[Any], Any]]] = []
    if result.context.dialect.name == "mysql":
        kinds: list[Any] = [column[1] for column in result.cursor.description]
        converters = [
            (n, _OF_MYSQL[kinds[place]])
            for n, place in enumerate(places)
            if kinds[place] in _OF_MYSQL
        ]
    number = 0
    for part in result.partitions(_BATCH):
        rows = [[row[place] for place in places] for row in part]
        for n, converter in converters:
            for row in rows:
                row[n] = None if row[n] is None else converter(row[n])
        yield list(enumerate(rows, number))
        number += len(rows)


def _reason(error: sa.exc.SQLAlchemyError, url: sa.URL) -> str:
    """Return the first line of what the server or the driver says, without the password."""
    said = getattr(error, "orig", None) or error
    numbered = len(said.args) == 2 and isinstance(said.args[0], int)  # as PyMySQL's are
    text = str(said.args[1] if numbered else said).strip().splitlines()[0]
    password = str(url.password or "")
    for secret in (password, urllib.parse.quote(password, safe=""), urllib.parse.quote(password)):
        text = text.replace(secret, MASK) if secret else text
    return mask_credentials(text)
