"""Fallbacks: items for the places of a list that the hybrid leaves free.

In this order: items nearest to the history by text ("content"), popular items in the history's
categories ("segment"), popular items ("popular"). While any item meets the filters, the list is not
empty, unless the client itself asked not to see the history again (``Request.never_seen``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from components.arrays import IntArray
from components.recommenders.two_stage.hybrid import Hybrid
from serving.profiles.history import stack
from serving.recommend.types import Mask, RankedList, Request

HOLDOUT = "holdout"
"""Source of the popular products that the shoppers of the holdout get."""


class Fallbacks:
    """Fallbacks of one model.

    by_popularity: int (items,) codes, the most popular first. main_category: int (items,), -1
    without one.
    """

    def __init__(
        self, model: Hybrid, by_popularity: NDArray[np.int32], main_category: NDArray[np.int32]
    ) -> None:
        self._model = model
        self._by_popularity = by_popularity
        self.main_category = main_category

    def fill(self, request: Request, mask: Mask, ranked: RankedList) -> None:
        """Append items to ``ranked`` until it has ``request.k``, or no item is left.

        mask: bool (items,), true where an item meets the filters.
        """
        history, k = request.history, request.k
        free = request.free(mask)
        free[ranked.items] = False
        text_model = self._model.text_model()
        if text_model is not None and len(history.liked) and free.any():
            scores = text_model.score(stack([history]))[0]
            best = np.argsort(np.where(free, -scores, np.inf), kind="stable")
            best = best[: k - len(ranked.items)]
            best = best[free[best] & np.isfinite(scores[best])]
            _append(ranked, best, scores[best], "content")
            free[best] = False
        if len(history.liked) and len(ranked.items) < k:
            own = np.unique(self.main_category[history.liked])
            inside = free & np.isin(self.main_category, own[own >= 0])
            self._append_popular(ranked, inside, k, "segment")
            free[ranked.items] = False
        self._append_popular(ranked, free, k, "popular")
        if not ranked.items and not request.never_seen:
            # Only items of the history are left: better than an empty list.
            seen = mask.copy()
            seen[list(request.exclude)] = False
            seen[history.disliked] = False
            self._append_popular(ranked, seen, k, "popular")

    def popular(self, request: Request, mask: Mask, source: str = HOLDOUT) -> RankedList:
        """Return the most popular items, the same for all shoppers but for their filters and
        histories: the list of the holdout."""
        ranked = RankedList([], [], [])
        self._append_popular(ranked, request.free(mask), request.k, source)
        if not ranked.items:
            self.fill(request, mask, ranked)
        return ranked

    def _append_popular(self, ranked: RankedList, free: Mask, k: int, source: str) -> None:
        popular = self._by_popularity[free[self._by_popularity]][: k - len(ranked.items)]
        _append(ranked, popular, np.zeros(len(popular)), source)


def _append(ranked: RankedList, items: IntArray, scores: NDArray[np.float64], source: str) -> None:
    ranked.items.extend(items.tolist())
    ranked.scores.extend(scores.tolist())
    ranked.sources.extend([source] * len(items))
