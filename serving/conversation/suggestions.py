"""Suggested next messages: ways to begin, and ways to narrow the proposals down."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from components.words.stems import stem
from serving import N_
from serving.conversation.answer_text import AnswerText
from serving.conversation.dialogue_state import ConversationState
from serving.conversation.shop_knowledge import ShopKnowledge
from serving.conversation.vocabulary import DETAILS
from serving.recommend.types import Mask

MANY = 12
"""With more products than this the answer suggests ways to narrow them down."""


MORE, CHEAPER = N_("show more"), N_("cheaper")
ANY_PRICE, START_OVER = N_("any price"), N_("start over")


class Suggestion(NamedTuple):
    """message: as the understanding takes it, in English. label: as a page shows it."""

    message: str
    label: str


class Suggestions:
    """Suggestions for one shop, with labels in the language of ``text``; each leads to at least one
    product."""

    def __init__(self, shop: ShopKnowledge, text: AnswerText) -> None:
        self._shop = shop
        self._text = text
        self._understood = AnswerText(shop)

    def openings(self, mask: Mask) -> list[Suggestion]:
        """Return ways to begin: the shop's needs, then its largest categories."""
        needs = [need.name for need in self._shop.rules.needs][:4]
        found = []
        for name, _ in self._shop.engine.category_names()[:20]:
            in_category = self._shop.items.category(name)
            if (in_category & mask).any() and name.casefold() not in DETAILS:
                found.append(name.lower())
        return [Suggestion(one, one) for one in [*needs, *found[: 7 - len(needs)]]]

    def without_result(self, state: ConversationState) -> list[Suggestion]:
        """Return ways on where nothing fits."""
        wider = [self._named(ANY_PRICE)] if state.max_price is not None else []
        return [*wider, self._named(START_OVER)]

    def refinements(self, allowed: Mask, state: ConversationState, more: bool) -> list[Suggestion]:
        """Return ways to narrow ``allowed`` down. more: there are more products than shown."""
        total = int(allowed.sum())
        options: list[Suggestion] = []
        if total > MANY:
            options = [*self._features(allowed, state, total), *self._price_limit(allowed, state)]
        if more:
            options.append(self._named(MORE))
        if total > 1 and not state.shown:
            options.append(self._named(CHEAPER))
        return options

    def _named(self, message: str) -> Suggestion:
        return Suggestion(message, self._text.language.gettext(message))

    def _features(self, allowed: Mask, state: ConversationState, total: int) -> list[Suggestion]:
        """Return up to three features that some, but not most, of the products have."""
        used = {stem(word) for word in [*state.details, *state.things, *state.purpose]}
        useful = [
            word
            for word, count in self._shop.items.words_of(allowed).items()
            if word in DETAILS and stem(word) not in used and 0.04 * total <= count < 0.7 * total
        ]
        return [Suggestion(word, word) for word in useful[:3]]

    def _price_limit(self, allowed: Mask, state: ConversationState) -> list[Suggestion]:
        prices = self._shop.engine.prices[allowed & np.isfinite(self._shop.engine.prices)]
        if not len(prices) or state.max_price is not None:
            return []
        limit = _rounded(float(np.quantile(prices, 0.4)))
        if not prices.min() <= limit < prices.max():
            return []
        return [Suggestion(self._understood.at_most(limit), self._text.at_most(limit))]


def _rounded(amount: float) -> float:
    """Return a limit that a person would name: 2.5, 8, 15, 40.

    >>> [_rounded(x) for x in (0.62, 2.31, 8.7, 16.4, 63.0)]
    [0.5, 2.5, 9.0, 15.0, 65.0]
    """
    step = 0.5 if amount < 5 else 1.0 if amount < 10 else 5.0 if amount < 100 else 50.0
    return max(0.5, round(amount / step) * step)
