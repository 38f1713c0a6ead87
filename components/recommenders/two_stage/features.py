"""Features of candidates: what the ranker sees of each (history, item) pair.

In: ``CandidateBatch`` of the candidate generator and facts of the items. Out: ``Pairs`` with the
models' scores and ranks, statistics of the item, and what relates it to the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from components.arrays import FloatArray, Int32Array, Int64Array
from components.data.dataset import DAY, Catalogue, Interactions
from components.recommenders.kernels.jit import compiled
from components.recommenders.kernels.sort_keys import FIRST_OF_SCORES, place_of
from components.recommenders.two_stage.attribute_features import AttributeFeatures
from components.recommenders.two_stage.candidates import CandidateBatch, position
from components.recommenders.two_stage.repeat_features import RepeatFeatures

RECENT_DAYS = (7, 28)
ITEM_STATISTICS = ("log_count", *(f"log_count_{days}d" for days in RECENT_DAYS), "age", "last_sale")
PAIR_FEATURES = ("log_price", "price_ratio", "category_affinity", "times_seen")
HISTORY_FEATURES = ("history_events", "history_items", "days_since_last", "days_known")


def feature_names(models: Iterable[str], more: Iterable[str] = ()) -> list[str]:
    """Return the names of the features, in the order of their columns.

    more: ``FeatureBuilder.more_names``.
    """
    of_models = [f"{name}_{kind}" for name in models for kind in ("score", "rank")]
    return [*of_models, *ITEM_STATISTICS, *PAIR_FEATURES, *HISTORY_FEATURES, *more]


@dataclass(frozen=True)
class Pairs:
    """Candidates of a batch: pair p is item ``items[p]`` for the batch's row ``rows[p]``.

    rows: int64 (pairs,) ascending. items: int32 (pairs,), ascending within a row. features:
    float32 (pairs, features), each feature's values contiguous in memory.
    """

    rows: Int64Array
    items: Int32Array
    features: FloatArray


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Return the pairs of consecutive pieces of a batch."""
    return Pairs(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.features.T for part in parts], axis=1).T,
    )


def item_statistics(train: Interactions, n_items: int) -> FloatArray:
    """Return float32 (items, len(ITEM_STATISTICS)): sales of each item, all and recent.

    Counts are of events, by their weights where they have some, as log(1 + n). Age and time since
    the last sale are in days before the newest event, NaN for unsold items.
    """
    end = int(train.times.max(initial=0))
    columns = []
    for since in (-np.inf, *(end - days * DAY for days in RECENT_DAYS)):
        recent = train.times > since
        weights = None if train.evidence is None else train.evidence[recent]
        columns.append(np.log1p(np.bincount(train.items[recent], weights, n_items)))
    first = np.full(n_items, np.inf)
    last = np.full(n_items, -np.inf)
    wanted = replace(train, weights=None).counted()  # a sale is one, however little it weighs
    np.minimum.at(first, wanted.items, wanted.times)
    np.maximum.at(last, wanted.items, wanted.times)
    for moment in (first, last):
        columns.append(np.where(np.isfinite(moment), (end - moment) / DAY, np.nan))
    return np.column_stack(columns).astype(np.float32)


