"""What a file's columns must not hold, found before any row is used.

In: the columns with their typed values. Raised: one error that names file, column, row, value and
the setting that helps. Printed: what was inferred, and what goes to quarantine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import ibis
import ibis.expr.types as ir

from components.data.sources import numbers, times
from components.data.sources.cells import EXACT_FLOAT
from components.data.sources.column import LONGEST, Column, example, first_row, shown
from components.data.sources.files import File
from components.data.sources.markup import MARKUP, has_markup
from components.data.sources.names import words
from components.data.sources.spelling import NULL_WORDS, WITH_POINT_ZERO
from components.data.sources.time_checks import (
    calendar_counts,
    order_advice,
    refuse_calendar,
    refuse_exchanged,
    time_advice,
)

NUMBERS = ("rating", "quantity", "price")
STARS = (1.0, 5.0)
"""Lowest and highest rating."""
_SCALES = (1.0, 5.0, 10.0, 20.0, 100.0)
"""Highest ratings of the usual scales."""
IDS = ("user_id", "item_id", "order_id", "impression_id")
LEVELS = ("categories", "category")
TEXTS = ("title", "description", "brand", "text")
WORDS = ("event", "available", "status", "currency")
"""Columns of the contract whose values are words of a vocabulary."""

_FEW = 0.01
"""Share of ratings of another scale that may be mistakes of rows."""
_TYPED = (*NUMBERS, "timestamp", "version")
_GARBLED = "\ufffd|锟斤拷|[ÂÃÐÑ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€"
"""Letters of UTF-8 that were read as another encoding, and the sign for one that was lost."""
_ROUNDED = r"^\d[.,]\d+[eE]\+\d+$"
"""A number of many digits as spreadsheets show it."""
_MONTH = "(?:jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)"
_DATIFIED = rf"(?i)^(?:\d{{1,2}}(?:-|\. ?| ){_MONTH}|{_MONTH}[- ]\d{{2}})\.?$"
"""What a spreadsheet program makes of 2-1 and 3-10."""
_LIKE_DATES = r"^\d{1,2}[-./]\d{1,4}$"
"""An id that it would make a date of, if there were such a day."""


def unreadable(columns: list[Column]) -> ir.StringValue:
    """Return the values that are not of their type, as ``price: '12,50'; timestamp: 'never'``."""
    parts = [
        ibis.ifelse(
            column.unread,
            ibis.literal(f"{column.label}: '") + column.cells.text.substr(0, LONGEST) + "'",
            ibis.null("string"),
        )
        for column in columns
        if _is_typed(column)
    ]
    if not parts:
        return ibis.null("string")
    return ibis.array(parts).join("; ").nullif("")


def _is_number(column: Column) -> bool:
    return column.name in NUMBERS or column.kind == "number"


def _is_typed(column: Column) -> bool:
    return column.name in _TYPED or column.kind in ("number", "date")


def _is_levels(column: Column) -> bool:
    return column.name in LEVELS or column.kind == "set"


def _is_text(column: Column) -> bool:
    return column.name in TEXTS or column.kind in ("category", "text")


def check_columns(rows: ir.Table, columns: list[Column], file: File) -> None:
    """Print what is doubtful in the columns.

    Raises:
        ValueError: a column holds lists or objects, most of its values are not of its type, its
            signs of numbers are ambiguous, words of it are unknown, or ids of it mean that there is
            none.
    """
    found = first_row(rows.aggregate(rows=rows.count(), **_all_counts(rows, columns, file)))
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
        elif _is_typed(column):
            _check_signs(column, own, file)
            _check_typed(rows, column, own, file)
            _check_one_kind(column, own, file)
            _check_scale(column, own, file)
        elif column.name in WORDS:
            _check_words(rows, column, own, file)
        else:
            _note_null_words(column, own, file)
        if own.get("garbled"):
            print(
                f"{file.shown}: {column.shown}: {own['garbled']:,} values are garbled, for example "
                f"{shown(own, 'garbled')}: a program read them in a wrong encoding before it wrote "
                "this file: export it again"
            )
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
    if _is_levels(column):
        nested = nested & column.cells.levels.isnull()
        printed = text.re_search(r"^\[.*\]$") & column.cells.levels.isnull()
        yield from example("printed", text, rows, printed).items()
        yield "printed", printed.sum()
        yield "given", text.count()
    yield from example("nested", text, rows, nested).items()
    if _is_typed(column) or column.name in WORDS:
        yield "given", text.count()
        yield "unread", column.unread.sum()
        yield from example("unread", text, rows, column.unread).items()
        no_value = column.unread & text.lower().isin(NULL_WORDS)
        yield from example("null_word", text, rows, no_value).items()
    else:
        missing = text.lower().isin(NULL_WORDS)
        yield "null_words", missing.sum()
        yield from example("null_word", text, rows, missing).items()
    if _is_text(column) or _is_levels(column):
        garbled = text.re_search(_GARBLED)
        yield "garbled", garbled.sum()
        yield from example("garbled", text, rows, garbled).items()
    if (_is_text(column) or _is_levels(column)) and file.source.html == "decode":
        markup = has_markup(text)
        yield "markup", markup.sum()
        yield from example("markup", text, rows, markup).items()
    if column.name == "available" and set(words(column.shop)) & {"status", "state"}:
        known = [word.strip().lower() for word in file.source.available]
        code = column.value.notnull() & text.re_search(r"^-?\d+(?:\.\d+)?$")
        code = code & text.notin(["0", "1", *known])
        yield from example("code", text, rows, code).items()
    if column.name == "timestamp":
        yield from calendar_counts(column).items()
        yield from example("first", text, rows, column.value.notnull()).items()
    if column.name == "version":
        number = times.numeric(column.cells)
        is_number = number.notnull()
        yield "numbers", is_number.sum()
        yield from example("number", text, rows, is_number).items()
        yield from example("time", text, rows, column.value.notnull() & ~is_number).items()
        yield from example("inexact", text, rows, number.abs() >= EXACT_FLOAT).items()
    if column.name == "rating":
        outside = ~column.value.between(*STARS)
        yield "outside", outside.sum()
        yield "lowest", column.value.min()
        yield "highest", column.value.max()
        yield from example("outside", text, rows, outside).items()
    if column.name in IDS:
        yield "given", text.count()
        yield "point_zero", text.re_search(WITH_POINT_ZERO).sum()
        inexact = column.cells.inexact | text.re_search(_ROUNDED).fill_null(False)
        yield from example("inexact", text, rows, inexact).items()
        datified = text.re_search(_DATIFIED).fill_null(False)
        yield "datified", datified.sum()
        yield from example("datified", text, rows, datified).items()
        yield from example("like_date", text, rows, text.re_search(_LIKE_DATES)).items()
    signed = column.name in ("price", "quantity") or column.kind == "number"
    if signed and _signs_unset(file):
        own = ibis.ifelse(column.cells.number.isnull(), text, ibis.null("string"))
        groups = own.re_search(numbers.GROUPS_OF_THREE)
        yield "points", own.contains(".").sum()
        yield "groups", groups.sum()
        yield "commas", own.re_search(numbers.DECIMAL_COMMA).sum()
        yield from example("groups", text, rows, groups).items()


def _signs_unset(file: File) -> bool:
    return file.source.decimal is None and not file.source.thousands


def _check_plain(column: Column, own: dict[str, Any], file: File) -> None:
    """Raise if values are lists or objects."""
    nested = shown(own, "nested")
    if nested:
        raise ValueError(
            f"{file.shown}: {column.shown} holds lists or objects, for example {nested}: name a "
            "column of plain values, or write its parts as columns of their own"
        )
    if _is_levels(column) and own["printed"] and own["printed"] >= own["given"] / 2:
        raise ValueError(
            f"{file.shown}: {column.shown} holds printed lists, for example "
            f"{shown(own, 'printed')}: write them as lists (JSON lines, Parquet), or with a "
            f"separator ({'separator' if column.kind else 'category_separator'})"
        )


def _check_ids(column: Column, own: dict[str, Any], file: File) -> None:
    if own["null_words"] and file.source.nulls is None:
        word = own["null_word_text"]
        raise ValueError(
            f"{file.shown}: {column.shown}: {own['null_words']:,} ids such as "
            f"{shown(own, 'null_word')} look like missing values: set `nulls: ['{word}']` of this "
            "source, or `nulls: []` if they are ids"
        )
    _note_null_words(column, own, file)
    if shown(own, "inexact"):
        raise ValueError(
            f"{file.shown}: {column.shown} holds numbers that do not tell all ids apart (floats of "
            "many digits, 4.00638E+12, or decimals, of which 1.10 and 1.1 are one), for example "
            f"{shown(own, 'inexact')}: export the column as whole numbers or as text"
        )
    if own["datified"] and shown(own, "like_date"):
        raise ValueError(
            f"{file.shown}: {column.shown}: {own['datified']:,} ids such as "
            f"{shown(own, 'datified')} are dates that a spreadsheet program made of ids such as "
            f"{shown(own, 'like_date')}: export the column as text, or import it as text there"
        )
    if own["datified"]:
        print(
            f"{file.shown}: {column.shown}: {own['datified']:,} ids such as "
            f"{shown(own, 'datified')} look like dates that a spreadsheet program made of ids"
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
            f"{shown(own, 'null_word')} are kept as texts; name them in `nulls` if they mean that "
            "there is none"
        )


def _check_signs(column: Column, own: dict[str, Any], file: File) -> None:
    """Raise if the column's points may be decimal or thousands signs."""
    if not own.get("groups"):
        return
    if own["points"] == own["groups"] or own["commas"]:
        raise ValueError(
            f"{file.shown}: {column.shown} may have points between thousands, for example "
            f'{shown(own, "groups")}: set `decimal: ","` and `thousands: "."` of this source if '
            'so, else `decimal: "."`'
        )


