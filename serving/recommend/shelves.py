"""Shelves: the lists of the surfaces of ``serve.surfaces``, each from its own source.

In: requests that name a surface. Out: one ranked list each, with the figures behind its items. A
source gives what it has; where that is too little, the surface's fallbacks follow, and each item
says where it came from. Sources that need statistics of the model folder give nothing without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from components.arrays import FloatArray, IntArray
from components.recommenders.base import KnowsRepeats, Recommender
from components.recommenders.two_stage.features import ITEM_STATISTICS
from components.settings import Surface
from serving.languages import Language
from serving.recommend.complements import complements
from serving.recommend.engine import Engine
from serving.recommend.types import Mask, RankedList, Request

AGE = ITEM_STATISTICS.index("age")

Lists = list[RankedList]


class Shelves:
    """The lists of one model's surfaces. Holds no state of users, so it is thread-safe."""

    def __init__(self, engine: Engine, surfaces: Mapping[str, Surface]) -> None:
        self.engine = engine
        self.surfaces = surfaces

    def lists(self, requests: Sequence[Request]) -> Lists:
        """Return one list a request; those of the same source are ranked in one batch."""
        found = [RankedList([], [], []) for _ in requests]
        surfaces = [self.surfaces[str(request.surface)] for request in requests]
        longest = 1 + max((len(surface.fallback) for surface in surfaces), default=0)
        for step in range(longest):
            groups: dict[tuple[str, str], list[int]] = {}
            for at, (request, surface) in enumerate(zip(requests, surfaces, strict=True)):
                chain = [surface.source, *surface.fallback]
                if step < len(chain) and _goes_on(found[at], request, surface):
                    # The holdout of the uplift gets popular products on every shelf.
                    source: str = "personal" if request.popular else chain[step]
                    groups.setdefault((source, str(request.surface)), []).append(at)
            for (source, name), places in groups.items():
                rest = [_rest(requests[at], found[at]) for at in places]
                for at, more in zip(
                    places, self._lists_of(source, rest, self.surfaces[name]), strict=True
                ):
                    found[at] = _joined(found[at], more)
        return found

    def _lists_of(self, source: str, requests: Sequence[Request], surface: Surface) -> Lists:
        """Return the lists that a source has for requests of one surface."""
        if source == "personal":
            return self.engine.recommend(requests)
        if source == "new":
            return self._new(requests, surface)
        return [_SOURCES[source](self, request, surface) for request in requests]

    def _free(self, request: Request) -> Mask:
        free = request.free(self.engine.mask(request.filters))
        free[list(request.page)] = False
        return free

    def _popular(self, request: Request, surface: Surface) -> RankedList:
        mask = self.engine.mask(request.filters)
        return self.engine.fallbacks.popular(request, mask, "popular")

    def _new(self, requests: Sequence[Request], surface: Surface) -> Lists:
        """Products that came within ``new_days``, in the shopper's order."""
        engine = self.engine
        age = engine.model.item_statistics[:, AGE]
        added = np.arange(engine.n_items) >= engine.model.generator.n_trained
        with np.errstate(invalid="ignore"):
            new = (age <= surface.new_days) | (added & np.isnan(age))
        return [
            replace(one, sources=["new"] * len(one.items))
            for one in engine.recommend([replace(one, never_seen=True) for one in requests], new)
        ]

    def _similar(self, request: Request, surface: Surface) -> RankedList:
        if not request.page:
            return RankedList([], [], [])
        return self.engine.similar_among(request.page, request.k, self._free(request))

    def _goes_with(self, request: Request, surface: Surface) -> RankedList:
        """What goes with the page's products and is no substitute: of other categories."""
        main = self.engine.fallbacks.main_category
        own = {int(main[code]) for code in request.page} - {-1}
        kinds = [main == one for one in own]
        found = complements(self.engine, request.page, self._free(request), kinds)[: request.k]
        return _ranked(found, 1 / (1.0 + np.arange(len(found))), "goes_with")

    def _together(self, request: Request, surface: Surface) -> RankedList:
        """What is bought in the same baskets as the page's products."""
        statistics = self.engine.shelf_statistics
        if statistics is None:
            return RankedList([], [], [])
        basket = np.array(request.page, dtype=np.int32)
        found = statistics.pairs.completing(basket, surface.min_support, surface.min_lift)
        keep = np.flatnonzero(self._free(request)[found.items])[: request.k]
        ranked = _ranked(found.items[keep], found.scores[keep], "together")
        figures = zip(found.support[keep].tolist(), found.lift[keep].tolist(), strict=True)
        return replace(
            ranked,
            evidence={
                code: {"support": support, "lift": round(lift, 2)}
                for code, (support, lift) in zip(ranked.items, figures, strict=True)
            },
        )

    def _due(self, request: Request, surface: Surface) -> RankedList:
        """What the shopper bought, by when it is due again."""
        statistics = self.engine.shelf_statistics
        if statistics is None:
            return RankedList([], [], [])
        histories = self.engine.stacked([request.history])
        due = statistics.intervals.due(histories)
        scores = due.score
        learned = self.engine.model.repeat_model()
        if isinstance(learned, Recommender) and isinstance(learned, KnowsRepeats):
            scores = learned.score_at(histories, due.items)[0]
        order = np.lexsort((due.items, -scores))
        order = order[self._free(request)[due.items[order]]][: request.k]
        return replace(
            _ranked(due.items[order], scores[order], "due"),
            evidence={
                int(due.items[at]): {
                    "bought": int(due.counts[at]),
                    "days_since": round(float(due.last[at]), 1),
                    "interval_days": round(float(due.interval[at]), 1),
                    "due": round(float(due.last[at] / due.interval[at]), 2),
                }
                for at in order.tolist()
            },
        )

    def _viewed(self, request: Request, surface: Surface) -> RankedList:
        """What the shopper looked at, the newest first."""
        newest = request.history.liked[::-1]
        _, first = np.unique(newest, return_index=True)
        items = newest[np.sort(first)]
        items = items[self._free(request)[items]][: request.k]
        return _ranked(items, 1 / (1.0 + np.arange(len(items))), "viewed")

    def _rising(self, request: Request, surface: Surface) -> RankedList:
        """What sells faster than before, by a test."""
        statistics = self.engine.shelf_statistics
        if statistics is None:
            return RankedList([], [], [])
        found = statistics.trends.rising(
            self._free(request), request.country, surface.false_discoveries
        )
        ranked = _ranked(found.items, found.growth, "rising").first(request.k)
        figures = zip(found.growth.tolist(), found.sold.tolist(), strict=True)
        return replace(
            ranked,
            evidence={
                code: {"growth": round(growth, 2), "sold": sold}
                for code, (growth, sold) in zip(found.items.tolist(), figures, strict=True)
            },
        )


