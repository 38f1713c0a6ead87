"""Formats that a time may be written in, found by looking at one.

In: a text such as ``02/01/2024 à 19:06``. Out: strptime formats, as ``times`` reads them. Whether
day or month comes first is not known from one text, so there may be several. A word that may say
something about the time, such as a zone or an era, is never a mere letter of a format.
"""

from __future__ import annotations

import re
import zoneinfo
from functools import cache

_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_MONTH = "(?:" + "|".join(f"{one}|{one[:3]}" for one in _MONTHS.split()) + r")(?![^\W\d_])"
_YEAR = r"(?P<y>\d{4}|\d{2})(?![\d:])"
_BETWEEN = r"[^\dA-Za-z:]{1,3}"
_NOT_AFTER = r"(?<![\d:.])"
_TIME = r"(\d{1,2})([:.h時时시])(\d{2})(?:([:.m分])(\d{2})(?:([.,])\d{1,6})?)?(?!\d)"

_POINT = "\\.?[ \u00a0\u202f]?"
HALVES = {
    "AM": rf"\ba{_POINT}m\b\.?|上午|午前|오전|π\.?μ\.?",
    "PM": rf"\bp{_POINT}m\b\.?|下午|午後|오후|μ\.?μ\.?",
}
"""Patterns of the words for the halves of a day, in small letters."""
GLUED_HALF = r"(\d ?)([ap])$"
"""The half of a day by a letter at the end: 2:35p."""
_HALF = re.compile(
    r"(?<![^\W\d_])(?:" + "|".join(HALVES.values()).replace(r"\b", "") + r")(?![^\W\d_])",
    re.IGNORECASE,
)
ZONES = {
    **{"PST": "-08:00", "PDT": "-07:00", "MST": "-07:00", "MDT": "-06:00", "EST": "-05:00"},
    **{"EDT": "-04:00", "AKST": "-09:00", "AKDT": "-08:00", "HST": "-10:00", "WET": "+00:00"},
    **{"WEST": "+01:00", "MEZ": "+01:00", "MESZ": "+02:00", "CET": "+01:00", "CEST": "+02:00"},
    **{"EET": "+02:00", "EEST": "+03:00", "MSK": "+03:00", "JST": "+09:00", "KST": "+09:00"},
    **{"AEST": "+10:00", "AEDT": "+11:00", "NZST": "+12:00", "NZDT": "+13:00"},
}
"""Offsets of abbreviations that mean one zone. CST, IST, BST, AST and CDT mean several."""
_SILENT = "h m s min uhr um at on of the à kl klo 年 月 日 時 时 分 秒 点 點 년 월 일 시 분 초"
_WORDS = frozenset(_SILENT.split())
"""Words in a format that say nothing about the time."""
_ERA = r"令和|平成|昭和|大正|明治|中華民國|民國|民国|พ\.ศ\.|(?<![^\W_])[RHS](?=\d{1,2}[./年-])"

_DATES = [
    (rf"{_NOT_AFTER}(?P<y>\d{{1,4}})(?P<a> ?[年년] ?)\d{{1,2}}(?P<b> ?[月월] ?)\d{{1,2}}", "ymd"),
    (
        rf"{_NOT_AFTER}(?P<y>\d{{4}})(?P<a>{_BETWEEN})\d{{1,2}}(?P<b>{_BETWEEN})\d{{1,2}}(?!\d)",
        "ymd",
    ),
    (rf"{_NOT_AFTER}\d{{1,2}}(?P<a>{_BETWEEN})\d{{1,2}}(?P<b>{_BETWEEN}){_YEAR}", "dmy"),
    (rf"{_NOT_AFTER}\d{{1,2}}(?P<a>{_BETWEEN})(?P<m>{_MONTH})(?P<b>{_BETWEEN}){_YEAR}", "d-y"),
    (rf"(?P<m>\b{_MONTH})(?P<a>{_BETWEEN})\d{{1,2}}(?P<b>{_BETWEEN}){_YEAR}", "-dy"),
    (rf"(?P<m>\b{_MONTH})(?P<a> )\d{{1,2}}(?P<b> {_TIME} )(?P<y>\d{{4}})", "-dy"),
    (
        r"(?<!\d)(?P<y>(?:19|20)\d{2})(?P<a>)\d{2}(?P<b>)\d{2}(?=\d{6}(?!\d)|T\d{6}(?!\d)|\D|$)",
        "ymd",
    ),
]
"""Patterns of dates with the order of their parts; ``-`` is a month's name, ``a`` and ``b`` stand
between the parts."""


