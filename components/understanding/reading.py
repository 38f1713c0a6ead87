"""What a shopper's message says, before it is checked against the catalogue: a typed schema.

Whatever understands a message fills a ``Reading``: the tagger, or a language model with structured
output. ``Reading.model_json_schema()`` is the schema that a model's output is constrained to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from components.understanding.amounts import (
    AROUND,
    MOST,
    Amount,
    direction,
    is_any_price,
    marked_amount,
    read_amount,
)
from components.understanding.plain import plain, words
from components.understanding.spans import Span, Tagged
from components.understanding.utterances import Intent, alternatives, language, languages

REFERRING = frozenset({"reject", "similar_to", "goes_with", "compare", "tell_more", "why"})
"""Intents that may refer to products that were shown."""
JOINTS = frozenset(
    words("or and oder und bzw ou et o u y e 或 或者 或是 还是 還是 和 跟 以及 , 、 / & +")
)
"""What stands between things of a list."""
ARTICLES = frozenset(
    words(
        """a an the some maybe ein eine einen einem der die das den un une des le la les una
        unos unas los las"""
    )
)
_FIRST_TWO = re.compile(
    r"\bfirst (?:two|2)\b|\b(?:ersten (?:beiden|zwei|2)|(?:beiden|zwei|2) ersten)\b|"
    r"\b(?:deux|2) premi[eè]re?s\b|\b(?:dos|2) primer[oa]s\b|"
    r"\bprimer[oa]s (?:dos|2)\b|前(?:两|兩|2)[个個款种種件]"
)
_HALF_AFTER = re.compile(r"\s*(?:and a half|et demie?|y medi[oa]|半)(?![^\W\d_])", re.IGNORECASE)
_REFUSED_AFTER = re.compile(r"\s*[的图圖案]*(?:就算了|就不要|不要|就免|免了|除外|不考虑|不考慮)")
_REFUSED_BEFORE = re.compile(r"[别別](?:再|给我|給我)?(?:是|有|要|带|帶|来|來)$")
NAMING = ("THING", "DETAIL")
"""Labels of what a product is or has."""
_JOINT = re.compile(r"\s*[-–—到至和]\s*|\s+(?:to|and|bis|und|à|a|et|y)\s+", re.IGNORECASE)
"""What stands between the ends of a range."""
LIMITS = ("MIN", "MAX", "ABOUT")
"""Labels of amounts."""
UNSURE = 0.7
"""Probability of an intent below which a message without a labelled part is searched for things."""
Part = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Parts = Annotated[list[Part], Field(max_length=8)]
Price = Annotated[float, Field(ge=0, le=MOST)]


class Reading(BaseModel):
    """One message, in the shopper's own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intent: Intent = "find"
    language: str = Field("en", pattern="^[a-z]{2}$", description="ISO 639-1")
    things: Parts = Field([], description="kinds of product that are looked for, alternatives")
    uses: Parts = Field([], description="other things that they are for, such as what they hold")
    details: Parts = Field([], description="colours, materials, sizes, styles they should have")
    refused: Parts = Field([], description="what they must not have")
    people: Parts = Field([], description="whom it is for")
    occasions: Parts = Field([], description="what it is for")
    min_price: Price | None = None
    max_price: Price | None = None
    any_price: bool = Field(False, description="the price does not matter")
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", description="ISO 4217")
    level: Literal["cheap", "dear"] | None = None
    places: list[Annotated[int, Field(ge=-1, le=20)]] = Field(
        [], max_length=8, description="shown products referred to: 1 the first, -1 the last"
    )
    sure: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description="of the intent")

    @property
    def says_nothing(self) -> bool:
        """Whether it looks for something without saying what, or nothing in it is sure."""
        parts = (self.things, self.details, self.refused, self.people, self.occasions, self.places)
        prices = (self.min_price, self.max_price, self.level)
        empty = (
            not any(parts) and not self.any_price and not any(price is not None for price in prices)
        )
        return empty and (self.intent in ("find", "refine") or self.sure < UNSURE)


