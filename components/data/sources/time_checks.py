"""What times of a file must not be, found before any row is used.

In: the column of times. Raised: an error that names file, column, row, value and the setting that
helps. Out: the formats and the unit by which the column is read, and what is to be done about
values that are no times.
"""

from __future__ import annotations

from dataclasses import replace

import ibis
import ibis.expr.types as ir

from components.data.sources import times
from components.data.sources.cells import Cells
from components.data.sources.column import Column, example, first_row, shown
from components.data.sources.files import File
from components.data.sources.time_formats import formats_like, letters_of, why_unread

_EXCHANGED = str.maketrans("dm", "md")
"""The signs of day and month in formats, each in the place of the other."""
_FEW = 0.01
"""Share of dates in another order that may be mistakes of rows."""
_EARLY, _LATE = r"(?:0?[1-9]|1[0-2])", r"(?:1[3-9]|2\d|3[01])"
"""A day that may be a month, and one that may not."""
_TAKEN = r"^\d{{4}}[-/.]\d{{1,2}}[-/.]{}(?:\D|$)"
_LEFT = r"^\d{1,2}[-/.]\d{1,2}[-/.]\d"
_LEFT_LATE = rf"^(?:{_LATE}[-/.]{_EARLY}|{_EARLY}[-/.]{_LATE})[-/.]\d"
"""Dates with the year first, and dates with day or month first."""
_MONTHS = 12
_LOOKED_AT = 50  # different values
_SHEET_DAYS = (32874, 73050)
"""Days since 1899-12-30 in the years 1990 to 2099."""
_ROUNDED = r"^\d(\.\d{1,6})?[eE]\+?\d+$"
"""A time of fewer digits than seconds have."""
_TICKS = (627_667_488_000_000_000, 662_380_416_000_000_000)
"""Units of 100 ns since the year 1, as .NET counts, in the years 1990 to 2099."""
_MINUTES = (10_519_200, 68_374_080)
"""Minutes since 1970 in the years 1990 to 2099."""
CALENDARS = {"Buddhist": (2533, 2642), "Persian or Islamic": (1369, 1460)}
"""Years of other calendars that are 1990 to 2099 (the latter: to 2038) of the Gregorian one."""
_ENOUGH = 10
"""Times that would not all be in the first 12 days of a month by chance."""


def known_formats(con: ibis.BaseBackend, file: File) -> list[str]:
    """Return the source's timestamp formats.

    Raises:
        ValueError: a format has a sign that DuckDB does not know.
    """
    formats = _formats(file)
    for form in formats:
        other = form.translate(_EXCHANGED)
        if other != form and other in formats:
            raise ValueError(
                f"{file.shown}: timestamp_format has both {form!r} and {other!r}, but 03/04 can be "
                "read by either: keep one, and make the rows of the other a source of their own"
            )
        if not times.known_format(con, form):
            raise ValueError(
                f"{file.shown}: timestamp_format {form!r} has a sign that is not known: use those "
                "of strptime, for example %Y-%m-%d %H:%M:%S"
            )
        if letters := letters_of(form):
            print(
                f"{file.shown}: timestamp_format {form!r}: {letters!r} must stand in each time and "
                "changes none; if it is a zone or a half of the day, write %z, %Z or %p"
            )
    return formats


def _formats(file: File) -> list[str]:
    given = file.source.timestamp_format
    return [given] if isinstance(given, str) else list(given or [])


