"""Formats that a time may be written in, found by looking at one.

In: a text such as ``02/01/2024 à 19:06``. Out: strptime formats, as DuckDB reads them. Whether day
or month comes first is not known from one text, so there may be several.
"""

from __future__ import annotations

import re
import zoneinfo

_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_MONTH = "(?:" + "|".join(f"{one}|{one[:3]}" for one in _MONTHS.split()) + r")(?![^\W\d_])"
_YEAR = r"(?P<y>\d{4}|\d{2})(?![\d:])"
_BETWEEN = r"[^\dA-Za-z:]{1,3}"
_NOT_AFTER = r"(?<![\d:.])"
_TIME = r"(\d{1,2})([:.h時时])(\d{2})(?:([:.m分])(\d{2})(?:([.,])\d{1,6})?)?(?!\d)"

_DATES = [
    (
        rf"{_NOT_AFTER}(?P<y>\d{{4}})(?P<a>{_BETWEEN})\d{{1,2}}(?P<b>{_BETWEEN})\d{{1,2}}(?!\d)",
        "ymd",
    ),
    (rf"{_NOT_AFTER}\d{{1,2}}(?P<a>{_BETWEEN})\d{{1,2}}(?P<b>{_BETWEEN}){_YEAR}", "dmy"),
    (rf"{_NOT_AFTER}\d{{1,2}}(?P<a>{_BETWEEN})(?P<m>{_MONTH})(?P<b>{_BETWEEN}){_YEAR}", "d-y"),
    (rf"(?P<m>\b{_MONTH})(?P<a>{_BETWEEN})\d{{1,2}}(?P<b>{_BETWEEN}){_YEAR}", "-dy"),
    (rf"(?P<m>\b{_MONTH})(?P<a> )\d{{1,2}}(?P<b> {_TIME} )(?P<y>\d{{4}})", "-dy"),
    (r"(?<!\d)(?P<y>\d{4})(?P<a>)\d{2}(?P<b>)\d{2}(?=\d{6}(?!\d)|T\d{6}(?!\d)|\D|$)", "ymd"),
]
"""Patterns of dates with the order of their parts; ``-`` is a month's name, ``a`` and ``b`` stand
between the parts."""


def formats_like(text: str) -> list[str]:
    """Return the formats that may read a time, the day before the month first; [] for no time.

    >>> formats_like("02/01/2024 à 19:06"), formats_like("Apr 3, 2024 7:06 PM")
    (['%d/%m/%Y à %H:%M', '%m/%d/%Y à %H:%M'], ['%b %d, %Y %I:%M %p'])
    """
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


def _dates(found: re.Match[str], order: str, between: str) -> list[str]:
    """Return the formats of a date: of figures alone, with day and month in both orders."""
    year = "%Y" if len(found["y"]) == 4 else "%y"
    month = "%m"
    if "-" in order:
        month = "%b" if len(found["m"]) == 3 else "%B"
    signs = {"y": year, "m": month, "-": month, "d": "%d"}
    orders = [order]
    if order == "dmy" and "." not in found["a"]:
        orders += ["mdy", "ymd"] if year == "%y" else ["mdy"]
    elif order == "ymd" and found["a"]:
        orders += ["ydm"]
    return [f"{signs[one[0]]}{found['a']}{signs[one[1]]}{between}{signs[one[2]]}" for one in orders]


def _without_time(text: str) -> str:
    """Return the text around a date with the signs of formats for time, zone and weekday."""
    text, halves = re.subn(r"(?<![^\W\d_])[ap]m\b", "%p", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=[\dT ])[+-]\d{2}:?\d{2}(?!\d)", "%z", text)
    hour = "%I" if halves else "%H"

    def signs(time: re.Match[str]) -> str:
        seconds = f"{time[4]}%S" if time[5] else ""
        return f"{hour}{time[2]}%M{seconds}" + (f"{time[6]}%f" if time[6] else "")

    found = re.sub(_TIME, signs, text)
    found = re.sub(r"^(T?)\d{6}$", r"\1%H%M%S", found)
    last = found.rpartition(" ")[2]
    if last in zoneinfo.available_timezones():
        found = found.removesuffix(last) + "%Z"
    for day in _DAYS.split():
        found = re.sub(rf"\b{day}\b", "%A", found, flags=re.IGNORECASE)
        found = re.sub(rf"\b{day[:3]}\b", "%a", found, flags=re.IGNORECASE)
    return found
