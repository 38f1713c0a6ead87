"""What ``validate`` says about kept and quarantined rows: counts, reasons, examples, empty cells.

In: the good and the bad rows of a table (with ``row``, their number, and ``reasons``), as tables of
the database. Out: JSON-ready counts, lines to print, and the kinds of events of which nothing is
left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.held_days import HELD
from components.data.orders import NO_FAULT
from components.data.schema import ATTRIBUTION, UNREADABLE

UNKNOWN_PRODUCT = "unknown product"
"""Reason of feedback of an id that is no product."""
MOST_UNKNOWN = 5
"""Ids that a message names."""
NOT_IN_CATALOGUE = "not in the catalogue"
"""Reason of the shop's own events of products that no item file has: old ones, mostly."""

NOT_THE_SHOPS = (
    *(UNREADABLE, "source_row", *ATTRIBUTION, "client", "authentication"),
    *("price_given", "currency_given", "status", "version"),
)
"""Columns that the shop's files cannot leave empty by mistake."""

ORDERS_ROWS = 5_000_000
"""Rows whose orders are looked at, of a larger table."""
SEVERAL_TIMES = 0.2
"""Share of the lines of orders that must be there at several times for that to stop the run."""
REMEDIES = {
    "no customer": (
        "if another column names them, such as an email address or a session, `coalesce` joins "
        "both in a `query`; if they are guests, raise validate.max_bad_share"
    ),
    "no item": "if they are of no product (totals, shipping, pages), a `query` leaves them out",
    "no time": "if cells are filled in the first line of an order only, a `query` fills them down",
    "impossible time": "look at `timestamp_format`, `timestamp_unit` and validate.min_timestamp",
    "rating not within 1 to 5": "a `query` writes another scale as 1 to 5",
    "rating event without a rating": (
        "name a column of numbers as `rating`; a `query` takes them out of texts"
    ),
    "duplicate": (
        "if they are versions of one thing (a row for each day, shop or language), come of a join, "
        "or stand in two equal files, a `query` takes one of each"
    ),
    "no text": "if stars without words are meant, name the file under `interactions`",
    "quantity not positive": "if they are returns, see validate.returns",
}
"""What to do about a reason that many rows have."""
_PIECES = "if equal lines are several pieces, set `repeated_lines: pieces`"
_NEWEST = (
    "the newest: SELECT * FROM source QUALIFY row_number() OVER (PARTITION BY the id ORDER BY the "
    "day, or source_file, DESC) = 1"
)
_UNREAD = "`decimal`, `thousands`, `timestamp_format` or `nulls` of the source explains such values"
FREQUENT, FAR_ABOVE, FEW_ROWS = 20, 5, 1000
"""Events of a customer or product that may be none, at least; how many times those of the median
one, of a table of fewer rows than the last."""
MIN_KIND_ROWS = 10
"""Rows that a kind of event must have for its loss to stop the run."""


@dataclass(frozen=True)
class Outcome:
    """The kept and the quarantined rows of a table, or a part of them."""

    good: ir.Table
    bad: ir.Table

    @cached_property
    def counts(self) -> dict[str, Any]:
        """Rows, kept, quarantined and the reasons; a row with several counts in each."""
        kept, quarantined = int(self.good.count().execute()), int(self.bad.count().execute())
        return {
            "rows": kept + quarantined,
            "kept": kept,
            "quarantined": quarantined,
            "reasons": _reasons(self.bad) if quarantined else {},
        }

    @cached_property
    def examples(self) -> dict[str, dict[str, Any]]:
        """The first row of each reason, see ``examples``."""
        return examples(self.bad) if self.counts["quarantined"] else {}

    def part(self, feedback: bool) -> Outcome:
        """Return the rows that came through serving, or those of the shop's own files."""
        given = [table.authentication.notnull() == feedback for table in (self.good, self.bad)]
        return Outcome(self.good.filter(given[0]), self.bad.filter(given[1]))


