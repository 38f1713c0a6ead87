"""A file's columns → the contract's names and types.

In: a ``File`` and the table that it is read for. Out: an Ibis table with the columns that
``columns:`` of the source names. One module types each kind of value (``ids``, ``numbers``,
``times``, ``booleans``, ``events``), the same way for every format; ``checks`` refuses what cannot
be right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import ibis
import ibis.expr.types as ir

from components.data.sources.booleans import availability
from components.data.sources.cells import Cells
from components.data.sources.checks import (
    LEVELS,
    NUMBERS,
    Column,
    check_columns,
    known_formats,
    time_unit,
    unreadable,
)
from components.data.sources.events import IGNORE, events
from components.data.sources.files import ROW, File
from components.data.sources.hints import did_you_mean
from components.data.sources.ids import ids, item_ids
from components.data.sources.numbers import numbers
from components.data.sources.times import times
from components.settings import Source


@dataclass(frozen=True)
class Mappable:
    """Names that ``columns:`` of a source may use.

    aliases: other names for one of them, as alias → name.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    aliases: dict[str, str]

    @property
    def known(self) -> tuple[str, ...]:
        """The names without the aliases."""
        return (*self.required, *self.optional)


LINE_CATALOGUE = ("title", "description", "brand", "categories")
"""Facts about its item that an interaction may carry, for shops without an item file."""

_CATEGORIES = {"category": "categories"}

MAPPABLE = {
    "interactions": Mappable(
        ("user_id", "item_id", "timestamp"),
        (
            *("event", "rating", "quantity", "price", "order_id", "impression_id"),
            *(*LINE_CATALOGUE, "country"),
        ),
        _CATEGORIES,
    ),
    "items": Mappable(
        ("item_id", "title"),
        ("description", "brand", "categories", "price", "currency", "available"),
        _CATEGORIES,
    ),
    "users": Mappable(("user_id",), ("country",), {}),
    "reviews": Mappable(
        ("item_id", "text"), ("user_id", "rating", "title", "category", "timestamp"), {}
    ),
}
"""Names that ``columns:`` of a source may use, by table."""


def read(con: ibis.BaseBackend, file: File, table: str) -> ir.Table:
    """Return the file's rows with the contract's column names and types of ``table``.

    The columns ``source`` and ``source_row`` name the file and the row in it, from 0.
    ``unreadable`` names the values that are not of their type, which are null; it is null where
    there are none. Contract columns that the source does not name are absent. Rows whose event the
    source ignores are left out.

    Raises:
        ValueError: the file cannot be read; a column that ``columns:`` names is missing in the file
            or unknown to the contract, or a required one is not named; or a column's values are not
            of its type (see ``checks``).
    """
    names = mapped_columns(file.source, table)
    try:
        rows, cells = file.columns(con, list(dict.fromkeys(names.values())))
        cells = {shop: one.without(file.source.nulls or []) for shop, one in cells.items()}
        columns = [
            _column(con, rows, file, name, shop, cells[shop]) for name, shop in names.items()
        ]
        rows, columns = _as_view(con, rows, columns)
        check_columns(rows, columns, file)
    except ValueError as error:
        raise ValueError(f"ingest.{table}: {error}") from error
    typed = rows.select(
        **{column.name: column.value for column in columns},
        unreadable=unreadable(columns),
        source=ibis.literal(file.shown),
        source_row=rows[ROW].cast("int64"),
    )
    return _without_ignored(typed, file)


def _column(
    con: ibis.BaseBackend, rows: ir.Table, file: File, name: str, shop: str, cells: Cells
) -> Column:
    """Return the column as the contract's type of ``name``; null where a value is not of it."""
    source = file.source
    value: ir.Value
    if name == "timestamp":
        formats = known_formats(con, file)
        unit = time_unit(rows, cells, shop, file)
        value = times(cells, formats, unit)
    elif name in NUMBERS:
        value = numbers(cells, source)
    elif name == "available":
        value = availability(cells, source)
    elif name == "event":
        value = events(cells, source)
    elif name in LEVELS:
        value = _categories(cells, source.category_separator)
    elif name == "user_id":
        value = ids(cells.text, source.user_ids)
    elif name == "item_id":
        value = item_ids(cells.text, source)
    else:
        value = cells.text
    return Column(name, shop, cells, value)


def _as_view(
    con: ibis.BaseBackend, rows: ir.Table, columns: list[Column]
) -> tuple[ir.Table, list[Column]]:
    """Return the same rows and columns as those of a view.

    Every query of the checks then names columns instead of repeating how they are read, which
    takes longer to compile than a small file to read.
    """
    parts = {
        f"{column.name}__{part}": value
        for column in columns
        for part, value in {**column.cells.parts(), "value": column.value}.items()
    }
    view = con.create_view(ibis.util.gen_name("columns"), rows.select(ROW, **parts), overwrite=True)
    return view, [
        replace(
            column,
            cells=replace(
                column.cells,
                **{part: view[f"{column.name}__{part}"] for part in column.cells.parts()},
            ),
            value=view[f"{column.name}__value"],
        )
        for column in columns
    ]


def _without_ignored(rows: ir.Table, file: File) -> ir.Table:
    """Return the rows whose event is not ignored, and print how many are."""
    if IGNORE not in file.source.events.values() or "event" not in rows.columns:
        return rows
    ignored = int(rows.filter(rows.event == IGNORE).count().execute())
    if ignored:
        print(f"{file.shown}: {ignored:,} rows of ignored events (events: ignore) are left out")
    return rows.filter(rows.event != IGNORE)


def mapped_columns(source: Source, table: str) -> dict[str, str]:
    """Return the shop's column for each contract column that ``source`` names, aliases resolved.

    Raises:
        ValueError: a name is unknown to the contract or named twice, or a required one is missing.
    """
    names = MAPPABLE[table]
    columns: dict[str, str] = {}
    for given, shop in source.columns.items():
        contract = names.aliases.get(given, given)
        if contract not in names.known:
            raise ValueError(
                f"ingest.{table}: {source.shown}: columns has {given!r}, which the contract does "
                f"not know{did_you_mean(given, names.known)}; known are {', '.join(names.known)}"
            )
        if contract in columns:
            raise ValueError(
                f"ingest.{table}: {source.shown}: columns has {contract!r} twice, once as "
                f"{given!r}: keep one of the two"
            )
        columns[contract] = shop
    for contract in names.required:
        if contract not in columns:
            raise ValueError(
                f"ingest.{table}: {source.shown}: columns must name the shop's {contract}"
            )
    return columns


def complete(rows: ir.Table, defaults: dict[str, ir.Value]) -> ir.Table:
    """Return ``rows`` with the columns of ``defaults`` that it lacks."""
    return rows.mutate(
        **{name: value for name, value in defaults.items() if name not in rows.columns}
    )


def _categories(cells: Cells, separator: str) -> ir.Value:
    """Return the levels of a category, most general first: a list as it is, a text split at
    ``separator``, or as one level if that is ""."""
    text = cells.text
    if separator:
        parts = text.split(separator)
    else:
        parts = ibis.ifelse(text.notnull(), ibis.array([text]), ibis.null("array<string>"))
    levels = ibis.coalesce(cells.levels, parts)
    return levels.map(lambda level: level.strip()).filter(lambda level: level != "")
