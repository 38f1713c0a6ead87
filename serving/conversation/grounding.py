"""Natural language understanding by the shop's tagger: a ``Reading`` becomes a ``Message``.

In: text. Out: ``Message``. The tagger labels the parts of the text and names the intent
(``components.understanding``); here the parts become words of the catalogue, needs of the shop's
rules and references to products. What the catalogue does not have is kept as unknown, and a refusal
is kept whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.understanding.model_reader import Reader
from components.understanding.reading import Reading, reading_of
from components.understanding.terms import Terms
from components.understanding.utterances import TITLE, Intent
from serving.conversation.dialogue_state import alternatives
from serving.conversation.message import Message, Move
from serving.conversation.shop_knowledge import ShopKnowledge

if TYPE_CHECKING:
    from components.understanding.model import UnderstandingModel

MOVES: dict[Intent, Move] = {
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
"""Dialogue moves by intents; ``find`` and ``refine`` are none."""
LONGEST_TERM = 80
"""Characters of a term of the state."""
FEW_WORDS = 8
"""Words of a message up to which a thing without a label is searched for in it: a long
message names many things."""
SURE = 0.5
"""Probability of an intent below which a message that names a product looks for it."""


def open_understanding(folder: str | Path) -> UnderstandingModel | None:
    """Return what understands messages in a model folder, None where the grammar does.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: the folder's part is damaged.
    """
    place = Path(folder) / "understanding"
    if not (place / "tagger.json").exists():
        return None
    from components.understanding.model import UnderstandingModel  # imports PyTorch

    return UnderstandingModel.load(place)


class TaggerReader:
    """Reads by a tagger."""

    def __init__(self, model: UnderstandingModel) -> None:
        self._tagger = model.tagger

    def read(self, text: str) -> Reading:
        return reading_of(self._tagger.tag([text])[0], text)


class CatalogueUnderstanding:
    """Understands messages to one shop: what a reader reads, checked against the catalogue."""

    def __init__(self, reader: Reader, terms: Terms, shop: ShopKnowledge) -> None:
        self._reader, self._terms, self._shop = reader, terms, shop

    def read(self, raw: str) -> Message:
        """Return what the shopper's text says."""
        text, items = self._shop.without_titles(raw, TITLE)
        if not text.strip():
            return Message()
        reading = self._reader.read(text)
        activity = self._activity(reading, text, items)
        if (
            reading.says_nothing and not items and not activity
        ):  # then any thing that it names is looked for
            guess = reading.model_copy(update={"things": [text[:LONGEST_TERM]], "intent": "find"})
            guessed = self._grounded(guess, text, items)
            if guessed.things:
                return replace(guessed, unknown=())
        unsaid = not (reading.things or reading.details or items)
        if reading.intent == "find" and unsaid and len(text.split()) <= FEW_WORDS:
            rest = text.casefold()  # a thing that has no label
            for part in (*reading.people, *reading.occasions, *reading.refused):
                rest = rest.replace(part.casefold(), " | ")
            if thing := self._terms.thing_in(rest, reading.language):
                reading = reading.model_copy(update={"things": [thing[:LONGEST_TERM]]})
        return self._grounded(reading, text, items)

    def _grounded(self, reading: Reading, text: str, items: Sequence[str]) -> Message:
        code = reading.language
        things = [self._terms.widened(thing, text, code)[:LONGEST_TERM] for thing in reading.things]
        whole = reading.model_copy(update={"things": things})
        activity = self._activity(whole, text, items)
        return _Grounding(self._terms, self._shop, whole, activity).message(tuple(items))

    def _activity(self, reading: Reading, text: str, items: Sequence[str]) -> tuple[str, ...]:
        """Return words of things for an activity, such as cooking, of a message that names none."""
        if reading.intent != "find" or reading.things or items:
            return ()
        return self._terms.activity(text, reading.language)

    def translated(self, query: str) -> str:
        """Return a query in the catalogue's words: the things and details that it names."""
        reading = self._reader.read(query)
        parts = [*reading.details, *reading.things, *reading.uses, *reading.occasions]
        terms = (
            self._terms.term(part, reading.language) for part in parts or [query[:LONGEST_TERM]]
        )
        return " ".join(word for term in terms for word in (*term.details, *term.words[:1]))

    def kinds(self, title: str) -> list[str]:
        """Return the things that a title names."""
        return self._terms.kinds(title)

    def heads(self, title: str) -> list[str]:
        """Return words for what a title's product is."""
        return self._terms.heads(title)