@dataclass(frozen=True)
class ItemFacts:
    """What the features need of each item.

    statistics: float32 (items, len(ITEM_STATISTICS)). log_price: float32 (items,), NaN without a
    price. category: int32 (items,), below ``n_categories``.
    """

    statistics: FloatArray
    log_price: FloatArray
    category: Int32Array
    n_categories: int

    @classmethod
    def of(cls, catalogue: Catalogue, statistics: FloatArray) -> Self:
        """Return the facts of a catalogue; items without a category share one of their own."""
        price = catalogue.table["price"].to_numpy(dtype=np.float32, na_value=np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_price = np.log(np.where(price > 0, price, np.nan)).astype(np.float32)
        codes, names = pd.factorize(catalogue.table["main_category"])
        category = np.where(codes < 0, len(names), codes).astype(np.int32)
        # Of a loaded model they are read-only. numba compiles for each kind of array: for one here.
        statistics = statistics.view()
        statistics.flags.writeable = False
        return cls(statistics, log_price, category, len(names) + 1)


class FeatureBuilder:
    """Computes the features of candidates; names: ``feature_names``.

    attributes: of declared attributes. repeats: of repeat purchases, none without a candidate that
    knows of them.
    """

    def __init__(
        self,
        facts: ItemFacts,
        attributes: AttributeFeatures,
        repeats: RepeatFeatures | None = None,
    ) -> None:
        self.facts = facts
        self.more: list[AttributeFeatures | RepeatFeatures]
        self.more = [attributes, repeats or RepeatFeatures()]
        self.more_names = [name for one in self.more for name in one.names]

    def pairs(self, batches: Iterable[tuple[int, CandidateBatch]]) -> Pairs:
        """Return the candidates with their features.

        batches: pieces with their offsets, as ``CandidateGenerator.generate`` yields them.
        """
        parts = [self._describe(offset, piece) for offset, piece in batches]
        if not parts:  # no history
            nothing = np.empty(0, dtype=np.int64)
            return Pairs(nothing, nothing.astype(np.int32), np.empty((0, 0), dtype=np.float32))
        return parts[0] if len(parts) == 1 else joined(parts)

    def _describe(self, offset: int, piece: CandidateBatch) -> Pairs:
        facts, histories, n_models = self.facts, piece.histories.liked, len(piece.scores)
        n_features = (
            2 * n_models + len(ITEM_STATISTICS) + len(PAIR_FEATURES) + len(HISTORY_FEATURES)
        )
        n_all = n_features + len(self.more_names)
        features = np.empty((n_all, len(piece.items)), dtype=np.float32)
        _describe_histories(
            *(piece.scores, piece.means, piece.spreads, piece.best),
            *(histories.items, histories.times, histories.offsets, histories.now),
            *(facts.statistics, facts.log_price, facts.category, facts.n_categories),
            *(piece.pool, piece.start, piece.counts, piece.places, piece.items),
            features[:n_features],
        )
        rows = np.repeat(np.arange(len(piece.counts)), piece.counts)
        if self.more_names:
            described = histories.take(slice(piece.start, piece.start + len(piece.counts)))
            parts = [one.describe(described, rows, piece.items) for one in self.more if one.names]
            features[n_features:] = np.concatenate(parts)
        return Pairs(rows + offset + piece.start, piece.items, features.T)


@compiled
def _describe_histories(  # type: ignore[no-untyped-def]
    scores,
    means,
    spreads,
    best,
    history_items,
    history_times,
    offsets,
    now,
    statistics,
    log_price,
    category,
    n_categories,
    pool,
    start_row,
    counts,
    places,
    items,
    features,
):
    """Fill ``features`` of the candidates of the histories from ``start_row`` on."""
    n_pool, n_items = len(pool), len(statistics)
    number = np.full(n_pool, -1, np.int64)  # of a candidate's pair
    times_seen = np.zeros(n_pool, np.int64)
    in_category = np.zeros(n_categories, np.int64)
    first = 0
    for at in range(len(counts)):
        row, last = start_row + at, first + counts[at]
        start, stop = offsets[row], offsets[row + 1]
        if last > first:
            for event in range(start, stop):
                place = position(history_items[event], pool, n_items)
                if place >= 0:
                    times_seen[place] += 1
            for pair in range(first, last):
                number[places[pair]] = pair
            _describe(
                *(scores[:, row], means[:, row], spreads[:, row], best[at]),
                *(history_items[start:stop], history_times[start:stop], now[row], times_seen),
                *(statistics, log_price, category, in_category),
                *(places[first:last], number, first, items[first:last]),
                features[:, first:last],
            )
            for event in range(start, stop):
                place = position(history_items[event], pool, n_items)
                if place >= 0:
                    times_seen[place] = 0
            for pair in range(first, last):
                number[places[pair]] = -1
        first = last


@compiled
def _describe(  # type: ignore[no-untyped-def]
    scores,
    means,
    spreads,
    best,
    history_items,
    history_times,
    now,
    times_seen,
    statistics,
    log_price,
    category,
    in_category,
    places,
    number,
    first,
    items,
    features,
):
    """Fill the features of one history's pairs, the first of which has the number ``first``.

    Of each model the score, standardised within the history (NaN: excluded), and 1 / (1 + rank), 0
    for items that it did not propose. Then ITEM_STATISTICS, PAIR_FEATURES and HISTORY_FEATURES.
    """
    n_models, n_events = len(scores), len(history_items)
    known, total = 0, 0.0
    for event in range(n_events):
        in_category[category[history_items[event]]] += 1
        price = log_price[history_items[event]]
        if not np.isnan(price):
            known += 1
            total += price
    usual = np.float32(total / known) if known else np.float32(np.nan)
    own = np.sort(history_items)
    distinct = min(n_events, 1)
    for event in range(1, n_events):
        distinct += own[event] != own[event - 1]
    of_history = (
        np.log1p(np.float32(n_events)),
        np.log1p(np.float32(distinct)),
        np.float32((now - history_times[-1]) / DAY) if n_events else np.float32(np.nan),
        np.float32((now - history_times[0]) / DAY) if n_events else np.float32(np.nan),
    )
    n_statistics = statistics.shape[1]
    after = 2 * n_models + n_statistics
    for model in range(n_models):
        for at, place in enumerate(places):
            score = scores[model, place]
            z = (score - means[model]) / spreads[model]
            features[2 * model, at] = z if np.isfinite(score) else np.nan
        features[2 * model + 1] = 0.0
        for rank in range(best.shape[1]):
            key = best[model, best.shape[1] - 1 - rank]
            if key < FIRST_OF_SCORES:
                break
            at = number[place_of(key)] - first
            if at >= 0:  # all, unless candidates are forced
                features[2 * model + 1, at] = 1.0 / (1.0 + rank)
    for at, item in enumerate(items):
        for column in range(n_statistics):
            features[2 * n_models + column, at] = statistics[item, column]
        features[after, at] = log_price[item]
        features[after + 1, at] = log_price[item] - usual
        features[after + 2, at] = in_category[category[item]] / max(n_events, 1)
        features[after + 3, at] = times_seen[places[at]]
    for column in range(len(of_history)):
        features[after + 4 + column] = of_history[column]
    for event in range(n_events):
        in_category[category[history_items[event]]] = 0
