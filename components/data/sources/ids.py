"""Ids as the source's rules write them: columns of files. ``spelling`` has single ids."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from components.data.sources.spelling import WITH_POINT_ZERO, item_rules
from components.settings import Ids, Source


@ibis.udf.scalar.builtin(name="nfc_normalize")
def nfc(text: str) -> ibis.dtype("string"):  # type: ignore[valid-type]
    """DuckDB's function: letters with accents in their composed form."""


def integral(text: ir.StringValue) -> ir.StringValue:
    """Return whole numbers without the zeros after their points."""
    return text.re_replace(WITH_POINT_ZERO, r"\1")


def without_leading_zeros(text: ir.StringValue) -> ir.StringValue:
    """Return the ids without zeros on the left; the last character stays."""
    return text.re_replace(r"^0+(.)", r"\1")


def ids(text: ir.StringValue, rules: Ids) -> ir.StringValue:
    """Return the ids in one spelling."""
    if rules.integral:
        text = integral(text)
    if rules.leading_zeros == "strip":
        text = without_leading_zeros(text)
    if rules.width:
        text = ibis.ifelse(text.length() < rules.width, text.lpad(rules.width, "0"), text)
    if rules.case != "keep":
        text = text.upper() if rules.case == "upper" else text.lower()
    return nfc(text) if rules.unicode == "NFC" else text


def item_ids(text: ir.StringValue, source: Source) -> ir.StringValue:
    """Return the ids of items, with the source's prefix."""
    text = ids(text, item_rules(source))
    return ibis.literal(source.item_prefix) + text if source.item_prefix else text
