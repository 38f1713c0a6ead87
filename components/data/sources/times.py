"""Texts, numbers and native times → instants in UTC.

One rule for all formats: with ``timestamp_format`` the text is read by it; else a number is a time
since 1970 in one unit, and a text is ISO 8601. An offset is honoured; a time without one is in the
session's time zone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import duckdb
import ibis
import ibis.expr.types as ir

from components.data.sources.cells import Cells, finite
from components.data.sources.time_formats import GLUED_HALF, HALVES, ZONES

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units of numbers by how many there are in a second."""
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

FIRST_YEAR = 1990
_FIRST_OF_FOUR_DIGITS = 1000
_NUMBER = r"^[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?$"
_ISO = (
    r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}"
    r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)? ?(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?$"
)
_NO_SECONDS = (
    r"^(\d{4}[-/]\d{1,2}[-/]\d{1,2}[T ]\d{1,2}:\d{2}) ?(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$"
)


@ibis.udf.scalar.builtin(name="try_strptime")
def _try_local(text: str, form: str) -> ibis.dtype("timestamp"):  # type: ignore[valid-type]
    """DuckDB's function for a format without an offset: null where the text does not match."""


@ibis.udf.scalar.builtin(name="try_strptime")
def _try_instant(text: str, form: str) -> ibis.dtype("timestamp('UTC')"):  # type: ignore[valid-type]
    """The same for a format with one."""


@ibis.udf.scalar.builtin(name="make_timestamptz")
def _of_microseconds(micros: int) -> ibis.dtype("timestamp('UTC')"):  # type: ignore[valid-type]
    """DuckDB's function: microseconds since 1970 as an instant."""


_NEVER = ibis.null("timestamp('UTC')")


def times(cells: Cells, formats: Iterable[str], unit: str | None) -> ir.TimestampValue:
    """Return instants; null where a value is no time.

    unit: of numbers; None reads no number as a time.
    """
    formats = list(formats)
    if cells.time is not None:
        time = cells.time.try_cast("timestamp('UTC')")
        return ibis.ifelse(cells.text.notnull(), time, _NEVER)
    if formats:
        return ibis.coalesce(*(_of_format(cells.text, form) for form in formats))
    number = numeric(cells)
    if unit is None:
        return ibis.ifelse(number.isnull(), _of_iso(cells.text), _NEVER)
    return ibis.ifelse(number.isnull(), _of_iso(cells.text), _of_number(number, unit))


def exchanged(text: ir.StringValue) -> ir.StringValue:
    """Return the dates with day and month in each other's place: 13/04/2024 as 04/13/2024.

    Texts that are no dates in figures stay as they are.
    """
    found = text.re_replace(r"^(\d{1,2})([-/. ])(\d{1,2})([-/. ]\d)", r"\3\2\1\4")
    return found.re_replace(r"^(\d{4})([-/.]?)(\d{1,2})([-/.]?)(\d{1,2})", r"\1\2\5\4\3")


def numeric(cells: Cells) -> ir.FloatingValue:
    """Return float64 where a value is a finite number or a text of one, else null."""
    text = ibis.ifelse(cells.text.re_search(_NUMBER), cells.text, ibis.null("string"))
    return ibis.coalesce(cells.number, finite(text.try_cast("float64")))


def versions(cells: Cells, formats: Iterable[str]) -> ir.FloatingValue:
    """Return float64 that is higher for newer versions: a number, or a time's seconds since 1970.

    null where a value is neither.
    """
    seconds = times(cells, formats, None).epoch_seconds().cast("float64")
    return ibis.coalesce(seconds, numeric(cells))


def plausible(number: ir.FloatingValue, unit: str) -> ir.BooleanValue:
    """Return whether a number in ``unit`` is a time between 1990 and the end of next year."""
    first, last = _bounds()
    return number.between(first * UNITS[unit], last * UNITS[unit])


def known_format(con: ibis.BaseBackend, form: str) -> bool:
    """Return whether DuckDB knows the format's signs."""
    try:
        con.con.execute("SELECT try_strptime('x', ?)", [_with_offset(form)])
    except duckdb.Error:
        return False
    return True


def _bounds() -> tuple[int, int]:
    """Return the first and the last plausible second since 1970."""
    utc = dt.UTC
    last = dt.datetime(dt.datetime.now(utc).year + 2, 1, 1, tzinfo=utc)
    return int(dt.datetime(FIRST_YEAR, 1, 1, tzinfo=utc).timestamp()), int(last.timestamp()) - 1


def _of_number(number: ir.FloatingValue, unit: str) -> ir.TimestampValue:
    scale = 10**6 / UNITS[unit]
    micros = number * scale if scale >= 1 else number / (1 / scale)
    # Years -290,000 to 290,000 only: DuckDB refuses others with an error.
    possible = micros.abs() < 2**62
    return ibis.ifelse(possible, _of_microseconds(micros.round().try_cast("int64")), _NEVER)


def _of_iso(text: ir.StringValue) -> ir.TimestampValue:
    # DuckDB reads no offset after minutes.
    filled = text.re_replace(_NO_SECONDS, r"\1:00\2")
    iso = ibis.ifelse(text.re_search(_ISO), filled, ibis.null("string"))
    return iso.try_cast("timestamp('UTC')")


def _with_offset(form: str) -> str:
    """Return the format with %z for a Z at its end, which says that the time is in UTC."""
    return form[:-1] + "%z" if form.endswith("Z") and not form.endswith("%Z") else form


def _with_halves(text: ir.StringValue) -> ir.StringValue:
    """Return the text with AM and PM for the words of its language."""
    for half, pattern in HALVES.items():
        text = text.re_replace(f"(?i){pattern}", half)
    return text.re_replace(f"(?i){GLUED_HALF}", r"\1\2m")


def _offset_at_end(text: ir.StringValue) -> ir.StringValue:
    """Return the text with an offset for an abbreviation of a zone, and without its name."""
    plain = text.re_replace(r" \([^()]*\)$", "")
    word = plain.re_extract(r" ([A-Z]{3,4})$", 1)
    offset = ibis.map(list(ZONES), list(ZONES.values())).get(word)
    return ibis.ifelse(offset.isnull(), plain, plain.re_replace(r"[A-Z]+$", "") + offset)


def _of_format(text: ir.StringValue, form: str) -> ir.TimestampValue:
    form = _with_offset(form)
    if "%p" in form:
        text = _with_halves(text)
    if "%z" in form:
        if form.endswith("%z"):
            text = _offset_at_end(text)
        # DuckDB's %z does not know Z.
        return _try_instant(text.re_replace(r"Z$", "+00"), form)
    if "%Z" in form:
        return _try_instant(text, form)
    local = _try_local(text, form)
    # DuckDB's %Y takes 26 for the year 26.
    return ibis.ifelse(local.year() >= _FIRST_OF_FOUR_DIGITS, local, ibis.null("timestamp")).cast(
        "timestamp('UTC')"
    )