def unknown_products(bad: ir.Table) -> str:
    """Return a sentence on feedback of ids that are no products, "" without any.

    bad: quarantined rows of feedback.
    """
    events = bad.filter(bad.reasons.contains(UNKNOWN_PRODUCT))
    ids = events.group_by("item_id").aggregate(n=_.count()).order_by([ibis.desc("n"), "item_id"])
    found = ids.execute()
    if found.empty:
        return ""
    most = found.head(MOST_UNKNOWN).itertuples()
    shown = ", ".join(f"{one.item_id!r} ({one.n:,})" for one in most)
    return (
        f"feedback: {found['n'].sum():,} events name {len(found):,} ids that are no products, most "
        f"often {shown}: nothing is learned from them; look at the item_id that the pages send"
    )


def _single(bad: ir.Table) -> ir.Table:
    """Return (row, place, reason): a row for each reason of each bad row."""
    single = bad.select("row", "reasons").unnest("reasons", offset="place")
    return single.select("row", "place", reason="reasons")


def _first_places(bad: ir.Table) -> ir.Table:
    """Return (reason, n, row, place): each reason with its count and where it first occurs."""
    return (
        _single(bad)
        .group_by("reason")
        .aggregate(n=_.count(), row=_.row.min(), place=_.place.argmin(_.row))
    )


def _reasons(bad: ir.Table) -> dict[str, int]:
    """Return the count of each reason, the most frequent first, of equals that of the first row."""
    found = _first_places(bad).order_by([ibis.desc("n"), "row", "place"]).execute()
    return {str(reason): int(n) for reason, n in zip(found["reason"], found["n"], strict=True)}


def examples(bad: ir.Table) -> dict[str, dict[str, Any]]:
    """Return the first row of each reason: its file and its row there from 0.

    With its id if it has no row, and with the value if that could not be read.
    """
    ids = [name for name in ("item_id", "user_id") if name in bad.columns]
    first = _first_places(bad).join(
        bad.select("row", "source", "source_row", UNREADABLE, *ids), "row"
    )
    found: dict[str, dict[str, Any]] = {}
    for row in first.order_by(["row", "place"]).to_pyarrow().to_pylist():
        wanted = ["source", "source_row"]
        wanted += ids if row["source_row"] is None else []
        wanted += [UNREADABLE] if row["reason"].endswith("cannot be read") else []
        found[row["reason"]] = {name: row[name] for name in wanted if row[name] is not None}
    return found


