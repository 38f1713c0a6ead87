"""What must be changed in a file before it can be read: rows of several products or events, rows
that are no purchases, and states of products at several times.

In: the columns of a file and their names in the contract. Out: sentences with the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from components.data.sources.booleans import FALSE, TRUE
from components.data.sources.events import VOCABULARY
from components.data.sources.names import FILLERS, PART, likeness, words
from components.project.facts import MOST, Facts

_ONCE = 0.8
"""Share of the rows of a catalogue that are of different products, below which it has states."""
_SEVERAL = 0.05
"""Share of the cells with several ids above which they are lists."""


def refusals(
    table: str, values: pd.DataFrame, columns: dict[str, str], left_out: list[str], facts: Facts
) -> Iterator[str]:
    """Yield what is to be done about the file.

    columns: the shop's column by name of the contract. left_out: columns that are not used.
    """
    if table == "items":
        yield from _several_times(values, columns, left_out, facts)
    if table != "interactions":
        return
    yield from _several_products(values, columns.get("item_id", ""))
    if "status" not in columns:
        yield from _no_purchases(left_out, facts)
    if "event" not in columns:
        yield from _several_events(values, left_out)


def _several_times(
    values: pd.DataFrame, columns: dict[str, str], left_out: list[str], facts: Facts
) -> Iterator[str]:
    """Yield that products have a row for each of several times."""
    chosen = columns.get("item_id", "")
    if not chosen or "language" in columns or facts.distinct(chosen) > _ONCE:
        return
    own = values[chosen]
    for column in left_out:
        named = likeness("timestamp", column) or "date" in words(column)
        if facts.share(column, "time") >= MOST and (named or facts.share(column, "number") < MOST):
            states = values.assign(id=own, at=values[column]).dropna(subset=["id", "at"])
            if len(states) == len(states.drop_duplicates(["id", "at"])):
                shares = facts.formats(column)
                form = max(shares, key=lambda one: shares[one])
                time = f"strptime(\"{column}\", '{form}')" if form else f'"{column}"'
                yield (
                    f"products have several rows, each of another time in {column!r}: a `query` "
                    "keeps the newest (SELECT * FROM source QUALIFY row_number() OVER (PARTITION "
                    f'BY "{chosen}" ORDER BY {time} DESC) = 1)'
                )
                return


def _several_products(values: pd.DataFrame, chosen: str) -> Iterator[str]:
    """Yield that a row has several products, in columns that differ by a number or in one cell."""
    named = [
        one for one in values.columns if likeness("item_id", _stem(one).removesuffix("s")) > PART
    ]
    for column in [chosen] if chosen else named:
        numbered = [one for one in values.columns if column != _stem(column) == _stem(one) != one]
        if len(numbered) > 1:
            yield (
                f"the columns {', '.join(map(repr, numbered[:5]))} each hold a product: a `query` "
                "makes a row of each (UNPIVOT)"
            )
            return
        ids = values[column].dropna()
        if ids.str.fullmatch(r"\d,\d+[eE]\+\d+").any():
            return  # rounded numbers, which are refused as ids
        for sign in (";", ",", "|"):
            several = ids[ids.str.contains(sign, regex=False)]
            parts = several.str.split(sign).explode().str.strip()
            codes = parts.str.fullmatch(r"\S*\d\S*").mean() > MOST
            if codes and len(several) > _SEVERAL * len(ids):
                yield (
                    f"{column!r} holds several products in a cell, for example "
                    f"{several.iloc[0]!r}: a `query` makes a row of each "
                    f"(unnest(string_split({column}, {sign!r})))"
                )
                return


def _stem(column: str) -> str:
    """Return a column's name without a number at its end."""
    return re.sub(r"[\s_-]*\d+$", "", column)


def _no_purchases(left_out: list[str], facts: Facts) -> Iterator[str]:
    """Yield that a column has words for cancelled or returned purchases."""
    for column in left_out:
        if n := facts.takes_back(column):
            yield (
                f"{column!r} says of {n:,} rows that they take purchases back "
                f"({facts.examples(column)}): name it as `status` in `columns` and its words in "
                "`statuses`, or leave such rows out in a `query`"
            )


def _several_events(values: pd.DataFrame, left_out: list[str]) -> Iterator[str]:
    """Yield that columns of yes and no have the names of events."""
    flags = [
        column
        for column in left_out
        if "".join(one for one in words(column) if one not in FILLERS) in VOCABULARY
        and set(values[column].dropna().str.lower()) <= {"0", "1", *TRUE, *FALSE}
    ]
    if flags:
        yield (
            f"rows may be several events by {', '.join(map(repr, flags))}: a `query` makes a row "
            "of each (SELECT …, 'click' AS event FROM source WHERE click = 1 UNION ALL …)"
        )
