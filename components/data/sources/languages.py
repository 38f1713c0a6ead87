"""Files with one row for each language.

In: the shop's words for languages. Out: which row of an item is used.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from components.data.sources.cells import Cells
from components.settings import Source

LANGUAGE, RANK = "language", "language_rank"
"""Columns of rows that a language is chosen of; the rank of the most preferred language is 0."""

_WITHOUT_TITLE = 1_000_000
"""Added to the rank of a row without a title: another language is better than none."""


def languages(cells: Cells) -> ir.StringValue:
    """Return the languages in small letters, ``de_AT`` as ``de-at``."""
    return cells.text.lower().replace("_", "-")


def ranked(rows: ir.Table, source: Source) -> ir.Table:
    """Return ``rows`` with LANGUAGE and RANK; without a language, null and 0."""
    if LANGUAGE not in rows.columns:
        return rows.mutate(**{LANGUAGE: ibis.null("string"), RANK: ibis.literal(0, "int64")})
    rank = _rank(rows[LANGUAGE], source.languages)
    if "title" in rows.columns:
        rank = rank + ibis.ifelse(rows.title.isnull(), _WITHOUT_TITLE, 0)
    return rows.mutate(**{RANK: rank.cast("int64")})


def _rank(language: ir.StringValue, preferred: list[str]) -> ir.IntegerValue:
    if not preferred:
        return ibis.literal(0)
    exact = [(language == name, n) for n, name in enumerate(preferred)]
    region = [(language.startswith(f"{name}-"), n) for n, name in enumerate(preferred)]
    return ibis.cases(*exact, *region, else_=len(preferred))


def only_preferred(rows: ir.Table, file_shown: str, preferred: list[str]) -> ir.Table:
    """Return the rows in one of the languages ``preferred``, and print how many are left out."""
    if LANGUAGE not in rows.columns or not preferred:
        return rows
    inside = _rank(rows[LANGUAGE], preferred) < len(preferred)
    others = int(rows.filter(~inside).count().execute())
    if others:
        print(f"{file_shown}: {others:,} rows in other languages (languages) are left out")
    return rows.filter(inside)


def one_of_each_item(items: pd.DataFrame, preferred: set[str]) -> pd.DataFrame:
    """Return ``items`` with the rows of one language for each item, and print what is left out.

    items: with LANGUAGE and RANK. Of languages with the same rank, the one of the first row.
    preferred: sources that name their languages, by their ``source``.

    Raises:
        ValueError: an item has rows in several languages, and its source does not say which.
    """
    listed = items[items["item_id"].notna() & items[LANGUAGE].notna()]
    several = listed.groupby("item_id")[LANGUAGE].transform("nunique") > 1
    unsaid = listed[several & ~listed["source"].isin(preferred)]
    if len(unsaid):
        counts = unsaid[LANGUAGE].value_counts().sort_index()
        words = ", ".join(f"{name} ({n:,})" for name, n in counts.items())
        raise ValueError(
            f"ingest.items: {unsaid['source'].iloc[0]}: {unsaid['item_id'].nunique():,} items have "
            f"rows in several languages, for example {unsaid['item_id'].iloc[0]!r}: {words}; set "
            f"`languages: [{', '.join(counts.index)}]` of this source in order of preference"
        )
    best = listed[RANK] == listed.groupby("item_id")[RANK].transform("min")
    candidates = listed[best]
    chosen = candidates.drop_duplicates("item_id").set_index("item_id")[LANGUAGE]
    others = listed.index[~best | (listed[LANGUAGE] != listed["item_id"].map(chosen))]
    if len(others):
        counts = items.loc[others, LANGUAGE].value_counts()
        words = ", ".join(f"{name} ({n:,})" for name, n in counts.items())
        print(f"items: {len(others):,} rows in other languages are left out: {words}")
    return items.drop(index=others)
