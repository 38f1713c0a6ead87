"""Items: the shop's item files, and the catalogue that its invoice lines imply.

An item of the lines that no item file has gets its texts and price from the lines. An item without
categories gets one inferred from its title, marked ``categories_inferred``.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from components.data.schema import ITEMS
from components.data.sources.columns import LINE_CATALOGUE, complete, read
from components.data.sources.files import File
from components.data.sources.lines import most_frequent

RARE_SINGULAR = 20
"""A plural's singular counts as a word if it is at least 1/20 as frequent as the plural."""

HEAD_WORD_ITEMS = 8
"""A word names an inferred category only if at least this many titles have it."""

_COLOURS = (
    "black white red blue green pink yellow orange purple grey gray brown cream ivory silver gold "
    "turquoise lilac mint natural clear assorted multicolour small medium large mini jumbo"
)
NO_HEAD_WORDS = ENGLISH_STOP_WORDS | set(_COLOURS.split())

_READ = [name for name in ITEMS.names if name != "categories_inferred"]


def items_table(
    con: ibis.BaseBackend, lines: ir.Table, files: list[File], currency: str
) -> pa.Table:
    """Return the raw items: those of the shop's item files, then those that only its lines have.

    lines: the shop's own interactions, without the feedback.
    """
    found = [_items_of(con, file, currency).to_pandas() for file in files]
    from_lines = catalogue_of(lines, currency).select(*_READ).order_by("item_id").to_pandas()
    known = pd.concat([frame["item_id"] for frame in found]) if found else pd.Series(dtype=object)
    frame = pd.concat([*found, from_lines[~from_lines["item_id"].isin(known)]], ignore_index=True)
    bare = frame["categories"].map(lambda value: value is None or len(value) == 0)
    inferred = infer_categories(frame["title"]).where(bare)
    frame["categories_inferred"] = inferred.notna()
    frame["categories"] = [
        [name] if marked else (list(own) if own is not None else [])
        for name, own, marked in zip(
            inferred, frame["categories"], frame["categories_inferred"], strict=True
        )
    ]
    return pa.Table.from_pandas(frame, schema=ITEMS, preserve_index=False)


def _items_of(con: ibis.BaseBackend, file: File, currency: str) -> ir.Table:
    """Return the items of one item file."""
    defaults = {
        **dict.fromkeys(("description", "brand"), ibis.null("string")),
        "categories": ibis.null("array<string>"),
        "price": ibis.null("float32"),
        "currency": ibis.literal(currency),
        "available": ibis.literal(True),
    }
    return complete(read(con, file, "items"), defaults).select(*_READ)


def catalogue_of(lines: ir.Table, currency: str) -> ir.Table:
    """Return one row for each item of the shop's own lines: most frequent texts, median price.

    Lines without a positive price or quantity (returns, stock corrections, gifts) do not count.
    """
    sold = lines.filter(
        lines.item_id.notnull(),
        (lines.price > 0) | lines.price.isnull(),
        (lines.quantity > 0) | lines.quantity.isnull(),
    )
    items = sold.group_by("item_id").aggregate(price=sold.price.median().cast("float32"))
    for name in LINE_CATALOGUE:
        items = items.left_join(most_frequent(sold, "item_id", name), "item_id").drop(
            "item_id_right"
        )
    return items.mutate(
        currency=ibis.literal(currency),
        available=ibis.literal(True),
        source=ibis.literal("lines"),
    )


def infer_categories(titles: pd.Series) -> pd.Series:
    """Return a category name for each title, None where none is found.

    The category is the head word: the last word of the title that many titles share, colours and
    sizes excluded. In English, as in most Germanic languages, the head noun of such a phrase comes
    last. The method is rough, so inferred categories are marked as inferred.

    >>> titles = pd.Series(["PINK HEART MUG", "MUGS WITH DOTS RED"] * 8)
    >>> infer_categories(titles).head(2).tolist()
    ['Mug', 'Dots']
    """
    words = titles.fillna("").str.lower().str.findall(r"[^\W\d_]{3,}").explode()
    singular = words.str.removesuffix("s")
    often = words.value_counts()
    # A word without its s that hardly occurs is a misspelling: christmas is no plural.
    common = singular.map(often).fillna(0) * RARE_SINGULAR >= words.map(often)
    words = words.where(~common, singular)
    words = words[~words.isin(NO_HEAD_WORDS)].dropna()
    counts = words.groupby(words).transform(lambda column: column.index.nunique())
    heads = words[counts >= HEAD_WORD_ITEMS].groupby(level=0).last()
    return heads.str.capitalize().reindex(titles.index).astype(object).where(lambda x: x.notna())
