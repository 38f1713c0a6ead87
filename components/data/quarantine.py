"""What ``validate`` says about kept and quarantined rows: counts, reasons, examples, empty cells.

In: the good and the bad rows of a table (with ``reasons``). Out: JSON-ready counts, lines to print,
and the kinds of events of which nothing is left.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.data.orders import NO_FAULT
from components.data.schema import UNREADABLE

NOT_IN_CATALOGUE = "not in the catalogue"
"""Reason of the shop's own events of products that no item file has: old ones, mostly."""

NOT_THE_SHOPS = (
    *(UNREADABLE, "source_row", "impression_id", "client", "authentication"),
    *("price_given", "currency_given", "status", "version"),
)
"""Columns that the shop's files cannot leave empty by mistake."""

MIN_KIND_ROWS = 10
"""Rows that a kind of event must have for its loss to stop the run."""


def counts(good: pd.DataFrame, bad: pd.DataFrame) -> dict[str, Any]:
    """Return rows, kept, quarantined and the reasons; a row with several counts in each."""
    return {
        "rows": len(good) + len(bad),
        "kept": len(good),
        "quarantined": len(bad),
        "reasons": {key: int(n) for key, n in bad["reasons"].explode().value_counts().items()},
    }


def examples(bad: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the first row of each reason: its file and its row there from 0.

    With its id if it has no row, and with the value if that could not be read.
    """
    reasons = bad["reasons"].explode()
    first = reasons[~reasons.duplicated()]
    found = {}
    for label, reason in first.items():
        row = bad.loc[label]
        place = {"source": row.get("source"), "source_row": row.get("source_row")}
        if pd.isna(place["source_row"]):
            place |= {name: row[name] for name in ("item_id", "user_id") if name in row}
        if str(reason).endswith("cannot be read"):
            place[UNREADABLE] = row.get(UNREADABLE)
        found[str(reason)] = {
            key: int(value) if key == "source_row" else str(value)
            for key, value in place.items()
            if pd.notna(value)
        }
    return found


def empty_cells(good: pd.DataFrame) -> dict[str, int]:
    """Return how many of the kept rows have no value, by column, where any has none."""
    n = good.drop(columns=[*NOT_THE_SHOPS], errors="ignore").isna().sum()
    return {str(name): int(count) for name, count in n.items() if count}


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


def faulty_rows(bad: pd.DataFrame) -> int:
    """Return how many bad rows have a fault: those of removed products, returns, cancellations and
    older versions of orders have none."""
    no_fault = NO_FAULT | {NOT_IN_CATALOGUE}
    return int(bad["reasons"].map(lambda reasons: not no_fault.issuperset(reasons)).sum())


def lost_kinds(good: pd.DataFrame, bad: pd.DataFrame) -> list[str]:
    """Return a sentence for each kind of event with rows of which none is kept."""
    kept = set(good["event"].dropna())
    lost = bad[bad["event"].notna() & ~bad["event"].isin(kept)]
    sentences = []
    for event, rows in lost.groupby("event"):
        if len(rows) >= MIN_KIND_ROWS:
            worst = rows["reasons"].explode().value_counts()
            why = ", ".join(f"{reason} ({n:,})" for reason, n in worst.head(3).items())
            sentences.append(f"interactions: all {len(rows):,} events {event!r} are bad: {why}")
    return sentences


def largest_customer(good: pd.DataFrame) -> str:
    """Return a note if one customer has so many events that it may stand for unknown ones."""
    counted = good["user_id"].value_counts()
    if len(good) < 1000 or counted.empty or counted.iloc[0] < 0.05 * len(good):
        return ""
    return (
        f"customer {counted.index[0]!r} has {counted.iloc[0] / len(good):.0%} of the events: if "
        "that stands for unknown customers, name it in `nulls` of the source"
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
