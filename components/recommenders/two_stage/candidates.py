"""Candidate generation: for each history the items that any model scores among its best.

In: fitted models and a batch of histories. Out: ``CandidateBatch``, pieces of the batch small
enough for the processor's cache, with the models' scores. On a catalogue of more than
``rank.exact_items`` items only a shortlist is scored, which indexes and neighbour models find (see
``ann``).

Two-stage recommendation as in Covington et al. (RecSys 2016).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from components.arrays import BoolArray, DoubleArray, FloatArray, Int32Array, Int64Array, IntArray
from components.data.dataset import Histories
from components.recommenders.base import (
    EmbedsText,
    FindsNearestItems,
    HasItemPopularity,
    HasItemVectors,
    Recommender,
)
from components.recommenders.kernels.jit import compiled
from components.recommenders.kernels.sort_keys import (
    FIRST_OF_SCORES,
    LOWEST,
    ascending,
    key_of,
    largest,
    place_of,
)
from components.recommenders.two_stage.ann import VectorIndex
from components.recommenders.two_stage.cold_start import replace_cold_items
from components.settings import Rank

OVERSAMPLING = 1.2
"""Index search depth per candidate of a model, before it is divided by the share of the items that
are available: above 1, since some of the items found are excluded later."""
MAX_SCORES = 50_000_000
"""Scores, of all models and histories, held at once."""
MAX_KEYS = 400_000
"""Sort keys held at once: they fit into the processor's cache."""
UNSOLD_FRACTION = 0.2
"""Further places of each model for unsold items alone, as a fraction of its places."""


@dataclass(frozen=True)
class CandidateBatch:
    """Candidates of consecutive histories of a batch: rows ``start`` to ``start + len(counts)``.

    histories: the whole batch. scores: float32 (models, batch, n_pool), of the whole batch, -inf
    where excluded. means, spreads: float64 (models, batch), of the finite scores. pool: int64
    (n_pool,), the items scored, ascending. best: int64 (rows, models, n), sort keys (see
    ``kernels.sort_keys``) of each model's best, ascending. counts: int64 (rows,), candidates of
    each row. places: int64 (candidates,), positions in ``pool``, ascending within a row. items:
    int32 (candidates,).
    """

    histories: Histories
    scores: FloatArray
    means: DoubleArray
    spreads: DoubleArray
    pool: IntArray
    start: int
    best: Int64Array
    counts: Int64Array
    places: Int64Array
    items: Int32Array


