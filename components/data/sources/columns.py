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

from components.data.attributes import column_of, kind_of, name_of
from components.data.sources.addresses import ADDRESSES, unsafe_addresses, web_addresses
from components.data.sources.booleans import availability
from components.data.sources.categories import categories, several_paths
from components.data.sources.cells import Cells, joined
from components.data.sources.checks import (
    LEVELS,
    NUMBERS,
    TEXTS,
    check_columns,
    unreadable,
)
from components.data.sources.column import Column
from components.data.sources.currencies import NO_PART_OF_AMOUNTS, currencies, without_currency
from components.data.sources.events import IGNORE, events
from components.data.sources.files import ROW, File
from components.data.sources.hints import did_you_mean
from components.data.sources.ids import ids, item_ids
from components.data.sources.languages import languages
from components.data.sources.markup import decoded
from components.data.sources.numbers import numbers
from components.data.sources.statuses import statuses
from components.data.sources.time_checks import known_formats, time_unit
from components.data.sources.times import times, versions
from components.data.sources.unused import may_matter, unused_notes
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

_JOINED = {"title": " ", "description": "\n", "text": "\n"}
"""What stands between the columns of a text."""

MAPPABLE = {
    "interactions": Mappable(
        ("user_id", "item_id", "timestamp"),
        (
            *("event", "rating", "quantity", "price", "currency", "order_id", "status", "version"),
            *("impression_id", *LINE_CATALOGUE, "country"),
        ),
        {**_CATEGORIES, "updated_at": "version"},
    ),
    "items": Mappable(
        ("item_id", "title"),
        (
            *("description", "brand", "categories", "price", "currency", "available", "image"),
            *("url", "language"),
        ),
        _CATEGORIES,
    ),
    "users": Mappable(("user_id",), ("country",), {}),
    "reviews": Mappable(
        ("item_id", "text"),
        ("user_id", "rating", "title", "category", "timestamp", "language"),
        {},
    ),
}
"""Names that ``columns:`` of a source may use, by table."""


def read(con: ibis.BaseBackend, file: File, table: str) -> ir.Table:
    """Return the file's rows with the contract's column names and types of ``table``.

    The columns ``source`` and ``source_row`` name the file and the row in it, from 0.
    ``unreadable`` names the values that are not of their type, which are null; it is null where
    there are none. Contract columns that the source does not name are absent. Attributes are
    columns with their types in their names (see ``data.attributes``). Rows whose event the source
    ignores are left out. What a reader should know of other columns is in ``file.notes``.

    Raises:
        ValueError: the file cannot be read; a column that ``columns:`` names is missing in the file
            or unknown to the contract, or a required one is not named; or a column's values are not
            of its type (see ``checks``).
    """
    names = {**mapped_columns(file.source, table), **_attribute_columns(file.source)}
    try:
        wanted = [shop for shops in names.values() for shop in shops]
        rows, cells = file.columns(
            con, list(dict.fromkeys(wanted)), lambda shop: may_matter(shop, table, names)
        )
        cells = {shop: one.without(file.source.nulls or []) for shop, one in cells.items()}
        others = {shop: one for shop, one in cells.items() if shop not in wanted}
        file.notes.update(unused_notes(rows, others, file.source, table, names))
        if "price" in names:
            rows, names, cells = _with_currency(con, rows, names, cells, file.source)
        columns = [
            _column(con, rows, file, name, {shop: cells[shop] for shop in shops})
            for name, shops in names.items()
        ]
        rows, columns = _as_view(con, rows, columns)
        check_columns(rows, columns, file)
        file.notes.update(several_paths(rows, columns, file.source))
        file.notes.update(unsafe_addresses(rows, columns))
    except ValueError as error:
        raise ValueError(f"ingest.{table}: {error}") from error
    typed = rows.select(
        **{column.name: column.value for column in columns},
        unreadable=unreadable(columns),
        source=ibis.literal(file.shown),
        source_row=rows[ROW].cast("int64"),
    )
    return _without_ignored(typed, file)


def _attribute_columns(source: Source) -> dict[str, list[str]]:
    """Return the shop's column, in a list, for each attribute that ``source`` declares."""
    return {
        column_of(name, attribute.type): [attribute.column or name]
        for name, attribute in source.attributes.items()
    }


