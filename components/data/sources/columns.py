"""A file's columns → the contract's names and types.

In: a ``File`` and the table that it is read for. Out: an Ibis table with the columns that
``columns:`` of the source names.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from components.data.sources.files import File
from components.data.sources.hints import did_you_mean
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

NUMBERS = ("rating", "quantity", "price")


def read(con: ibis.BaseBackend, file: File, table: str) -> ir.Table:
    """Return the file's rows with the contract's column names and types of ``table``.

    The columns ``source`` and ``source_row`` name the file and the row in it. Contract columns
    that the source does not name are absent.

    Raises:
        ValueError: a column that ``columns:`` names is missing in the file or unknown to the
            contract, a required one is not named, or most of a column's values are not of its type.
    """
    columns = mapped_columns(file.source, table)
    raw = file.open(con)
    for contract, shop in columns.items():
        if shop not in raw.columns:
            raise ValueError(
                f"ingest.{table}: {file.shown} has no column {shop!r} (for {contract})"
                f"{did_you_mean(shop, raw.columns)}; it has {', '.join(raw.columns)}"
            )
    chosen = raw.select(**{contract: raw[shop] for contract, shop in columns.items()})
    typed = chosen.mutate(**{name: _typed(chosen[name], name, file.source) for name in columns})
    _check_types(chosen, columns, file, table)
    return typed.mutate(source=ibis.literal(file.shown), source_row=ibis.row_number())


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
                f"ingest.{table}: {source.path}: columns has {given!r}, which the contract does "
                f"not know{did_you_mean(given, names.known)}; known are {', '.join(names.known)}"
            )
        if contract in columns:
            raise ValueError(
                f"ingest.{table}: {source.path}: columns has {contract!r} twice, once as "
                f"{given!r}: keep one of the two"
            )
        columns[contract] = shop
    for contract in names.required:
        if contract not in columns:
            raise ValueError(
                f"ingest.{table}: {source.path}: columns must name the shop's {contract}"
            )
    return columns


def complete(rows: ir.Table, defaults: dict[str, ir.Value]) -> ir.Table:
    """Return ``rows`` with the columns of ``defaults`` that it lacks."""
    return rows.mutate(
        **{name: value for name, value in defaults.items() if name not in rows.columns}
    )


def _typed(column: ir.Column, name: str, source: Source) -> ir.Value:
    """Return ``column`` as the contract's type of ``name``; null where the value is not of it."""
    if name == "timestamp":
        return _timestamp(column, source.timestamp_format)
    if name in NUMBERS:
        return column.try_cast("float32")
    if name == "available":
        return column.cast("string").lower().isin(["true", "1", "1.0", "yes", "y", "t"])
    if name in ("categories", "category"):
        return _categories(column, source.category_separator)
    text = _text(column)
    if name in ("user_id", "item_id", "order_id"):
        # A number column with gaps is read as floats: 12345.0 is the shop's 12345.
        text = text.re_replace(r"^(-?\d+)\.0$", r"\1")
    if name == "item_id":
        text = text.upper() if source.item_id_case == "upper" else text
        text = ibis.literal(source.item_prefix) + text if source.item_prefix else text
    return text


def _text(column: ir.Column) -> ir.StringValue:
    return column.cast("string").strip().nullif("")


def _categories(column: ir.Column, separator: str) -> ir.Value:
    """Return the levels of a category, most general first: a list as it is, a text split at
    ``separator``, or as one level if that is ""."""
    if column.type().is_array():
        levels = column.cast("array<string>")
    elif separator:
        levels = _text(column).split(separator)
    else:
        text = _text(column)
        levels = ibis.ifelse(text.notnull(), ibis.array([text]), ibis.null("array<string>"))
    return levels.map(lambda level: level.strip()).filter(lambda level: level != "")


def _timestamp(column: ir.Column, form: str | None) -> ir.Value:
    """Return ``column`` as an instant; a time without an offset is in the session's time zone."""
    kind = column.type()
    if kind.is_numeric():
        number = column.cast("float64")
        seconds = ibis.ifelse(number.abs() > 1e11, number / 1000, number)  # milliseconds
        return _to_timestamp(seconds)
    if kind.is_string() and form is not None:
        return _try_strptime(column, form).cast("timestamp('UTC')")
    return column.try_cast("timestamp('UTC')")


@ibis.udf.scalar.builtin(name="try_strptime")
def _try_strptime(text: str, form: str) -> ibis.dtype("timestamp"):  # type: ignore[valid-type]
    """DuckDB's function: null where the text does not match the format."""


@ibis.udf.scalar.builtin(name="to_timestamp")
def _to_timestamp(seconds: float) -> ibis.dtype("timestamp('UTC')"):  # type: ignore[valid-type]
    """DuckDB's function: seconds since 1970 as an instant."""


def _check_types(chosen: ir.Table, columns: dict[str, str], file: File, table: str) -> None:
    """Raise if most of a column's values are not of its type: the wrong column was named."""
    checked = [name for name in (*NUMBERS, "timestamp") if name in columns]
    if not checked:
        return
    counts = chosen.select(
        **{f"{name}_given": _text(chosen[name]).notnull() for name in checked},
        **{f"{name}_read": _typed(chosen[name], name, file.source).notnull() for name in checked},
        **{f"{name}_text": _text(chosen[name]) for name in checked},
    )
    found = counts.aggregate(
        **{f"{name}_given": counts[f"{name}_given"].sum() for name in checked},
        **{f"{name}_read": counts[f"{name}_read"].sum() for name in checked},
        **{
            f"{name}_text": counts[f"{name}_text"].first(
                where=counts[f"{name}_given"] & ~counts[f"{name}_read"]
            )
            for name in checked
        },
    ).execute()
    for name in checked:
        given, ok = int(found[f"{name}_given"][0] or 0), int(found[f"{name}_read"][0] or 0)
        if given and ok < given / 2:
            expected = "a time" if name == "timestamp" else "a number"
            advice = "; set timestamp_format of this source" if name == "timestamp" else ""
            raise ValueError(
                f"ingest.{table}: {file.shown}: column {columns[name]!r} (for {name}) should hold "
                f"{expected}, but {given - ok:,} of {given:,} values do not, for example "
                f"{found[f'{name}_text'][0]!r}{advice}"
            )
