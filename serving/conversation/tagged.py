"""Natural language understanding of one message by the shop's tagger, in the tagger's languages.

In: text. Out: ``Message``. The tagger labels the parts of the text and names the intent
(``components.understanding``); here the parts become words of the catalogue, amounts, needs of the
shop's rules and references to products. What the catalogue does not have is kept as unknown, and a
refusal is kept whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from components.understanding.amounts import Amount, marked_amount, read_amount
from components.understanding.model import UnderstandingModel
from components.understanding.plain import plain
from components.understanding.tagger import Span, Tagged
from components.understanding.terms import Term, Terms
from components.understanding.utterances import TITLE, alternatives, language
from serving.conversation.budget import AROUND
from serving.conversation.message import Message, Move
from serving.conversation.shop_knowledge import ShopKnowledge

MOVES: dict[str, Move] = {
    "more": "more",
    "cheaper": "cheaper",
    "dearer": "dearer",
    "reject": "reject",
    "similar_to": "like",
    "goes_with": "goes_with",
    "compare": "compare",
    "tell_more": "tell_more",
    "not_my_field": "not_my_field",
    "thanks": "thanks",
    "hello": "hello",
    "why": "why",
    "restart": "restart",
    "whatever": "whatever",
}
"""Dialogue moves by the tagger's intents; ``find`` and ``refine`` are none."""
LONGEST_TERM = 80
"""Characters of a term of the state."""
SURE = 0.5
"""Probability of an intent below which a message that names a product looks for it."""


class TaggerUnderstanding:
    """Understands messages to one loaded model's shop."""

    def __init__(self, model: UnderstandingModel, shop: ShopKnowledge) -> None:
        self._model, self._shop = model, shop
        self._terms = model.terms(shop)

    def read(self, raw: str) -> Message:
        """Return what the shopper's text says."""
        text, items = self._shop.without_titles(raw, TITLE)
        if not text.strip():
            return Message()
        tagged = self._model.tagger.tag([text])[0]
        return _MessageOf(tagged, text, items, self._terms, self._shop).message()


    def kinds(self, title: str) -> list[str]:
        """Return the things that a title names."""
        return self._terms.kinds(title)