def time_unit(rows: ir.Table, cells: Cells, shop: str, file: File) -> str | None:
    """Return the unit of the column's numbers: the source's, or the only one that fits all of them.

    Raises:
        ValueError: most of the numbers do not fit the source's unit, or no unit fits all of them.
    """
    if cells.time is not None or file.source.timestamp_format:
        return None
    number = times.numeric(cells)
    fits = {unit: times.plausible(number, unit) for unit in times.UNITS}
    any_fit = ibis.or_(*fits.values())
    found = first_row(
        rows.aggregate(
            n=number.count(),
            lowest=number.min(),
            highest=number.max(),
            **{unit: fit.sum() for unit, fit in fits.items()},
            **example("odd", cells.text, rows, number.notnull() & ~any_fit),
            **example("any", cells.text, rows, number.notnull()),
            **example("rounded", cells.text, rows, cells.text.re_search(_ROUNDED)),
        )
    )
    n = int(found["n"])
    given = file.source.timestamp_unit
    if n == 0:
        return given
    counts = {unit: int(found[unit] or 0) for unit in times.UNITS}
    fitting = [unit for unit, count in counts.items() if count == n]
    place = f"{file.shown}: column {shop!r} (for timestamp)"
    if shown(found, "rounded"):
        raise ValueError(
            f"{place} holds rounded numbers, as spreadsheets show them, for example "
            f"{shown(found, 'rounded')}: export the column as whole numbers or as text"
        )
    if given is None and found["lowest"] >= _TICKS[0] and found["highest"] <= _TICKS[1]:
        raise ValueError(
            f"{place} holds numbers such as {shown(found, 'any')}, which look like ticks of .NET "
            "(100 ns since the year 1): a `query` makes times of them "
            f"(make_timestamp(({shop}::BIGINT - 621355968000000000) // 10))"
        )
    if given is None and fitting:
        (unit,) = fitting
        print(f"{place} is read as {times.UNIT_NAMES[unit]} since 1970 (timestamp_unit: {unit})")
        return unit
    if given is not None and counts[given] >= n / 2:
        return given
    first = shown(found, "odd") or shown(found, "any")
    if found["lowest"] >= 19000101 and found["highest"] <= 21001231:
        advice = 'they look like dates: set timestamp_format, for example "%Y%m%d"'
    elif found["lowest"] >= _SHEET_DAYS[0] and found["highest"] <= _SHEET_DAYS[1]:
        advice = (
            "they look like days of a spreadsheet: give the column the format of a date there, or "
            "write `TIMESTAMP '1899-12-30' + to_seconds(86400 * day::DOUBLE)` in a `query`"
        )
    elif found["lowest"] >= _MINUTES[0] and found["highest"] <= _MINUTES[1]:
        advice = (
            "they look like minutes since 1970: a `query` makes times of them "
            f"(make_timestamp({shop}::BIGINT * 60000000))"
        )
    elif fitting:
        advice = f"{times.UNIT_NAMES[fitting[0]]} would fit: set timestamp_unit: {fitting[0]}"
    else:
        best = ", ".join(
            f"{count:,} in {times.UNIT_NAMES[unit]}" for unit, count in counts.items() if count
        )
        advice = f"{best or 'none fits in any unit'}: set timestamp_unit or timestamp_format"
    what = f"in {times.UNIT_NAMES[given]}" if given else "in one unit"
    raise ValueError(
        f"{place}: its {n:,} numbers, for example {first}, are no times {what} between "
        f"{times.FIRST_YEAR} and the end of next year; {advice}"
    )


def order_advice(rows: ir.Table, column: Column, file: File) -> str:
    """Return what to do about few days and months in another order than the others, "" if there
    are none.

    Raises:
        ValueError: so many are that those of which nobody can tell may be wrong, too.
    """
    text = column.cells.text
    if column.cells.time is not None:
        return ""
    exchanged = replace(column.cells, text=times.exchanged(text))
    other = times.times(exchanged, _formats(file), None)
    only_other, only_this = column.unread & other.notnull(), column.value.notnull() & other.isnull()
    found = first_row(
        rows.aggregate(
            other=only_other.sum(),
            this=only_this.sum(),
            **example("other", text, rows, only_other),
            **example("this", text, rows, only_this),
        )
    )
    place = f"{file.shown}: {column.shown}"
    if found["other"] > _FEW * (found["other"] + found["this"]):
        if not found["this"]:
            raise ValueError(
                f"{place}: {found['other']:,} values such as {shown(found, 'other')} have day and "
                "month in another order than the one they are read in, so all may have it"
                f"{_exchanged_formats(file)}; a file that differs from others needs its own source"
            )
        raise ValueError(
            f"{place}: days and months stand in two orders: {found['this']:,} values such as "
            f"{shown(found, 'this')} can only be read in one, {found['other']:,} such as "
            f"{shown(found, 'other')} only in the other, so '03/04/2024' may be either: "
            "export all as 2024-04-03, or make the rows of each order a source of their own with "
            "its `timestamp_format`"
        )
    return "; they have day and month in another order than the rest" if found["other"] else ""


