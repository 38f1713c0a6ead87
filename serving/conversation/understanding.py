"""Natural language understanding of one message: text in, ``Message`` out.

The grammar of English is here: steps, a module each: dialogue moves, budget, negation, price level,
product terms. Each step takes what it understands out of the text; what is left at the end are
product terms. ``grounding`` understands more languages, by the tagger.

    >>> from serving.conversation.vocabulary import Words
    >>> message = parse("a red mug under 10 pounds, no plastic", Words({"red", "mug", "plastic"}))
    >>> message.things, message.details, message.max_price, message.refused
    (('mug',), ('red',), 10.0, ('plastic',))
"""

from __future__ import annotations

import re
from typing import Protocol

from serving.conversation.budget import understand_budget, understand_price_level
from serving.conversation.dialogue_moves import understand_move
from serving.conversation.message import Message, Text
from serving.conversation.negation import understand_refusals
from serving.conversation.product_terms import understand_terms
from serving.conversation.vocabulary import WORD, Vocabulary


class Understanding(Protocol):
    """Understands messages to one shop."""

    def read(self, raw: str) -> Message:
        """Return what the shopper's text says."""
        ...

    def translated(self, query: str) -> str:
        """Return a query in the catalogue's words, "" if it has none of them."""
        ...

    def kinds(self, title: str) -> list[str]:
        """Return words for the kinds of product that a title names."""
        ...

    def heads(self, title: str) -> list[str]:
        """Return words for what a title's product is, empty if that is not known."""
        ...


class GrammarUnderstanding:
    """Understands English by the grammar of this module."""

    def __init__(self, vocabulary: Vocabulary, needs_by_word: dict[str, str]) -> None:
        self._vocabulary, self._needs_by_word = vocabulary, needs_by_word

    def read(self, raw: str) -> Message:
        return parse(raw, self._vocabulary, self._needs_by_word)

    def translated(self, query: str) -> str:
        return ""

    def kinds(self, title: str) -> list[str]:
        return re.findall(WORD, title.casefold())[-1:]

    def heads(self, title: str) -> list[str]:
        return []


def parse(raw: str, vocabulary: Vocabulary, needs_by_word: dict[str, str] | None = None) -> Message:
    """Return what the shopper's text ``raw`` says.

    needs_by_word: a word → the name of the need that it states.
    """
    text = Text.of(raw)
    # The order counts, since each step takes out what it understood: the budget comes before the
    # refusals, or "no more than 10 pounds" would be read as a refused thing.
    understand_move(text)
    understand_budget(text)
    understand_refusals(text, vocabulary)
    understand_price_level(text)
    understand_terms(text, vocabulary, needs_by_word or {})
    return Message(**text.understood)  # type: ignore[arg-type]
