"""What a reader of params.yaml should know: columns that may matter and are not used, and columns
whose meaning the values do not settle.

In: the columns of a file and their names in the contract. Out: sentences.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from components.data.sources.names import MINOR_UNITS, PART, STATES, currency_of, likeness, words

TAKES_BACK = frozenset.union(*STATES.values(), {"status", "state"})
"""Words in the name of a column that may say that a purchase does not stand."""
_NEGATIONS = (
    "sold out discontinued inactive disabled hidden deleted archived unavailable ausverkauft "
    "agotado epuise inaktiv gesperrt sperre auslauf auslaufartikel geloscht archiviert blocked "
    "obsolete retired eol"
)
NOT_AVAILABLE = frozenset(_NEGATIONS.split())
"""Words in the name of a column that may say that a product cannot be bought."""
_NAMES_OF_SHOWN = (
    "online visible visibility sichtbar sichtbarkeit active aktiv published enabled status state "
    "saleable sellable purchasable listed webshop"
)
_SHOWN = frozenset(_NAMES_OF_SHOWN.split())
"""Words in the name of a column that may say that a product can be bought."""
_NAMES_OF_ENDS = "to until till bis end ende expires expiry gultig valid available"
_UNTIL = frozenset(_NAMES_OF_ENDS.split())
"""Words of which two in the name of a column may say until when a product can be bought."""
_NAMES_OF_KINDS = (
    "type kind art belegart belegtyp vorgangsart doctype transaktionsart typ tipo vorgang"
)
_KIND = frozenset(_NAMES_OF_KINDS.split())
"""Words in the name of a column that may say which rows are sales."""
_TEST = frozenset({"test", "testorder", "testbestellung", "istest", "sandbox"})
_MOST_KINDS = 6
"""Kinds of rows that a column has at most; a column of one kind says nothing."""
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
        own = values[column].dropna()
        seen = ", ".join(map(repr, own.value_counts().index[:4]))
        names = set(words(column))
        if table == "interactions" and TAKES_BACK & names:
            yield f"{column!r} ({seen}) is not used: {_of_taken_back(column, own)}"
        elif table == "interactions" and _KIND & names and 1 < own.nunique() <= _MOST_KINDS:
            yield (
                f"{column!r} ({seen}) is not used, so all rows are purchases: if it says which are "
                "sales and which returns or credit notes, name it as `status` in `columns`, and "
                "its words in `statuses`"
            )
        elif table == "interactions" and _TEST & names and own.nunique() > 1:
            yield (
                f"{column!r} ({seen}) is not used: if it says which orders are tests, a `query` "
                "leaves them out"
            )
        elif table == "items" and NOT_AVAILABLE & names:
            yield (
                f"{column!r} ({seen}) is not used, so these products count as available: if it "
                "says which cannot be bought, a `query` makes the column for `available` of it"
                f" ({_is_null(column)} where it is a time or a mark, such as X)"
            )
        elif table == "items" and "available" not in columns and _SHOWN & names:
            yield (
                f"{column!r} ({seen}) is not used, so all products are available: if it says which "
                "can be bought, name it as `available` in `columns`, and its words in `available`"
            )
        elif table == "items" and len(_UNTIL & names) > 1:
            yield (
                f"{column!r} ({seen}) is not used, so all products are available: if it says until "
                "when they can be bought, a `query` makes the column for `available` of it"
            )
        elif "price" in columns and currency_of(column) and likeness("price", column) >= PART / 2:
            yield (
                f"{column!r} is not used: price is column {columns['price']!r}, which may be in "
                "another currency"
            )
        elif table == "items" and "parent" in words(column):
            yield (
                f"{column!r} is not used: if rows are variants of one product, a `query` makes one "
                "row of them, with the id that the events have"
            )
        elif MINOR_UNITS & names:
            yield f"{column!r} is not used: a `query` divides prices in cents by 100"


def _is_null(column: str) -> str:
    return f'"{column}" IS NULL AS available'


def _of_taken_back(column: str, own: pd.Series) -> str:
    """Return what to do about a column that may say which purchases do not stand."""
    if own.str.fullmatch(_TIME_OR_NUMBER).all():
        return (
            "if it says which purchases do not stand, a `query` leaves their rows out (WHERE "
            f'"{column}" IS NULL for times, "{column}" = 0 for quantities)'
        )
    return (
        "if it says which purchases do not stand, name it as `status` in `columns`, and its words "
        "in `statuses`"
    )


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
