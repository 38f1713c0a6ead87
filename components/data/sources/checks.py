"""What a file's columns must not hold, found before any row is used.

In: the columns with their typed values. Raised: one error that names file, column, row, value and
the setting that helps. Printed: what was inferred, and what goes to quarantine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from components.data.sources import numbers, times
from components.data.sources.cells import EXACT_FLOAT, Cells
from components.data.sources.files import ROW, File
from components.data.sources.ids import NULL_WORDS, WITH_POINT_ZERO
from components.data.sources.markup import MARKUP, has_markup

NUMBERS = ("rating", "quantity", "price")
IDS = ("user_id", "item_id", "order_id", "impression_id")
LEVELS = ("categories", "category")
TEXTS = ("title", "description", "brand", "text")
WORDS = ("event", "available", "status", "currency")
"""Columns of the contract whose values are words of a vocabulary."""

_TYPED = (*NUMBERS, "timestamp", "version")
_ROUNDED = r"^\d\.\d+[eE]\+\d+$"
"""A number of many digits as spreadsheets show it."""
_LONGEST = 60  # characters of a value that are shown


@dataclass(frozen=True)
class Column:
    """A column of the contract: its name, the shop's name, its cells, its typed value."""

    name: str
    shop: str
    cells: Cells
    value: ir.Value

    @property
    def shown(self) -> str:
        return f"column {self.shop!r} (for {self.name})"

    @property
    def unread(self) -> ir.BooleanValue:
        """Whether there is a value that is not of the column's type."""
        return self.cells.text.notnull() & self.value.isnull()


def unreadable(columns: list[Column]) -> ir.StringValue:
    """Return the values that are not of their type, as ``price: '12,50'; timestamp: 'never'``."""
    parts = [
        ibis.ifelse(
            column.unread,
            ibis.literal(f"{column.name}: '") + column.cells.text.substr(0, _LONGEST) + "'",
            ibis.null("string"),
        )
        for column in columns
        if column.name in _TYPED
    ]
    if not parts:
        return ibis.null("string")
    return ibis.array(parts).join("; ").nullif("")


def known_formats(con: ibis.BaseBackend, file: File) -> list[str]:
    """Return the source's timestamp formats.

    Raises:
        ValueError: a format has a sign that DuckDB does not know.
    """
    given = file.source.timestamp_format
    formats = [given] if isinstance(given, str) else list(given or [])
    for form in formats:
        if not times.known_format(con, form):
            raise ValueError(
                f"{file.shown}: timestamp_format {form!r} has a sign that is not known: use those "
                "of strptime, for example %Y-%m-%d %H:%M:%S"
            )
    return formats


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
    found = _first(
        rows.aggregate(
            n=number.count(),
            lowest=number.min(),
            highest=number.max(),
            **{unit: fit.sum() for unit, fit in fits.items()},
            **_example("odd", cells.text, rows, number.notnull() & ~any_fit),
            **_example("any", cells.text, rows, number.notnull()),
        )
    )
    n = int(found["n"])
    given = file.source.timestamp_unit
    if n == 0:
        return given
    counts = {unit: int(found[unit] or 0) for unit in times.UNITS}
    fitting = [unit for unit, count in counts.items() if count == n]
    place = f"{file.shown}: column {shop!r} (for timestamp)"
    if given is None and fitting:
        (unit,) = fitting
        print(f"{place} is read as {times.UNIT_NAMES[unit]} since 1970 (timestamp_unit: {unit})")
        return unit
    if given is not None and counts[given] >= n / 2:
        return given
    example = _shown(found, "odd") or _shown(found, "any")
    if found["lowest"] >= 19000101 and found["highest"] <= 21001231:
        advice = 'they look like dates: set timestamp_format, for example "%Y%m%d"'
    elif fitting:
        advice = f"{times.UNIT_NAMES[fitting[0]]} would fit: set timestamp_unit: {fitting[0]}"
    else:
        best = ", ".join(
            f"{count:,} in {times.UNIT_NAMES[unit]}" for unit, count in counts.items() if count
        )
        advice = f"{best or 'none fits in any unit'}: set timestamp_unit or timestamp_format"
    what = f"in {times.UNIT_NAMES[given]}" if given else "in one unit"
    raise ValueError(
        f"{place}: its {n:,} numbers, for example {example}, are no times {what} between "
        f"{times.FIRST_YEAR} and the end of next year; {advice}"
    )


