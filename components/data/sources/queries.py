"""A query of the settings over the shop's files → the rows of its result.

In: one SELECT in DuckDB's SQL, and the files of each of its tables. Out: the columns of the result,
as those of a file. The query runs in a DuckDB of its own that opens nothing but these files: it
writes nothing and reaches no network. It runs on one thread, so its rows have the same order each
time.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir

from components.data.sources.cells import Cells, of_json, of_native
from components.data.sources.hints import Also, check_names, did_you_mean, with_others
from components.data.sources.json_files import parts
from components.data.sources.sql import exported, identifier, literal
from components.data.sources.stored import StoredFile, read_parquet
from components.data.sources.tables import create_table

_SAME = ("TimeZone", "memory_limit")  # settings as those of the connection that reads the result
_JSON = re.compile(r"JSON(\[\d*\])*")
_LONGEST = 400  # characters of a list of columns in a message


@dataclass(frozen=True)
class Query:
    """A query and its tables.

    text: SQL. shown: the paths of the tables, in messages. tables: the files of each, by name.
    staging: folder for copies of the files, and for the result.
    """

    text: str
    shown: str
    tables: dict[str, list[StoredFile]]
    staging: Path

    def columns(
        self, con: ibis.BaseBackend, wanted: Sequence[str], also: Also | None = None
    ) -> tuple[ir.Table, dict[str, Cells]]:
        """Return the rows of the result (with the column ROW), and its wanted columns by name.

        also: which other columns are returned, too.

        Raises:
            ValueError: a file cannot be read, the query is no SELECT that can be run, or its result
                lacks a column.
        """
        folder = (self.staging / ibis.util.gen_name("query")).absolute()
        result = folder.with_suffix(".parquet")
        folder.mkdir(parents=True)
        own = ibis.duckdb.connect()
        try:
            for setting in _SAME:
                ((value,),) = con.raw_sql(f"SELECT current_setting('{setting}')").fetchall()
                own.raw_sql(f"SET {setting} = {literal(value)}")
            tables = {
                name: list(create_table(own, name, [replace(one, staging=folder) for one in files]))
                # else it is not read; a schema's name may be in quotation marks of its own
                if name.rpartition(".")[2].lower() in self.text.lower()
                else []
                for name, files in self.tables.items()
            }
            self._lock(own.con, folder, result)
            run = _Run(own.con, self.text, f"{self.shown}: query", tables)
            kinds = run.write(wanted, result, also)
        finally:
            own.disconnect()
            shutil.rmtree(folder)
        rows = read_parquet(con, str(result))
        return rows, {
            name: of_json(rows[f"c{n}"], rows[f"k{n}"], rows[f"l{n}"])
            if _JSON.fullmatch(kind)
            else of_native(rows[f"c{n}"])
            for n, (name, kind) in enumerate(kinds.items())
        }

    def _lock(self, con: duckdb.DuckDBPyConnection, folder: Path, result: Path) -> None:
        """Let the connection open the tables' files and the result only, for good."""
        paths = [result, *(one.path.absolute() for files in self.tables.values() for one in files)]
        for statement in (
            "SET threads = 1",
            f"SET temp_directory = {literal(folder / 'spilled')}",
            f"SET allowed_directories = [{literal(folder)}]",
            f"SET allowed_paths = [{', '.join(map(literal, paths))}]",
            "SET python_enable_replacements = false",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            con.execute(statement)


@dataclass(frozen=True)
class _Run:
    """A query on a locked connection. tables: names of the columns by table."""

    con: duckdb.DuckDBPyConnection
    text: str
    shown: str
    tables: dict[str, list[str]]

    def write(self, wanted: Sequence[str], out: Path, also: Also | None) -> dict[str, str]:
        """Write the wanted columns of the result and the others that ``also`` takes as c0, c1 …

        Returns: their types by name, in this order.

        Raises:
            ValueError: the query is no SELECT that can be run, or its result lacks a column.
        """
        text = self._select()
        try:
            self.con.execute(f"EXPLAIN {text}")  # its errors name the line, those of sql() do not
            result = self.con.sql(text)
            kinds = dict(zip(result.columns, map(str, result.types), strict=True))
            names = with_others(wanted, result.columns, also)
            check_names(names, result.columns, f"{self.shown}: its result")
            chosen = ", ".join(_chosen(name, kinds[name], n) for n, name in enumerate(names))
            self.con.execute(
                f"COPY (SELECT {chosen} FROM ({text}\n)) TO {literal(out)} "
                "(FORMAT parquet, USE_TMP_FILE false)"
            )
        except duckdb.Error as error:
            raise ValueError(self._explained(str(error))) from error
        return {name: kinds[name] for name in names}

    def _select(self) -> str:
        """Return the query without a semicolon at its end.

        Raises:
            ValueError: it is not exactly one SELECT.
        """
        try:
            kinds = [one.type for one in self.con.extract_statements(self.text)]
        except duckdb.Error as error:
            raise ValueError(self._explained(str(error))) from error
        if kinds != [duckdb.StatementType.SELECT]:
            found = ", ".join(kind.name for kind in kinds) or "no statement"
            advice = (
                "; a PIVOT is written SELECT … FROM (PIVOT … ON … IN (…) USING …)"
                if re.match(r"\s*pivot\b", self.text, re.IGNORECASE)
                else ""
            )
            raise ValueError(f"{self.shown} must be exactly one SELECT, found: {found}{advice}")
        last = duckdb.tokenize(self.text)[-1][0]
        text = self.text.encode()
        return text[:last].decode() if text[last:].startswith(b";") else self.text

    def _explained(self, error: str) -> str:
        """Return DuckDB's message about the query in one line, with what there is."""
        line = re.search(r"^LINE (\d+):", error, re.MULTILINE)
        place = f"{self.shown}, line {line[1]}" if line else self.shown
        reason = error.splitlines()[0].partition("Error: ")[2] or error.splitlines()[0]
        file = re.search(r'Cannot access file "(.*)" - file system', reason)
        if file:
            return f"{place}: {file[1]} cannot be read: a query reads its tables only"
        name = re.search(r'(?:column named|[Cc]olumn|Table with name) "?([^"\s]+)"?', reason)
        known = {*self.tables, *(column for columns in self.tables.values() for column in columns)}
        function = re.search(r'Function with name.*\n(Did you mean ".*"\?)', error)
        hint = did_you_mean(name[1], known) if name else f". {function[1]}" if function else ""
        unknown = self._unknown_columns() if name and error.startswith("Binder Error") else []
        if len(unknown) > 1:
            hint += f"; its tables have no column {', '.join(map(repr, unknown))}"
        if error.startswith("Conversion Error"):
            hint = ": TRY_CAST gives null for a value that is not of the type"
        return f"{place}: {reason.rstrip('!.')}{hint}; its tables: {self._listed()}"

    def _unknown_columns(self) -> list[str]:
        """Return the columns that the query reads and no table has, in the order of the query."""
        found = self.con.execute("SELECT json_serialize_sql(?)", [self.text]).fetchone()
        nodes = list(_nodes(json.loads(found[0]))) if found else []
        of_tables = {name.lower() for columns in self.tables.values() for name in columns}
        own = {str(node.get(key)).lower() for node in nodes for key in ("alias", "key")}
        own |= {name.lower() for node in nodes for name in node.get("column_name_alias") or ()}
        own |= {
            one["column_names"][-1].lower()
            for node in nodes
            if node.get("class") == "LAMBDA"
            for one in _nodes(node["lhs"])
            if "column_names" in one
        }
        read = [node["column_names"] for node in nodes if node.get("class") == "COLUMN_REF"]
        unknown = [
            names[-1]
            for names in read
            if names[-1].lower() not in of_tables | own and names[0].lower() not in of_tables
        ]
        return list(dict.fromkeys(unknown))

    def _listed(self) -> str:
        found = []
        for table, columns in self.tables.items():
            names = ", ".join(columns)
            cut = names[:_LONGEST] + (" …" if len(names) > _LONGEST else "")
            found.append(f"{table} ({cut})" if columns else table)
        return ", ".join(found)


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Yield the objects of a parsed query, each before those in it."""
    if isinstance(tree, dict):
        yield tree
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from _nodes(child)


def _chosen(name: str, kind: str, n: int) -> str:
    """Return what is selected of a column of this type, as c and the number ``n``."""
    if _JSON.fullmatch(kind):
        return parts(f"to_json({identifier(name)})", n)
    return f"{exported(identifier(name), kind)} AS c{n}"