def reason_lines(reasons: dict[str, int], shown: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each reason: its number of rows and an example. Rows count from 1."""
    lines = []
    for reason, n in reasons.items():
        place = shown.get(reason, {})
        where = [place["source"]] if "source" in place else []
        where += [f"row {place['source_row'] + 1:,}"] if "source_row" in place else []
        where += [repr(place[name]) for name in ("item_id", "user_id") if name in place]
        value = f", {place[UNREADABLE]}" if UNREADABLE in place else ""
        example = f" (for example {' '.join(where)}{value})" if where else ""
        lines.append(f"    {n:>9,} {reason}{example}")
    return lines


def remedy(reason: str, table: str) -> str:
    """Return what to do about a reason that many rows have, "" if there is no general advice."""
    if reason == "duplicate" and table == "interactions":
        return f"{_PIECES}; {REMEDIES[reason]}"
    if reason == "duplicate" and table == "items":
        return f"{REMEDIES[reason]} ({_NEWEST})"
    return _UNREAD if reason.endswith("cannot be read") else REMEDIES.get(reason, "")


def faulty_rows(bad: ir.Table) -> int:
    """Return how many bad rows have a fault: those of held days, removed products, returns,
    cancellations and older versions of orders have none."""
    no_fault = sorted(NO_FAULT | {NOT_IN_CATALOGUE, HELD})
    faults = bad.reasons.filter(lambda reason: reason.notin(no_fault))
    return int(bad.filter(faults.length() > 0).count().execute())


def lost_kinds(good: ir.Table, bad: ir.Table) -> list[str]:
    """Return a sentence for each kind of event with rows of which none is kept."""
    lost = bad.anti_join(good.select("event").distinct(), "event").filter(_.event.notnull())
    kinds = lost.group_by("event").aggregate(n=_.count()).filter(_.n >= MIN_KIND_ROWS)
    sentences = []
    for event, n in kinds.order_by("event").execute().itertuples(index=False):
        worst = _reasons(bad.filter(bad.event == event))
        why = ", ".join(f"{reason} ({k:,})" for reason, k in list(worst.items())[:3])
        sentences.append(f"interactions: all {n:,} events {event!r} are bad: {why}")
    return sentences


def frequent_ids(good: ir.Table) -> list[str]:
    """Return a note for a customer and a product of so many events that they may be none."""
    rows = int(good.count().execute())
    limits = {"user_id": 0.05, "item_id": 0.15}
    advice = {
        "user_id": "that stands for guests or unknown customers, name it in `nulls` of the source",
        "item_id": "that is shipping, a discount or a gift, name it in validate.non_product_codes",
    }
    notes = []
    for name, limit in limits.items():
        counted = good.filter(good[name].notnull()).group_by(name).aggregate(n=_.count())
        most = counted.order_by([ibis.desc("n"), name]).limit(2).execute()
        if len(most) < 2 or most["n"][0] < max(limit * rows, FREQUENT):
            continue
        ids, median = counted.aggregate(ids=_.count(), median=_.n.median()).execute().iloc[0]
        many = rows >= FEW_ROWS and ids * limit > 3  # three times the usual share
        if many or most["n"][0] > FAR_ABOVE * max(median, most["n"][1] / 2):
            what = {"user_id": "customer", "item_id": "product"}[name]
            notes.append(
                f"{what} {most[name][0]!r} has {most['n'][0] / rows:.0%} of the events: if "
                f"{advice[name]}"
            )
    return notes


def states_of_orders(good: ir.Table) -> str:
    """Return a sentence if many lines of orders are there at several times: an order has one."""
    every = int(good.count().execute()) // ORDERS_ROWS + 1
    chosen = good.order_id.hash() % every == 0  # all lines of some orders
    purchases = good.filter(good.event == "purchase", good.order_id.notnull(), chosen)
    lines = purchases.group_by(["order_id", "user_id", "item_id"]).aggregate(
        first=_.timestamp.min(), last=_.timestamp.max()
    )
    several = (lines.first < lines.last).fill_null(False)
    found = lines.aggregate(n=_.count(), several=several.sum(), order=_.order_id.min(where=several))
    row = found.fill_null({"several": 0}).execute().iloc[0]
    if row["several"] <= SEVERAL_TIMES * row["n"]:
        return ""
    return (
        f"{row['several'] / row['n']:.0%} of the lines of orders are there at several times, each "
        f"as a purchase, for example in order {row['order']!r}: if rows are states of one order, "
        "name the column of its newest time as `version`, or keep the last row in a `query`; if "
        "`order_id` is no id of orders, take it out of `columns`"
    )


def print_counts(
    name: str,
    found: dict[str, Any],
    reasons: dict[str, int],
    shown: dict[str, dict[str, Any]],
) -> None:
    """Print a table's rows, the reasons for quarantine, and the empty cells."""
    print(
        f"{name:<13}{found['rows']:>10,} rows = {found['kept']:>10,} kept + "
        f"{found['quarantined']:>10,} quarantined"
    )
    for line in reason_lines(reasons, shown):
        print(line)
    empty = found.get("empty")
    if empty:
        cells = ", ".join(f"{column} {n:,}" for column, n in empty.items())
        print(f"    empty in kept rows: {cells}")
