"""Delimited text (CSV, TSV …) → a Parquet file with the columns that the source names, all as text.

The delimiter is found from the header or the first lines, or refused. Every option of DuckDB's
reader is set, so it guesses nothing, and a line that does not fit is an error.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import ibis

from components.data.sources.encoding import with_plain_line_ends
from components.data.sources.hints import Also, missing, with_others
from components.data.sources.sql import literal
from components.settings import FileFormat

DELIMITERS = (",", ";", "\t", "|", "::")
"""Delimiters that are tried where the source names none."""

_SAMPLE = 1 << 18  # characters that are looked at for the delimiter and the header
_LAST = "\ue001"  # a private character in the columns of the last line
_STAND_IN = "\ue000"  # a private character in the place of a delimiter of several
_LONGEST_LINE = 1 << 24  # bytes
_BEFORE_HEADER = r"[\r\n]*(?:sep=.[\t ]*(?:\r\n|\r|\n)[\r\n]*)?"  # Excel writes sep=;
_BROKEN_STATE = "invalid state"  # in DuckDB's message about line ends of two kinds
csv.field_size_limit(_SAMPLE)


def stage_delimited(
    con: ibis.BaseBackend,
    text: Path,
    shown: str,
    form: FileFormat,
    wanted: Sequence[str],
    out: Path,
    also: Also | None = None,
) -> list[str]:
    """Write the columns ``wanted`` of the UTF-8 file ``text`` to the Parquet file ``out``.

    also: which other columns are written after them, where there is a header.

    Returns: the names of the columns, which are c0, c1 … in this order, in the order of the file's
    rows.

    Raises:
        ValueError: a column is missing or there twice, the delimiter cannot be told, or a line does
            not fit.
    """
    shape = _shape(text, shown, form, wanted)
    names = with_others(wanted, shape.first, also if form.header else None)
    _write(con, text, shown, form, shape, places(shape.first, shown, form, names), out)
    return names


def stage_all_delimited(
    con: ibis.BaseBackend, text: Path, shown: str, form: FileFormat, out: Path
) -> list[str]:
    """Write all columns, as c0, c1 …, and return their names; c1, c2 … without a header.

    Raises:
        ValueError: the delimiter cannot be told, or a line does not fit.
    """
    shape = _shape(text, shown, form, ())
    every = range(len(shape.first))
    _write(con, text, shown, form, shape, every, out)
    return shape.first if form.header else [f"c{n + 1}" for n in every]


@dataclass(frozen=True)
class _Shape:
    """The delimiter, the fields of the first line, the line end, and lines before the header."""

    delimiter: str
    first: list[str]
    line_end: str
    skipped: int


def _shape(text: Path, shown: str, form: FileFormat, wanted: Sequence[str]) -> _Shape:
    with text.open(encoding="utf-8", newline="") as file:
        sample = file.read(_SAMPLE)
    whole = len(sample) < _SAMPLE
    start = re.match(_BEFORE_HEADER, sample)
    skipped = start[0] if start else ""
    sample = sample[len(skipped) :]
    delimiter, first = _delimiter_and_first(sample, whole, shown, form, wanted)
    line_end = "\r\n" if "\r\n" in sample else "\n"
    return _Shape(delimiter, first, line_end, len(skipped.splitlines()))


def _write(
    con: ibis.BaseBackend,
    text: Path,
    shown: str,
    form: FileFormat,
    shape: _Shape,
    places: Sequence[int],
    out: Path,
) -> None:
    """Write the columns at these positions."""
    names = [f"f{n}" for n in range(len(shape.first))]
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    chosen = ", ".join(f"{names[place]} AS c{n}" for n, place in enumerate(places))
    options = (
        # A file that is not compressed may have a name that says so.
        "auto_detect=false, compression='none', strict_mode=true, "
        f"header={str(form.header).lower()}, skip={shape.skipped}, "
        f"delim={literal(shape.delimiter)}, "
        f"quote={literal(form.quote)}, escape={literal(_escape(form))}, nullstr='', "
        f"columns={{{columns}}}, max_line_size={_LONGEST_LINE}, buffer_size={2 * _LONGEST_LINE}"
    )
    copy = f"COPY (SELECT {chosen} FROM {{}}) TO {literal(out)} (FORMAT parquet)"
    try:
        try:
            con.raw_sql(copy.format(f"read_csv({literal(text)}, {options})"))
        except duckdb.NotImplementedException:
            ended = out.with_suffix(".ended")
            _with_last_line(text, ended, shape.line_end, shape.delimiter.join([_LAST] * len(names)))
            rows = f"read_csv({literal(ended)}, {options}, parallel=false)"
            _refuse_unclosed(con, rows, shown)
            con.raw_sql(copy.format(f"{rows} WHERE f0 IS DISTINCT FROM {literal(_LAST)}"))
            ended.unlink()
    except duckdb.Error as error:
        plain = out.with_suffix(".lines")
        if _BROKEN_STATE not in str(error) or not with_plain_line_ends(text, plain):
            raise ValueError(_explained(str(error), shown, shape.delimiter)) from error
        _write(con, plain, shown, form, replace(shape, line_end="\n"), places, out)
        plain.unlink()


def _with_last_line(text: Path, copy: Path, line_end: str, line: str) -> None:
    """Write ``copy`` with one more line than ``text``."""
    shutil.copyfile(text, copy)
    with copy.open("rb+") as file:
        file.seek(-1, io.SEEK_END)
        ends = file.read(1) in b"\r\n"
        file.write((("" if ends else line_end) + line).encode())


def _refuse_unclosed(con: ibis.BaseBackend, rows: str, shown: str) -> None:
    """Raise if the last line is not read.

    With one thread DuckDB leaves out all that follows a quotation mark which is not closed.
    """
    (seen,) = con.raw_sql(f"SELECT count(*) FROM {rows} WHERE f0 = {literal(_LAST)}").fetchone()
    if not seen:
        raise ValueError(
            f"{shown}: a quotation mark is not closed: look for an odd number of them in one line, "
            'or set `quote: ""` for a file without quotation marks'
        )


def _escape(form: FileFormat) -> str:
    return (form.escape or form.quote) if form.quote else ""


def _records(sample: str, whole: bool, delimiter: str, form: FileFormat) -> list[list[str]]:
    """Return the fields of the sample's lines, without the last one if it may be cut off."""
    single = _STAND_IN if len(delimiter) > 1 else delimiter
    text = sample.replace(delimiter, single) if len(delimiter) > 1 else sample
    reader = csv.reader(
        io.StringIO(text, newline=""),  # lines end with \n, \r or both
        delimiter=single,
        quotechar=form.quote or None,
        quoting=csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE,
        doublequote=_escape(form) == form.quote,
        escapechar=form.escape if form.escape not in ("", form.quote) else None,
    )
    found = []
    try:
        for record in reader:
            if record:
                found.append([field.replace(single, delimiter) for field in record])
    except csv.Error:  # a quotation mark that is not closed, or a line longer than the sample
        return found
    return found if whole else found[:-1]