def _with_currency(
    con: ibis.BaseBackend,
    rows: ir.Table,
    names: dict[str, list[str]],
    cells: dict[str, Cells],
    source: Source,
) -> tuple[ir.Table, dict[str, list[str]], dict[str, Cells]]:
    """Return rows, names and cells with ``12,50 €`` as a price and, unless there is a column for
    it, a currency."""
    (shop,) = names["price"]
    more = cells[shop].number.isnull() & cells[shop].text.re_search(NO_PART_OF_AMOUNTS)
    if not rows.aggregate(more=more.any()).more.execute()[0]:
        return rows, names, cells
    rows, cells = _cells_of_view(con, rows, cells)
    amounts, currency = without_currency(cells[shop], source)
    added = {} if "currency" in names else {"currency": [f"{shop}: currency"]}
    cells = {**cells, shop: amounts, f"{shop}: currency": currency}
    rows, cells = _cells_of_view(con, rows, cells)
    return rows, {**names, **added}, cells


def _cells_of_view(
    con: ibis.BaseBackend, rows: ir.Table, cells: dict[str, Cells]
) -> tuple[ir.Table, dict[str, Cells]]:
    """Return the same rows and cells as those of a view, see ``_as_view``."""
    parts = {
        f"{n}__{part}": value
        for n, one in enumerate(cells.values())
        for part, value in one.parts().items()
    }
    view = con.create_view(ibis.util.gen_name("cells"), rows.select(ROW, **parts), overwrite=True)
    return view, {
        shop: replace(one, **{part: view[f"{n}__{part}"] for part in one.parts()})
        for n, (shop, one) in enumerate(cells.items())
    }


def _column(
    con: ibis.BaseBackend, rows: ir.Table, file: File, name: str, given: dict[str, Cells]
) -> Column:
    """Return the column as the contract's type of ``name``; null where a value is not of it.

    given: the shop's columns by name; several are joined.
    """
    source = file.source
    shop = " + ".join(given)
    cells = joined(list(given.values()), _JOINED.get(name, " "))
    value: ir.Value
    if kind_of(name) is not None:
        value = _attribute(con, file, name, cells)
    elif name == "timestamp":
        formats = known_formats(con, file)
        unit = time_unit(rows, cells, shop, file)
        value = times(cells, formats, unit)
    elif name in NUMBERS:
        value = numbers(cells, source)
    elif name == "available":
        value = availability(cells, source)
    elif name in ADDRESSES:
        value = web_addresses(cells.text)
    elif name == "event":
        value = events(cells, source)
    elif name in LEVELS:
        separator = source.category_separator
        value = categories(list(given.values()), source, separator, source.categories == "set")
    elif name in TEXTS:
        value = decoded(cells.text) if source.html == "decode" else cells.text
    elif name == "status":
        value = statuses(cells, source)
    elif name == "currency":
        value = currencies(cells, source)
    elif name == "version":
        value = versions(cells, known_formats(con, file))
    elif name == "language":
        value = languages(cells)
    elif name == "user_id":
        value = ids(cells.text, source.user_ids)
    elif name == "item_id":
        value = item_ids(cells.text, source)
    else:
        value = cells.text
    return Column(name, shop, cells, value)


def _attribute(con: ibis.BaseBackend, file: File, name: str, cells: Cells) -> ir.Value:
    """Return the values of an attribute as the type of its declaration."""
    source, kind = file.source, kind_of(name)
    if kind == "number":
        return numbers(cells, source)
    if kind == "date":
        return times(cells, known_formats(con, file), source.timestamp_unit)
    if kind == "set":
        separator = source.attributes[name_of(name)].separator
        values = categories([cells], source, separator, as_set=True)
        return ibis.ifelse(values.length() > 0, values, ibis.null("array<string>"))
    return decoded(cells.text) if source.html == "decode" else cells.text


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


def mapped_columns(source: Source, table: str) -> dict[str, list[str]]:
    """Return the shop's columns for each contract column that ``source`` names, aliases resolved.

    Several are joined.

    Raises:
        ValueError: a name is unknown to the contract or named twice, a required one is missing, or
            columns are joined that are no texts.
    """
    names = MAPPABLE[table]
    columns: dict[str, list[str]] = {}
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
        columns[contract] = [shop] if isinstance(shop, str) else shop
        if len(columns[contract]) > 1 and contract not in (*_JOINED, *LEVELS):
            raise ValueError(
                f"ingest.{table}: {source.shown}: columns names several columns for {given!r}: "
                f"only those of {', '.join((*_JOINED, *LEVELS))} are joined; name one"
            )
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