def _exchanged_formats(file: File) -> str:
    formats = [form.translate(_EXCHANGED) for form in _formats(file)] or ["%Y-%d-%m"]
    return f"; set timestamp_format of this source, for example {_setting(formats)}"


def refuse_exchanged(rows: ir.Table, column: Column, file: File) -> None:
    """Raise if a spreadsheet program took days for months where it could.

    Then the texts that it took for dates, and wrote in another form, are all of the first 12 days
    of a month, and those that it left are all of later days.
    """
    text = column.cells.text
    early, late = (text.re_search(one) for one in (_TAKEN.format(_EARLY), _TAKEN.format(_LATE)))
    left = text.re_search(_LEFT)
    left_late = left & text.re_search(_LEFT_LATE)
    found = first_row(
        rows.aggregate(
            early=early.sum(),
            late=late.sum(),
            left=left.sum(),
            left_late=left_late.sum(),
            **example("early", text, rows, early),
            **example("left", text, rows, left_late),
        )
    )
    if found["early"] < _ENOUGH or found["late"] or not found["left"]:
        return
    if found["left"] == found["left_late"]:
        raise ValueError(
            f"{file.shown}: {column.shown}: values such as {shown(found, 'early')} are all in the "
            f"first {_MONTHS} days of a month, and those such as {shown(found, 'left')} all later: "
            "a spreadsheet program took days for months where it could: import the original file "
            "with this column as text"
        )


def calendar_counts(column: Column) -> dict[str, ir.Value]:
    """Return aggregates: how many times have years of another calendar, by its name."""
    if column.cells.time is not None:
        return {}
    year = column.value.year()
    return {name: year.between(*years).sum() for name, years in CALENDARS.items()}


def refuse_calendar(column: Column, own: dict[str, int], first: str, file: File) -> None:
    """Raise if most times have years of another calendar.

    own: the results of ``calendar_counts``. first: one of the times.
    """
    for name in CALENDARS:
        if own.get(name, 0) > own["given"] / 2:
            raise ValueError(
                f"{file.shown}: {column.shown}: values such as {first} have years of the {name} "
                "calendar: write Gregorian dates where the file is exported, or in a `query`"
            )


def time_advice(rows: ir.Table, column: Column, file: File) -> str:
    """Return the formats that read the most values, of those that unread values look like."""
    unread = rows.filter(column.unread).select(text=column.cells.text).distinct().limit(_LOOKED_AT)
    texts = unread.execute()["text"]
    formats = list(dict.fromkeys(form for text in texts for form in formats_like(text)))
    read = [column.unread & times.times(column.cells, [form], None).notnull() for form in formats]
    counts = {f"o{n}": one.sum() for n, one in enumerate(read)}
    found = first_row(rows.aggregate(unread=column.unread.sum(), **counts))
    most = max((found[name] for name in counts), default=0)
    if most < found["unread"] / 2 or column.cells.time is not None:
        if why := next(filter(None, map(why_unread, texts)), ""):
            return f"; {why}"
        return (
            "; set timestamp_format of this source, or write the times as 2024-03-01 12:00 in a "
            "`query`, also where months have names that are not English"
        )
    best = [form for n, form in enumerate(formats) if found[f"o{n}"] == most][:3]
    options = " or ".join(_setting([*_formats(file), form]) for form in best)
    return f"; set timestamp_format of this source, for example {options}"


def _setting(formats: list[str]) -> str:
    listed = ", ".join(f'"{form}"' for form in formats)
    return listed if len(formats) == 1 else f"[{listed}]"
