"""JSON lines and JSON arrays → a Parquet file with the values that the source names, as text.

Columns of value n: ``c``n, the value as text (strings without quotation marks, numbers as written),
``k``n, its kind, and ``l``n, the elements of a list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import ibis

from components.data.sources.hints import Also, missing, with_others
from components.data.sources.sql import identifier, literal
from components.settings import FileFormat

NUMBER, LIST, NESTED, TEXT = "number", "list", "nested", "text"
"""Kinds of values. NESTED is an object, or a list that holds lists or objects."""

_FIRST = 10_000  # rows whose values' names are looked at
_LARGEST = "maximum_object_size=268435456, compression='uncompressed'"
"""Bytes of an object; a file that is not compressed may have a name that says so."""

_KIND = f"""
    CASE WHEN j IS NULL THEN NULL
         WHEN json_type(j) = 'OBJECT' THEN '{NESTED}'
         WHEN json_type(j) = 'ARRAY' THEN
            CASE WHEN len(list_filter(from_json(j, '["JSON"]'),
                      lambda x: json_type(x) IN ('OBJECT', 'ARRAY'))) > 0
                 THEN '{NESTED}' ELSE '{LIST}' END
         WHEN json_type(j) IN ('VARCHAR', 'BOOLEAN') THEN '{TEXT}'
         ELSE '{NUMBER}' END"""
_LIST = "CASE WHEN json_type(j) = 'ARRAY' THEN from_json(j, '[\"VARCHAR\"]') END"


def stage_json(
    con: ibis.BaseBackend,
    text: Path,
    shown: str,
    wanted: Sequence[str],
    out: Path,
    also: Also | None = None,
) -> list[str]:
    """Write the values ``wanted`` of the UTF-8 file ``text`` to the Parquet file ``out``.

    also: which other values of the first rows are written after them.

    Returns: the names of the values, in the order of their columns.

    Raises:
        ValueError: the file is no JSON, its rows are no objects, or no row has one of the values.
    """
    form = _form(text, shown)
    try:
        names = with_others(wanted, _keys(con, text, form, _FIRST) if also else (), also)
        read = _reader(text, form, names)
        chosen = ", ".join(parts(identifier(name), n) for n, name in enumerate(names))
        con.raw_sql(f"COPY (SELECT {chosen} FROM {read}) TO {literal(out)} (FORMAT parquet)")
        _check_names(con, text, shown, form, wanted, out)
    except duckdb.Error as error:
        raise ValueError(_explained(str(error), shown)) from error
    return names


def stage_all_json(
    con: ibis.BaseBackend, text: Path, shown: str, _: FileFormat, out: Path
) -> list[str]:
    """Write all values with the type JSON, as c0, c1 …, and return their names.

    Raises:
        ValueError: the file is no JSON, or its rows are no objects.
    """
    form = _form(text, shown)
    try:
        names = _keys(con, text, form)
        if not names:
            raise ValueError(
                f"{shown} holds no value, so its columns are not known: export it again"
            )
        read = _reader(text, form, names)
        chosen = ", ".join(f"{identifier(name)} AS c{n}" for n, name in enumerate(names))
        con.raw_sql(f"COPY (SELECT {chosen} FROM {read}) TO {literal(out)} (FORMAT parquet)")
    except duckdb.Error as error:
        raise ValueError(_explained(str(error), shown)) from error
    return names


def _reader(text: Path, form: str, names: Sequence[str]) -> str:
    """Return DuckDB's function that reads values of these names as JSON."""
    columns = ", ".join(f"{literal(name)}: 'JSON'" for name in names)
    return (
        f"read_json({literal(text)}, format='{form}', records=true, columns={{{columns}}}, "
        f"{_LARGEST})"
    )


def _keys(con: ibis.BaseBackend, text: Path, form: str, rows: int | None = None) -> list[str]:
    """Return the names of all values in the order in which rows have them first.

    rows: how many are looked at; None: all.
    """
    first = f" LIMIT {rows}" if rows else ""
    found = con.raw_sql(
        "SELECT key FROM (SELECT unnest(keys) AS key, generate_subscripts(keys, 1) AS place, row "
        "FROM (SELECT json_keys(json) AS keys, row_number() OVER () AS row "
        f"FROM read_json_objects({literal(text)}, format='{form}', {_LARGEST}){first})) "
        "GROUP BY key ORDER BY min((row, place))"
    ).fetchall()
    return [key for (key,) in found]


def _form(text: Path, shown: str) -> str:
    """Return DuckDB's name of the file's form."""
    with text.open(encoding="utf-8") as file:
        start = file.read(4096).lstrip()
    if start.startswith("["):
        return "array"
    if start.startswith("{"):
        return "newline_delimited"
    if not start:
        raise ValueError(f"{shown} holds no row: export it again, or take it out of the source")
    raise ValueError(
        f"{shown} is no JSON: it begins with {start[:20]!r}, not with an object or a list of "
        "objects"
    )


def parts(value: str, n: int) -> str:
    """Return what is selected of a JSON value: its columns c, k and l with the number ``n``."""
    kind, listed = (re.sub(r"\bj\b", lambda _: value, one) for one in (_KIND, _LIST))
    return f"{value} ->> '$' AS c{n}, {kind} AS k{n}, {listed} AS l{n}"


def _check_names(
    con: ibis.BaseBackend, text: Path, shown: str, form: str, wanted: Sequence[str], out: Path
) -> None:
    """Raise if rows are there and no row has one of the wanted names."""
    counts = ", ".join(f"count(k{n})" for n in range(len(wanted)))
    rows, *given = con.raw_sql(
        f"SELECT count(*), {counts} FROM read_parquet({literal(out)})"
    ).fetchone()
    absent = [name for name, n in zip(wanted, given, strict=True) if n == 0]
    if not rows or not absent:
        return
    if why := missing(absent, sorted(_keys(con, text, form))):
        raise ValueError(f"{shown} {why}")


def _explained(error: str, shown: str) -> str:
    """Return DuckDB's message about a value in our words."""
    line = re.search(r"in line (\d+)", error)
    malformed = "Malformed JSON" in error
    # DuckDB names the line after one that is malformed, and no usable row of an array.
    place = f"{shown}, line {int(line[1]) - malformed}" if line else shown
    if "Expected OBJECT" in error:
        return f"{place}: a row is no object of names and values: write one object a row"
    double = re.search(r'duplicate key "(.*)"', error)
    if double:
        return f"{place}: the name {double[1]!r} is there twice: keep one of the two"
    same = re.search(r'Duplicate struct entry name "(.*)"', error)
    if same:
        return (
            f"{place}: {same[1]!r} and another name of its values differ in case only, which SQL "
            "ignores: rename one of them, or name only one in `columns` and leave out the query"
        )
    reason = re.search(r"in (?:line|record/value) \d+: (.*)", error)
    why = reason[1].split(" Try ")[0].rstrip(". ") if reason else error.splitlines()[0]
    return f"{place}: no whole JSON ({why}): write one object a line, or one list of objects"
