"""Explanations: one short reason for each item, made of facts only.

The facts: how regularly the shopper buys the item, an item of the history with a similar text, a
value of an attribute that the shopper often chooses, popularity, newness.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.recommenders.base import KnowsRepeats
from serving.profiles.history import EXPLAINED, History, stack
from serving.recommend.attribute_reasons import AttributeReasons
from serving.recommend.types import RankedList

RELATED = 0.5
"""Cosine from which on two products' texts are called similar in a reason."""

REGULAR = 3
"""Days with a purchase of the same item from which on a reason names its interval."""
OVERDUE = 3
"""Intervals without a purchase after which a reason no longer names it."""

VERBS = {
    "view": "looked at",
    "click": "looked at",
    "cart": "put into your basket",
    "purchase": "bought",
    "rating": "rated",
}


@dataclass(frozen=True)
class Explanations:
    """Reasons over one catalogue, row number = code.

    vectors: float32 (items, width) unit vectors or None. sold, popular: bool (items,). attributes:
    reasons made of declared attributes. repeats: the candidate that knows of repeat purchases;
    None: no reason names one.
    """

    titles: list[str]
    categories: list[list[str]]
    vectors: NDArray[Any] | None
    sold: NDArray[np.bool_]
    popular: NDArray[np.bool_]
    attributes: AttributeReasons
    repeats: KnowsRepeats | None = None

    def reasons(
        self, ranked: RankedList, history: History, recent: Iterable[int] = ()
    ) -> list[str]:
        """Return one reason an item. recent: codes that were chosen in this session."""
        texts = ["" for _ in ranked.items]
        if not ranked.items:
            return texts
        # Newest first: of two equally similar items of the history the newer one is named.
        own = history.liked[: -EXPLAINED - 1 : -1]
        if len(own) and self.vectors is not None:
            cosine = self.vectors[ranked.items] @ self.vectors[own].T
            nearest = cosine.argmax(axis=1)
            just_chosen = set(recent)
            for at in np.flatnonzero(cosine.max(axis=1) >= RELATED).tolist():
                code = int(own[nearest[at]])
                verb = VERBS.get(history.kinds.get(code, ""))
                done = "just chose" if code in just_chosen else verb
                because = f"because you {done}" if done else "like something you had before:"
                texts[at] = f"{because} {self.titles[code]}"
                if code == ranked.items[at]:
                    texts[at] = f"you {done or 'had'} this before"
        for at, text in self._regular(ranked.items, history).items():
            texts[at] = text
        texts = [
            text or of_attributes
            for text, of_attributes in zip(
                texts, self.attributes.reasons(ranked.items, history), strict=True
            )
        ]
        for row, (item, source) in enumerate(zip(ranked.items, ranked.sources, strict=True)):
            texts[row] = texts[row] or self._general(item, source, has_history=len(own) > 0)
        return texts

    def _regular(self, items: list[int], history: History) -> dict[int, str]:
        """Return the reasons of items that the shopper buys regularly, by their places."""
        if self.repeats is None or not len(history.items):
            return {}
        had = history if history.excluding is None else history.pick(history.excluding)
        found = self.repeats.repeats(stack([had]))
        days = (found.first - found.last) / np.maximum(found.counts - 1, 1)
        regular = (found.counts >= REGULAR) & (found.last <= OVERDUE * days)
        intervals = dict(zip(found.items[regular].tolist(), days[regular].tolist(), strict=True))
        reasons = {}
        for at, item in enumerate(items):
            if item in intervals:
                kind = history.kinds.get(item, "purchase" if self.repeats.only_purchases else "")
                verb = "buy" if kind == "purchase" else "come back to"
                reasons[at] = f"you {verb} this about every {period(intervals[item])}"
        return reasons

    def _general(self, item: int, source: str, has_history: bool) -> str:
        """Return a reason that names no item of the history."""
        if not self.sold[item]:
            return "new in the shop"
        if self.popular[item]:
            return "popular lately"
        if source == "segment":
            return f"popular in {self.categories[item][-1]}"
        if source == "hybrid" and has_history:
            return "chosen by your history as a whole"
        return "often bought"


def period(days: float) -> str:
    """Return a number of days in words.

    >>> period(1.2), period(6.4), period(20), period(85)
    ('day', '6 days', '3 weeks', '3 months')
    """
    for unit, length in (("month", 30.4), ("week", 7.0)):
        if days >= 2 * length - 0.5:
            return f"{days / length:.0f} {unit}s"
    number = max(1, round(days))
    return "day" if number == 1 else f"{number} days"
