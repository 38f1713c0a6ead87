"""Items: the shop's item files, and the catalogue that its invoice lines imply.

Without an item file the items are those of the lines, with the texts and prices of the lines. With
one, an item that only lines have is not a product, unless the settings say so. An item without
categories gets one inferred from its title, marked ``categories_inferred``.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from components.data.attributes import declared, nulls, with_attributes
from components.data.schema import LINES, RAW, UNREADABLE
from components.data.sources.columns import LINE_CATALOGUE, complete, mapped_columns, read
from components.data.sources.currencies import Rates
from components.data.sources.files import File
from components.data.sources.inferred_categories import infer_categories
from components.data.sources.languages import LANGUAGE, RANK, one_of_each_item, ranked
from components.data.sources.lines import most_frequent
from components.settings import Ingest

TAG_ITEMS = 10
"""Of a set, a category stands for its items only if at least this many have it."""

_READ = [name for name in RAW["items"].names if name != "categories_inferred"]


def items_table(
    con: ibis.BaseBackend, lines: ir.Table, files: list[File], ingest: Ingest, rates: Rates
) -> pa.Table:
    """Return the raw items: those of the shop's item files, then those that only its lines have.

    lines: the shop's own interactions, without the feedback.

    Raises:
        ValueError: the item files say of no item that it is available, or have an item in several
            languages without saying which to take; a currency has no rate.
    """
    attributes = declared(ingest.items)
    schema = with_attributes(RAW["items"], attributes)
    found = [_items_of(con, file, rates, attributes).to_pandas() for file in files]
    _check_availability(found, files)
    if any(frame[LANGUAGE].notna().any() for frame in found):
        preferred = {file.shown for file in files if file.source.languages}
        found = [one_of_each_item(pd.concat(found, ignore_index=True), preferred)]
    known = pd.concat([frame["item_id"] for frame in found]) if found else pd.Series(dtype=object)
    if items_come_from_lines(ingest):
        of_lines = catalogue_of(lines, ingest.currency).mutate(
            categories_set=ibis.literal(_lines_have_sets(ingest))
        )
        of_lines = complete(of_lines, nulls(attributes))
        frame = of_lines.select(*_READ, *attributes).order_by("item_id").to_pandas()
        found.append(frame[~frame["item_id"].isin(known)])
    else:
        _print_unlisted(sold(lines), known)
    if not found:
        return schema.empty_table()
    frame = pd.concat(found, ignore_index=True)
    if frame.empty:
        return schema.empty_table()
    if frame["categories_set"].any():
        frame["categories"] = frame["categories"].mask(
            frame["categories_set"], ordered_sets(frame["categories"][frame["categories_set"]])
        )
    bare = frame["categories"].map(lambda value: value is None or len(value) == 0)
    inferred = infer_categories(frame["title"]).where(bare)
    frame["categories_inferred"] = inferred.notna()
    frame["categories_set"] &= inferred.isna()
    frame["categories"] = [
        [name] if marked else (list(own) if own is not None else [])
        for name, own, marked in zip(
            inferred, frame["categories"], frame["categories_inferred"], strict=True
        )
    ]
    return pa.Table.from_pandas(frame, schema=schema, preserve_index=False)


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
        return all(source.only_adds for source in ingest.items)
    return ingest.items_from_lines == "always"


def _check_availability(found: list[pd.DataFrame], files: list[File]) -> None:
    """Raise if every item of the shop's catalogue is unavailable: nothing could be recommended."""
    own = [n for n, file in enumerate(files) if not file.source.only_adds]
    available = pd.concat([found[n]["available"] for n in own]) if own else pd.Series()
    if len(available) and (available == False).all():  # noqa: E712  null is neither
        raise ValueError(
            f"ingest.items: {', '.join(files[n].shown for n in own[:5])}: of {len(available):,} "
            "items none is available: look at the column for `available`, or map its words in "
            "`available` of the source"
        )


def _lines_have_sets(ingest: Ingest) -> bool:
    """Return whether the categories of the interactions are sets.

    Raises:
        ValueError: they are in one source, and paths in another.
    """
    kinds = {
        source.categories
        for source in ingest.interactions
        if "categories" in mapped_columns(source, "interactions")
    }
    if len(kinds) > 1:
        raise ValueError(
            "ingest.interactions: categories are a path in one source and a set in another: set "
            "`categories` of the sources to one of the two"
        )
    return kinds == {"set"}


def ordered_sets(sets: pd.Series) -> pd.Series:
    """Return each set of categories in an order that does not come from the shop.

    The last one stands for the item where one category is needed: of those that at least TAG_ITEMS
    items have, the least frequent. Those of fewer items come first, the most frequent of them last.

    >>> tags = pd.Series([["Drama"]] * 20 + [["Crime", "Drama"]] * 10 + [["Drama", "Crime", "New"]])
    >>> ordered_sets(tags).iloc[-1]
    ['New', 'Drama', 'Crime']
    """
    tags = sets.explode().dropna()
    n = tags.map(tags.value_counts())
    shared = n >= TAG_ITEMS
    order = pd.DataFrame(
        {"row": tags.index, "shared": shared, "n": n.where(~shared, -n), "tag": tags}
    ).sort_values(["row", "shared", "n", "tag"])
    found = order.groupby("row")["tag"].agg(list).reindex(sets.index)
    return found.map(lambda one: one if isinstance(one, list) else [])


def _items_of(con: ibis.BaseBackend, file: File, rates: Rates, attributes: list[str]) -> ir.Table:
    """Return the items of one item file; attributes that it lacks are null."""
    defaults = {
        **nulls(attributes),
        **dict.fromkeys(("description", "brand", "image", "url"), ibis.null("string")),
        "categories": ibis.null("array<string>"),
        "price": ibis.null("float32"),
        "available": ibis.literal(True),
    }
    rows = rates.converted(complete(read(con, file, "items"), defaults), file, "items")
    rows = rows.mutate(categories_set=ibis.literal(file.source.categories == "set"))
    return ranked(rows, file.source).select(*_READ, *attributes, LANGUAGE, RANK)


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
        price_given=ibis.null("float32"),
        currency_given=ibis.null("string"),
        available=ibis.literal(True),
        image=ibis.null("string"),
        url=ibis.null("string"),
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
