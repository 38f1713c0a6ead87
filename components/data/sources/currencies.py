"""Prices in several currencies → prices in ``ingest.currency``.

In: rows with ``price`` and the shop's words for currencies as codes. Out: the converted ``price``;
``price_given`` and ``currency_given`` hold a price that was converted as the file has it. A price
that is too large in the base currency is null and named in ``unreadable``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from components.currencies import CODES
from components.data.schema import UNREADABLE
from components.data.sources.cells import Cells, of_text
from components.data.sources.files import ROW, File, files_of
from components.data.sources.numbers import as_float32, numbers
from components.data.sources.times import times
from components.settings import Ingest, Source

SIGNS = {
    **{"€": "EUR", "£": "GBP", "₹": "INR", "₽": "RUB", "₺": "TRY", "₩": "KRW", "₪": "ILS"},
    **{"₫": "VND", "₴": "UAH", "₦": "NGN", "฿": "THB", "₱": "PHP", "₸": "KZT", "₾": "GEL"},
    **{"ZŁ": "PLN", "KČ": "CZK", "FT": "HUF", "R$": "BRL", "US$": "USD", "C$": "CAD"},
    **{"A$": "AUD", "AU$": "AUD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD", "SFR.": "CHF"},
    **{"EURO": "EUR", "EUROS": "EUR", "RMB": "CNY", "元": "CNY", "円": "JPY", "РУБ.": "RUB"},
}
"""Signs and words of one currency, in capitals."""
_OF_SEVERAL = ("$", "¥", "￥", "KR", "KR.", "RS", "RS.")
"""Signs of several currencies."""

_SPACE = "[ \u00a0\u202f]*"
_BEFORE = rf"^([-+(]?)([^-+(),\d\s]{{1,5}}){_SPACE}([-+(.]?\d)"
_AFTER = rf"(\d[.,]?\)?-?){_SPACE}([^-+(),\d\s]{{1,5}})$"
"""A word before or after an amount."""

NO_PART_OF_AMOUNTS = "[^0-9eE.,'() \u00a0\u202f+-]"
"""A character that no amount without a currency has."""

RATE_COLUMNS = ("date", "currency", "rate")


def currencies(cells: Cells, source: Source) -> ir.StringValue:
    """Return ISO 4217 codes; null where there is no value or its word is unknown."""
    word = cells.text.upper()
    given = {name.strip().upper(): code for name, code in source.currencies.items()}
    known = {**SIGNS, **given}
    branches = [(word == ibis.literal(name), ibis.literal(code)) for name, code in known.items()]
    return ibis.cases(*branches, (word.isin(sorted(CODES)), word), else_=ibis.null("string"))


def without_currency(cells: Cells, source: Source) -> tuple[Cells, Cells]:
    """Return prices without the word for a currency before or after them, and these words.

    ``12,50 €`` and ``EUR 12.50`` are amounts; what is no word for a currency stays.
    """
    words = {*SIGNS, *_OF_SEVERAL, *CODES, *(name.strip().upper() for name in source.currencies)}
    text = cells.text
    first, last = text.re_extract(_BEFORE, 2), text.re_extract(_AFTER, 2)
    is_first, is_last = (one.upper().isin(sorted(words)) for one in (first, last))
    amount = ibis.cases(
        (is_first, text.re_replace(_BEFORE, r"\1\3")),
        (is_last, text.re_replace(_AFTER, r"\1")),
        else_=text,
    )
    named = ibis.cases((is_first, first), (is_last, last), else_=ibis.null("string"))
    return replace(cells, text=amount), of_text(named)


class Rates:
    """Rates into one currency.

    base: the code of that currency. fixed: rate by code. dated: a table of ``code``, ``day`` (an
    instant) and ``rate``, or None.
    """

    def __init__(
        self, base: str, fixed: dict[str, float] | None = None, dated: ir.Table | None = None
    ) -> None:
        self.base = base
        self._fixed = fixed or {}
        self._dated = dated

    def converted(self, rows: ir.Table, file: File, table: str) -> ir.Table:
        """Return ``rows`` in their order with ``price`` in the base currency.

        rows: with ``price``, ``source_row``, ``unreadable`` and perhaps ``currency`` (null: the
        source's) and ``timestamp``. Added: ``currency``, ``price_given``, ``currency_given``.

        Raises:
            ValueError: a price is in a currency without a rate.
        """
        default = file.source.currency or self.base
        if "currency" in rows.columns:
            rows = rows.mutate(currency=rows.currency.fill_null(default))
        elif default != self.base:
            rows = rows.mutate(currency=ibis.literal(default))
        else:
            return rows.mutate(
                currency=ibis.literal(self.base),
                price_given=ibis.null("float32"),
                currency_given=ibis.null("string"),
            )
        rated = self._rated(rows)
        foreign = rated.price.notnull() & (rated.currency != self.base)
        self._check(rated.filter(foreign & rated.rate.isnull()), file, table)
        price = ibis.ifelse(foreign, as_float32(rated.price * rated.rate), rated.price)
        too_large = foreign & rated.rate.notnull() & price.isnull()
        value = ibis.literal("price: '") + rated.price.cast("string") + " " + rated.currency + "'"
        named = ibis.array([rated[UNREADABLE], value]).join("; ")
        return rated.mutate(
            price=price.cast("float32"),
            price_given=ibis.ifelse(foreign, rated.price, ibis.null("float32")),
            currency_given=ibis.ifelse(foreign, rated.currency, ibis.null("string")),
            currency=ibis.literal(self.base),
            **{UNREADABLE: ibis.ifelse(too_large, named, rated[UNREADABLE])},
        ).drop("rate")

    def _rated(self, rows: ir.Table) -> ir.Table:
        """Return ``rows`` with the column ``rate``, null where there is none."""
        if self._dated is None:
            branches = [
                (rows.currency == code, ibis.literal(rate, "float64"))
                for code, rate in self._fixed.items()
            ]
            rate = ibis.cases(*branches, else_=None) if branches else None
            return rows.mutate(rate=ibis.null("float64") if rate is None else rate)
        if "timestamp" in rows.columns:
            dated = self._dated.mutate(known=_.day)
            found = rows.asof_join(
                dated, rows.timestamp >= dated.known, [rows.currency == dated.code]
            )
        else:
            newest = self._dated.group_by("code").aggregate(rate=_.rate.argmax(_.day))
            found = rows.left_join(newest, rows.currency == newest.code)
        return found.select(*rows.columns, "rate").order_by("source_row")

    def _check(self, missing: ir.Table, file: File, table: str) -> None:
        """Raise if there are rows of a price without a rate."""
        if "timestamp" in missing.columns:
            # Rows without a time go to quarantine.
            missing = missing.filter(missing.timestamp.notnull())
        found = (
            missing.group_by("currency")
            .aggregate(n=_.count(), row=_.source_row.min())
            .order_by([ibis.desc("n"), "currency"])
            .execute()
        )
        if found.empty:
            return
        listed = ", ".join(
            f"{code} ({n:,})" for code, n in zip(found["currency"], found["n"], strict=True)
        )
        when = " on or before their day" if self._dated is not None else ""
        example = ", ".join(f"{code}: …" for code in found["currency"][:3])
        raise ValueError(
            f"ingest.{table}: {file.shown}: prices in other currencies than {self.base} "
            f"(ingest.currency) have no rate{when}, with their numbers of rows: {listed}, for "
            f"example row {int(found['row'].min()) + 1:,}; set `ingest.currency_rates: "
            f"{{{example}}}` (the value of one unit in {self.base}) or a file of date, currency "
            "and rate, or `ingest.currency`"
        )


def rates_file(ingest: Ingest) -> list[Source]:
    """Return the source of the rates, if they are in a file."""
    if not isinstance(ingest.currency_rates, Path):
        return []
    columns = {name: name for name in RATE_COLUMNS}
    return [Source.model_validate({"path": ingest.currency_rates, "columns": columns})]


def rates_of(con: ibis.BaseBackend, ingest: Ingest, root: Path) -> Rates:
    """Return the rates of ``ingest.currency_rates``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file lacks a column, a value in it is no date, code or positive number, or
            a currency has two rates of one day.
    """
    sources = rates_file(ingest)
    if not sources:
        assert isinstance(ingest.currency_rates, dict)
        return Rates(ingest.currency, ingest.currency_rates)
    parts = [_dated(con, file) for file in files_of(sources[0], root)]
    table = con.create_table(ibis.util.gen_name("rates"), ibis.union(*parts), temp=True)
    _check_unique(table)
    return Rates(ingest.currency, dated=table.drop("place"))


def _check_unique(rates: ir.Table) -> None:
    """Raise if a currency has two rates of one day."""
    twice = rates.group_by(["code", "day"]).having(_.count() > 1)
    found = twice.aggregate(places=_.place.collect(order_by=_.place)).order_by(["code", "day"])
    for code, day, places in found.limit(1).execute().itertuples(index=False):
        raise ValueError(
            f"ingest.currency_rates: {code} has {len(places)} rates of {day:%Y-%m-%d}, in "
            f"{places[0]} and {places[1]}: keep one"
        )


def _dated(con: ibis.BaseBackend, file: File) -> ir.Table:
    try:
        rows, cells = file.columns(con, RATE_COLUMNS)
    except ValueError as error:
        raise ValueError(f"ingest.currency_rates: {error}") from error
    typed = rows.select(
        row=rows[ROW],
        day=times(cells["date"], [], None),
        code=currencies(cells["currency"], file.source),
        rate=numbers(cells["rate"], file.source).cast("float64"),
    )
    table = con.create_table(ibis.util.gen_name("rates"), typed, temp=True)
    wrong = table.filter(
        table.day.isnull() | table.code.isnull() | table.rate.isnull() | (table.rate <= 0)
    )
    first = wrong.row.min().execute()
    if pd.notna(first):
        raise ValueError(
            f"ingest.currency_rates: {file.shown}: row {int(first) + 1:,} needs a date (ISO 8601), "
            "a currency (ISO 4217) and a positive rate: correct or remove it"
        )
    place = ibis.literal(f"{file.shown} row ") + (table.row + 1).cast("string")
    return table.mutate(place=place).drop("row")
