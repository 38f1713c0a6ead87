"""Columns that no source names although they say what rows mean.

An export may get a column after its source was written: the state of orders, a quantity, a
currency. Its rows would then be read as if all were sold once and in one currency. In: the names
of a file's columns and the values of those that may matter. Out: lines that are printed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import ibis.expr.types as ir

from components.data.schema import STATUSES
from components.data.sources.booleans import availability
from components.data.sources.cells import Cells
from components.data.sources.currencies import currencies
from components.data.sources.events import events
from components.data.sources.files import ROW, File
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
        counts[f"row{n}"] = rows[ROW].min(where=differs)
        counts[f"text{n}"] = cells.text.argmin(rows[ROW], where=differs)
    found: dict[str, Any] = rows.aggregate(**counts).execute().iloc[0].to_dict()
    for n, (shop, name) in enumerate(named.items()):
        if not found[f"differ{n}"] > 0 or found[f"known{n}"] < _KNOWN * found[f"given{n}"]:
            continue
        print(
            f"{file.shown}: column {shop!r} is not used, so {_MEANINGS[table][name].then}; "
            f"{int(found[f'differ{n}']):,} rows say otherwise, for example "
            f"{str(found[f'text{n}'])[:60]!r} in row {int(found[f'row{n}']) + 1:,}: name it as "
            f"`{name}` in `columns`"
        )
