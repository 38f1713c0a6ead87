"""Values one by one, as spreadsheets and databases give them → a Parquet file, and its columns.

A column may have values of several types, so the file keeps of each value its text and its kind.
Columns of value n: ``c``n, the text; ``k``n, the kind as of ``json_files``, or INEXACT; ``t``n, a
time as microseconds since 1970; ``l``n, the elements of a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.sources.cells import EXACT_FLOAT, Cells, of_json, of_native
from components.data.sources.json_files import LIST, NESTED, NUMBER, TEXT

INEXACT = "inexact"  # a float so large that it is several whole numbers
INTEGER, BOOLEAN, LOCAL, ZONED, HUGE = "integer", "boolean", "local", "zoned", "huge"
"""Kinds of values in addition to those of ``json_files``: LOCAL is a time without an offset, HUGE a
whole number of more than 64 bits."""
_KEPT = {INTEGER: NUMBER, HUGE: NUMBER, BOOLEAN: TEXT, LOCAL: TEXT, ZONED: TEXT}
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


@ibis.udf.scalar.builtin(name="make_timestamp")
def _local_time(micros: int) -> ibis.dtype("timestamp"):  # type: ignore[valid-type]
    """DuckDB's function: a time without an offset."""


@ibis.udf.scalar.builtin(name="make_timestamptz")
def _instant(micros: int) -> ibis.dtype("timestamp('UTC')"):  # type: ignore[valid-type]
    """DuckDB's function: an instant."""


@dataclass(frozen=True)
class Values:
    """Columns of values in a Parquet file.

    names: of the columns. kinds: of each column's values, all that occur.
    """

    names: list[str]
    kinds: list[set[str]]

    def cells(self, rows: ir.Table) -> dict[str, Cells]:
        """Return the columns by name as a file of text or types has them."""
        return {name: self._cells(rows, n) for n, name in enumerate(self.names)}

    def typed(self, rows: ir.Table) -> list[ir.Value]:
        """Return the columns with the type that all their values have, else as text."""
        return [self._typed(rows, n) for n in range(len(self.names))]

    def _cells(self, rows: ir.Table, n: int) -> Cells:
        if self.kinds[n] in ({LOCAL}, {ZONED}):
            return of_native(self._typed(rows, n))
        inexact = (rows[f"k{n}"] == INEXACT).fill_null(False)
        kind = ibis.ifelse(inexact, NUMBER, rows[f"k{n}"])
        return replace(of_json(rows[f"c{n}"], kind, rows[f"l{n}"]), inexact=inexact)

    def _typed(self, rows: ir.Table, n: int) -> ir.Value:
        kinds, text = self.kinds[n], rows[f"c{n}"]
        if kinds == {LOCAL}:
            return _local_time(rows[f"t{n}"])
        if kinds == {ZONED}:
            return _instant(rows[f"t{n}"])
        if kinds == {BOOLEAN}:
            return text == "true"
        if kinds == {INTEGER}:
            return text.cast("int64")
        if kinds and kinds <= {INTEGER, NUMBER, INEXACT}:
            return text.cast("float64")
        if kinds == {LIST}:
            return rows[f"l{n}"]
        return text.cast("json") if kinds and kinds <= {LIST, NESTED} else text


def stage_values(
    names: Sequence[str], batches: Iterable[Sequence[tuple[int, Sequence[Any]]]], out: Path
) -> Values:
    """Write rows to the Parquet file ``out``, batch by batch, and return its columns.

    batches: of (number of the row, a value for each name). The numbers are the column ``row``.
    """
    kinds: list[set[str]] = [set() for _ in names]
    parts = [(f"c{n}", f"k{n}", f"t{n}", f"l{n}") for n in range(len(names))]
    types = (pa.string(), pa.string(), pa.int64(), pa.list_(pa.string()))
    fields = [
        pa.field(name, kind) for group in parts for name, kind in zip(group, types, strict=True)
    ]
    schema = pa.schema([pa.field("row", pa.int64()), *fields])
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in batches:
            arrays = [pa.array([number for number, _ in batch], pa.int64())]
            for n in range(len(names)):
                described = [_described(row[n]) for _, row in batch]
                kinds[n] |= {kind for kind, _, _, _ in described if kind}
                kept = [kind and _KEPT.get(kind, kind) for kind, _, _, _ in described]
                _, texts, times, lists = zip(*described, strict=True) if described else [()] * 4
                columns = (texts, kept, times, lists)
                arrays += [pa.array(one, kind) for one, kind in zip(columns, types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return Values(list(names), kinds)


def as_text(value: Any) -> str | None:
    """Return a value as the column ``c`` has it."""
    return _described(value)[1]


_Described = tuple[str | None, str | None, int | None, list[str | None] | None]


def _described(value: Any) -> _Described:
    """Return kind, text, microseconds and elements of a value, None where it has none.

    >>> _described(7.0), _described(True), _described("")
    (('integer', '7', None, None), ('boolean', 'true', None, None), (None, None, None, None))
    """
    if value is None or value == "":
        return None, None, None, None
    if isinstance(value, str):
        return TEXT, value, None, None
    if isinstance(value, bool):
        return BOOLEAN, str(value).lower(), None, None
    if isinstance(value, int):
        return INTEGER if -(2**63) <= value < 2**63 else HUGE, str(value), None, None
    if isinstance(value, float):
        return _of_float(value)
    if isinstance(value, Decimal):
        return NUMBER, re.sub(r"\.0+$", "", format(value, "f")), None, None
    if isinstance(value, date):  # a datetime, too
        return _of_time(value)
    if isinstance(value, list | tuple) and not any(isinstance(one, list | dict) for one in value):
        texts = [_described(one)[1] for one in value]
        return LIST, json.dumps(value, default=str), None, texts
    if isinstance(value, list | dict | tuple):
        return NESTED, json.dumps(value, default=str), None, None
    if isinstance(value, bytes | bytearray | memoryview):
        return TEXT, bytes(value).hex(), None, None
    if isinstance(value, time):
        return TEXT, value.isoformat(), None, None
    return TEXT, str(value), None, None  # a UUID, an interval, an address


def _of_float(value: float) -> _Described:
    if value % 1 == 0 and abs(value) < EXACT_FLOAT:
        return INTEGER, str(int(value)), None, None
    large = EXACT_FLOAT <= abs(value) < float("inf")
    return INEXACT if large else NUMBER, repr(value), None, None


def _of_time(value: date) -> _Described:
    """A date is its first moment."""
    moment = value if isinstance(value, datetime) else datetime(*value.timetuple()[:3])
    zoned = moment.tzinfo is not None
    plain = moment.astimezone(UTC).replace(tzinfo=None) if zoned else moment
    text = value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return ZONED if zoned else LOCAL, text, (plain - _EPOCH) // _MICROSECOND, None
