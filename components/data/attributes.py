"""Attributes: columns of users and items that a shop declares, each with its type.

In: ``attributes`` of the sources in params.yaml. Out: columns of the tables whose names say the
type, ``category:colour``, so that every later stage and a model folder can tell what a column is.

number: float32. category: one text. set: several texts. text: words for the encoder. date: UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from components.settings import AttributeType, Settings, Source

if TYPE_CHECKING:
    import ibis.expr.types as ir

TYPES: tuple[AttributeType, ...] = get_args(AttributeType)
ARROW: dict[AttributeType, pa.DataType] = {
    "number": pa.float32(),
    "category": pa.string(),
    "set": pa.list_(pa.string()),
    "text": pa.string(),
    "date": pa.timestamp("us", tz="UTC"),
}
"""Types of the columns."""


def column_of(name: str, kind: AttributeType) -> str:
    """Return the column of an attribute.

    >>> column_of("colour", "category")
    'category:colour'
    """
    return f"{kind}:{name}"


def kind_of(column: str) -> AttributeType | None:
    """Return the type of an attribute's column, None for a column of the contract.

    >>> kind_of("number:margin"), kind_of("price")
    ('number', None)
    """
    before, colon, _ = column.partition(":")
    return next((kind for kind in TYPES if colon and kind == before), None)


def name_of(column: str) -> str:
    """Return the attribute's name.

    >>> name_of("number:margin")
    'margin'
    """
    return column.partition(":")[2]


def label_of(column: str) -> str:
    """Return the column in messages, ``attribute margin``; those of the contract as they are."""
    return column if kind_of(column) is None else f"attribute {name_of(column)}"


def attribute_columns(columns: Iterable[str]) -> list[str]:
    """Return the columns of attributes among ``columns``."""
    return [column for column in columns if kind_of(column) is not None]


def declared(sources: Sequence[Source]) -> list[str]:
    """Return the columns of all attributes that the sources of one table declare, sorted."""
    return sorted(column_of(name, kind) for name, kind in types(sources).items())


def types(sources: Sequence[Source]) -> dict[str, AttributeType]:
    """Return the type of each attribute that the sources of one table declare."""
    return {
        name: attribute.type for source in sources for name, attribute in source.attributes.items()
    }


def shown(settings: Settings) -> tuple[str, ...]:
    """Return the columns of products' attributes that answers may show, in declared order.

    Those of ``serve.hidden_attributes`` are left out. A model may hold further ones, which were
    declared when it was trained.
    """
    return tuple(
        column_of(name, kind)
        for name, kind in types(settings.ingest.items).items()
        if name not in settings.serve.hidden_attributes
    )


def fields(columns: Iterable[str]) -> list[pa.Field]:
    """Return the Arrow fields of the attributes among ``columns``."""
    found = ((column, kind_of(column)) for column in columns)
    return [pa.field(column, ARROW[kind]) for column, kind in found if kind is not None]


def with_attributes(schema: pa.Schema, columns: Iterable[str]) -> pa.Schema:
    """Return the schema with the fields of the attributes among ``columns`` at its end."""
    for field in fields(columns):
        schema = schema.append(field)
    return schema


def nulls(columns: Iterable[str]) -> dict[str, ir.Value]:
    """Return a null of its type for each of the attributes' columns."""
    import ibis  # a third of a second, which training and serving do not need

    return {field.name: ibis.null(ibis.dtype(field.type)) for field in fields(columns)}


def attribute_texts(table: pd.DataFrame) -> list[pd.Series]:
    """Return, for each attribute of type text, the texts of the rows; "" where there is none."""
    columns = [column for column in table.columns if kind_of(column) == "text"]
    return [table[column].fillna("").astype(str) for column in columns]


LONGEST_TEXT, LARGEST_SET = 1000, 100
"""Characters of a text, and values of a set, that a request may bring."""


def checked(kind: AttributeType, value: object) -> float | str | list[str]:
    """Return the value of an attribute as a request brings it, as JSON can hold it.

    A date is a text of ISO 8601.

    Raises:
        ValueError: it is not of the type; the message says what is.

    >>> checked("set", ["winter", "summer", "winter"])
    ['summer', 'winter']
    """
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e38:
            raise ValueError("must be a number, below 1e38")
        return float(value)
    if kind == "set":
        if not isinstance(value, list) or len(value) > LARGEST_SET:
            raise ValueError(f"must be a list of at most {LARGEST_SET} texts")
        return sorted({_text(one) for one in value})
    text = _text(value)
    if kind == "date":
        try:
            pd.to_datetime(text, utc=True, format="ISO8601")
        except ValueError as error:
            raise ValueError(
                "must be a date of ISO 8601 in the years 1678 to 2261, such as 1990-05-31"
            ) from error
    return text


def valid(kind: AttributeType, value: object) -> float | str | list[str] | None:
    """Return a stored value if it is of the type, else None: the shop may have declared another
    type since.

    >>> valid("number", "25-34") is None
    True
    """
    try:
        return None if value is None else checked(kind, value)
    except ValueError:
        return None


def as_json(column: str, cell: Any) -> float | str | list[str] | None:
    """Return a cell of an attribute's column as JSON can hold it, a date as a text of ISO 8601;
    None where the value is not known.

    >>> as_json("number:width", np.float32(0.1)), as_json("set:use", np.array(["tea"]))
    (0.1, ['tea'])
    """
    kind = kind_of(column)
    if kind == "set" and not pd.api.types.is_scalar(cell):
        return [str(one) for one in cell] or None
    if pd.isna(cell):
        return None
    if kind == "number":
        # The shortest number that is the same float32; the rest of a float64 would be noise.
        return float(str(np.float32(cell))) if np.isfinite(cell) else None
    return cell.isoformat() if kind == "date" else str(cell)


def _text(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= LONGEST_TEXT or "\0" in value:
        raise ValueError(f"must be a text of 1 to {LONGEST_TEXT} characters")
    return value.strip()