def reason_of(source: str, evidence: Mapping[str, float], language: Language) -> str | None:
    """Return the reason that a source itself gives for an item, None if it gives none.

    >>> from serving.languages import ENGLISH
    >>> reason_of("together", {"support": 12, "lift": 3.1}, ENGLISH)
    'bought together 12 times'
    """
    ngettext = language.ngettext
    if source == "together":
        n = int(evidence["support"])
        return ngettext("bought together once", "bought together {n} times", n)
    if source == "rising":
        n = int(evidence["sold"])
        return ngettext(
            "rising: sold once in the last days", "rising: sold {n} times in the last days", n
        )
    if source == "due":
        n = int(evidence["bought"])
        return ngettext("you bought this once", "you bought this {n} times", n)
    return None


def title_of(surface: str, source: str, is_fallback: bool, language: Language) -> str:
    """Return the title of a shelf, "" for a surface of the shop's own.

    source: of its first item. is_fallback: the surface's own source gave nothing.

    >>> from serving.languages import ENGLISH
    >>> title_of("buy_again", "popular", True, ENGLISH)
    'Popular now'
    """
    gettext = language.gettext
    if is_fallback:
        others = {
            "popular": gettext("Popular now"),
            "similar": gettext("Similar products"),
            "goes_with": gettext("Goes with it"),
            "together": gettext("Often bought together"),
            "rising": gettext("Trending"),
        }
        return others.get(source, gettext("Picked for you"))
    titles = {
        "home": gettext("Picked for you"),
        "product": gettext("Similar products"),
        "goes_with": gettext("Goes with it"),
        "bought_together": gettext("Often bought together"),
        "basket": gettext("Completes your basket"),
        "buy_again": gettext("Buy again"),
        "recently_viewed": gettext("Recently viewed"),
        "trending": gettext("Trending"),
        "new_for_you": gettext("New for you"),
        "category": gettext("Picked for you"),
        "email": gettext("Picked for you"),
    }
    return titles.get(surface, "")


_SOURCES: dict[str, Callable[[Shelves, Request, Surface], RankedList]] = {
    "similar": Shelves._similar,
    "goes_with": Shelves._goes_with,
    "together": Shelves._together,
    "due": Shelves._due,
    "viewed": Shelves._viewed,
    "rising": Shelves._rising,
    "popular": Shelves._popular,
}
"""Functions of the class: bound methods in an instance would be a reference cycle, which would keep
a replaced model in memory."""


def _goes_on(found: RankedList, request: Request, surface: Surface) -> bool:
    """Return whether the next source of the surface is used."""
    return len(found.items) < request.k if surface.fill else not found.items


def _rest(request: Request, found: RankedList) -> Request:
    """Return the request for the places that are free."""
    if not found.items:
        return request
    left = request.k - len(found.items)
    return replace(request, k=left, exclude=(*request.exclude, *found.items), never_seen=True)


def _joined(found: RankedList, more: RankedList) -> RankedList:
    return RankedList(
        [*found.items, *more.items],
        [*found.scores, *more.scores],
        [*found.sources, *more.sources],
        evidence={**found.evidence, **more.evidence},
    )


def _ranked(items: IntArray, scores: NDArray[np.float64] | FloatArray, source: str) -> RankedList:
    return RankedList(items.tolist(), scores.tolist(), [source] * len(items))
