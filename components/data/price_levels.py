"""Whether files and months give the prices of the same products in one unit.

In: the shop's own valid interactions and items. Out: sentences about prices that are many times
those of the same products elsewhere, as cents are those in euros, and prices in another currency
those in the shop's.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from components.data.schema import LINES
from components.settings import Validate

MIN_PRODUCTS = 3
"""Products that two files must both have for their prices to be compared."""


def price_levels(events: ir.Table, items: ir.Table, settings: Validate) -> list[str]:
    """Return a sentence for each file whose prices differ from the others by a large factor.

    The level of a product in a month of a file is the geometric mean of its prices there. It is
    compared with the middle one of the product's levels; of a month of a file, the median of these
    ratios over its products counts. A catalogue is one such file.

    events: valid interactions. items: valid items, also those that only lines have.
    """
    month = events.timestamp.strftime("%Y-%m")
    of_lines = events.filter(events.price > 0).group_by("item_id", "source", month=month)
    of_files = items.filter(items.price > 0, items.source != LINES)
    levels = of_lines.aggregate(level=_.price.ln().mean().cast("float64")).union(
        of_files.select(
            "item_id",
            "source",
            month=ibis.null("string"),
            level=of_files.price.ln().cast("float64"),
        )
    )
    # The middle one and no mean of two, which would lie between euros and cents.
    middle = levels.group_by("item_id").aggregate(levels=_.level.collect().sort(), n=_.count())
    middle = middle.filter(_.n > 1).select("item_id", middle=_.levels[(_.n - 1) // 2])
    ratios = levels.join(middle, "item_id").mutate(ratio=(_.level - _.middle).exp())
    parts = ratios.group_by("source", "month").aggregate(
        products=_.count(),
        ratio=_.ratio.median(),
        example=_.item_id.min(),
        here=_.level.argmin(_.item_id).exp(),
        there=_.middle.argmin(_.item_id).exp(),
    )
    limit = settings.max_price_ratio
    found = parts.filter(
        _.products >= MIN_PRODUCTS, (_.ratio > limit) | (_.ratio < 1 / limit)
    ).order_by("source", "month")
    frame = found.execute()
    return [_sentence(str(source), own, limit) for source, own in frame.groupby("source")]


def _sentence(source: str, parts: pd.DataFrame, limit: float) -> str:
    """Return what is wrong with the prices of a file, by its months."""
    months = parts["month"].dropna()
    when = f" from {months.min()} to {months.max()}" if len(months) else ""
    one = parts.loc[parts["products"].idxmax()]
    times = f"{one['ratio']:,.0f} times" if one["ratio"] > 1 else f"1/{1 / one['ratio']:,.0f} of"
    return (
        f"prices in {source}{when} are about {times} those of the same products elsewhere (for "
        f"example {one['example']!r}: {one['here']:,.2f} and {one['there']:,.2f}): give all in one "
        "unit, not some in cents (a `query` can divide them), and name `currency` of a source in "
        f"another one (validate.max_price_ratio is {limit:g})"
    )
