"""What a shopper's message says, before it is checked against the catalogue: a typed schema.

Whatever understands a message fills a ``Reading``: the tagger, or a language model with structured
output. ``Reading.model_json_schema()`` is the schema that a model's output is constrained to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from components.understanding.amounts import (
    AROUND,
    MOST,
    Amount,
    direction,
    marked_amount,
    read_amount,
)
from components.understanding.plain import plain
from components.understanding.spans import Span, Tagged
from components.understanding.utterances import Intent, alternatives, language, languages

Part = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Parts = Annotated[list[Part], Field(max_length=8)]
Price = Annotated[float, Field(ge=0, le=MOST)]


class Reading(BaseModel):
    """One message, in the shopper's own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intent: Intent = "find"
    language: str = Field("en", pattern="^[a-z]{2}$", description="ISO 639-1")
    things: Parts = Field([], description="kinds of product that are looked for, alternatives")
    details: Parts = Field([], description="colours, materials, sizes, styles they should have")
    refused: Parts = Field([], description="what they must not have")
    people: Parts = Field([], description="whom it is for")
    occasions: Parts = Field([], description="what it is for")
    min_price: Price | None = None
    max_price: Price | None = None
    currency: Literal["GBP", "EUR", "USD", "CNY", "CHF", "MXN"] | None = None
    level: Literal["cheap", "dear"] | None = None
    places: list[Annotated[int, Field(ge=-1, le=20)]] = Field(
        [], max_length=8, description="shown products referred to: 1 the first, -1 the last"
    )
    sure: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description="of the intent")

    @property
    def says_nothing(self) -> bool:
        """Whether it looks for something without saying what."""
        parts = (self.things, self.details, self.refused, self.people, self.occasions)
        prices = (self.min_price, self.max_price, self.level)
        empty = not any(parts) and not any(price is not None for price in prices)
        return self.intent in ("find", "refine") and empty


def reading_of(tagged: Tagged, text: str) -> Reading:
    """Return what the tagger's labels say of a text."""
    code = tagged.language
    parts = {
        field: [part[:80] for part in _texts(tagged, label, text)][:8]
        for field, label in (
            ("things", "THING"),
            ("details", "DETAIL"),
            ("refused", "REFUSED"),
            ("people", "PERSON"),
            ("occasions", "OCCASION"),
        )
    }
    labels = {span.label for span in tagged.spans}
    low, high, currency = _limits(tagged, text)
    places = [place for span in _spans(tagged, "REF") for place in _places(span.text, code)]
    return Reading(
        intent=tagged.intent,
        language=code,
        **parts,
        min_price=low,
        max_price=high,
        currency=currency,
        level="cheap" if "CHEAP" in labels else "dear" if "DEAR" in labels else None,
        places=places[:8],
        sure=min(1.0, tagged.intent_sure),
    )


def _spans(tagged: Tagged, label: str) -> list[Span]:
    return [span for span in tagged.spans if span.label == label]


def _texts(tagged: Tagged, label: str, text: str) -> Iterator[str]:
    """Yield the parts with a label; those of a thing that only a blank separates are one."""
    held: Span | None = None
    for span in _spans(tagged, label):
        touches = held is not None and not text[held.stop : span.start].strip()
        if held is not None and touches and label == "THING":
            held = Span(label, text[held.start : span.stop], held.start, span.stop, span.sure)
            continue
        if held is not None:
            yield held.text
        held = span
    if held is not None:
        yield held.text


def _limits(tagged: Tagged, text: str) -> tuple[float | None, float | None, str | None]:
    """Return the lowest and the highest price, and their currency."""
    code = tagged.language
    found = {
        label: [
            amount
            for span in _spans(tagged, label)
            if (amount := read_amount(span.text, code)) is not None
        ]
        for label in ("MIN", "MAX", "ABOUT")
    }
    if not any(found.values()) and (marked := marked_amount(text, code)):
        # An amount of money that no label has is taken as the most that may be spent.
        found["MAX"].append(marked)
    _correct(found, tagged, text)
    low = max((one.value for one in found["MIN"]), default=None)
    high = min((one.value for one in found["MAX"]), default=None)
    for one in found["ABOUT"]:
        low, high = round(one.value * (1 - AROUND), 2), round(one.value * (1 + AROUND), 2)
    if low is not None and high is not None and low > high:
        low, high = high, low
    said = (one.currency for amounts in found.values() for one in amounts if one.currency)
    return low, high, next(said, None)


def _correct(found: dict[str, list[Amount]], tagged: Tagged, text: str) -> None:
    """Put a single amount where the words around it say that it belongs."""
    spans = [span for span in tagged.spans if span.label in found]
    if len(spans) != 1 or not found[spans[0].label]:
        return
    span = spans[0]
    digits = re.search(r"\d", span.text)  # a label may begin with the words before the amount
    start = span.start + (digits.start() if digits else 0)
    limit = direction(text[:start], text[span.stop :], tagged.language)
    if limit is not None:
        amounts, found[span.label] = found[span.label], []
        found["MAX" if limit == "at_most" else "MIN"] = amounts


def _places(text: str, code: str) -> Iterator[int]:
    """Yield the places that "the second one" refers to; "that one" is the first.

    >>> list(_places("the second one", "en")), list(_places("das da", "de"))
    ([2], [1])
    """
    said = plain(text).strip(" .?!")
    for known in dict.fromkeys([code, *languages()]):
        if known not in languages():
            continue
        refs = language(known)["refs"]
        forms = {plain(form): int(at) for at, block in refs.items() for form in alternatives(block)}
        inside = [form for form in forms if re.search(rf"(?<!\w){re.escape(form)}(?!\w)", said)]
        if said in forms or inside:
            yield forms[said if said in forms else max(inside, key=len)] or 1
            return
    yield from (int(digits) for digits in re.findall(r"\d{1,2}", said) if 0 < int(digits) <= 20)
