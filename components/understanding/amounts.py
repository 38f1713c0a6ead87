"""Amounts of money as shoppers of any language write them: "£5", "zwanzig Euro", "八镑".

>>> read_amount("zwanzig pfund", "de")
Amount(value=20.0, currency='GBP')
>>> read_amount("八十五块", "zh")
Amount(value=85.0, currency='CNY')
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from components.understanding.plain import plain, words
from components.understanding.utterances import alternatives, language, languages
from components.words.numerals import CURRENCY_WORDS, number_of

Direction = Literal["at_most", "at_least", "around"]
"""How an amount limits the price."""
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
_WITH_CENTS = re.compile(
    rf"(?P<cents>\d{{1,2}}|[^\W\d_]+(?:[ -][^\W\d_]+)?) ?(?:{'|'.join(_CENTS)})\b"
)
_CENTS_ALONE = re.compile(
    rf"\d ?(?:{'|'.join(word for word in _CURRENCY if word.isalpha())}) (\d{{2}})"
    r"(?![\d.,%\w]| ?[^\W\d_])"
)
_TENTHS = re.compile(r"[块元镑]([一二两三四五六七八九]|\d)(?:毛|角)?(?![\w])")
_HALF = re.compile(r"\band a half\b|\beinhalb\b|\bet demie?s?\b|\by medi[oa]\b|[块元镑]半")
_DIGITS = re.compile(r"\d{1,3}(?:[ ,.'’]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d{1,2})?")
_HAN = re.compile("[零〇一二两三四五六七八九十百千万亿廿卅点]{1,16}")
_COUNTED = re.compile(rf"(?:\d|{_HAN.pattern}) ?[个只件套张条人岁号厘]")
"""A number of things, or an age."""
_NAMED = {
    "anderthalb": 1.5,
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
_UNCLEAR = frozenset(words("pound pfund livre livres libra libras peso 块 刀 欧"))
"""Words of money that are also weights, books, pieces and knives."""


@dataclass(frozen=True)
class Amount:
    """currency: ISO 4217, None if it is not said."""

    value: float
    currency: str | None = None


def read_amount(text: str, code: str) -> Amount | None:
    """Return the amount in a text, None without a number. code: language, ISO 639-1."""
    said = re.sub(r"\B(?:und)?einhalb\b", " einhalb", plain(text))
    if _COUNTED.search(said):
        return None
    parts = re.findall(r"[^\W\d_]+|[£€$¥]", said)
    currency = next((_CURRENCY[part] for part in parts if part in _CURRENCY), None)
    if currency is None:
        longest = sorted((word for word in _CURRENCY if not word.isascii()), key=len, reverse=True)
        currency = next((_CURRENCY[word] for word in longest if word in said), None)
    value = _number(said, parts, code)
    if value is None:
        return None
    cents = _CENTS if any(sign.isdigit() for sign in said) else _CENTS - _LARGE.get(code, {}).keys()
    if not currency and cents & set(parts):
        value /= 100
    elif value.is_integer():
        value += _part(said, code) if currency else 0.5 * bool(_HALF.search(said))
    return Amount(value, currency) if 0 <= value <= MOST else None


def _part(said: str, code: str) -> float:
    """Return what follows the whole pounds, as a share of one.

    >>> _part("2 pounds and 50 pence", "en"), _part("two and a half pounds", "en")
    (0.5, 0.5)
    >>> _part("五块八", "zh"), _part("2 livres 50", "fr")
    (0.8, 0.5)
    """
    if _HALF.search(said):
        return 0.5
    if found := _TENTHS.search(said):
        return (number_of(found[1]) or 0.0) / 10
    if found := _CENTS_ALONE.search(said):
        return int(found[1]) / 100
    if found := _WITH_CENTS.search(said):
        before = re.findall(r"[^\W\d_]+|[£€$¥]", said[: found.end("cents")])
        cents = _number(found["cents"], [], code)
        return cents / 100 if _CURRENCY.keys() & set(before) and cents and cents < 100 else 0.0
    return 0.0


def marked_amount(text: str, code: str) -> Amount | None:
    """Return the first amount of a text that has a currency, None without one."""
    said = plain(text)
    for start, stop in [
        *(found.span() for found in _MARKED.finditer(said)),
        *_in_words(said, code),
    ]:
        amount = read_amount(said[start:stop], code)
        # "Trois livres" may be books, "a pound" a weight: only with "less than" it is money.
        parts = {*re.findall(r"[^\W\d_]+", said[start:stop]), said[stop - 1]}
        is_money = not _UNCLEAR & parts or direction(said[:start], said[stop:], code)
        if amount is not None and amount.currency and is_money:
            return amount
    return None


def _in_words(said: str, code: str) -> Iterator[tuple[int, int]]:
    """Yield start and stop of the amounts that are all in words: "twenty five pounds"."""
    spelt = _spelt(code) if code in languages() else []
    numbers = {part for form, _ in spelt for part in form.replace("-", " ").split()}
    numbers |= _LARGE.get(code, {}).keys() | _AND | _ARTICLES
    found = list(re.finditer(r"[^\W\d_]+", said))
    for at, word in enumerate(found):
        first = at
        while first and found[first - 1][0] in numbers:
            first -= 1
        if word[0] in _CURRENCY and first < at:
            yield found[first].start(), word.end()


def is_any_price(text: str, code: str) -> bool:
    """Return whether a text says that the price does not matter.

    >>> is_any_price("Preis egal!", "de")
    True
    """
    said = plain(text)
    known = [code] if code in languages() else []
    return any(
        plain(form) in said
        for one in dict.fromkeys([*known, "en"])  # a click sends it in English
        for form in alternatives(language(one)["any_price"])
    )


def direction(before: str, after: str, code: str) -> Direction | None:
    """Return which limit of the price an amount is, by the words before and after it; None if they
    do not say.

    >>> direction("no more than ", "", "en"), direction("", " or more", "en")
    ('at_most', 'at_least')
    >>> direction("roughly ", "", "en"), direction("", "左右", "zh")
    ('around', 'around')
    >>> direction("it mustn't cost more than ", "", "en"), direction("no less than ", "", "en")
    ('at_most', 'at_least')
    """
    if code not in languages():
        return None
    found: dict[int, tuple[Direction, re.Match[str] | None]] = {}
    # Chinese separates no words by blanks.
    start, end = ("", "") if code == "zh" else (r"(?<![^\W_])", r"(?![^\W_])")
    limits: tuple[Direction, ...] = get_args(Direction)
    for limit in limits:
        for cue in alternatives(language(code)[limit]):
            said = re.escape(plain(cue))
            ends = re.search(rf"{start}{said}\W{{0,3}}$", plain(before))
            if ends or re.search(rf"^\W{{0,2}}{said}{end}", plain(after)):
                found[len(cue)] = limit, ends
    if not found:
        return None
    limit, ends = found[max(found)]
    if ends is not None and _NOT.search(plain(before)[: ends.start()]):
        return _OPPOSITE.get(limit, limit)
    return limit


_NOT = re.compile(
    r"\b(?:not|never|cannot|nicht|kein\w*|nie|pas|jamais|no|nunca|"
    r"(?:must|should|ca|wo|do|does|would|could|need)n['’]?t)"
    r"(?: (?:want|to|be|cost|go|spend|pay|etre|couter|depenser|que|sea|cueste|gastar|costar))* ?$"
    r"|[不别別勿][能要可]?$"
)
"""A negation shortly before: "it must not be more than"."""
_OPPOSITE: dict[Direction, Direction] = {"at_least": "at_most", "at_most": "at_least"}


_ARTICLES = frozenset(words("a one ein eine einen einem un une una"))


def _number(said: str, parts: list[str], code: str) -> float | None:
    if found := _DIGITS.search(said):
        unit = re.match(r"k(?![^\W_])|[十百千万亿]", said[found.end() :])
        return _decimal(found[0]) * (_UNITS[unit[0]] if unit else 1)
    for word, value in _NAMED.items():
        if word in parts:
            return value
    for known in dict.fromkeys([code, *languages()]):
        if known in languages() and (number := _of_words(said, known)) is not None:
            return number
    if found := _HAN.search(said):
        return number_of(found[0])
    return 1.0 if _ARTICLES & set(parts) and _CURRENCY.keys() & set(parts) else None


_UNITS = {"k": 1e3, "十": 10.0, "百": 100.0, "千": 1e3, "万": 1e4, "亿": 1e8}
_LARGE = {
    "en": {"hundred": 100.0, "thousand": 1000.0},
    "de": {"hundert": 100.0, "tausend": 1000.0},
    "fr": {"cent": 100.0, "cents": 100.0, "mille": 1000.0},
    "es": {"cien": 100.0, "ciento": 100.0, "mil": 1000.0},
}
_AND = frozenset(words("and und et y"))


def _of_words(said: str, code: str) -> float | None:
    """Return the first number that a text says in words, None without one.

    >>> [_of_words(said, "en") for said in ("twenty-five", "two hundred and fifty pounds", "mug")]
    [25.0, 250.0, None]
    >>> _of_words("einundzwanzig euro", "de"), _of_words("deux cents", "fr")
    (21.0, 200.0)
    >>> _of_words("between three and seven", "en"), _of_words("mille deux cents", "fr")
    (3.0, 1200.0)
    >>> _of_words("twelve hundred", "en"), _of_words("between twenty and five hundred", "en")
    (1200.0, 20.0)
    """
    spelt = _spelt(code)
    left = said.replace("-", " ").split()
    thousands = 0.0
    group: float | None = None  # what is said so far, below a thousand or, of hundreds, above
    is_joined = False  # the group has an "and"
    last = shorter = 0.0  # its last part; the group without it
    while left:
        value, n = _first(left, spelt, code)
        if value is None:
            if (group is not None or thousands) and left[0] not in _AND:
                break
            is_joined, n = is_joined or group is not None, 1
        elif value == 1000.0 and thousands == 0.0:
            thousands, group, last = 1000.0 * (group or 1.0), None, 1000.0
        elif group is None:
            if value >= 1000.0:
                break
            group, last, shorter = value, value, 0.0
        elif value == 100.0 and (group < 10.0 or (not is_joined and group < 100.0 and group % 10)):
            group, last = 100.0 * group, 100.0
        elif _fits(last, value, code):
            group, last, shorter = group + value, value, group
        else:  # another number; its first word was taken for a part of this one
            group = shorter if value == 100.0 and last < 10.0 else group
            break
        left = left[n:]
    return None if group is None and not thousands else thousands + (group or 0.0)


def _fits(last: float, value: float, code: str) -> bool:
    """Return whether a part of a number may follow another one: five follows twenty."""
    if last >= 100.0:
        return value < 100.0
    if code == "de" and last < 10.0:  # drei und zwanzig
        return value >= 20.0 and value % 10.0 == 0.0
    most = 20.0 if code == "fr" and last in (60.0, 80.0) else 10.0
    return last >= 20.0 and last % 10.0 == 0.0 and value < most


@cache
def _spelt(code: str) -> list[tuple[str, float]]:
    """Return the words of numbers and their values, the longest first."""
    numbers = language(code)["numbers"]
    pairs = [(plain(str(word)), float(value)) for value, word in numbers.items()]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def _first(left: list[str], spelt: list[tuple[str, float]], code: str) -> tuple[float | None, int]:
    """Return the number that a list of words begins with, and of how many words it is."""
    for form, value in spelt:
        said = form.replace("-", " ").split()
        if left[: len(said)] == said:
            return value, len(said)
    known = dict(spelt)
    unit, joint, ten = left[0].partition("und")
    if code == "de" and joint and unit in known and ten in known:
        return known[unit] + known[ten], 1
    return _LARGE.get(code, {}).get(left[0]), 1


def _decimal(digits: str) -> float:
    """Return a number whose last point or comma is decimal, unless three digits follow it.

    >>> [_decimal(digits) for digits in ("1,000", "1.000,50", "4,5", "12.99")]
    [1000.0, 1000.5, 4.5, 12.99]
    """
    digits = re.sub("[ '’]", "", digits)
    whole, mark, part = re.match(r"(.*?)(?:([.,])(\d{1,2}))?$", digits).groups()  # type: ignore[union-attr]
    whole = re.sub("[.,]", "", whole)
    return float(f"{whole}.{part}" if mark else whole)
