"""What a reader of params.yaml should know: columns that may matter and are not used, and columns
whose meaning the values do not settle.

In: the columns of a file and their names in the contract. Out: sentences.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from components.data.sources.names import STATES, words

TAKES_BACK = frozenset.union(*STATES.values(), {"status", "state"})
"""Words in the name of a column that may say that a purchase does not stand."""
_NEGATIONS = (
    "sold out discontinued inactive disabled hidden deleted archived unavailable ausverkauft"
)
NOT_AVAILABLE = frozenset((_NEGATIONS + " agotado epuise inaktiv").split())
"""Words in the name of a column that may say that a product cannot be bought."""
_NAMES_OF_PRICES = "unit einzelpreis price preis prix precio cena fiyat vk piece each"
_UNIT_PRICE = frozenset(_NAMES_OF_PRICES.split())
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?"


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
        own = values[column].dropna()
        if table == "interactions" and TAKES_BACK & set(words(column)):
            seen = ", ".join(map(repr, own.value_counts().index[:4]))
            yield (
                f"{column!r} ({seen}) is not used: if it says which purchases do not stand, name "
                "it as `status` in `columns`, and its words in `statuses`"
            )
        elif table == "items" and NOT_AVAILABLE & set(words(column)):
            yield (
                f"{column!r} ({', '.join(map(repr, own.value_counts().index[:4]))}) is not used: "
                "if it says which products cannot be bought, a `query` turns it round for "
                "`available`"
            )
        elif table == "items" and "parent" in words(column):
            yield (
                f"{column!r} is not used: if rows are variants of one product, a `query` makes one "
                "row of them, with the id that the events have"
            )
        elif {"cent", "cents"} & set(words(column)):
            yield f"{column!r} is not used: a `query` divides prices in cents by 100"


def _without_clock(values: pd.DataFrame, column: str, left_out: list[str]) -> Iterator[str]:
    """Yield that the time of day stands in a column of its own."""
    if values[column].dropna().str.contains(":").any():
        return
    for other in left_out:
        own = values[other].dropna()
        if len(own) and own.str.fullmatch(_CLOCK).mean() > 0.9:
            yield (
                f"{other!r} is not used: times are those of {column!r} at midnight; a `query` "
                "joins day and time"
            )
