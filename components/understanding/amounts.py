"""Amounts of money as shoppers of any language write them: "£5", "zwanzig Euro", "八镑".

>>> read_amount("zwanzig pfund", "de")
Amount(value=20.0, currency='GBP')
>>> read_amount("八十五块", "zh")
Amount(value=85.0, currency='CNY')
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from components.understanding.plain import plain, words
from components.understanding.utterances import alternatives, language, languages
from components.words.numerals import CURRENCY_WORDS, number_of

AROUND = 0.25
"""How far from the amount "around 10" reaches, as a share of it."""
MOST = 1e7
"""A larger amount is none."""

_CURRENCY = {
    plain(word): code
    for code, listed in {**CURRENCY_WORDS, "CNY": f"{CURRENCY_WORDS['CNY']} ¥"}.items()
    for word in words(listed)
    if word not in ("real", "won")  # English words, too
}
_CENTS = frozenset(words("p pence cent cents centimes centavos centimos ct rappen"))
_DIGITS = re.compile(r"\d{1,3}(?:[ ,.'’]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d{1,2})?")
_HAN = re.compile("[零〇一二两三四五六七八九十百千万亿]+")
_COUNTED = re.compile(rf"(?:\d|{_HAN.pattern}) ?[个只件套张条人岁号厘]")
"""A number of things, or an age."""
_NAMED = {
    **{"fiver": 5.0, "tenner": 10.0},
    **{"funfer": 5.0, "zehner": 10.0, "zwanziger": 20.0, "funfziger": 50.0, "hunderter": 100.0},
    **{"dizaine": 10.0, "vingtaine": 20.0, "trentaine": 30.0, "cinquantaine": 50.0},
    **{"decena": 10.0, "veintena": 20.0, "treintena": 30.0, "centenar": 100.0},
}
_MARKED = re.compile(
    r"(?:[£€$¥] ?\d[\d.,]*|\d[\d.,]* ?(?:[£€$]|(?:"
    + "|".join(word for word in _CURRENCY if word.isalpha() and word.isascii())
    + r")\b)|(?:\d[\d.,]*|"
    + _HAN.pattern
    + r") ?(?:"
    + "|".join(word for word in _CURRENCY if not word.isascii() and word.isalpha())
    + r"))"
)


@dataclass(frozen=True)
class Amount:
    """currency: ISO 4217, None if it is not said."""

    value: float
    currency: str | None = None


def read_amount(text: str, code: str) -> Amount | None:
    """Return the amount in a text, None without a number. code: language, ISO 639-1."""
    said = plain(text)
    if _COUNTED.search(said):
        return None
    parts = re.findall(r"[^\W\d_]+|[£€$¥]", said)
    currency = next((_CURRENCY[part] for part in parts if part in _CURRENCY), None)
    if currency is None:
        longest = sorted((word for word in _CURRENCY if not word.isascii()), key=len, reverse=True)
        currency = next((_CURRENCY[word] for word in longest if word in said), None)
    value = _number(said, parts, code)
    if value is None or not 0 <= value <= MOST:
        return None
    if not currency and _CENTS & set(parts):
        value /= 100
    return Amount(value, currency)


def marked_amount(text: str, code: str) -> Amount | None:
    """Return the first amount of a text that has a currency, None without one."""
    found = _MARKED.search(plain(text))
    if found:
        return read_amount(found[0], code)
    articles = [(article, 1.0) for article in ("ein", "eine", "einem", "un", "une", "una")]
    for spelt, value in [*_spelt(code), *articles]:
        following = re.search(rf"(?<![^\W_]){re.escape(spelt)} ([^\W\d_]+)", plain(text))
        if following and following[1] in _CURRENCY:
            return Amount(value, _CURRENCY[following[1]])
    return None


def direction(before: str, after: str, code: str) -> Literal["at_most", "at_least"] | None:
    """Return which limit of the price an amount is, by the words before and after it; None if they
    do not say.

    >>> direction("no more than ", "", "en"), direction("", " or more", "en")
    ('at_most', 'at_least')
    """
    if code not in languages():
        return None
    found: dict[int, Literal["at_most", "at_least"]] = {}
    # Chinese separates no words by blanks.
    start, end = ("", "") if code == "zh" else (r"(?<![^\W_])", r"(?![^\W_])")
    limits: tuple[Literal["at_most", "at_least"], ...] = ("at_most", "at_least")
    for limit in limits:
        for cue in alternatives(language(code)[limit]):
            said = re.escape(plain(cue))
            ends = re.search(rf"{start}{said}\W{{0,3}}$", plain(before))
            if ends or re.search(rf"^\W{{0,2}}{said}{end}", plain(after)):
                found[len(cue)] = limit
    return found[max(found)] if found else None


_ARTICLE = re.compile(r"(?<![^\W_])(?:a|one|ein|eine|einen|einem|un|une|una)(?![^\W_])")


def _number(said: str, parts: list[str], code: str) -> float | None:
    if found := _DIGITS.search(said):
        return _decimal(found[0])
    for word, value in _NAMED.items():
        if word in parts:
            return value
    for known in (code, *languages()):
        if known in languages():
            for spelt, value in _spelt(known):
                if re.search(rf"(?<![^\W_]){re.escape(spelt)}(?![^\W_])", said):
                    return value
    if found := _HAN.search(said):
        return number_of(found[0])
    return 1.0 if _ARTICLE.search(said) and _CURRENCY.keys() & set(parts) else None


def _spelt(code: str) -> list[tuple[str, float]]:
    """Return the words of numbers and their values, the longest first."""
    numbers = language(code)["numbers"]
    pairs = [(plain(str(word)), float(value)) for value, word in numbers.items()]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def _decimal(digits: str) -> float:
    """Return a number whose last point or comma is decimal, unless three digits follow it.

    >>> [_decimal(digits) for digits in ("1,000", "1.000,50", "4,5", "12.99")]
    [1000.0, 1000.5, 4.5, 12.99]
    """
    digits = re.sub("[ '’]", "", digits)
    whole, mark, part = re.match(r"(.*?)(?:([.,])(\d{1,2}))?$", digits).groups()  # type: ignore[union-attr]
    whole = re.sub("[.,]", "", whole)
    return float(f"{whole}.{part}" if mark else whole)