def _check_typed(rows: ir.Table, column: Column, own: dict[str, Any], file: File) -> None:
    given, unread = int(own["given"]), int(own["unread"] or 0)
    several = isinstance(file.source.timestamp_format, list)
    if column.name == "timestamp":
        refuse_calendar(column, own, shown(own, "first"), file)
    if column.name == "timestamp" and column.cells.time is None and (unread or several):
        refuse_exchanged(rows, column, file)
    if not unread:
        return
    one_of_several = file.source.path is not None and file.shown != str(file.source.path)
    advice = order_advice(rows, column, file) if column.name == "timestamp" else ""
    if shown(own, "null_word"):
        word = own["null_word_text"]
        advice = f"; set `nulls: ['{word}']` of this source if it means that there is none"
    elif _is_number(column):
        advice = _sign_advice(rows, column)
        if one_of_several and "set" in advice:
            advice += ", which needs its own if its other files differ"
    else:
        advice = advice or time_advice(rows, column, file)
    expected = "a number" if _is_number(column) else "a time"
    example = shown(own, "unread")
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
    if own.get("numbers") and shown(own, "time"):
        raise ValueError(
            f"{file.shown}: {column.shown} holds numbers, for example {shown(own, 'number')}, and "
            f"times, for example {shown(own, 'time')}: name a column of one of the two"
        )
    if "inexact_row" in own and shown(own, "inexact"):
        raise ValueError(
            f"{file.shown}: {column.shown} holds numbers of so many digits that two versions may "
            f"be read as one, for example {shown(own, 'inexact')}: name a column of times or of "
            "smaller numbers"
        )


