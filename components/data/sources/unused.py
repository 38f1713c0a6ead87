"""Columns that no source names although they say what rows mean.

An export may get a column after its source was written: the state of orders, a quantity, a
currency. Its rows would then be read as if all were sold once and in one currency. In: the names
of a file's columns and the values of those that may matter. Out: lines that are printed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import ibis.expr.types as ir

from components.data.schema import STATUSES
from components.data.sources.booleans import availability
from components.data.sources.cells import Cells
from components.data.sources.column import example, first_row, shown
from components.data.sources.currencies import currencies
from components.data.sources.events import events
from components.data.sources.files import File
from components.data.sources.names import GENERIC, PART, likeness, words
from components.data.sources.numbers import numbers
from components.data.sources.statuses import statuses
from components.settings import Source

_KNOWN = 0.9
"""Share of a column's values that must be of a meaning for the column to have it."""


@dataclass(frozen=True)
class _Meaning:
    """What the values of a column would mean.

    value: of cells; null where a value has no such meaning. differs: whether a value is not the one
    that every row has without the column. then: what rows are read as.
    """

    value: Callable[[Cells, Source], ir.Value]
    differs: Callable[[ir.Value, Source], ir.BooleanValue]
    then: str


_CURRENCY = _Meaning(
    currencies,
    lambda value, source: value != (source.currency or ""),
    "all prices are read in one currency",
)
_MEANINGS = {
    "interactions": {
        "status": _Meaning(
            statuses,
            lambda value, _: value.isin(STATUSES),
            "all purchases are read as ones that stand",
        ),
        "currency": _CURRENCY,
        "quantity": _Meaning(numbers, lambda value, _: value != 1, "rows are read as one piece"),
        "event": _Meaning(
            events, lambda value, source: value != source.event, "all rows are read as one event"
        ),
    },
    "items": {
        "available": _Meaning(
            availability, lambda value, _: ~value, "all products are read as available"
        ),
        "currency": _CURRENCY,
    },
}
"""By table and name of the contract."""


def meaning_of(column: str, table: str, mapped: Collection[str]) -> str:
    """Return which name of the contract a column has by its name, "" for none that matters.

    mapped: names of the contract that the source names columns for.

    >>> meaning_of("Order Status", "interactions", ["user_id"])
    'status'
    """
    fields = [name for name in _MEANINGS.get(table, {}) if name not in mapped]
    if "quantity" in fields and set(words(column)) <= GENERIC:
        fields.remove("quantity")  # an amount may be money
    best = max(fields, key=lambda name: likeness(name, column), default="")
    return best if best and likeness(best, column) > PART else ""


def print_unused(
    rows: ir.Table, columns: dict[str, Cells], file: File, table: str, mapped: Collection[str]
) -> None:
    """Print which of these columns would change what rows mean, with an example.

    columns: the cells by the shop's name, of columns with a meaning.
    """
    if not columns:
        return
    named = {shop: meaning_of(shop, table, mapped) for shop in columns}
    counts: dict[str, ir.Value] = {}
    for n, (shop, cells) in enumerate(columns.items()):
        meaning = _MEANINGS[table][named[shop]]
        value = meaning.value(cells, file.source)
        differs = cells.text.notnull() & meaning.differs(value, file.source)
        counts[f"given{n}"] = cells.text.count()
        counts[f"known{n}"] = (cells.text.notnull() & value.notnull()).sum()
        counts[f"differ{n}"] = differs.sum()
        counts |= example(f"first{n}", cells.text, rows, differs)
    found = first_row(rows.aggregate(**counts))
    for n, (shop, name) in enumerate(named.items()):
        if found[f"differ{n}"] and found[f"known{n}"] >= _KNOWN * found[f"given{n}"]:
            print(
                f"{file.shown}: column {shop!r} is not used, so {_MEANINGS[table][name].then}; "
                f"{found[f'differ{n}']:,} rows say otherwise, for example "
                f"{shown(found, f'first{n}')}: name it as `{name}` in `columns`"
            )