def check_columns(rows: ir.Table, columns: list[Column], file: File) -> None:
    """Print what is doubtful in the columns.

    Raises:
        ValueError: a column holds lists or objects, most of its values are not of its type, its
            signs of numbers are ambiguous, words of it are unknown, or ids of it mean that there is
            none.
    """
    found = _first(rows.aggregate(rows=rows.count(), **_all_counts(rows, columns, file)))
    if not found["rows"]:
        print(f"{file.shown} has no rows")
        return
    for column in columns:
        own = {
            key.removeprefix(f"{column.name}__"): value
            for key, value in found.items()
            if key.startswith(f"{column.name}__")
        }
        _check_plain(column, own, file)
        if column.name in IDS:
            _check_ids(column, own, file)
        elif column.name in _TYPED:
            _check_signs(column, own, file)
            _check_typed(rows, column, own, file)
            _check_one_kind(column, own, file)
        elif column.name in WORDS:
            _check_words(rows, column, own, file)
        else:
            _note_null_words(column, own, file)
        if own.get("markup"):
            first = re.search(MARKUP, own["markup_text"])
            print(
                f"{file.shown}: {column.shown}: {own['markup']:,} values have HTML tags or "
                f"entities, for example {first[0] if first else ''!r} in row "
                f"{int(own['markup_row']) + 1:,}; they are read as plain text (`html: keep` leaves "
                "them)"
            )


def _all_counts(rows: ir.Table, columns: list[Column], file: File) -> dict[str, ir.Value]:
    return {
        f"{column.name}__{key}": value
        for column in columns
        for key, value in _counts(rows, column, file)
    }


def _counts(rows: ir.Table, column: Column, file: File) -> Iterator[tuple[str, ir.Value]]:
    """Yield the aggregates that the checks of a column need, by name."""
    text = column.cells.text
    nested = column.cells.nested
    if column.name in LEVELS:
        nested = nested & column.cells.levels.isnull()
        printed = text.re_search(r"^\[.*\]$") & column.cells.levels.isnull()
        yield from _example("printed", text, rows, printed).items()
        yield "printed", printed.sum()
        yield "given", text.count()
    yield from _example("nested", text, rows, nested).items()
    if column.name in (*_TYPED, *WORDS):
        yield "given", text.count()
        yield "unread", column.unread.sum()
        yield from _example("unread", text, rows, column.unread).items()
    else:
        missing = text.lower().isin(NULL_WORDS)
        yield "null_words", missing.sum()
        yield from _example("null_word", text, rows, missing).items()
    if column.name in (*TEXTS, *LEVELS) and file.source.html == "decode":
        markup = has_markup(text)
        yield "markup", markup.sum()
        yield from _example("markup", text, rows, markup).items()
    if column.name == "version":
        number = times.numeric(column.cells)
        is_number = number.notnull()
        yield "numbers", is_number.sum()
        yield from _example("number", text, rows, is_number).items()
        yield from _example("time", text, rows, column.value.notnull() & ~is_number).items()
        yield from _example("inexact", text, rows, number.abs() >= EXACT_FLOAT).items()
    if column.name in IDS:
        yield "given", text.count()
        yield "point_zero", text.re_search(WITH_POINT_ZERO).sum()
        inexact = column.cells.inexact | text.re_search(_ROUNDED).fill_null(False)
        yield from _example("inexact", text, rows, inexact).items()
    if column.name in ("price", "quantity") and _signs_unset(file):
        own = ibis.ifelse(column.cells.number.isnull(), text, ibis.null("string"))
        groups = own.re_search(numbers.GROUPS_OF_THREE)
        yield "points", own.contains(".").sum()
        yield "groups", groups.sum()
        yield "commas", own.re_search(numbers.DECIMAL_COMMA).sum()
        yield from _example("groups", text, rows, groups).items()


