"""Cold start of items: a fitted model over a catalogue with items added after the training.

In: a fitted recommender and a catalogue with new items at its end. Out: a recommender over all of
them. A model that ``CanExtend`` does so itself; any other gets the wrapper ``ColdStart``.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from components.arrays import BoolArray, FloatArray, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import (
    MISSING,
    CanExtend,
    EmbedsText,
    FindsCompanions,
    FindsSimilarItems,
    Recommender,
    top_k,
)
from components.recommenders.two_stage.ann import VectorIndex

N_WARM = 5
"""Nearest warm items that represent a new item."""


class ColdStart(Recommender):
    """Cold-start wrapper: ``model`` was fitted on the first ``n_trained`` items.

    nearest_warm: see ``nearest_warm_items``; None: not known. In a history a new item is replaced
    by its nearest warm item. As a candidate it gets ``model.cold_start_weight`` times the mean
    score of its nearest warm items; without any, or with weight 0, the model's lowest score.
    """

    name = "cold_start"

    def __init__(
        self,
        model: Recommender,
        n_trained: int,
        n_items: int,
        nearest_warm: IntArray | None = None,
    ) -> None:
        self.model = model
        self.vetoes = model.vetoes  # type: ignore[misc]
        self.n_trained = n_trained
        self.n_items = n_items
        self.nearest_warm = nearest_warm

    @property
    def trained(self) -> Recommender:
        return self.model

    def score(self, histories: Histories) -> FloatArray:
        scores = self.model.score(self._warm(histories))
        new = _lowest(scores, self.n_items - self.n_trained)
        known, nearest = self._nearest(np.arange(self.n_trained, self.n_items))
        new[:, known] = self.model.cold_start_weight * scores[:, nearest].mean(axis=2)
        return np.hstack([scores, new])

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        old = items < self.n_trained
        known, nearest = self._nearest(items[~old])
        needed = np.union1d(items[old], nearest)
        found = self.model.score_at(self._warm(histories), needed)
        scores = np.empty((len(histories), len(items)), dtype=np.float32)
        scores[:, old] = found[:, np.searchsorted(needed, items[old])]
        new = _lowest(scores[:, old], int(np.count_nonzero(~old)))
        of_nearest = found[:, np.searchsorted(needed, nearest)]
        new[:, known] = self.model.cold_start_weight * of_nearest.mean(axis=2)
        scores[:, ~old] = new
        return scores

    def _warm(self, histories: Histories) -> Histories:
        return replace_cold_items(histories, self.n_trained, self.nearest_warm)

    def _nearest(self, items: IntArray) -> tuple[BoolArray, IntArray]:
        """Return bool (items,), which of the new items have nearest warm items that count, and int
        (of those, n), the nearest warm items."""
        if self.nearest_warm is None or not self.model.cold_start_weight:
            return np.zeros(len(items), dtype=bool), np.empty((0, 1), dtype=np.int64)
        nearest = self.nearest_warm[items - self.n_trained]
        known = nearest[:, 0] != MISSING
        return known, nearest[known]

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Raise TypeError: the wrapped model is fitted, not the wrapper."""
        raise TypeError("a cold-start wrapper is not fitted: fit its model")

    def config(self) -> dict[str, Any]:
        """Raise TypeError: the wrapped model is saved, not the wrapper."""
        raise TypeError("a cold-start wrapper is not saved: save its model")


class SimilarItemsColdStart(ColdStart):
    """Cold-start wrapper of a model that ``FindsSimilarItems``."""

    score_similar = ColdStart.score_at


class CompanionsColdStart(SimilarItemsColdStart):
    """Cold-start wrapper of a model that also ``FindsCompanions``."""

    score_companions = ColdStart.score_at


def _lowest(scores: FloatArray, n: int) -> FloatArray:
    """Return float32 (batch, n): each row's lowest finite score, 0 where a row has none."""
    finite = np.where(np.isfinite(scores), scores, np.inf)
    lowest = finite.min(axis=1, initial=np.inf, keepdims=True)
    new = np.where(np.isfinite(lowest), lowest, 0.0).astype(np.float32)
    return np.repeat(new, n, axis=1)


def extended(
    model: Recommender, n_trained: int, catalogue: Catalogue, nearest_warm: IntArray | None
) -> Recommender:
    """Return ``model``, fitted on ``n_trained`` items, for a catalogue with more at its end.

    nearest_warm: see ``nearest_warm_items``.
    """
    if n_trained == len(catalogue):
        return model
    if isinstance(model, CanExtend):
        return model.extended(catalogue)
    wrapper = SimilarItemsColdStart if isinstance(model, FindsSimilarItems) else ColdStart
    if isinstance(model, FindsCompanions):
        wrapper = CompanionsColdStart
    return wrapper(model, n_trained, len(catalogue), nearest_warm)


def replace_cold_items(
    histories: Histories, n_trained: int, nearest_warm: IntArray | None
) -> Histories:
    """Return the histories with each item from code ``n_trained`` on replaced by its nearest warm
    item, and without those that have none."""
    new = histories.items >= n_trained
    if not new.any():
        return histories
    items = histories.items.copy()
    items[new] = MISSING if nearest_warm is None else nearest_warm[items[new] - n_trained, 0]
    return histories.where(items != MISSING, items)


def nearest_warm_items(
    catalogue: Catalogue,
    sold: BoolArray,
    text_model: Recommender | None = None,
    text_index: VectorIndex | None = None,
    most_exact: int | None = None,
) -> IntArray | None:
    """Return int (new, N_WARM): of each new item the sold items nearest by text, nearest first.

    sold: bool (n_trained,); items of the catalogue after those are new. A row is MISSING where an
    item's text has no known word. text_model: a candidate that ``EmbedsText``; text_index: of its
    item vectors; without an index cosines with all items are computed. None where the catalogue has
    no text vectors, fewer than N_WARM items were sold, or there are more than ``most_exact`` items
    and no index.
    """
    n_trained = len(sold)
    if catalogue.vectors is None or np.count_nonzero(sold) < N_WARM:
        return None
    vectors = np.asarray(catalogue.vectors[n_trained:])
    nearest = np.full((len(vectors), N_WARM), MISSING, dtype=np.int64)
    described = np.flatnonzero(vectors.any(axis=1))  # a text without a known word is the vector 0
    if text_index is not None and isinstance(text_model, EmbedsText):
        queries = text_model.embed_text(vectors[described])
        for at, query in zip(described, queries, strict=True):
            near = text_index.search(query, 20 * N_WARM)
            if sold[near].any():
                nearest[at] = np.resize(near[sold[near]], N_WARM)  # repeated if there are few
        return nearest
    if most_exact is not None and n_trained > most_exact:
        return None
    for some in np.array_split(described, math.ceil(len(described) / 64) or 1):
        cosines = vectors[some] @ catalogue.vectors[:n_trained].T
        nearest[some] = top_k(np.where(sold, cosines, -np.inf), N_WARM)[0]
    return nearest
