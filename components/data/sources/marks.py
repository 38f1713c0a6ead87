"""Columns whose names say that some rows are no sales, or that some products cannot be bought.

Their values are words of each shop (``Belegart`` RE and GS, ``Gesperrt`` X, ``deleted_at``), so no
vocabulary types them. In: the name of a column that no source names, and how often it has which
value. Out: a sentence with the setting that reads it, "" where its values change nothing: a state
of the country, a flag that is never set.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from components.data.schema import STATUSES
from components.data.sources.booleans import FALSE, TRUE
from components.data.sources.names import FILLERS, STATES, words
from components.data.sources.statuses import KEPT, WORDS

_TAKES_BACK = frozenset.union(*STATES.values())
"""Words in the name of a column that may say that a purchase does not stand."""
_STATE = frozenset({"status", "state"})
_STATED = _STATE | {"payment", "financial", "fulfillment", "fulfilment", "delivery", "shipment"}
_STATED |= {"current", "id", "code"}
_NEGATIONS = (
    "sold out discontinued inactive disabled hidden deleted archived unavailable ausverkauft "
    "agotado epuise inaktiv gesperrt sperre auslauf auslaufartikel geloscht archiviert blocked "
    "obsolete retired eol"
)
NOT_AVAILABLE = frozenset(_NEGATIONS.split())
"""Words in the name of a column that may say that a product cannot be bought."""
_PAIRS = ({"sold", "out"}, {"out", "stock"})
"""Of these, words that say so only together."""
_NAMES_OF_SHOWN = (
    "online visible visibility sichtbar sichtbarkeit active aktiv published enabled status "
    "saleable sellable purchasable listed webshop"
)
_SHOWN = frozenset(_NAMES_OF_SHOWN.split())
"""Words in the name of a column that may say that a product can be bought."""
_NAMES_OF_PLACES = "web webshop shop store website catalog catalogue b2c in for on sales sale"
_PLACES = frozenset(_NAMES_OF_PLACES.split())
_NAMES_OF_ENDS = "to until till bis end ende expires expiry gultig valid available"
_UNTIL = frozenset(_NAMES_OF_ENDS.split())
"""Words of which two in the name of a column may say until when a product can be bought."""
_NAMES_OF_KINDS = (
    "type kind art belegart belegtyp vorgangsart doctype transaktionsart typ tipo vorgang "
    "positionstyp positionsart zeilentyp sign vorzeichen signe signo soll haben debit credit"
)
KIND = frozenset(_NAMES_OF_KINDS.split())
"""Words in the name of a column that may say which rows are sales."""
_NAMES_OF_DOCUMENTS = (
    "belegart belegtyp vorgangsart doctype transaktionsart vorgang document doc transaction "
    "movement beleg invoice receipt voucher record positionstyp positionsart zeilentyp sign "
    "vorzeichen signe signo soll haben debit credit"
)
_DOCUMENTS = frozenset(_NAMES_OF_DOCUMENTS.split())
"""Words in the name of a column that say that rows are documents, such as invoices."""
_NAMES_OF_CHARGES = (
    "shipping shippingfee promotion discount coupon voucher giftcard fee tax surcharge payment "
    "versand versandposition rabatt gutschein"
)
_CHARGES = frozenset(_NAMES_OF_CHARGES.split())
"""Kinds of rows that are of no product."""
_TEST = frozenset({"test", "testorder", "testbestellung", "istest", "sandbox"})
_MOST_KINDS = 12
"""Kinds of rows that a column has at most."""
_CODE = 3
"""Characters of a code at most: RE, GS, S."""
_GLUED = 3
"""Characters before a word in a name without signs at most: OXSTORNO, isdeleted."""
_LEAST_GLUED = 6
COUNTED = 50
"""Different values of a column that are counted, at most."""
_SHOWN_VALUES = 4
_LONGEST = 40  # characters of a value that are shown
_TIME_OR_NUMBER = r"\d+(?:[.,]\d+)?|\d[\d.,:/TZ+ -]{5,}"
_DAY = r"\d{4}-\d{2}-\d{2}"
_NO = FALSE | {"0", "0.0", "0.00", "0,00", "-", "none", "null"}
_YES = TRUE | {"1", "x"}
_STANDS = frozenset(WORDS[KEPT].split())
_TAKEN_BACK = frozenset().union(*(WORDS[state].split() for state in STATUSES))


@dataclass(frozen=True)
class Values:
    """The values of a column.

    counts: rows by value, the most frequent first; one value more than COUNTED if there are more.
    rows: with and without a value. given: with one.
    """

    counts: dict[str, int]
    rows: int
    given: int

    @property
    def many(self) -> bool:
        return len(self.counts) > COUNTED

    @property
    def differ(self) -> bool:
        """Whether rows have several values, or some have none."""
        return len(self.counts) + (self.given < self.rows) > 1

    @property
    def plain(self) -> set[str]:
        """The values in small letters, without spaces and signs between letters."""
        return {re.sub(r"[\s_:/-]+(?=[^\W\d])", "", one.lower()) for one in self.counts}

    @property
    def text(self) -> str:
        """Return the most frequent values with their rows."""
        if self.many:
            return f"{self.given:,} rows, for example {next(iter(self.counts))[:_LONGEST]!r}"
        listed = [f"{one[:_LONGEST]!r} {n:,}" for one, n in self.counts.items()][:_SHOWN_VALUES]
        empty = self.rows - self.given
        more = ", …" if len(self.counts) > _SHOWN_VALUES else ""
        return ", ".join(listed) + more + (f", none {empty:,}" if empty else "")


def note(table: str, column: str, values: Values | None, mapped: Collection[str]) -> str:
    """Return what the column may say and how it is read, "" if that is nothing.

    table: interactions or items. values: None asks by the name alone: "" if no values would matter.
    mapped: names of the contract that the source names columns for.

    >>> found = note("interactions", "Belegart", Values({"RE": 14, "GS": 2}, 16, 16), ["user_id"])
    >>> found[:80]
    "column 'Belegart' ('RE' 14, 'GS' 2) is not used, so all rows count: if it says w"
    >>> note("items", "hidden", Values({"0": 160}, 160, 160), ["item_id"])
    ''
    """
    rules = {"interactions": (_taken_back, _kinds, _tests), "items": (_gone, _until, _on_sale)}
    for rule in rules.get(table, ()):
        if said := rule(column, values, mapped):
            seen = f" ({values.text})" if values else ""
            return f"column {column!r}{seen} is not used, so {said}"
    return ""


def _names(column: str, known: Collection[str]) -> bool:
    """Return whether a word of the name is known, or ends in a long one that is: OXSTORNO."""
    own = words(column)
    return any(
        one in known
        or any(one[n:] in known for n in range(1, _GLUED + 1) if len(one) - n >= _LEAST_GLUED)
        for one in own
    )


def _taken_back(column: str, values: Values | None, mapped: Collection[str]) -> str:
    """Return what to do about a column that may say which purchases do not stand."""
    by_name = _names(column, _TAKES_BACK)
    own = set(words(column)) - FILLERS
    if not by_name and not ("status" not in mapped and own & _STATE and own <= _STATED):
        return ""
    if values:
        if not values.differ or values.plain <= _NO | _STANDS:
            return ""
        if not by_name and not _of_rows(values, whole="status" in own):
            return ""
    if not values or all(re.fullmatch(_TIME_OR_NUMBER, one) for one in values.counts):
        if values and not by_name:
            return f"{_ALL}: {_IF_TAKEN_BACK}, {_AS_STATUS}"
        return (
            f"{_ALL}: {_IF_TAKEN_BACK}, a `query` leaves their rows out (WHERE "
            f'"{column}" IS NULL for times, "{column}" = 0 for numbers)'
        )
    if values.many:
        return f'{_ALL}: {_IF_TAKEN_BACK}, a `query` leaves their rows out (WHERE "{column}" …)'
    return f"{_ALL}: {_IF_TAKEN_BACK}, {_AS_STATUS}"


_ALL = "all rows count"
_IF_TAKEN_BACK = "if it says which purchases do not stand"
_AS_STATUS = "name it as `status` in `columns`, and its words in `statuses`"


def _of_rows(values: Values, whole: bool) -> bool:
    """Return whether the values may be states of orders: some words of those, or codes.

    whole: the name says that it is a status, so that unknown words may be of orders, too.
    """
    if len(values.counts) > _MOST_KINDS:
        return False
    return bool(whole or _are_codes(values, digits=True) or values.plain & _TAKEN_BACK)


def _are_codes(values: Values, digits: bool) -> bool:
    """Return whether all values are codes of few letters, or ``digits``."""
    form = rf"[^\W\d]{{1,{_CODE}}}" + (rf"|\d{{1,{_CODE}}}" if digits else "")
    return all(re.fullmatch(form, one) for one in values.counts)


def _kinds(column: str, values: Values | None, mapped: Collection[str]) -> str:
    """Return what to do about a column that may say which rows are sales."""
    own = set(words(column)) - FILLERS - {"items", "lines"}
    if own == {"s", "h"}:  # S/H: debit and credit of German ledgers
        own = {"soll", "haben"}
    if not own & KIND or not own <= KIND | _DOCUMENTS:
        return ""
    if "event" in mapped and not own & _DOCUMENTS:
        return ""
    if values:
        if not 1 < len(values.counts) <= _MOST_KINDS:
            return ""
        others = values.plain & (_TAKEN_BACK | _CHARGES)
        if not (own & _DOCUMENTS or _are_codes(values, True) or others):
            return ""
    return (
        f"{_ALL}: if it says which are sales and which returns or credit notes, {_AS_STATUS}; a "
        "`query` leaves out rows of no product, such as shipping"
    )


def _tests(column: str, values: Values | None, _: Collection[str]) -> str:
    """Return what to do about a column that may say which orders are tests."""
    if not _names(column, _TEST):
        return ""
    if values and not (values.differ and values.plain <= _NO | _YES and values.plain & _YES):
        return ""
    return f"{_ALL}: if it says which orders are tests, a `query` leaves them out"


def _gone(column: str, values: Values | None, _: Collection[str]) -> str:
    """Return what to do about a column that may say which products cannot be bought."""
    own = set(words(column))
    pairs = frozenset().union(*_PAIRS)
    if not _names(column, NOT_AVAILABLE - pairs) and not any(pair <= own for pair in _PAIRS):
        return ""
    if values and (not values.differ or values.plain <= _NO):
        return ""
    return (
        "these products count as available: if it says which cannot be bought, a `query` makes the "
        f'column for `available` of it ("{column}" IS NULL AS available where it is a time or a '
        "mark, such as X)"
    )


def _until(column: str, values: Values | None, _: Collection[str]) -> str:
    """Return what to do about a column that may say until when products can be bought."""
    if len(_UNTIL & set(words(column))) < 2:
        return ""
    if values:
        days = [one for one in values.counts if re.match(_DAY, one)]
        today = datetime.now(UTC).date().isoformat()
        if not values.given or (days and len(days) == len(values.counts) and min(days) >= today):
            return ""
    return (
        "all products are available: if it says until when they can be bought, a `query` makes the "
        "column for `available` of it"
    )


def _on_sale(column: str, values: Values | None, mapped: Collection[str]) -> str:
    """Return what to do about a column that may say which products can be bought."""
    own = set(words(column)) - FILLERS
    if not (own and own & _SHOWN and own <= _SHOWN | _PLACES) and not _names(column, _GLUED_SHOWN):
        return ""
    if values and (not 1 < len(values.counts) <= _MOST_KINDS or not values.plain - _YES):
        return ""
    if "available" in mapped:
        return (
            "only another column says what can be bought: if this one also does, a `query` makes "
            "the column for `available` of both"
        )
    return (
        "all products are available: if it says which can be bought, name it as `available` in "
        "`columns`, and its words in `available`"
    )


_GLUED_SHOWN = frozenset({"active", "visible", "enabled", "published"})
