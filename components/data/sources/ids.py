"""Ids as the source's rules write them."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from components.settings import Ids, Source

NULL_WORDS = (
    *("null", "none", "nan", "na", "n/a", "#n/a", "nil", "undefined", r"\n", "<na>", "nat"),
    *("(null)", "(none)", "(not set)", "(blank)", "%null%", "-", "--", "n.a.", "n/v", "k.a."),
    *("#null!", "#ref!", "#value!", "#name?", "#div/0!", "#num!"),
)
"""Words, in small letters, by which programs and people write that there is no value."""

WITH_POINT_ZERO = r"^(-?\d+)\.0+$"


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
    text = ids(text, source.item_ids)
    text = text.upper() if source.item_id_case == "upper" else text
    return ibis.literal(source.item_prefix) + text if source.item_prefix else text
