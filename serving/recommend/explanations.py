"""Explanations: one short reason for each item, made of facts only.

The facts: how regularly the shopper buys the item, an item of the history with a similar text, a
value of an attribute that the shopper often chooses, popularity, newness.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.recommenders.base import KnowsRepeats
from serving.languages import ENGLISH, Language
from serving.profiles.history import EXPLAINED, History, stack
from serving.recommend.attribute_reasons import AttributeReasons
from serving.recommend.types import RULE, RankedList

RELATED = 0.5
"""Cosine from which on two products' texts are called similar in a reason."""

REGULAR = 3
"""Days with a purchase of the same item from which on a reason names its interval."""
OVERDUE = 3
"""Intervals without a purchase after which a reason no longer names it."""
MONTH, WEEK = 30.4, 7.0
"""Days."""


@dataclass(frozen=True)
class Explanations:
    """Reasons over one catalogue, row number = code.

    vectors: float32 (items, width) unit vectors or None. sold, popular: bool (items,). attributes:
    reasons made of declared attributes. repeats: the candidate that knows of repeat purchases;
    None: no reason names one.
    """

    titles: Sequence[str]
    categories: Sequence[list[str]]
    vectors: NDArray[Any] | None
    sold: NDArray[np.bool_]
    popular: NDArray[np.bool_]
    attributes: AttributeReasons
    repeats: KnowsRepeats | None = None

    def reasons(
        self,
        ranked: RankedList,
        history: History,
        recent: Iterable[int] = (),
        language: Language = ENGLISH,
        promoted: Collection[int] = (),
    ) -> list[str]:
        """Return one reason an item.

        recent: codes that were chosen in this session. promoted: codes that merchandising rules put
        higher: the history alone did not choose them.
        """
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
                done = "chosen" if code in just_chosen else history.kinds.get(code, "")
                if code == ranked.items[at]:
                    texts[at] = had_before(done, language)
                else:
                    texts[at] = because_of(done, self.titles[code], language)
        for at, text in self._regular(ranked.items, history, language).items():
            texts[at] = text
        texts = [
            text or of_attributes
            for text, of_attributes in zip(
                texts, self.attributes.reasons(ranked.items, history, language), strict=True
            )
        ]
        for row, (item, source) in enumerate(zip(ranked.items, ranked.sources, strict=True)):
            by_history = len(own) > 0 and item not in promoted
            texts[row] = texts[row] or self._general(item, source, by_history, language)
            if source == RULE:
                texts[row] = language.gettext("selected by the shop")
        return texts

    def _regular(self, items: list[int], history: History, language: Language) -> dict[int, str]:
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
                reasons[at] = regularly(intervals[item], kind == "purchase", language)
        return reasons

    def _general(self, item: int, source: str, has_history: bool, language: Language) -> str:
        """Return a reason that names no item of the history."""
        gettext = language.gettext
        if not self.sold[item]:
            return gettext("new in the shop")
        if self.popular[item]:
            return gettext("popular lately")
        if source == "segment":
            return gettext("popular in {category}", category=self.categories[item][-1])
        if source == "hybrid" and has_history:
            return gettext("chosen by your history as a whole")
        return gettext("often bought")


def because_of(done: str, title: str, language: Language) -> str:
    """Return the reason that names a product of the history.

    done: the kind of event with it, "chosen" in this session, or "".

    >>> because_of("purchase", "RED MUG", ENGLISH)
    'because you bought RED MUG'
    """
    gettext = language.gettext
    if done == "chosen":
        return gettext("because you just chose {title}", title=title)
    if done in ("view", "click"):
        return gettext("because you looked at {title}", title=title)
    if done == "cart":
        return gettext("because you put into your basket {title}", title=title)
    if done == "purchase":
        return gettext("because you bought {title}", title=title)
    if done == "rating":
        return gettext("because you rated {title}", title=title)
    return gettext("like something you had before: {title}", title=title)


def had_before(done: str, language: Language) -> str:
    """Return the reason of a product that is in the history itself.

    >>> had_before("view", ENGLISH)
    'you looked at this before'
    """
    gettext = language.gettext
    if done == "chosen":
        return gettext("you just chose this before")
    if done in ("view", "click"):
        return gettext("you looked at this before")
    if done == "cart":
        return gettext("you put into your basket this before")
    if done == "purchase":
        return gettext("you bought this before")
    if done == "rating":
        return gettext("you rated this before")
    return gettext("you had this before")


def regularly(days: float, is_bought: bool, language: Language) -> str:
    """Return the reason of a product that a shopper takes about every ``days`` days.

    >>> [regularly(days, True, ENGLISH).removeprefix("you buy this about every ")
    ...  for days in (1.2, 6.4, 20, 85)]
    ['day', '6 days', '3 weeks', '3 months']
    """
    ngettext = language.ngettext
    if days >= 2 * MONTH - 0.5:
        n = round(days / MONTH)
        if is_bought:
            return ngettext(
                "you buy this about every month", "you buy this about every {n} months", n
            )
        return ngettext(
            "you come back to this about every month",
            "you come back to this about every {n} months",
            n,
        )
    if days >= 2 * WEEK - 0.5:
        n = round(days / WEEK)
        if is_bought:
            return ngettext(
                "you buy this about every week", "you buy this about every {n} weeks", n
            )
        return ngettext(
            "you come back to this about every week",
            "you come back to this about every {n} weeks",
            n,
        )
    n = max(1, round(days))
    if is_bought:
        return ngettext("you buy this about every day", "you buy this about every {n} days", n)
    return ngettext(
        "you come back to this about every day", "you come back to this about every {n} days", n
    )