def formats_like(text: str) -> list[str]:
    """Return the formats that may read a time, the day before the month first; [] for no time and
    for one with words whose meaning is not known.

    >>> formats_like("02/01/2024 à 19:06"), formats_like("Apr 3, 2024 7:06 PM")
    (['%d/%m/%Y à %H:%M', '%m/%d/%Y à %H:%M'], ['%b %d, %Y %I:%M %p'])
    """
    return [form for form in _formats_with_letters(text) if not letters_of(form)]


def _formats_with_letters(text: str) -> list[str]:
    if "%" in text or len(text) > 100:
        return []
    matches = [(re.search(pattern, text, re.IGNORECASE), order) for pattern, order in _DATES]
    dates = [(found, order) for found, order in matches if found]
    if not dates:
        return []
    found, order = min(dates, key=lambda one: one[0].start())
    before, between, after = map(
        _without_time, (text[: found.start()], found["b"], text[found.end() :])
    )
    if re.search(r"\d", before + between + after):
        return []
    return [f"{before}{date}{after}" for date in _dates(found, order, between)]


def letters_of(form: str) -> str:
    """Return the words of a format that may say something about the time, "" for none.

    >>> letters_of("%d.%m.%Y %H:%M Uhr"), letters_of("%Y-%m-%d %H:%M PST")
    ('', 'PST')
    """
    plain = re.sub(r"(?:GMT|UTC)?%z", "", form)
    plain = re.sub(r"Z$|T(?=%[HI])", "", plain)
    found = re.findall(r"[^\W\d_]+", re.sub(r"%-?.", " ", plain))
    return " ".join(one for one in found if one.lower() not in _WORDS)


def why_unread(text: str) -> str:
    """Return what in a text a format cannot read, and what to do, "" if nothing is known."""
    if era := re.search(_ERA, text):
        return (
            f"{era[0]!r} counts the years of another calendar: a `query` writes years of the "
            "Gregorian one (Reiwa + 2018, Heisei + 1988, Minguo + 1911, Buddhist - 543)"
        )
    words = [letters_of(form) for form in _formats_with_letters(text)]
    if not any(words):
        return ""
    return (
        f"{words[0]!r} may say something about the time, and is not known: if it is a zone, a "
        f"`query` writes its offset (replace(…, {words[0]!r}, '-06:00'), which %z reads); if a "
        "half of the day, AM or PM (which %p reads)"
    )


def _dates(found: re.Match[str], order: str, between: str) -> list[str]:
    """Return the formats of a date: of figures alone, with day and month in both orders."""
    if len(found["y"]) not in (2, 4):
        return []
    year = "%Y" if len(found["y"]) == 4 else "%y"
    month = "%m"
    if "-" in order:
        month = "%b" if len(found["m"]) == 3 else "%B"
    signs = {"y": year, "m": month, "-": month, "d": "%d"}
    orders = [order]
    if order == "dmy":
        orders += [] if "." in found["a"] else ["mdy"]
        orders += ["ymd"] if year == "%y" else []
    elif order == "ymd" and found["a"] and not re.search("[年년]", found["a"]):
        orders += ["ydm"]
    return [f"{signs[one[0]]}{found['a']}{signs[one[1]]}{between}{signs[one[2]]}" for one in orders]


@cache
def _zones() -> set[str]:
    return zoneinfo.available_timezones()


def _without_time(text: str) -> str:
    """Return the text around a date with the signs of formats for time, zone and weekday."""
    text, halves = _HALF.subn("%p", text)
    if not halves:
        text, halves = re.subn(GLUED_HALF, r"\1%p", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=[\dTC ])[+-]\d{2}:?\d{2}(?!\d)(?: \([^()]*\)$)?", "%z", text)
    hour = "%I" if halves else "%H"

    def signs(time: re.Match[str]) -> str:
        seconds = f"{time[4]}%S" if time[5] else ""
        return f"{hour}{time[2]}%M{seconds}" + (f"{time[6]}%f" if time[6] else "")

    found = re.sub(_TIME, signs, text)
    found = re.sub(r"^(T?)\d{6}$", r"\1%H%M%S", found)
    last = found.rpartition(" ")[2]
    if last in ZONES:
        found = found.removesuffix(last) + "%z"
    elif last in _zones():
        found = found.removesuffix(last) + "%Z"
    for day in _DAYS.split():
        found = re.sub(rf"\b{day}\b", "%A", found, flags=re.IGNORECASE)
        found = re.sub(rf"\b{day[:3]}\b", "%a", found, flags=re.IGNORECASE)
    return found
