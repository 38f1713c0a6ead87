"""Proposals: the products that meet a state's wishes, ranked.

In: the conversation's state and the shopper's history. Out: item codes, best first, by weighted
reciprocal rank fusion of text search (words and meaning), similarity to a liked product, the
shopper's taste and popularity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.recommenders.models.rules import Found
from serving.conversation.answer_text import PRICE_WISH
from serving.conversation.dialogue_state import ConversationState
from serving.conversation.shop_knowledge import ShopKnowledge
from serving.filters.conditions import TRUE, Condition
from serving.profiles.history import History, stack
from serving.recommend.types import Filters, Mask
from serving.search import Search

TEXT, LIKE, TASTE, POPULAR = 1.0, 2.0, 0.7, 0.3
"""Weights of the rankings that are fused."""

DEPTH = 500
"""Places of each ranking that count."""

FEW = 3
"""With fewer products that meet everything, close ones are shown too."""


class ProposalFinder:
    """Finds the products that answer a message."""

    def __init__(self, shop: ShopKnowledge, search: Search) -> None:
        self._shop = shop
        self._engine = shop.engine
        self._search = search

    def possible(self, state: ConversationState, history: History, where: Condition = TRUE) -> Mask:
        """Return bool (items,): available, meets ``where``, not rejected, not forbidden by a
        rule."""
        mask = self._engine.mask(Filters(where=where)).copy()
        mask[history.disliked] = False
        mask[self._shop.codes([*state.rejected, *filter(None, [state.like])])] = False
        rule_based = self._shop.rule_based
        if rule_based is not None and len(history.items):
            mask &= np.isfinite(rule_based.score(stack([history]))[0])
        return mask

    def in_level(self, allowed: Mask, state: ConversationState) -> Mask:
        """Return the cheaper or dearer third of ``allowed`` where the state has a price level."""
        prices = self._engine.prices
        codes = np.flatnonzero(allowed & np.isfinite(prices))
        if state.level is None or not len(codes):
            return allowed
        by_price = codes[np.argsort(prices[codes], kind="stable")]
        by_price = by_price if state.level == "cheap" else by_price[::-1]
        mask = np.zeros_like(allowed)
        mask[by_price[: max(FEW, len(codes) // 3)]] = True
        return mask

    def ranked(
        self, allowed: Mask, state: ConversationState, history: History
    ) -> NDArray[np.int64]:
        """Return the codes of ``allowed``, best first."""
        fused = np.zeros(len(allowed))

        def add(codes: NDArray[Any], weight: float) -> None:
            codes = codes[:DEPTH]
            fused[codes] += weight / (60.0 + np.arange(len(codes)))

        query = " ".join([*state.details[::-1], *state.things, *state.purpose])
        if query:
            add(self._search.find(query.replace(" or ", " "), allowed)[0], TEXT)
        if liked := self._shop.codes(filter(None, [state.like])):
            similar = np.array(self._engine.similar(liked, DEPTH).items, dtype=int)
            add(similar[allowed[similar]], LIKE)
        if len(history.liked) or (history.attributes is not None and len(history.attributes)):
            histories = self._engine.stacked([history])
            ids = self._engine.model.recommend(histories, DEPTH, False, allowed)[0][0]
            add(ids[ids >= 0], TASTE)
        popular = self._engine.by_popularity
        add(popular[allowed[popular]], POPULAR)
        found = np.flatnonzero(allowed)
        return found[np.argsort(-fused[found], kind="stable")]

    def by_price(self, ranked: NDArray[np.int64], cheapest: bool) -> NDArray[np.int64]:
        """Return ``ranked`` with the cheapest items first, or the dearest."""
        prices = self._engine.prices[ranked]
        return ranked[np.argsort(prices if cheapest else -prices, kind="stable")]

    def nearest_in_price(
        self, ranked: NDArray[np.int64], state: ConversationState
    ) -> NDArray[np.int64]:
        """Return ``ranked`` with the items nearest to the limits of the price first."""
        low = 0.0 if state.min_price is None else state.min_price
        high = np.inf if state.max_price is None else state.max_price
        prices = np.nan_to_num(self._engine.prices[ranked], nan=np.inf)
        beyond = np.maximum(np.maximum(low - prices, prices - high), 0.0)
        return ranked[np.argsort(beyond, kind="stable")]

    def close(
        self, found: Found, allowed: Mask, state: ConversationState, history: History
    ) -> list[int]:
        """Return items of the wanted kind and price that miss another wish, best first."""
        pool = found.possible & ~allowed
        for name, meets in found.wishes.items():
            if PRICE_WISH.fullmatch(name) and name in found.fired:
                pool &= meets
        kinds = [found.wishes[f"with {thing}"] for thing in state.things]
        pool &= np.any(kinds, axis=0)
        met = np.sum(list(found.wishes.values()), axis=0)
        ranked = self.ranked(pool, state, history)
        codes: list[int] = ranked[np.argsort(-met[ranked], kind="stable")].tolist()
        return codes