def _signs_unset(file: File) -> bool:
    return file.source.decimal is None and not file.source.thousands


def _check_plain(column: Column, own: dict[str, Any], file: File) -> None:
    """Raise if values are lists or objects."""
    nested = _shown(own, "nested")
    if nested:
        raise ValueError(
            f"{file.shown}: {column.shown} holds lists or objects, for example {nested}: name a "
            "column of plain values, or write its parts as columns of their own"
        )
    if column.name in LEVELS and own["printed"] and own["printed"] >= own["given"] / 2:
        raise ValueError(
            f"{file.shown}: {column.shown} holds printed lists, for example "
            f"{_shown(own, 'printed')}: write them as lists (JSON lines, Parquet), or with a "
            "separator (category_separator)"
        )


def _check_ids(column: Column, own: dict[str, Any], file: File) -> None:
    if own["null_words"] and file.source.nulls is None:
        word = own["null_word_text"]
        raise ValueError(
            f"{file.shown}: {column.shown}: {own['null_words']:,} ids such as "
            f"{_shown(own, 'null_word')} look like missing values: set `nulls: ['{word}']` of this "
            "source, or `nulls: []` if they are ids"
        )
    _note_null_words(column, own, file)
    if _shown(own, "inexact"):
        raise ValueError(
            f"{file.shown}: {column.shown} holds numbers that do not tell all ids apart (floats of "
            "many digits, 4.00638E+12, or decimals, of which 1.10 and 1.1 are one), for example "
            f"{_shown(own, 'inexact')}: export the column as whole numbers or as text"
        )
    if own["point_zero"]:
        rule = {"user_id": "user_ids", "item_id": "item_ids"}.get(column.name)
        advice = (
            f"`{rule}: {{integral: true}}` reads 7.0 as 7"
            if rule
            else "export them as whole numbers or as text if 7.0 is 7"
        )
        print(
            f"{file.shown}: {column.shown}: {own['point_zero']:,} of {own['given']:,} ids end in "
            f".0; {advice}"
        )


def _note_null_words(column: Column, own: dict[str, Any], file: File) -> None:
    if own["null_words"]:
        print(
            f"{file.shown}: {column.shown}: {own['null_words']:,} values such as "
            f"{_shown(own, 'null_word')} are kept as texts; name them in `nulls` if they mean that "
            "there is none"
        )


def _check_signs(column: Column, own: dict[str, Any], file: File) -> None:
    """Raise if the column's points may be decimal or thousands signs."""
    if not own.get("groups"):
        return
    if own["points"] == own["groups"] or own["commas"]:
        raise ValueError(
            f"{file.shown}: {column.shown} may have points between thousands, for example "
            f'{_shown(own, "groups")}: set `decimal: ","` and `thousands: "."` of this source if '
            'so, else `decimal: "."`'
        )


def _check_typed(rows: ir.Table, column: Column, own: dict[str, Any], file: File) -> None:
    given, unread = int(own["given"]), int(own["unread"] or 0)
    if not unread:
        return
    if column.name in NUMBERS:
        expected, advice = "a number", _sign_advice(rows, column)
    else:
        expected, advice = "a time", _time_advice(rows, column)
    example = _shown(own, "unread")
    if unread > given / 2:
        raise ValueError(
            f"{file.shown}: {column.shown} should hold {expected}, but {unread:,} of {given:,} "
            f"values do not, for example {example}{advice}"
        )
    print(
        f"{file.shown}: {column.shown}: {unread:,} of {given:,} values cannot be read, for example "
        f"{example}; their rows go to quarantine{advice}"
    )


def _check_one_kind(column: Column, own: dict[str, Any], file: File) -> None:
    """Raise if it cannot be told which of two versions is newer."""
    if own.get("numbers") and _shown(own, "time"):
        raise ValueError(
            f"{file.shown}: {column.shown} holds numbers, for example {_shown(own, 'number')}, and "
            f"times, for example {_shown(own, 'time')}: name a column of one of the two"
        )
    if "inexact_row" in own and _shown(own, "inexact"):
        raise ValueError(
            f"{file.shown}: {column.shown} holds numbers of so many digits that two versions may "
            f"be read as one, for example {_shown(own, 'inexact')}: name a column of times or of "
            "smaller numbers"
        )