def _check_scale(column: Column, own: dict[str, Any], file: File) -> None:
    """Raise if the ratings are of another scale than 1 to 5."""
    if not own.get("outside"):
        return
    lowest, highest = own["lowest"], own["highest"]
    first = min(0.0, lowest) if lowest < STARS[0] else STARS[0]
    last = next((one for one in _SCALES if one >= highest), highest)
    text = (
        f"{file.shown}: {column.shown}: {own['outside']:,} of {own['given']:,} ratings are not "
        f"within 1 to 5, for example {shown(own, 'outside')}"
    )
    above = f"(rating - {first:g})" if first else "rating"
    advice = (
        f"write a scale from {first:g} to {last:g} as `1 + {above} * 4.0 / {last - first:g}` in a "
        "`query`"
    )
    advice += ", or `nullif(rating, 0)` if 0 means that there is none" if lowest == 0 else ""
    if own["outside"] > _FEW * own["given"] and (highest > STARS[1] or lowest < 0 or highest <= 1):
        raise ValueError(f"{text}: {advice}")
    print(f"{text}; their rows go to quarantine; {advice}")


def _sign_advice(rows: ir.Table, column: Column) -> str:
    """Return the setting of signs that reads the most values, if it reads more than now."""
    options = [numbers.of_text(column.cells, *signs).count() for signs in numbers.SIGNS]
    now = column.value.count()
    found = first_row(rows.aggregate(now=now, **{f"o{n}": one for n, one in enumerate(options)}))
    most = max(found[f"o{n}"] for n in range(len(options)))
    if most <= found["now"]:
        return "; export plain numbers, or take them out of the texts in a `query`"
    best = [signs for n, signs in enumerate(numbers.SIGNS) if found[f"o{n}"] == most]
    by_decimal = dict(reversed(best))  # of a sign, the simplest
    settings = [
        f'`decimal: "{decimal}"`' + (f' and `thousands: "{thousands}"`' if thousands else "")
        for decimal, thousands in sorted(by_decimal.items())
    ]
    return f"; set {' or '.join(settings)} of this source"


def _check_words(rows: ir.Table, column: Column, own: dict[str, Any], file: File) -> None:
    """Raise if words of a vocabulary are unknown, or numbers that may be codes."""
    if "code_row" in own and shown(own, "code") and "stock" not in words(column.shop):
        raise ValueError(
            f"{file.shown}: {column.shown} holds numbers such as {shown(own, 'code')}, which may "
            "be codes of states: say what each means, for example "
            '`available: {"1": true, "2": false}` of this source'
        )
    if not own["unread"]:
        return
    unknown = rows.filter(column.unread).aggregate(
        n=ibis._.count(), by=[column.cells.text.name("w")]
    )
    listed = unknown.order_by([ibis.desc("n"), "w"]).limit(20).execute()
    shown_words = ", ".join(
        f"{str(word)[:LONGEST]!r} ({count:,})"
        for word, count in zip(listed["w"], listed["n"], strict=True)
    )
    first = str(listed["w"][0])[:LONGEST]
    if first == column.shop:
        raise ValueError(
            f"{file.shown}: {column.shown} holds its own name: the line of names stands in the "
            "file again: take it out there, or where several exports are joined"
        )
    remedy = {
        "event": f'`events: {{"{first}": …}}` of this source with view, click, cart, purchase, '
        "rating, dislike or ignore",
        "available": f'`available: {{"{first}": true}}` (or false) of this source',
        "status": f'`statuses: {{"{first}": …}}` of this source with kept, cancelled or returned',
        "currency": f'`currencies: {{"{first}": …}}` of this source with a code of ISO 4217',
    }[column.name]
    raise ValueError(
        f"{file.shown}: {column.shown} has unknown words, with their numbers of rows: "
        f"{shown_words}; set {remedy}"
    )