def reading_of(tagged: Tagged, text: str) -> Reading:
    """Return what the tagger's labels say of a text."""
    code = tagged.language
    tagged = replace(tagged, spans=[_refusal(span, text, code) for span in tagged.spans])
    parts = {
        field: [part[:80] for part in _texts(tagged, label)][:8]
        for field, label in (
            ("details", "DETAIL"),
            ("people", "PERSON"),
            ("occasions", "OCCASION"),
        )
    }
    refused = _joined(_spans(tagged, "REFUSED"), text)
    parts["refused"] = [span.text[:80] for span in refused[:8]]
    parts["things"], parts["uses"] = _things(tagged, text)
    labels = {span.label for span in tagged.spans}
    low, high, currency = _limits(tagged, text)
    places = [at for span in _spans(tagged, "REF") for at in _places(span.text, code)]
    if places in ([], [1]) and tagged.intent in REFERRING:  # "that" is the first, "that 2nd" is not
        places = _places(text, code, labelled=False) or places
    return Reading(
        intent=tagged.intent,
        language=code,
        **parts,
        min_price=low,
        max_price=high,
        any_price=is_any_price(text, code),
        currency=currency,
        level="cheap" if "CHEAP" in labels else "dear" if "DEAR" in labels else None,
        places=places[:8],
        sure=min(1.0, tagged.intent_sure),
    )


def _refusal(span: Span, text: str, code: str) -> Span:
    """Return a span as a refusal if the words after it refuse it: "圆点的就算了"."""
    if code != "zh" or span.label not in NAMING:
        return span
    is_refused = _REFUSED_AFTER.match(text, span.stop) or _REFUSED_BEFORE.search(
        text, 0, span.start
    )
    return replace(span, label="REFUSED") if is_refused else span


def _things(tagged: Tagged, text: str) -> tuple[list[str], list[str]]:
    """Return the things that are looked for, and those that they are for: "a basket or a box for
    toys". Things are alternatives where a list joins them."""
    spans = _joined(_spans(tagged, "THING"), text)
    things, uses = spans[:1], list[Span]()
    for before, span in pairwise(spans):
        said = re.findall(r"[^\W\d_]+|[,、/&+]", plain(text[before.stop : span.start]))
        said = [word for word in said if word not in ARTICLES]
        listed = bool(said) and set(said) <= JOINTS and before in things
        (things if listed else uses).append(span)
    return [one.text[:80] for one in things[:8]], [one.text[:80] for one in uses[:8]]


def _spans(tagged: Tagged, label: str) -> list[Span]:
    return [span for span in tagged.spans if span.label == label]


def _texts(tagged: Tagged, label: str) -> list[str]:
    return [span.text for span in _spans(tagged, label)]


def _joined(spans: list[Span], text: str) -> list[Span]:
    """Return the spans; those that only blanks separate are one, with the label of the first."""
    out: list[Span] = []
    for span in spans:
        if out and not text[out[-1].stop : span.start].strip():
            first = out.pop()
            span = replace(first, text=text[first.start : span.stop], stop=span.stop)
        out.append(span)
    return out


def _limits(tagged: Tagged, text: str) -> tuple[float | None, float | None, str | None]:
    """Return the lowest and the highest price, and their currency."""
    code = tagged.language
    found: dict[str, list[Amount]] = {label: [] for label in LIMITS}
    for label, amount in _amounts(tagged, text):
        found[label].append(amount)
    if not any(found.values()) and (marked := marked_amount(text, code)):
        # An amount of money that no label has is taken as the most that may be spent.
        found["MAX"].append(marked)
    low = max((one.value for one in found["MIN"]), default=None)
    high = min((one.value for one in found["MAX"]), default=None)
    for one in found["ABOUT"]:
        low = round(one.value * (1 - AROUND), 2)
        high = min(MOST, round(one.value * (1 + AROUND), 2))
    if low is not None and high is not None and low > high:
        low, high = high, low
    said = (one.currency for amounts in found.values() for one in amounts if one.currency)
    return low, high, next(said, None)


