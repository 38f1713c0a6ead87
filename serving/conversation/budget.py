"""Budgets: "under 10 pounds", "between £5 and £15", "around 20 euros", "any price", "cheap"."""

from __future__ import annotations

import re

from components.understanding.amounts import AROUND
from serving.conversation.amounts import UNIT, amount, money
from serving.conversation.message import Text

UNDER = (
    r"(?:under|below|less than|(?:cheaper|less expensive) than|up to|at most|within"
    r"|max(?:imum)?(?: price)?(?: of)?|no(?:t|thing)? (?:more|higher|greater|dearer) than"
    r"|no(?:t|thing)? (?:over|above)|budget(?: is| of)?:?|for less than|<=?)"
)
OVER = (
    r"(?:over|above|(?:more|dearer|more expensive) than|at least|min(?:imum)?(?: price)?(?: of)?"
    r"|upwards of|starting (?:at|from)|>=?)"
)
NOT_UNDER = r"(?:no(?:t|thing)? (?:less|lower|cheaper) than|no(?:t|thing)? (?:under|below))"
ABOUT = r"(?:around|about|roughly|approximately|approx\.?|circa|close to|~)"
AGED = r"(?:child|children|kids?|boys?|girls?|baby|babies|toddlers?|people|aged?|anyone)"
CHILD_AGE = 12


def understand_budget(text: Text) -> None:
    """Take the limits of the price."""
    if text.take(
        r"\b(?:any price|(?:the )?(?:price|money|budget) (?:doesn't|does not|is no) (?:matter|limit"
        r"|object)|no (?:budget|price limit|limit)|whatever the price)\b"
    ):
        text.understood["any_price"] = True
    _set_ages_aside(text)
    a, b, marked_a, marked_b = money("a"), money("b"), money("a", True), money("b", True)
    for pattern in (
        rf"\bbetween {a} and {b}",
        rf"\bfrom {a} to {b}",
        rf"{a} ?(?:-|to) ?{marked_b}",
        rf"{marked_a} ?(?:-|to) ?{b}",
    ):
        if found := text.take(pattern):
            low, high = sorted((amount(text, found, "a"), amount(text, found, "b")))
            text.understood |= {"min_price": low, "max_price": high}
            return
    limits = (
        ("min_price", rf"\b{NOT_UNDER} {a}"),
        ("max_price", rf"(?<!\w){UNDER} ?{a}"),
        ("min_price", rf"(?<!\w){OVER} ?{a}|\bfrom {marked_b}"),
        ("max_price", rf"{marked_a} (?:or|and) (?:less|under|below)\b|{b} (?:max|maximum|tops)\b"),
        ("min_price", rf"{marked_a} (?:or|and) (?:more|over|above|up)\b"),
    )
    for limit, pattern in limits:
        if limit not in text.understood and (found := text.take(pattern)):
            text.understood[limit] = amount(text, found, "a", "b")
    if text.understood.keys() & {"min_price", "max_price"}:
        return
    if found := text.take(rf"(?<!\w){ABOUT} ?{a}"):
        value = amount(text, found, "a")
        text.understood["min_price"] = round(value * (1 - AROUND), 2)
        text.understood["max_price"] = round(value * (1 + AROUND), 2)
    elif found := text.take(rf"(?:\bfor )?{marked_a}"):
        text.understood["max_price"] = amount(text, found, "a")


def _set_ages_aside(text: Text) -> None:
    """Take out ages, which are no prices: "for children under 5"; a young age means a child."""
    kind = r"(?:under|over|below|above|of) \d{1,2}\b"
    text.left = re.sub(
        rf"\b({AGED}) {kind}(?![.,]\d| ?{UNIT})", lambda found: f"{found[1]} |", text.left
    )
    old = r"\b(\d{1,3})[- ]?(?:years?|yrs?|months?)(?:[- ]olds?)?\b"
    text.left = re.sub(old, lambda found: "child" if int(found[1]) <= CHILD_AGE else "|", text.left)


def understand_price_level(text: Text) -> None:
    """Take "cheap" and "luxury": a price level without an amount."""
    if text.take(r"\b(?:cheap|inexpensive|affordable|low[- ](?:cost|budget|price[d]?)|bargain)\b"):
        text.understood["level"] = "cheap"
    elif text.take(r"\b(?:expensive|luxury|luxurious|premium|high[- ]end|fancy|posh)\b"):
        text.understood["level"] = "dear"
