"""What a reader of params.yaml should know: columns that may matter and are not used, and columns
whose meaning the values do not settle.

In: the columns of a file and their names in the contract. Out: sentences.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from components.data.sources.names import MINOR_UNITS, PART, currency_of, likeness, words

_NAMES_OF_PRICES = "unit einzelpreis price preis prix precio cena fiyat vk piece each"
_UNIT_PRICE = frozenset(_NAMES_OF_PRICES.split())
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?"
_CLOCK_DIGITS = r"\d{1,6}"
_NAMES_OF_CLOCKS = "time hhmm hhmmss clock zeit uhrzeit hour heure hora ora tijd"
_CLOCK_NAMES = frozenset(_NAMES_OF_CLOCKS.split())
_TIME_OR_NUMBER = r"\d+(?:\.\d+)?|\d[\d.,:/TZ+ -]{5,}"
_MIDNIGHT = r".*[T ]00:00(?::00(?:\.0+)?)?(?: ?(?:Z|[+-]00:?00))?"


def doubts(
    table: str, values: pd.DataFrame, columns: dict[str, str], left_out: list[str]
) -> Iterator[str]:
    """Yield what is doubtful about a file.

    columns: the shop's column by name of the contract. left_out: columns that are not used.
    """
    yield from _unused(table, values, columns, left_out)
    if table == "interactions" and "price" in columns and "quantity" in columns:
        own = words(columns["price"])
        if not _UNIT_PRICE & set(own):
            yield (
                f"price: {columns['price']!r} is taken for the price of one piece, not of the line"
            )
    if table == "items" and set(words(columns.get("price", ""))) & {"cost", "value", "amount"}:
        yield f"price: {columns['price']!r} is taken for the price that customers pay"
    if set(words(columns.get("quantity", ""))) & {"amount", "value"}:
        yield f"quantity: {columns['quantity']!r} is taken for a number of pieces, not for money"
    if "timestamp" in columns:
        yield from _without_clock(values, columns["timestamp"], left_out)


def _unused(
    table: str, values: pd.DataFrame, columns: dict[str, str], left_out: list[str]
) -> Iterator[str]:
    for column in left_out:
        if "price" in columns and currency_of(column) and likeness("price", column) >= PART / 2:
            yield (
                f"{column!r} is not used: price is column {columns['price']!r}, which may be in "
                "another currency"
            )
        elif table == "items" and "parent" in words(column):
            yield (
                f"{column!r} is not used: if rows are variants of one product, a `query` makes one "
                "row of them, with the id that the events have"
            )
        elif MINOR_UNITS & set(words(column)):
            yield f"{column!r} is not used: a `query` divides prices in cents by 100"


def _without_clock(values: pd.DataFrame, column: str, left_out: list[str]) -> Iterator[str]:
    """Yield that the time of day stands in a column of its own."""
    own = values[column].dropna()
    if own[~own.str.fullmatch(_MIDNIGHT)].str.contains(":").any():
        return
    for other in left_out:
        own = values[other].dropna()
        named = bool(_CLOCK_NAMES & set(words(other)))
        if len(own) and (
            own.str.fullmatch(_CLOCK).mean() > 0.9
            or (named and own.str.fullmatch(_CLOCK_DIGITS).mean() > 0.9)
        ):
            yield (
                f"{other!r} is not used: times are those of {column!r} at midnight; a `query` "
                "joins day and time"
            )
