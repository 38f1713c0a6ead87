"""Addresses of products' images and pages → those that a web page can show without harm."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from components.data.sources.column import Column, example, first_row, shown
from components.web_addresses import LONGEST_ADDRESS, WEB_ADDRESS, WEB_ADDRESSES

ADDRESSES = ("image", "url")
"""Columns of the contract that hold addresses."""
_OTHERS = r",\s*https?://.*$"
"""Further addresses in a cell, as WooCommerce writes those of several images."""


def web_addresses(text: ir.StringValue) -> ir.StringValue:
    """Return the addresses, of several in a cell the first; null in the place of others."""
    first = text.re_replace(_OTHERS, "")
    is_safe = first.re_search(WEB_ADDRESS) & (first.length() <= LONGEST_ADDRESS)
    return ibis.ifelse(is_safe, first, ibis.null("string"))


def unsafe_addresses(rows: ir.Table, columns: Sequence[Column]) -> dict[str, str]:
    """Return a sentence, by column, for columns with values that are left out."""
    found = {}
    for column in columns:
        if column.name not in ADDRESSES:
            continue
        examples = example("first", column.cells.text, rows, column.unread)
        counts = first_row(rows.aggregate(n=column.unread.sum(), **examples))
        if counts["n"]:
            found[column.shop] = (
                f"{column.shown}: {counts['n']:,} values are left out, for example "
                f"{shown(counts, 'first')}: each must be {WEB_ADDRESSES}"
            )
    return found