class CandidateGenerator:
    """Proposes candidates from the scores of several fitted models.

    models: by name. unsold: bool (items,). indexes: of models with item vectors, by name; empty on
    catalogues that are scored as a whole. Items from code ``n_trained`` on were added after the
    training; nearest_warm: see ``cold_start.nearest_warm_items``.
    """

    def __init__(
        self,
        settings: Rank,
        models: dict[str, Recommender],
        item_counts: FloatArray,
        indexes: dict[str, VectorIndex] | None = None,
        n_trained: int | None = None,
        nearest_warm: IntArray | None = None,
    ) -> None:
        """``item_counts``: (items,), how often each was sold, or the logarithm."""
        self.settings = settings
        self.models = models
        self.n_items = len(item_counts)
        self.unsold = item_counts == 0
        self.indexes = indexes or {}
        self.n_trained = self.n_items if n_trained is None else n_trained
        self.nearest_warm = nearest_warm
        self.count_proposed: Callable[[str, int], None] | None = None
        """Called with a model's name and how many items it proposed, for statistics."""
        known = (one for one in models.values() if isinstance(one, HasItemPopularity))
        popularity = next((one.item_popularity() for one in known), item_counts)
        self._by_popularity = np.argsort(-popularity, kind="stable").astype(np.int32)

    def with_indexes(self) -> CandidateGenerator:
        """Return the generator with an index of each model that has item vectors, if there are
        more than ``exact_items`` items."""
        made = copy.copy(self)
        if self.n_items > self.settings.exact_items:
            made.indexes = {
                name: VectorIndex.of(model.item_vectors())
                for name, model in self.models.items()
                if isinstance(model, HasItemVectors)
            }
        return made

    def text_model(self) -> tuple[str, Recommender] | None:
        """Return name and model of the first candidate that scores items by their text alone."""
        named = self.models.items()
        return next((one for one in named if isinstance(one[1], EmbedsText)), None)

    def generate(
        self,
        histories: Histories,
        exclude_seen: bool,
        available: BoolArray | None = None,
        forced_codes: IntArray | None = None,
    ) -> Iterator[tuple[int, CandidateBatch]]:
        """Yield the candidates of a batch in pieces, each with an offset.

        A piece holds a part of the histories; row r of this part is row offset + r of the batch.
        exclude_seen: leave out the items of each history. available: bool (items,), None: all.
        forced_codes: int (n,), items that are the candidates, whatever the models propose.
        """
        for offset, part, pool in self._parts(histories, available, forced_codes):
            forced_mask = None
            if forced_codes is not None:
                forced_mask = np.isin(
                    np.arange(self.n_items) if pool is None else pool, forced_codes
                )
            for piece in self._score_and_select(part, exclude_seen, available, pool, forced_mask):
                yield offset, piece

    def _parts(
        self, histories: Histories, available: BoolArray | None, forced_codes: IntArray | None
    ) -> Iterator[tuple[int, Histories, IntArray | None]]:
        """Yield parts of a batch, with the row they begin at and the items to score, None: all."""
        if not self.indexes:
            step = max(1, MAX_SCORES // (len(self.models) * self.n_items))
            if len(histories) <= step:
                yield 0, histories, None
                return
            for start in range(0, len(histories), step):
                yield start, histories.take(slice(start, start + step)), None
            return
        n_available = self._count(available)
        for row in range(len(histories)):
            one = histories.take(slice(row, row + 1))
            pool = self.shortlist(one, available, n_available)
            yield row, one, pool if forced_codes is None else np.union1d(pool, forced_codes)

    def _count(self, available: BoolArray | None) -> int:
        return self.n_items if available is None else int(np.count_nonzero(available))

    def shortlist(
        self, history: Histories, available: BoolArray | None, n_available: int | None = None
    ) -> Int64Array:
        """Return int64 (n,), ascending: the items worth scoring for a batch of one history.

        All available items if they are no more than ``exact_items``; else what the models find
        without scoring all: nearest vectors, neighbours, the most popular items, and the nearest of
        the items added after the training. n_available: how many are; None: counted here.
        """
        s = self.settings
        if n_available is None:
            n_available = self._count(available)
        if available is not None and n_available <= s.exact_items:
            return np.flatnonzero(available)
        if not self.indexes:
            return np.arange(self.n_items)
        # Some of the items found are excluded later: seen, or not available.
        wanted = OVERSAMPLING * s.candidates_per_model * self.n_items / n_available
        n = math.ceil(wanted) + int(history.lengths()[0])
        found = [self._by_popularity[:n], self._new_items(history, n)]
        warm = replace_cold_items(history, self.n_trained, self.nearest_warm)
        for name, model in self.models.items():
            trained = model.trained
            if name in self.indexes and isinstance(trained, HasItemVectors):
                if len(warm.items):
                    found.append(self.indexes[name].search(trained.queries(warm)[0], n))
            elif isinstance(trained, FindsNearestItems):
                found.append(trained.nearest_items(warm, n))
        items = np.unique(np.concatenate([*found, history.items]))
        return items if available is None else items[available[items]]

    def _new_items(self, history: Histories, n: int) -> IntArray:
        """Return codes of items added after the training: all, or the n nearest to the history by
        their text, or the n newest if there is no text model or no history."""
        codes = np.arange(self.n_trained, self.n_items)
        if len(codes) <= n:
            return codes
        text = self.text_model()
        if text is None or not len(history.liked.items):
            return codes[-n:]
        return codes[np.argpartition(-text[1].score_at(history, codes)[0], n)[:n]]

    def scores(self, histories: Histories, pool: IntArray | None) -> FloatArray:
        """Return float32 (models, batch, n_pool): of all models in one array."""
        n_pool = self.n_items if pool is None else len(pool)
        scores = np.empty((len(self.models), len(histories), n_pool), dtype=np.float32)
        for at, model in enumerate(self.models.values()):
            scores[at] = model.score(histories) if pool is None else model.score_at(histories, pool)
        return scores

    def _score_and_select(
        self,
        histories: Histories,
        exclude_seen: bool,
        available: BoolArray | None,
        pool: IntArray | None,
        forced_mask: BoolArray | None,
    ) -> Iterator[CandidateBatch]:
        vetoes = np.array([model.vetoes for model in self.models.values()])
        scores = self.scores(histories.telling, pool)
        proposed = np.zeros(len(self.models), dtype=np.int64)
        yield from select_candidates(
            scores,
            vetoes,
            histories,
            self.unsold,
            self.settings.candidates_per_model,
            exclude_seen,
            proposed,
            available,
            pool,
            forced_mask,
        )
        if self.count_proposed is not None:
            for name, count in zip(self.models, proposed.tolist(), strict=True):
                self.count_proposed(name, count)


def select_candidates(
    scores: FloatArray,
    vetoes: BoolArray,
    histories: Histories,
    unsold: BoolArray,
    n: int,
    exclude_seen: bool,
    proposed: IntArray,
    available: BoolArray | None = None,
    pool: IntArray | None = None,
    forced_mask: BoolArray | None = None,
) -> Iterator[CandidateBatch]:
    """Yield each history's candidates: what any model has among its ``n`` best.

    scores: float32 (models, batch, n_pool), -inf for never; excluded items are set to -inf.
    vetoes: bool (models,): whose -inf holds for all models. unsold: bool (items,). exclude_seen:
    leave out the items of each history. proposed: int64 (models,), to which the number of items
    that each model proposed is added. available: bool (items,), None: all. pool: int64 (n_pool,),
    the items scored, ascending; None: all. forced_mask: bool (n_pool,): these are the candidates,
    proposed or not.

    The lowest score of a model is taken to mean that it knows nothing of the item, as a neighbour
    model of an item without common users, or any model of an empty history (see
    ``Recommender.score``). It proposes no such item. Only text tells of unsold items, so each model
    has n · UNSOLD_FRACTION further places for them, or sold items would take all places.
    """
    n_models, batch, n_pool = scores.shape
    n_items = len(unsold)
    pool = np.arange(n_items) if pool is None else pool.astype(np.int64)
    available = np.ones(n_items, dtype=bool) if available is None else available
    unsold_places = np.flatnonzero(unsold[pool])
    n_unsold = max(1, int(n * UNSOLD_FRACTION))
    most = n_pool if forced_mask is not None else min(n_pool, n_models * (n + n_unsold))
    forced_mask = np.empty(0, dtype=bool) if forced_mask is None else forced_mask
    means, spreads = np.empty((2, n_models, batch))
    excluded = histories.excluded(exclude_seen)
    step = max(1, min(batch, MAX_KEYS // (n_models * n_pool + 1)))
    all_keys = np.empty((step, n_models, n_pool), dtype=np.int64)
    all_unsold_keys = np.empty((step, n_models, len(unsold_places)), dtype=np.int64)
    for start in range(0, batch, step):
        keys, unsold_keys = all_keys[: batch - start], all_unsold_keys[: batch - start]
        _fill_keys(
            scores,
            vetoes,
            histories.items,
            histories.offsets,
            excluded,
            available,
            pool,
            n_items,
            unsold_places,
            start,
            keys,
            unsold_keys,
            means,
            spreads,
        )
        best = largest(keys, n)
        counts = np.zeros(len(keys), dtype=np.int64)
        places = np.empty(len(keys) * most, dtype=np.int64)
        items = np.empty(len(keys) * most, dtype=np.int32)
        found = _unite(
            best,
            largest(unsold_keys, n_unsold),
            pool,
            forced_mask,
            counts,
            places,
            items,
            proposed,
        )
        yield CandidateBatch(
            histories=histories,
            scores=scores,
            means=means,
            spreads=spreads,
            pool=pool,
            start=start,
            best=best,
            counts=counts,
            places=places[:found],
            items=items[:found],
        )


@compiled
def position(item, pool, n_items):  # type: ignore[no-untyped-def]
    """Return where ``item`` is in ``pool``, ascending codes below ``n_items``; -1: nowhere."""
    if len(pool) == n_items:
        return np.int64(item)
    place = np.searchsorted(pool, item)
    return place if place < len(pool) and pool[place] == item else -1


@compiled
def _fill_keys(  # type: ignore[no-untyped-def]
    scores,
    vetoes,
    history_items,
    offsets,
    excluded_events,
    available,
    pool,
    n_items,
    unsold_places,
    start,
    keys,
    unsold_keys,
    means,
    spreads,
):
    """Set the scores of excluded items to -inf, for the histories from ``start`` on; fill the keys
    by which the models' best are found, and the means and spreads of their scores."""
    batch, n_models, n_pool = keys.shape
    bits = scores.view(np.int32)
    excluded = np.empty(n_pool, np.bool_)
    lowest_of = np.empty(1, np.float32)
    bits_of_lowest = lowest_of.view(np.int32)
    for at in range(batch):
        row = start + at
        for place in range(n_pool):
            excluded[place] = not available[pool[place]]
        for event in range(offsets[row], offsets[row + 1]):
            if excluded_events[event]:
                place = position(history_items[event], pool, n_items)
                if place >= 0:
                    excluded[place] = True
        for model in range(n_models):
            if vetoes[model]:
                for place in range(n_pool):
                    excluded[place] |= scores[model, row, place] == -np.inf
        excluded_places = np.flatnonzero(excluded)
        for model in range(n_models):
            of_model, bits_of_model = scores[model, row], bits[model, row]
            for excluded_place in excluded_places:
                of_model[excluded_place] = -np.inf
            count, total, squares, least = _measure(of_model, bits_of_model)
            mean = total / max(count, 1)
            spread = np.sqrt(max(squares / max(count, 1) - mean * mean, 0.0))
            means[model, row], spreads[model, row] = mean, spread if spread > 1e-9 else 1.0
            own = keys[at, model]
            bits_of_lowest[0] = ascending(least)
            lowest = lowest_of[0]
            for place in range(n_pool):
                key = key_of(bits_of_model[place], place)
                own[place] = key if of_model[place] > lowest else LOWEST + place
            of_unsold, comparable = np.float32(np.inf), 0
            for place in unsold_places:
                if np.isfinite(of_model[place]):
                    of_unsold = min(of_unsold, of_model[place])
                    comparable += 1
            if comparable > 1:  # a single one is compared with all items
                lowest = of_unsold
            for number, place in enumerate(unsold_places):
                key = key_of(bits_of_model[place], place)
                unsold_keys[at, model, number] = key if of_model[place] > lowest else LOWEST + place


@compiled
def _unite(best, unsold_best, pool, forced_mask, counts, places, items, proposed):  # type: ignore[no-untyped-def]
    """Fill counts, places, items and add to ``proposed``; return how many candidates there are.

    best, unsold_best: ascending keys (histories, models, n).
    """
    batch, n_models, _ = best.shape
    n_pool = len(pool)
    candidate = np.zeros(n_pool, np.bool_)
    found = 0
    for at in range(batch):
        for model in range(n_models):
            for key in best[at, model]:
                if key >= FIRST_OF_SCORES:
                    candidate[place_of(key)] = True
                    proposed[model] += 1
            for key in unsold_best[at, model]:
                if key >= FIRST_OF_SCORES:
                    candidate[place_of(key)] = True
        if len(forced_mask):
            candidate[:] = forced_mask
        first = found
        for place in range(n_pool):
            if candidate[place]:
                places[found], items[found] = place, pool[place]
                candidate[place] = False
                found += 1
        counts[at] = found - first
    return found


@compiled
def _measure(scores, bits):  # type: ignore[no-untyped-def]
    """Return how many scores are finite, their sum, the sum of their squares, and the least of
    them, as ``ascending``. Branch-free and with integer comparisons, so that the compiler can
    vectorise the loop."""
    exponent, most = np.int32(0x7F800000), np.int32(0x7FFFFFFF)
    count, total, squares, lowest = 0, 0.0, 0.0, most
    for place in range(len(scores)):
        finite = (bits[place] & exponent) != exponent
        value = np.float64(scores[place]) if finite else 0.0
        count += finite
        total += value
        squares += value * value
        lowest = min(lowest, ascending(bits[place]) if finite else most)
    return count, total, squares, lowest
