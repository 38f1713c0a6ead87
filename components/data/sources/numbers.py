"""Texts → numbers, with the decimal and thousands signs of the source."""

from __future__ import annotations

import re

import ibis
import ibis.expr.types as ir

from components.data.sources.cells import Cells, finite
from components.settings import Source

GROUPS_OF_THREE = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
"""A point that may be a decimal or a thousands sign: 1.299."""
DECIMAL_COMMA = r"^[+-]?\d{1,3}((\.\d{3})*|\d*),\d{1,2}$"
"""A comma that can be a decimal sign only: 12,50."""

_NO_CENTS = "(\\d)[.,][-\u2013\u2014]{1,2}$"
"""How price labels write whole amounts: 39,- and 39.\u2013."""
SIGNS = ((".", ""), (",", ""), (".", ","), (",", "."), (",", " "), (".", " "), (".", "'"))
"""Decimal and thousands signs that a refusal tries."""


def numbers(cells: Cells, source: Source) -> ir.FloatingValue:
    """Return float32; null where the value is no finite number."""
    return as_float32(
        ibis.coalesce(cells.number, of_text(cells, source.decimal or ".", source.thousands))
    )


def as_float32(number: ir.FloatingValue) -> ir.FloatingValue:
    """Return float32; null in the place of infinite values and NaN."""
    return finite(number.try_cast("float32"))


def of_text(cells: Cells, decimal: str, thousands: str) -> ir.FloatingValue:
    """Return float64; null where the text is no number in these signs, or the value is a number."""
    point = re.escape(decimal)
    groups = f"[{thousands}\u00a0\u202f]" if thousands == " " else re.escape(thousands)
    whole = rf"(?:\d{{1,3}}(?:{groups}\d{{3}})+|\d+)" if thousands else r"\d+"
    pattern = rf"^[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?$"
    given = ibis.ifelse(cells.number.isnull(), cells.text, ibis.null("string"))
    # Accounting programs write (12) and 12- for what is below zero.
    whole_units = given.replace("\u2212", "-").re_replace(_NO_CENTS, r"\1")
    text = whole_units.re_replace(r"^(?:\((.*)\)|([^-]*)-)$", r"-\1\2")
    plain = text.re_replace(groups, "") if thousands else text
    if decimal == ",":
        plain = plain.replace(",", ".")
    return ibis.ifelse(text.re_search(pattern), plain.try_cast("float64"), ibis.null("float64"))