def _sign_advice(rows: ir.Table, column: Column) -> str:
    """Return the setting of signs that reads the most values, if it reads more than now."""
    options = [numbers.of_text(column.cells, *signs).count() for signs in numbers.SIGNS]
    now = column.value.count()
    found = _first(rows.aggregate(now=now, **{f"o{n}": one for n, one in enumerate(options)}))
    most = max(found[f"o{n}"] for n in range(len(options)))
    if most <= found["now"]:
        return ""
    best = [signs for n, signs in enumerate(numbers.SIGNS) if found[f"o{n}"] == most]
    by_decimal = dict(reversed(best))  # of a sign, the simplest
    settings = [
        f'`decimal: "{decimal}"`' + (f' and `thousands: "{thousands}"`' if thousands else "")
        for decimal, thousands in sorted(by_decimal.items())
    ]
    return f"; set {' or '.join(settings)} of this source"


def _time_advice(rows: ir.Table, column: Column) -> str:
    """Return the formats that read the most values."""
    counts = [times.times(column.cells, [form], None).count() for form in times.FORMATS]
    found = _first(rows.aggregate(**{f"o{n}": one for n, one in enumerate(counts)}))
    most = max(found.values())
    best = [form for n, form in enumerate(times.FORMATS) if found[f"o{n}"] == most]
    if most == 0 or column.cells.time is not None:
        return "; set timestamp_format of this source"
    options = " or ".join(f'"{form}"' for form in best[:3])
    return f"; set timestamp_format of this source, for example {options}"


def _check_words(rows: ir.Table, column: Column, own: dict[str, Any], file: File) -> None:
    """Raise if words of a vocabulary are unknown."""
    if not own["unread"]:
        return
    unknown = rows.filter(column.unread).aggregate(
        n=ibis._.count(), by=[column.cells.text.name("w")]
    )
    listed = unknown.order_by([ibis.desc("n"), "w"]).limit(20).execute()
    words = ", ".join(
        f"{str(word)[:_LONGEST]!r} ({count:,})"
        for word, count in zip(listed["w"], listed["n"], strict=True)
    )
    first = str(listed["w"][0])[:_LONGEST]
    remedy = {
        "event": f'`events: {{"{first}": …}}` of this source with view, click, cart, purchase, '
        "rating or ignore",
        "available": f'`available: {{"{first}": true}}` (or false) of this source',
        "status": f'`statuses: {{"{first}": …}}` of this source with kept, cancelled or returned',
        "currency": f'`currencies: {{"{first}": …}}` of this source with a code of ISO 4217',
    }[column.name]
    raise ValueError(
        f"{file.shown}: {column.shown} has unknown words, with their numbers of rows: {words}; set "
        f"{remedy}"
    )


def _example(
    name: str, text: ir.Value, rows: ir.Table, where: ir.BooleanValue
) -> dict[str, ir.Value]:
    """Return aggregates: row and text of the first row that meets ``where``."""
    return {
        f"{name}_row": rows[ROW].min(where=where),
        f"{name}_text": text.argmin(rows[ROW], where=where),
    }


def _shown(found: dict[str, Any], name: str) -> str:
    """Return an example's value and row, counted from 1, "" if there is none."""
    if pd.isna(found[f"{name}_row"]):
        return ""
    text = repr(str(found[f"{name}_text"])[:_LONGEST]).replace("\\\\", "\\")
    return f"{text} in row {int(found[f'{name}_row']) + 1:,}"


def _first(table: ir.Table) -> dict[str, Any]:
    """Return the values of a table's only row by column; null sums are 0."""
    row = table.execute().iloc[0].to_dict()
    return {
        key: 0 if pd.isna(value) and not key.endswith(("_row", "_text")) else value
        for key, value in row.items()
    }