class _Grounding:
    """One reading, becoming a message in the catalogue's words."""

    def __init__(
        self, terms: Terms, shop: ShopKnowledge, reading: Reading, activity: Sequence[str] = ()
    ) -> None:
        """activity: words of things for what the message says that somebody likes to do."""
        self._terms, self._shop = terms, shop
        self._code = code = reading.language
        if activity:  # its things say more than its name
            parts = {name: getattr(reading, name) for name in ("details", "occasions", "uses")}
            reading = reading.model_copy(
                update={
                    name: [part for part in texts if not terms.activity(part, code)]
                    for name, texts in parts.items()
                }
            )
        self._reading, self._activity = reading, list(activity)
        self._details: list[str] = []
        self._unknown: list[str] = []
        self._needs: list[str] = []

    def message(self, items: tuple[str, ...]) -> Message:
        """items: ids of the products that the message names by their titles."""
        reading = self._reading
        things = self._things() or self._activity
        details = [self._word(text) for text in reading.details]
        if reading.intent == "refine" and things:  # "with roses on", of what was looked for
            details, things = [*details, *things], []
        last = reading.details[-1:]
        if not things and last and details and self._terms.is_thing(last[0], self._code):
            things = [details.pop()]  # "wrapping paper" alone
            things = [thing for thing in things if thing]
        purpose = [*self._purpose("people"), *self._purpose("occasions"), *self._uses()]
        refused = [_alternatives(self._refusals(text)) for text in reading.refused]
        move = MOVES.get(reading.intent)
        if reading.any_price and reading.intent not in ("more", "similar_to", "goes_with"):
            move = None
        if things and reading.sure < SURE and not (items or reading.places):
            move = None
        if items and move is None:  # a named product is what the others are like, or go with
            codes = self._shop.codes(items)
            others = [thing for thing in things if not self._shop.is_one(codes, thing)]
            others = others or [*self._uses()]
            move = "goes_with" if others or not things else "like"
            things = others or things
        looks = bool(things) or (reading.intent == "find" and bool(purpose))
        return Message(
            things=(_alternatives(things),) if things else (),
            details=_distinct([*details, *self._details]),
            purpose=_distinct(purpose),
            needs=_distinct(self._needs),
            refused=_distinct(refused),
            unknown=_distinct(self._unknown),
            any_price=reading.any_price,
            min_price=reading.min_price,
            max_price=reading.max_price,
            currency=reading.currency,
            level=reading.level,
            move=move,
            places=tuple(place for place in reading.places if place),
            items=items,
            fresh=move in (None, "goes_with") and looks,
            language=self._code,
        )

    def _things(self) -> list[str]:
        """Return the kinds of product that are looked for, alternatives of each other."""
        found = []
        for text in self._reading.things:
            term = self._terms.term(text, self._code)
            if term.words and self._terms.is_detail(text, self._code):
                self._details.append(term.text)
            elif term.words:
                found.append(term.text)
                self._details += term.details
            else:
                self._unknown.append(text)
        return found

    def _word(self, text: str) -> str:
        term = self._terms.detail(text, self._code)
        if not term.words and not term.details:
            self._unknown.append(text)
        return term.text or " ".join(term.details)

    def _refusals(self, text: str) -> list[str]:
        """Return phrases that no product may have. Words of no product stay as they were said."""
        term = self._terms.term(text, self._code)
        if not term.words:
            return list(term.details) or [text]
        if term.details:  # "no wooden frames" refuses frames of wood, not all that is of wood
            details = alternatives(term.details[0])
            return [f"{detail} {word}" for detail in details for word in term.words]
        return list(term.words)

    def _uses(self) -> Iterator[str]:
        """Yield the other things that the wanted ones are for; they count in the ranking."""
        for text in self._reading.uses:
            term = self._terms.term(text, self._code)
            if term.words and self._terms.is_detail(text, self._code):
                self._details.append(term.text)
            else:
                yield term.words[0] if term.words else text

    def _purpose(self, kind: str) -> Iterator[str]:
        """Yield whom or what it is for, in the catalogue's words, and note the needs it states."""
        by_word = self._shop.needs_by_word
        for text in self._reading.people if kind == "people" else self._reading.occasions:
            name, forms = self._terms.named(kind, text, self._code) or (text, ())
            said = [text.casefold(), name, *forms]
            need = next((by_word[word] for word in said if word in by_word), None)
            if need is None and kind == "occasions":
                self._details.append(self._terms.term(text, self._code).text)
            elif (
                need is not None
                and not self._activity
                and (kind == "occasions" or not self._reading.things)
            ):
                # For a person only where no thing is named: a mug for a father is a mug.
                self._needs.append(need)
            yield forms[0] if forms else name


def _distinct(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word[:LONGEST_TERM] for word in words if word))


def _alternatives(things: Sequence[str]) -> str:
    """Return the alternatives of several things as one term of the state, as many as fit."""
    words = list(dict.fromkeys(word for thing in things for word in alternatives(thing)))
    text = words[0][:LONGEST_TERM]
    for word in words[1:]:
        if len(text) + len(word) + 4 <= LONGEST_TERM:
            text += f" or {word}"
    return text
