"""The files of one table → one view for a query, with all columns of every file.

A column that several files have is one column, whatever their order and the case of its name. Where
its types differ, whole numbers stay whole numbers, and all else becomes text.
"""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from components.data.sources.cells import of_native
from components.data.sources.sql import identifier
from components.data.sources.stored import ROW, TABLE_COLUMNS, StoredFile

_LISTED = 5  # files that are named in the output


@ibis.udf.scalar.builtin(name="json_extract_string")
def _unquoted(value: dt.json, path: str) -> ibis.dtype("string"):  # type: ignore[valid-type]
    """DuckDB's function: a scalar as it is written, strings without quotation marks."""


@ibis.udf.scalar.builtin(name="to_json")
def _to_json(value: str) -> dt.json:
    """DuckDB's function: a text as a JSON string."""


@ibis.udf.scalar.builtin(name="json_type")
def _json_type(value: dt.json) -> ibis.dtype("string"):  # type: ignore[valid-type]
    """DuckDB's function: OBJECT, ARRAY, or the kind of scalar."""


def create_table(
    con: ibis.BaseBackend, name: str, files: Sequence[StoredFile]
) -> dict[str, dt.DataType]:
    """Create the view ``name`` of the files' rows in their order, and return its columns' types.

    In addition it has the columns TABLE_COLUMNS. A column that a file lacks is null in its rows,
    and printed.

    Raises:
        ValueError: a file cannot be read, or lists or structs of a column differ in type.
    """
    parts = [file.table(con) for file in files]
    nested = {column for part in parts for column in _nested(part)}
    names: dict[str, str] = {}  # by the name in small letters
    for part in parts:
        for column in part.columns:
            names.setdefault(column.lower(), column)
    del names[ROW]
    types = {}
    for key, column in names.items():
        kinds = {_own_type(part, key, nested) for part in parts if _find(part, key)}
        if len(kinds) > 1 and any(kind.is_nested() for kind in kinds):
            listed = " and ".join(sorted(map(str, kinds)))
            raise ValueError(
                f"table {name}: column {column!r} has different types in its files, {listed}: make "
                "each kind of file a table of its own"
            )
        types[key] = _common(kinds)
    for key, column in names.items():
        _print_absent(
            name, column, [f for f, part in zip(files, parts, strict=True) if not _find(part, key)]
        )
    selects = [
        con.compile(
            part.select(
                **{column: _as(part, key, types[key]) for key, column in names.items()},
                source_file=ibis.literal(file.shown),
                source_row=part[ROW].cast("int64"),
            )
        )
        for file, part in zip(files, parts, strict=True)
    ]
    con.raw_sql(f"CREATE VIEW {identifier(name)} AS {_union(selects)}")
    schema, _, own = name.rpartition(".")
    if schema and own:  # the point may be one of the name, or the one after a schema's
        con.raw_sql(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
        place = f"{identifier(schema)}.{identifier(own)}"
        con.raw_sql(f"CREATE VIEW {place} AS FROM {identifier(name)}")
    return {
        **{column: types[key] for key, column in names.items()},
        **dict(zip(TABLE_COLUMNS, (dt.string, dt.int64), strict=True)),
    }


def _find(part: ir.Table, key: str) -> str | None:
    """Return the part's column whose name in small letters is ``key``."""
    return next((column for column in part.columns if column.lower() == key), None)


def _nested(part: ir.Table) -> list[str]:
    """Return the JSON columns, in small letters, that hold a list or an object."""
    columns = [name for name, kind in part.schema().items() if kind.is_json()]
    if not columns:
        return []
    held = part.aggregate(
        **{name: _json_type(part[name]).isin(["OBJECT", "ARRAY"]).any() for name in columns}
    )
    row = held.execute().iloc[0]
    return [name.lower() for name in columns if row[name] is True or row[name] == True]  # noqa: E712


def _own_type(part: ir.Table, key: str, nested: set[str]) -> dt.DataType:
    kind = part.schema()[_find(part, key)].copy(nullable=True)
    return dt.string if kind.is_json() and key not in nested else kind


def _common(kinds: set[dt.DataType]) -> dt.DataType:
    """Return the type of a column that has these types in its files."""
    if len(kinds) == 1:
        return next(iter(kinds))
    if all(kind.is_signed_integer() for kind in kinds):
        return dt.int64
    if all(kind.is_unsigned_integer() for kind in kinds):
        return dt.uint64
    return dt.json if any(kind.is_json() for kind in kinds) else dt.string


def _as(part: ir.Table, key: str, kind: dt.DataType) -> ir.Value:
    """Return the part's column as ``kind``, null if it has none."""
    name = _find(part, key)
    if name is None:
        return ibis.null(kind)
    column = part[name]
    if column.type().is_json():
        return column if kind.is_json() else _unquoted(column, "$")
    if kind.is_json():
        return _to_json(column.cast("string"))
    if kind.is_string() and not column.type().is_string():
        return of_native(column).text
    return column.cast(kind)


def _print_absent(table: str, column: str, files: list[StoredFile]) -> None:
    if files:
        listed = ", ".join(file.shown for file in files[:_LISTED])
        more = " …" if len(files) > _LISTED else ""
        print(
            f"table {table}: {len(files):,} files have no column {column!r}, which is null in "
            f"their rows: {listed}{more}"
        )


def _union(selects: Sequence[str]) -> str:
    """Return the rows of all, in their order. Halved, so that a thousand files nest ten deep."""
    if len(selects) == 1:
        return selects[0]
    half = len(selects) // 2
    return f"({_union(selects[:half])}) UNION ALL ({_union(selects[half:])})"
