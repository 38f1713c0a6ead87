"""Forms of the hybrid: what ``rank.form`` chooses between.

A form implements ``recommend``, ``score`` and ``score_items`` by the same scores: the learned
ranker over the candidates, a blend of the candidates, or one of them alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from components.arrays import BoolArray, FloatArray, Int32Array, Int64Array, IntArray
from components.data.dataset import Histories
from components.recommenders.base import (
    MISSING,
    HasItemPopularity,
    RanksNewcomers,
    Recommender,
)
from components.recommenders.kernels.sort_keys import ranking
from components.recommenders.two_stage.blending import (
    Blend,
    Cascade,
    SingleModel,
    Switching,
    Weighted,
)
from components.recommenders.two_stage.candidates import CandidateGenerator
from components.recommenders.two_stage.features import FeatureBuilder, Pairs
from components.recommenders.two_stage.ranker import Ranker
from components.settings import Rank


class RankingForm(Protocol):
    """How a hybrid scores items."""

    def recommend(
        self,
        histories: Histories,
        k: int,
        exclude_seen: bool = True,
        available: BoolArray | None = None,
        batch_size: int = 256,
    ) -> tuple[Int32Array, FloatArray]:
        """As ``Recommender.recommend``."""

    def score(self, histories: Histories) -> FloatArray:
        """As ``Recommender.score``."""

    def score_items(self, histories: Histories, items: IntArray) -> FloatArray:
        """Return float32 (batch, n): the score of each of ``items``, distinct codes (n,)."""


class LearnedRanking:
    """Candidates in the order of the learned ranker. Excluded items take no candidate's place."""

    def __init__(
        self, generator: CandidateGenerator, features: FeatureBuilder, ranker: Ranker
    ) -> None:
        self.generator = generator
        self.features = features
        self.ranker = ranker

    def recommend(
        self,
        histories: Histories,
        k: int,
        exclude_seen: bool = True,
        available: BoolArray | None = None,
        batch_size: int = 256,
    ) -> tuple[Int32Array, FloatArray]:
        """As ``Recommender.recommend``."""
        ids = np.full((len(histories), k), MISSING, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        for start in range(0, len(histories), batch_size):
            batch = histories.take(slice(start, start + batch_size))
            pairs = self._pairs(batch, exclude_seen, available)
            ranked = self.ranker.predict(pairs.features)
            order = ranking(pairs.rows, ranked, pairs.items, self.generator.n_items)
            rows = pairs.rows[order]
            position = np.arange(len(rows)) - np.searchsorted(rows, rows)
            best = order[position < k]
            at = (start + pairs.rows[best], position[position < k])
            ids[at], scores[at] = pairs.items[best], ranked[best]
        return ids, scores

    def score(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, items): the ranker's score, -inf for items no model proposed."""
        scores = np.full((len(histories), self.generator.n_items), -np.inf, dtype=np.float32)
        pairs = self._pairs(histories)
        scores[pairs.rows, pairs.items] = self.ranker.predict(pairs.features)
        return scores

    def score_items(self, histories: Histories, items: IntArray) -> FloatArray:
        """Return float32 (batch, n): the ranker's score of each of ``items``, distinct codes (n,),
        proposed or not."""
        pairs = self._pairs(histories, forced_codes=items)
        order = np.argsort(items)
        place = order[np.searchsorted(items, pairs.items, sorter=order)]
        scores = np.full((len(histories), len(items)), -np.inf, dtype=np.float32)
        scores[pairs.rows, place] = self.ranker.predict(pairs.features)
        return scores

    def _pairs(
        self,
        histories: Histories,
        exclude_seen: bool = False,
        available: BoolArray | None = None,
        forced_codes: IntArray | None = None,
    ) -> Pairs:
        batches = self.generator.generate(histories, exclude_seen, available, forced_codes)
        return self.features.pairs(batches)


class NewcomersApart:
    """Another form, but users without a history get the order of single models.

    For such a user all features of a candidate are those of the item, and they identify it. So a
    ranker learns which items sold well in its own window: there its lists for newcomers are better
    than popularity's, in the window after it worse (``benchmarks.newcomers``).

    models: the first that knows the user orders the products; one that does not ``RanksNewcomers``
    knows every user.
    """

    def __init__(self, form: RankingForm, models: Sequence[SingleModel]) -> None:
        self.form = form
        self.models = models

    def recommend(
        self,
        histories: Histories,
        k: int,
        exclude_seen: bool = True,
        available: BoolArray | None = None,
        batch_size: int = 256,
    ) -> tuple[Int32Array, FloatArray]:
        """As ``Recommender.recommend``."""
        options = (k, exclude_seen, available, batch_size)
        ids = np.empty((len(histories), k), dtype=np.int32)
        scores = np.empty((len(histories), k), dtype=np.float32)
        for rows, by in self._parts(histories):
            ids[rows], scores[rows] = by.recommend(histories.pick(rows), *options)
        return ids, scores

    def score(self, histories: Histories) -> FloatArray:
        """As ``RankingForm.score``."""
        parts = [(rows, by.score(histories.pick(rows))) for rows, by in self._parts(histories)]
        return _in_order(parts, len(histories))

    def score_items(self, histories: Histories, items: IntArray) -> FloatArray:
        """As ``RankingForm.score_items``."""
        parts = []
        for rows, by in self._parts(histories):
            parts.append((rows, by.score_items(histories.pick(rows), items)))
        return _in_order(parts, len(histories))

    def _parts(self, histories: Histories) -> Iterator[tuple[Int64Array, RankingForm]]:
        """Yield the rows of the batch that each form orders, without empty parts."""
        left = histories.liked.lengths() == 0
        ordered = np.zeros(len(histories), dtype=bool)
        for form in self.models:
            model = form.candidates[form.settings].trained
            own = left & model.knows(histories) if isinstance(model, RanksNewcomers) else left
            if own.any():
                yield np.flatnonzero(own), form
            left, ordered = left & ~own, ordered | own
        if not ordered.all() or not len(histories):
            yield np.flatnonzero(~ordered), self.form


def newcomers_apart(form: RankingForm, candidates: dict[str, Recommender]) -> RankingForm:
    """Return ``form``, with users without a history apart: those of whom something is known get the
    order of the candidate that ``RanksNewcomers``, the others that of the most popular items, if
    there are such candidates."""
    models = [
        SingleModel(name, candidates)
        for kind in (RanksNewcomers, HasItemPopularity)
        for name, one in candidates.items()
        if isinstance(one.trained, kind)
    ]
    return NewcomersApart(form, models) if models else form


def _in_order(parts: list[tuple[Int64Array, FloatArray]], n: int) -> FloatArray:
    """Return float32 (n, items): the parts' rows in the order of the batch."""
    scores = np.empty((n, parts[0][1].shape[1]), dtype=np.float32)
    for rows, found in parts:
        scores[rows] = found
    return scores


def blends(
    settings: Rank, candidates: dict[str, Recommender], fitted: dict[str, float]
) -> dict[str, Blend]:
    """Return the blends whose models are all among the candidates, and each candidate alone, by
    name.

    fitted: weights from ``fit_weights``, used unless ``rank.weighted`` gives some.
    """
    weights = settings.weighted or fitted
    switches = {switch.events: switch.model for switch in settings.switching}
    made: dict[str, Blend] = {name: SingleModel(name, candidates) for name in candidates}
    if weights.keys() <= candidates.keys():
        made["weighted"] = Weighted(weights, candidates)
    if set(switches.values()) <= candidates.keys():
        made["switching"] = Switching(switches, candidates)
    if set(settings.cascade.models) <= candidates.keys():
        made["cascade"] = Cascade(settings.cascade, candidates)
    return made