def _amounts(tagged: Tagged, text: str) -> Iterator[tuple[str, Amount]]:
    """Yield the labelled amounts with the label that the words around them say."""
    code = tagged.language
    labelled = _joined([span for span in tagged.spans if span.label in LIMITS], text)
    spans = [part for span in labelled for part in _ends_of_range(span, code)]
    halves = ((span, text[span.start : _end_of_half(span, text)]) for span in spans)
    read = [(span, amount) for span, said in halves if (amount := read_amount(said, code))]
    priced = [span for span, amount in read if amount.currency is not None]
    for span, amount in read:
        between = [
            text[min(span.stop, one.stop) : max(span.start, one.start)]
            for one in priced
            if one is not span
        ]
        if priced and amount.currency is None and not any(_is_range(gap) for gap in between):
            continue  # with money in the same message, a number alone is an age or a count
        one_of_a_range = any(_is_range(gap) for gap in between)
        yield (None if one_of_a_range else _limit(span, text, code)) or span.label, amount


def _end_of_half(span: Span, text: str) -> int:
    """Return where an amount ends with the half that may follow it: "two pounds and a half"."""
    half = _HALF_AFTER.match(text, span.stop)
    return half.end() if half else span.stop


def _ends_of_range(span: Span, code: str) -> list[Span]:
    """Return a span as its two amounts if it is a range: "three and seven pounds"."""
    whole = read_amount(span.text, code)
    for joint in _JOINT.finditer(span.text):
        first, second = span.text[: joint.start()], span.text[joint.end() :]
        low, high = read_amount(first, code), read_amount(second, code)
        if low and high and whole and whole.value == low.value < high.value:
            start = span.start + joint.end()
            return [
                replace(span, label="MIN", text=first, stop=span.start + joint.start()),
                replace(span, label="MAX", text=second, start=start),
            ]
    return [span]


def _is_range(gap: str) -> bool:
    """Return whether the words between two amounts make them a range."""
    return bool(re.fullmatch(r"\W*(?:to|and|or|bis|und|à|a|et|y|到|至|和)?\W*", gap.casefold()))


def _limit(span: Span, text: str, code: str) -> str | None:
    """Return the label of an amount by the words around it, None if they do not say."""
    digits = re.search(r"\d", span.text)  # a label may begin with the words before the amount
    start = span.start + (digits.start() if digits else 0)
    limit = direction(text[:start], text[span.stop :], code)
    return {"at_most": "MAX", "at_least": "MIN", "around": "ABOUT"}[limit] if limit else None


def _places(text: str, code: str, labelled: bool = True) -> list[int]:
    """Return the places that "the second one" refers to; "that one" is the first.

    labelled: the text is a reference; otherwise it may hold one, and "that one" says nothing.

    >>> _places("the first two", "en"), _places("前两款", "zh")
    ([1, 2], [1, 2])
    >>> _places("the second one", "en"), _places("das da", "de"), _places("so is that", "en", False)
    ([2], [1], [])
    """
    said = plain(text).strip(" .?!")
    if _FIRST_TWO.search(said):
        return [1, 2]
    for known in dict.fromkeys([code, *languages()]):
        if known not in languages():
            continue
        refs = language(known)["refs"]
        forms = {plain(form): int(at) for at, block in refs.items() for form in alternatives(block)}
        if not labelled:
            forms = {form: at for form, at in forms.items() if at and not form.isdigit()}
        start, end = ("", "") if known == "zh" else (r"(?<!\w)", r"(?!\w)")
        inside = [form for form in forms if re.search(f"{start}{re.escape(form)}{end}", said)]
        if inside:
            if labelled:
                return [forms[max(inside, key=len)] or 1]
            places = {forms[form]: said.index(form) for form in inside}
            return sorted(places, key=lambda place: places[place])
        if not labelled and known == code:
            return []
    return [int(digits) for digits in re.findall(r"\d{1,2}", said) if 0 < int(digits) <= 20]