def _delimiter_and_first(
    sample: str, whole: bool, shown: str, form: FileFormat, wanted: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the delimiter and the fields of the file's first line."""
    tried = DELIMITERS if form.delimiter == "auto" else (form.delimiter,)
    parsed = {one: _records(sample, whole, one, form) for one in tried}
    parsed = {one: records for one, records in parsed.items() if records}
    if not parsed:
        what = "holds no line" if not sample.strip() else "has no whole line that can be read"
        raise ValueError(f"{shown} {what}: look at the file, or set `delimiter` and `quote`")
    if len(parsed) == 1:
        ((delimiter, records),) = parsed.items()
        return delimiter, _stripped(records[0])
    if form.header:
        fit = [one for one, found in parsed.items() if set(wanted) <= set(_stripped(found[0]))]
        delimiter = max(fit or parsed, key=lambda one: (_even(parsed[one]), len(parsed[one][0])))
        return delimiter, _stripped(parsed[delimiter][0])
    return _without_header(parsed, shown, wanted)


def _without_header(
    parsed: dict[str, list[list[str]]], shown: str, wanted: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the only delimiter that cuts every line into the same number of columns, enough."""
    least = max([int(place) for place in wanted if place.isdigit()], default=1)
    fit = [one for one, found in parsed.items() if _even(found) and len(found[0]) >= max(least, 2)]
    if not fit and least == 1:
        return ",", parsed[","][0]  # a file of one column
    if not fit:
        guesses = [one for one, found in parsed.items() if _even(found) and len(found[0]) > 1]
        fit = guesses if len(guesses) == 1 else []
    if len(fit) != 1:
        options = " or ".join(repr(one) for one in fit) or "none of " + " ".join(
            repr(one) for one in DELIMITERS
        )
        raise ValueError(
            f"{shown}: the delimiter cannot be told: {options} cuts every line into {least} or "
            "more columns: set `delimiter` of this source"
        )
    return fit[0], parsed[fit[0]][0]


def _even(records: list[list[str]]) -> bool:
    return len({len(record) for record in records}) == 1


def _stripped(fields: list[str]) -> list[str]:
    return [field.strip() for field in fields]


def places(first: list[str], shown: str, form: FileFormat, wanted: Sequence[str]) -> list[int]:
    """Return the position of each wanted column, from 0."""
    if not form.header:
        for name in wanted:
            if not name.isdigit() or not 1 <= int(name) <= len(first):
                raise ValueError(
                    f"{shown} has no column {name!r}: without a header columns are named by "
                    f"position, 1 to {len(first)}; the first line is {first!r:.120}"
                )
        return [int(name) - 1 for name in wanted]
    if absent := missing(wanted, first):
        raise ValueError(f"{shown} {absent}{_header_advice(first, wanted)}")
    found = []
    for name in wanted:
        if first.count(name) > 1:
            where = [n + 1 for n, field in enumerate(first) if field == name]
            raise ValueError(
                f"{shown} has the column {name!r} {len(where)} times (columns "
                f"{', '.join(map(str, where))}): rename all but one in the header"
            )
        found.append(first.index(name))
    return found


def _header_advice(first: list[str], wanted: Sequence[str]) -> str:
    """Return what to do if the first line seems to be no header, or is not cut into columns."""
    if len(first) == 1:
        return ": if a line has more columns than that, set `delimiter`"
    values = [field for field in first if re.fullmatch(r"[\d.,:T/ Z+-]*\d[\d.,:T/ Z+-]*", field)]
    if values and not set(wanted) & set(first):
        return (
            ": if the first line holds values and no names, set `header: false` and name the "
            "columns by position (1, 2, 3 …)"
        )
    return ""


def _explained(error: str, shown: str, delimiter: str) -> str:
    """Return DuckDB's message about a line in our words."""
    number = re.search(r"CSV Error on Line: (\d+)", error)
    place = f"{shown}, line {number[1]}" if number else shown
    line = re.search(r"Original Line: (.*)", error)
    text = f" ({line[1]!r:.120})" if line else ""
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", error)
    if counts:
        return (
            f"{place}: {counts[2]} columns instead of {counts[1]}{text}: mend the line; a value "
            f"that holds the delimiter {delimiter!r} needs quotation marks, or set `delimiter` or "
            "`quote`"
        )
    if "unterminated quote" in error:
        return (
            f"{place}: a quotation mark is not closed, or text follows a closed one{text}: within "
            "a value "
            'write it twice, or set `escape: "\\\\"` or, for a file without quotation marks, '
            '`quote: ""`'
        )
    if _BROKEN_STATE in error:
        return (
            f"{place}: line ends or quotation marks do not fit together: write the file with one "
            "kind of line end, and with every quotation mark closed"
        )
    if "Maximum line size" in error:
        return (
            f"{place}: a line of more than {_LONGEST_LINE:,} bytes: is a quotation mark not closed?"
        )
    return f"{place}: {error.splitlines()[0]}"
