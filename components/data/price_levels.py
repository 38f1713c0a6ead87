"""Whether prices of the same products are those of one piece, in one unit, in all files and months.

In: the shop's own valid interactions and items. Out: sentences about prices that are many times
those of the same products elsewhere, as cents are those in euros, and prices in another currency
those in the shop's; and about prices that grow with the quantity, as those of a line do.
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
MIN_SPREAD = 3.0
"""Squared deviations of the quantities' logarithms, summed, that a file must have for its prices to
be compared: a product sold once alone and once as two has 0.24."""
MIN_ROWS, MOST_PIECES = 20, 50
SEVERAL_PIECES, OF_PIECES, ROUNDING = 0.1, 0.9, 0.005
"""Share of the prices that are 2 to 50 times, and of those that are 1 to 50 times the catalogue's,
from which they may be totals of lines; and how exactly."""
OF_LINES = 0.75
"""Elasticity of prices to quantities from which they are of lines: 1 but for quantity discounts."""


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
    middle = middle.filter(_.n > 1).select(
        "item_id", middle=_.levels[((_.n - 1) // 2).cast("int32")]
    )
    ratios = levels.join(middle, "item_id").mutate(ratio=(_.level - _.middle).exp())
    limit = settings.max_price_ratio
    far = (ratios.ratio > limit) | (ratios.ratio < 1 / limit)
    parts = ratios.group_by("source", "month").aggregate(
        products=_.count(),
        ratio=_.ratio.median(),
        example=_.item_id.min(where=far),
        here=_.level.argmin(_.item_id, where=far).exp(),
        there=_.middle.argmin(_.item_id, where=far).exp(),
    )
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


def prices_of_lines(events: ir.Table) -> list[str]:
    """Return a sentence for each file whose prices grow with the quantity.

    Within the rows of a product in a file, the logarithm of the price is regressed on that of the
    quantity: the slope is 0 for prices of a piece and 1 for those of a line.

    events: valid interactions.
    """
    priced = events.filter(events.price > 0, events.quantity > 0)
    logs = priced.select("source", "item_id", p=_.price.ln(), q=_.quantity.ln())
    # Sums of each product instead of its rows, which may be many.
    sums = logs.group_by("source", "item_id").aggregate(
        n=_.count(), p=_.p.sum(), q=_.q.sum(), pq=(_.p * _.q).sum(), qq=(_.q * _.q).sum()
    )
    parts = sums.mutate(both=_.pq - _.p * _.q / _.n, own=_.qq - _.q * _.q / _.n)
    found = parts.group_by("source").aggregate(both=_.both.sum(), own=_.own.sum())
    lines = (
        found.filter(_.own >= MIN_SPREAD, _.both > OF_LINES * _.own).order_by("source").execute()
    )
    return [
        f"prices in {source} grow with the quantity, so they are those of lines: divide them by it "
        "in a `query`, or name the column of the price of one piece"
        for source in lines["source"]
    ]


def totals_of_lines(events: ir.Table, items: ir.Table) -> list[str]:
    """Return a note for each file without quantities whose prices are multiples of the catalogue's.

    events: valid interactions. items: valid items, also those that only lines have.
    """
    known = items.filter(items.price > 0, items.source != LINES)
    priced = events.filter(events.price > 0, events.event == "purchase")
    listed = known.select("item_id", unit=known.price.cast("float64"))
    ratios = priced.join(listed, "item_id").mutate(ratio=_.price / _.unit)
    times = ratios.ratio.round()
    exact = (ratios.ratio - times).abs() <= ROUNDING * times
    parts = ratios.group_by("source").aggregate(
        n=_.count(),
        highest=_.quantity.max(),
        one=(exact & (times == 1)).sum(),
        several=(exact & times.between(2, MOST_PIECES)).sum(),
        example=_.item_id.min(where=exact & times.between(2, MOST_PIECES)),
    )
    found = parts.filter(
        _.n >= MIN_ROWS,
        (_.highest == 1) | _.highest.isnull(),
        _.several >= SEVERAL_PIECES * _.n,
        _.several + _.one >= OF_PIECES * _.n,
    ).order_by("source")
    return [
        f"{one.several / one.n:.0%} of the prices in {one.source} are 2, 3 or more times those of "
        f"the item files, for example of {one.example!r}, and all quantities are 1: if they are "
        "totals of lines, divide them in a `query` and name the `quantity`"
        for one in found.execute().itertuples()
    ]
