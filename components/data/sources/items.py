"""Items: the shop's item files, and the catalogue that its invoice lines imply.

Without an item file the items are those of the lines, with the texts and prices of the lines. With
one, an item that only lines have is none, unless the settings say so. An item without
categories gets one inferred from its title, marked ``categories_inferred``.
"""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from components.data.schema import LINES, RAW, UNREADABLE
from components.data.sources.columns import LINE_CATALOGUE, complete, read
from components.data.sources.files import File
from components.data.sources.lines import most_frequent
from components.settings import Ingest

RARE_SINGULAR = 20
"""A plural's singular counts as a word if it is at least 1/20 as frequent as the plural."""

HEAD_WORD_ITEMS = 8
"""A word names an inferred category only if at least this many titles have it."""

_COLOURS = (
    "black white red blue green pink yellow orange purple grey gray brown cream ivory silver gold "
    "turquoise lilac mint natural clear assorted multicolour small medium large mini jumbo"
)
NO_HEAD_WORDS = ENGLISH_STOP_WORDS | set(_COLOURS.split())

_READ = [name for name in RAW["items"].names if name != "categories_inferred"]
ADDED = Path("data/catalogue")
"""Folder of the products that came in by ``PUT /items``: they add to the shop's catalogue."""


def items_table(
    con: ibis.BaseBackend, lines: ir.Table, files: list[File], ingest: Ingest
) -> pa.Table:
    """Return the raw items: those of the shop's item files, then those that only its lines have.

    lines: the shop's own interactions, without the feedback.

    Raises:
        ValueError: the item files say of no item that it is available.
    """
    found = [_items_of(con, file, ingest.currency).to_pandas() for file in files]
    _check_availability(found, files)
    known = pd.concat([frame["item_id"] for frame in found]) if found else pd.Series(dtype=object)
    if items_come_from_lines(ingest):
        of_lines = catalogue_of(lines, ingest.currency).select(*_READ).order_by("item_id")
        found.append(of_lines.to_pandas().pipe(lambda frame: frame[~frame["item_id"].isin(known)]))
    else:
        _print_unlisted(sold(lines), known)
    if not found:
        return RAW["items"].empty_table()
    frame = pd.concat(found, ignore_index=True)
    bare = frame["categories"].map(lambda value: value is None or len(value) == 0)
    inferred = infer_categories(frame["title"]).where(bare)
    frame["categories_inferred"] = inferred.notna()
    frame["categories"] = [
        [name] if marked else (list(own) if own is not None else [])
        for name, own, marked in zip(
            inferred, frame["categories"], frame["categories_inferred"], strict=True
        )
    ]
    return pa.Table.from_pandas(frame, schema=RAW["items"], preserve_index=False)


def _print_unlisted(lines: ir.Table, known: pd.Series) -> None:
    """Print how many products of the lines are in no item file."""
    ids = lines.select("item_id").distinct().order_by("item_id").execute()["item_id"]
    unlisted = ids[~ids.isin(known)]
    if len(unlisted):
        print(
            f"items: {len(unlisted):,} products of the interactions are in no item file, for "
            f"example {unlisted.iloc[0]!r}: they are no items (ingest.items_from_lines)"
        )


def items_come_from_lines(ingest: Ingest) -> bool:
    """Return whether products that only the interactions have are items."""
    if ingest.items_from_lines == "auto":
        return all(_only_adds(source.path) for source in ingest.items)
    return ingest.items_from_lines == "always"


def _only_adds(path: Path) -> bool:
    """Return whether ``path`` lies in a folder ADDED."""
    return any(one.parts[-len(ADDED.parts) :] == ADDED.parts for one in (path, *path.parents))


def _check_availability(found: list[pd.DataFrame], files: list[File]) -> None:
    """Raise if every item of the shop's catalogue is unavailable: nothing could be recommended."""
    own = [n for n, file in enumerate(files) if not _only_adds(file.path)]
    available = pd.concat([found[n]["available"] for n in own]) if own else pd.Series()
    if len(available) and (available == False).all():  # noqa: E712  null is neither
        raise ValueError(
            f"ingest.items: {', '.join(files[n].shown for n in own[:5])}: of {len(available):,} "
            "items none is available: look at the column for `available`, or map its words in "
            "`available` of the source"
        )


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
    """Return one row for each item that the shop's own lines sold: most frequent texts, median
    price.
    """
    lines = sold(lines)
    items = lines.group_by("item_id").aggregate(price=lines.price.median().cast("float32"))
    for name in LINE_CATALOGUE:
        items = items.left_join(most_frequent(lines, "item_id", name), "item_id").drop(
            "item_id_right"
        )
    return items.mutate(
        currency=ibis.literal(currency),
        available=ibis.literal(True),
        source=ibis.literal(LINES),
        source_row=ibis.null("int64"),
        **{UNREADABLE: ibis.null("string")},
    )


def sold(lines: ir.Table) -> ir.Table:
    """Return the lines of products that have a positive price and quantity, as far as they say so.

    The others are returns, stock corrections and gifts.
    """
    return lines.filter(
        lines.item_id.notnull(),
        (lines.price > 0) | lines.price.isnull(),
        (lines.quantity > 0) | lines.quantity.isnull(),
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