class _MessageOf:
    """One tagged text, becoming a message."""

    def __init__(
        self, tagged: Tagged, text: str, items: Sequence[str], terms: Terms, shop: ShopKnowledge
    ) -> None:
        self._tagged, self._text, self._items = tagged, text, tuple(items)
        self._terms, self._shop = terms, shop
        self._code = tagged.language
        self._details: list[str] = []
        self._unknown: list[str] = []
        self._needs: list[str] = []

    def message(self) -> Message:
        things = self._things()
        details = [self._word(span) for span in self._spans("DETAIL")]
        purpose = [*self._purpose("people", "PERSON"), *self._purpose("occasions", "OCCASION")]
        refused = [phrase for span in self._spans("REFUSED") for phrase in self._refusals(span)]
        places = tuple(place for span in self._spans("REF") for place in self._places(span.text))
        move = MOVES.get(self._tagged.intent)
        if things and self._tagged.intent_sure < SURE and not (self._items or places):
            move = None
        low, high, currency = self._limits()
        cheap, dear = any(True for _ in self._spans("CHEAP")), any(True for _ in self._spans("DEAR"))
        return Message(
            things=(_alternatives(things),) if things else (),
            details=tuple(dict.fromkeys(one for one in [*details, *self._details] if one)),
            purpose=tuple(dict.fromkeys(purpose)),
            needs=tuple(dict.fromkeys(self._needs)),
            refused=tuple(dict.fromkeys(refused)),
            unknown=tuple(dict.fromkeys(self._unknown)),
            min_price=low,
            max_price=high,
            currency=currency,
            level="cheap" if cheap else "dear" if dear else None,
            move=move,
            places=places,
            items=self._items,
            fresh=move in (None, "goes_with") and (bool(things) or (
                self._tagged.intent == "find" and bool(purpose))),
            language=self._code,
        )

    def _spans(self, label: str) -> Iterator[Span]:
        return (span for span in self._tagged.spans if span.label == label)

    def _term(self, text: str) -> Term:
        return self._terms.term(text, self._code)

    def _things(self) -> list[str]:
        """Return the kinds of product that are looked for, alternatives of each other."""
        found = []
        for text in _joined(list(self._spans("THING")), self._text):
            term = self._term(text)
            if term.words and self._terms.named("details", text, self._code):
                self._details.append(term.text)
            elif term.words:
                found.append(term.text)
                self._details += [one for one in term.details]
            else:
                self._unknown.append(text)
        return found

    def _word(self, span: Span) -> str:
        term = self._term(span.text)
        if not term.words and not term.details:
            self._unknown.append(span.text)
        return term.text or " ".join(term.details)

    def _refusals(self, span: Span) -> list[str]:
        """Return phrases that no product may have. Words of no product stay as they were said."""
        term = self._term(span.text)
        if not term.words:
            return list(term.details) or [span.text[:80]]
        if term.details:  # "no wooden frames" refuses frames of wood, not all that is of wood
            return [f"{term.details[0]} {word}" for word in term.words]
        return list(term.words)

    def _purpose(self, kind: str, label: str) -> Iterator[str]:
        """Yield whom or what it is for, in the catalogue's words, and note the needs it states."""
        by_word = self._shop.needs_by_word
        for span in self._spans(label):
            named = self._terms.named(kind, span.text, self._code)
            name, forms = named or (span.text, ())
            said = [span.text.casefold(), name, *forms]
            need = next((by_word[word] for word in said if word in by_word), None)
            if need is not None and (label == "OCCASION" or not any(self._spans("THING"))):
                # For a person only where no thing is named: a mug for a father is a mug.
                self._needs.append(need)
            elif label == "OCCASION" and (word := self._term(span.text).text):
                self._details.append(word)
            yield forms[0] if forms else name

    def _limits(self) -> tuple[float | None, float | None, str | None]:
        """Return the lowest and the highest price, and their currency."""
        amounts: dict[str, list[Amount]] = {"MIN": [], "MAX": [], "ABOUT": []}
        for label, found in amounts.items():
            for span in self._spans(label):
                if (amount := read_amount(span.text, self._code)) is not None:
                    found.append(amount)
        if not any(amounts.values()) and (marked := marked_amount(self._text, self._code)):
            # An amount of money that no label has is taken as the most that may be spent.
            amounts["MAX"].append(marked)
        low = max((one.value for one in amounts["MIN"]), default=None)
        high = min((one.value for one in amounts["MAX"]), default=None)
        for one in amounts["ABOUT"]:
            low, high = round(one.value * (1 - AROUND), 2), round(one.value * (1 + AROUND), 2)
        if low is not None and high is not None and low > high:
            low, high = high, low
        currency = next(
            (one.currency for found in amounts.values() for one in found if one.currency), None
        )
        return low, high, currency

    def _places(self, text: str) -> Iterator[int]:
        """Yield the places that "the second one" refers to; "that one" is the first."""
        said = plain(text).strip(" .?!")
        refs = language(self._code)["refs"]
        forms = {plain(form): int(place) for place, all in refs.items() for form in alternatives(all)}
        if said in forms:
            yield forms[said] or 1
        elif digits := re.findall(r"\d{1,2}", said):
            yield from (int(digit) for digit in digits if int(digit))
        else:
            inside = [form for form in forms if re.search(rf"(?<!\w){re.escape(form)}(?!\w)", said)]
            if inside:
                yield forms[max(inside, key=len)] or 1


def _alternatives(things: Sequence[str]) -> str:
    """Return the alternatives of several things as one term of the state, as many as fit."""
    words = list(dict.fromkeys(word for thing in things for word in thing.split(" or ")))
    text = words[0]
    for word in words[1:]:
        if len(text) + len(word) + 4 <= LONGEST_TERM:
            text += f" or {word}"
    return text


def _joined(spans: list[Span], text: str) -> Iterator[str]:
    """Yield the texts of things; parts that only a blank separates are one thing."""
    held: Span | None = None
    for span in spans:
        if held is not None and not text[held.stop : span.start].strip():
            held = Span(span.label, text[held.start : span.stop], held.start, span.stop, span.sure)
            continue
        if held is not None:
            yield held.text
        held = span
    if held is not None:
        yield held.text
