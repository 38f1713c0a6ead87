"""Columns that no source names although they say what rows mean.

An export may get a column after its source was written: the state of orders, a quantity, a
currency. Its rows would then be read as if all were sold once and in one currency. In: the names
of a file's columns and the values of those that may matter. Out: sentences. ``marks`` knows the
columns whose values are words of each shop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.schema import STATUSES
from components.data.sources.booleans import availability
from components.data.sources.cells import Cells
from components.data.sources.column import example, first_row, shown
from components.data.sources.currencies import currencies
from components.data.sources.events import events
from components.data.sources.marks import COUNTED, Values, note
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


def may_matter(column: str, table: str, mapped: Collection[str]) -> bool:
    """Return whether a column says by its name what rows mean.

    mapped: names of the contract that the source names columns for.

    >>> may_matter("Order Status", "interactions", ["user_id"])
    True
    >>> may_matter("colour", "items", ["item_id"])
    False
    """
    return bool(_meaning_of(column, table, mapped) or note(table, column, None, mapped))


def _meaning_of(column: str, table: str, mapped: Collection[str]) -> str:
    """Return which name of the contract a column has by its name, "" for none that matters."""
    fields = [name for name in _MEANINGS.get(table, {}) if name not in mapped]
    if "quantity" in fields and set(words(column)) <= GENERIC:
        fields.remove("quantity")  # an amount may be money
    best = max(fields, key=lambda name: likeness(name, column), default="")
    return best if best and likeness(best, column) > PART else ""


def unused_notes(
    rows: ir.Table, columns: dict[str, Cells], source: Source, table: str, mapped: Collection[str]
) -> dict[str, str]:
    """Return what to do about these columns that would change what rows mean, by column.

    columns: the cells by the shop's name, of columns that may matter.
    """
    found = _of_known_values(rows, columns, source, table, mapped)
    for shop, cells in columns.items():
        if shop not in found and note(table, shop, None, mapped):
            found[shop] = note(table, shop, _values(rows, cells.text), mapped)
    return {shop: text for shop, text in found.items() if text}


def _of_known_values(
    rows: ir.Table,
    columns: dict[str, Cells],
    source: Source,
    table: str,
    mapped: Collection[str],
) -> dict[str, str]:
    """Return the sentences on columns whose values have a meaning of the contract."""
    named = {shop: _meaning_of(shop, table, mapped) for shop in columns}
    named = {shop: name for shop, name in named.items() if name}
    if not named:
        return {}
    counts: dict[str, ir.Value] = {}
    for n, (shop, name) in enumerate(named.items()):
        cells, meaning = columns[shop], _MEANINGS[table][name]
        value = meaning.value(cells, source)
        differs = cells.text.notnull() & meaning.differs(value, source)
        counts[f"given{n}"] = cells.text.count()
        counts[f"known{n}"] = (cells.text.notnull() & value.notnull()).sum()
        counts[f"differ{n}"] = differs.sum()
        counts |= example(f"first{n}", cells.text, rows, differs)
    found = first_row(rows.aggregate(**counts))
    return {
        shop: (
            f"column {shop!r} is not used, so {_MEANINGS[table][name].then}; "
            f"{found[f'differ{n}']:,} rows say otherwise, for example "
            f"{shown(found, f'first{n}')}: name it as `{name}` in `columns`"
        )
        for n, (shop, name) in enumerate(named.items())
        if found[f"differ{n}"] and found[f"known{n}"] >= _KNOWN * found[f"given{n}"]
    }


def _values(rows: ir.Table, text: ir.StringValue) -> Values:
    """Return the values of a column and their rows."""
    total = first_row(rows.aggregate(rows=rows.count(), given=text.count()))
    counted = rows.select(value=text).filter(_.value.notnull()).group_by("value")
    most = counted.aggregate(n=_.count()).order_by([ibis.desc("n"), "value"]).limit(COUNTED + 1)
    counts = {one: int(n) for one, n in most.execute().itertuples(index=False)}
    return Values(counts, int(total["rows"]), int(total["given"]))
