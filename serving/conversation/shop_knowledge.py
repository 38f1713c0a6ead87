"""What a conversation knows of the shop: its products, its words, its rules, its currency."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

from components.recommenders.base import ExplainsByRules
from components.recommenders.models.rules import Found, Items, Request, Rules, satisfy
from serving.columns import Hashes
from serving.conversation.dialogue_state import ConversationState, alternatives
from serving.memory import release_unused_memory
from serving.recommend.engine import Engine
from serving.recommend.types import Filters, Mask

LONGEST_TITLE = 16
"""Words of a title that are looked for in a message."""
_TITLE_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
"""A word of a title; each Chinese character, since no blank separates it from what is before."""


def _plain(title: str) -> str:
    """Return the words of a title, in small letters."""
    return " ".join(_TITLE_WORD.findall(title.casefold())[:LONGEST_TITLE])


class ShopKnowledge:
    """Of one loaded model. rule_based: the model that explains by rules, None without one.

    needs_by_word: a word → the name of the need that it states. currency: of all products, None
    where they have several.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        models = engine.model.candidates.values()
        self.rule_based = next((one for one in models if isinstance(one, ExplainsByRules)), None)
        self.rules: Rules = self.rule_based.rules if self.rule_based else Rules()
        self.needs_by_word = {word: need.name for need in self.rules.needs for word in need.said_as}
        currencies = {currency for currency in engine.currencies.distinct() if currency}
        self.currency = currencies.pop() if len(currencies) == 1 else None

    @cached_property
    def items(self) -> Items:
        """The index of the catalogue's words.

        It takes seconds for a million products, so a changed product does not wait for it: the
        first message after the change does.
        """
        found = Items(self.engine.model.catalogue.table)
        release_unused_memory()
        return found

    def knows(self, word: str) -> bool:
        """Return whether some product has the word."""
        return self.items.knows(word)

    def together(self, phrase: str) -> bool:
        """Return whether some product has all words of a phrase."""
        return self.items.together(phrase)

    def nearest(self, word: str) -> str | None:
        """Return the known word that ``word`` may be a misspelling of."""
        return self.items.nearest(word)

    @cached_property
    def _titles(self) -> Hashes:
        """Where the titles are, in plain form; hashes, since each may be another text."""
        return Hashes(map(_plain, self.engine.titles), self.engine.n_items)

    def _titled(self, plain: str) -> list[int]:
        """Return the codes of the products with a title of two words or more, in plain form."""
        if " " not in plain:
            return []
        listed, titles = self.engine.listed, self.engine.titles
        places = self._titles.places(plain)
        return [code for code in places if listed[code] and _plain(titles[code]) == plain]

    def without_titles(self, text: str, stand_in: str) -> tuple[str, list[str]]:
        """Return a text with ``stand_in`` for each title of the catalogue in it, and the ids of
        these products: the longest title from each word on, an available product first."""
        words = list(_TITLE_WORD.finditer(text))
        out, items, at, start = "", [], 0, 0
        while start < len(words):
            for stop in range(min(len(words), start + LONGEST_TITLE), start + 1, -1):
                said = " ".join(word[0].casefold() for word in words[start:stop])
                codes = self._titled(said)
                if codes:
                    best = max(codes, key=lambda code: bool(self.engine.available[code]))
                    items.append(self.engine.ids[best])
                    out += text[at : words[start].start()] + stand_in
                    at, start = words[stop - 1].end(), stop - 1
                    break
            start += 1
        return out + text[at:], items

    def codes(self, item_ids: Iterable[str]) -> list[int]:
        """Return the codes of those items that the model knows and that were not deleted."""
        codes = self.engine.items.get_indexer(list(item_ids))
        codes = codes[codes >= 0]
        known: list[int] = codes[self.engine.listed[codes]].tolist()
        return known

    def is_one(self, codes: list[int], thing: str) -> bool:
        """Return whether one of the items is such a thing. thing: alternatives, "mug or cup"."""
        return any(self.items.word(word)[codes].any() for word in alternatives(thing))

    def available(self) -> Mask:
        """Return bool (items,): the available items."""
        return self.engine.mask(Filters())

    def satisfy(self, state: ConversationState, mask: Mask) -> Found:
        """Return the items of ``mask`` that meet the state's wishes; wishes are relaxed if none."""
        request = Request(
            must_not=tuple(state.refused),
            must=tuple(state.things),
            needs=tuple(state.needs),
            min_price=state.min_price,
            budget=state.max_price,
            should=tuple(state.details),
        )
        return satisfy(request, self.rules, self.items, mask)
