"""One column of a file, whatever its format, in the forms that typing needs.

Text formats give texts. JSON and Parquet also say what a value is: a number keeps its decimal
point, a time its instant and a list its elements, and an object is never turned into its printed
form.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from uuid import UUID

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from components.data.sources.json_files import LIST, NESTED, NUMBER
from components.data.sources.spelling import SPACE

EXACT_FLOAT = 2**53
"""Whole numbers above this are not told apart by 64-bit floats."""

_DECIMALS = r"\.\d*[1-9]|[eE]"


@dataclass(frozen=True)
class Cells:
    """A column.

    text: each value as it is written, without white space around it; null where there is none.
    number: float64 where the file says that the value is a finite number, else null.
    time: the instant or local time where the file has the type of a time, else None.
    levels: the elements of lists, else null.
    nested: bool, whether the value is an object or, unless ``levels`` has it, a list.
    inexact: bool, whether the value is a number that several ids may be written as: a float that is
    several whole numbers, or a number with decimals in JSON (1.10 is 1.1).
    """

    text: ir.StringValue
    number: ir.Value
    time: ir.Value | None
    levels: ir.Value
    nested: ir.BooleanValue
    inexact: ir.BooleanValue

    def parts(self) -> dict[str, ir.Value]:
        """Return the expressions by name, without a ``time`` that is None."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def without(self, nulls: list[str]) -> Cells:
        """Return the column with null in the place of these words."""
        if not nulls:
            return self
        text = ibis.ifelse(self.text.isin(nulls), ibis.null("string"), self.text)
        return replace(
            self,
            text=text,
            number=ibis.ifelse(text.isnull(), ibis.null("float64"), self.number),
        )


def finite(number: ir.FloatingValue) -> ir.FloatingValue:
    """Return the numbers; null in the place of infinite values and NaN."""
    return ibis.ifelse(number.isinf() | number.isnan(), ibis.null(number.type()), number)


@ibis.udf.scalar.builtin(name="trim")
def _trim(text: str, characters: str) -> ibis.dtype("string"):  # type: ignore[valid-type]
    """DuckDB's function: the text without these characters around it."""


def _stripped(text: ir.StringValue) -> ir.StringValue:
    return _trim(text, SPACE).nullif("")


def joined(parts: list[Cells], separator: str) -> Cells:
    """Return several columns as one of texts, without the empty ones; lists stay nested."""
    if len(parts) == 1:
        return parts[0]
    text = ibis.array([part.text for part in parts]).join(separator).nullif("")
    no = ibis.literal(False)
    nested = ibis.or_(*(part.nested & part.levels.isnull() for part in parts))
    return Cells(text, _NO_NUMBER, None, _NO_LEVELS, nested, no)


_NO_NUMBER, _NO_LEVELS = ibis.null("float64"), ibis.null("array<string>")


def of_text(column: ir.Value) -> Cells:
    """Return a column of texts."""
    no = ibis.literal(False)
    text = column.cast("string")
    # Programs write ids as ="007", so that Excel keeps them as texts.
    plain = ibis.ifelse(text.startswith('="'), text.re_replace(r'^="(.*)"$', r"\1"), text)
    return Cells(_stripped(plain), _NO_NUMBER, None, _NO_LEVELS, no, no)


def of_json(text: ir.StringValue, kind: ir.StringValue, levels: ir.Value) -> Cells:
    """Return the columns c, k and l of ``json_files``."""
    stripped = _stripped(text)
    is_number = (kind == NUMBER).fill_null(False)
    return Cells(
        text=stripped,
        number=ibis.ifelse(is_number, finite(stripped.try_cast("float64")), _NO_NUMBER),
        time=None,
        levels=ibis.ifelse(kind == LIST, levels, _NO_LEVELS),
        nested=kind.isin([NESTED, LIST]).fill_null(False),
        inexact=is_number & stripped.re_search(_DECIMALS).fill_null(False),
    )


@ibis.udf.scalar.builtin(name="hex")
def _hex(value: bytes) -> ibis.dtype("string"):  # type: ignore[valid-type]
    """DuckDB's function: two digits for each byte, in capitals."""


_UUID_BYTES = 16


def text_of_bytes(value: bytes) -> str:
    r"""Return UTF-8 as a text, other 16 bytes as a UUID, and of others what is no ASCII as \xNN.

    >>> text_of_bytes(b"C7"), text_of_bytes(bytes(16))
    ('C7', '00000000-0000-0000-0000-000000000000')
    """
    text = value.decode("utf-8", "backslashreplace")
    if value == text.encode() and text.isprintable():
        return text
    return str(UUID(bytes=value)) if len(value) == _UUID_BYTES else text


def _of_bytes(column: ir.BinaryValue) -> ir.StringValue:
    """Return the texts of ``text_of_bytes``."""
    digits = _hex(column).lower()
    parts = [digits.substr(start, n) for start, n in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
    printed = column.cast("string")  # DuckDB writes bytes that are no ASCII as \xNN
    is_uuid = printed.contains("\\x") & (digits.length() == 2 * _UUID_BYTES)
    return ibis.ifelse(is_uuid, ibis.literal("-").join(parts), printed)


def of_native(column: ir.Value) -> Cells:
    """Return a column of a Parquet file by its type."""
    kind = column.type()
    no = ibis.literal(False)
    text = _stripped(_of_bytes(column) if kind.is_binary() else column.cast("string"))
    if kind.is_floating():
        whole = (column % 1 == 0) & (column.abs() < EXACT_FLOAT)
        # A column of numbers with gaps is stored as floats: 12345.0 is the shop's 12345.
        text = ibis.ifelse(whole, column.try_cast("int64").cast("string"), text)
        exact = EXACT_FLOAT if kind.is_float64() else 2**24
        number = finite(column.cast("float64"))
        inexact = (number.abs() >= exact).fill_null(False)
        return Cells(text, number, None, _NO_LEVELS, no, inexact)
    if kind.is_decimal():
        text = text.re_replace(r"\.0+$", "")
    if kind.is_numeric():
        return Cells(text, column.cast("float64"), None, _NO_LEVELS, no, no)
    if kind.is_timestamp() or kind.is_date():
        return Cells(text, _NO_NUMBER, column, _NO_LEVELS, no, no)
    if isinstance(kind, dt.Array):
        flat = kind.value_type.is_string() or kind.value_type.is_numeric()
        levels = column.cast("array<string>") if flat else _NO_LEVELS
        return Cells(text, _NO_NUMBER, None, levels, column.notnull(), no)
    nested = column.notnull() if kind.is_nested() else no
    return Cells(text, _NO_NUMBER, None, _NO_LEVELS, nested, no)
