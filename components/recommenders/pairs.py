"""What the hybrid's ranker looks at: which items the models propose, and what is known of each.

In: the models' scores of a batch of histories. Out: (history, item) pairs with features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.recommenders.compiled import compiled

RECENT_DAYS = (7, 28)
ITEM_STATISTICS = ("log_count", *(f"log_count_{days}d" for days in RECENT_DAYS), "age", "last_sale")
PAIR_FEATURES = ("log_price", "price_ratio", "category_affinity", "times_seen")
HISTORY_FEATURES = ("history_events", "history_items", "days_since_last", "days_known")


@dataclass(frozen=True)
class Pairs:
    """Candidates of a batch: pair p is item ``items[p]`` for the batch's row ``rows[p]``.

    rows: int64 (pairs,) ascending. items: int32 (pairs,), ascending within a row. features:
    float32 (pairs, features), each feature's values together in memory. proposed: int64 (models,),
    how many items each model proposed.
    """

    rows: np.ndarray
    items: np.ndarray
    features: np.ndarray
    proposed: np.ndarray


def joined(parts: list[Pairs], starts: list[int]) -> Pairs:
    """Return the pairs of consecutive pieces of a batch; piece i begins at row ``starts[i]``."""
    return Pairs(
        np.concatenate([part.rows + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.features.T for part in parts], axis=1).T,
        np.sum([part.proposed for part in parts], axis=0),
    )


def item_statistics(train: Interactions, n_items: int) -> np.ndarray:
    """Return float32 (items, len(ITEM_STATISTICS)): how much and how lately each was bought.

    Counts are of events, as log(1 + n). Age and time since the last sale are in days before the
    newest event, NaN for what was never sold.
    """
    end = int(train.times.max(initial=0))
    columns = [np.log1p(np.bincount(train.items, minlength=n_items))]
    for days in RECENT_DAYS:
        recent = train.items[train.times > end - days * DAY]
        columns.append(np.log1p(np.bincount(recent, minlength=n_items)))
    first = np.full(n_items, np.inf)
    last = np.full(n_items, -np.inf)
    np.minimum.at(first, train.items, train.times)
    np.maximum.at(last, train.items, train.times)
    for moment in (first, last):
        columns.append(np.where(np.isfinite(moment), (end - moment) / DAY, np.nan))
    return np.column_stack(columns).astype(np.float32)


@dataclass(frozen=True)
class ItemFacts:
    """What is known of each item beside the models' scores.

    statistics: float32 (items, len(ITEM_STATISTICS)). log_price: float32 (items,), NaN without a
    price. category: int64 (items,), below ``n_categories``. unsold: bool (items,).
    """

    statistics: np.ndarray
    log_price: np.ndarray
    category: np.ndarray
    n_categories: int
    unsold: np.ndarray

    @classmethod
    def of(cls, catalogue: Catalogue, statistics: np.ndarray) -> Self:
        """Return the facts of a catalogue; items without a category are taken for one of it."""
        price = catalogue.table["price"].to_numpy(dtype=np.float32, na_value=np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_price = np.log(np.where(price > 0, price, np.nan)).astype(np.float32)
        codes, names = pd.factorize(catalogue.table["main_category"])
        category = np.where(codes < 0, len(names), codes).astype(np.int64)
        return cls(statistics, log_price, category, len(names) + 1, statistics[:, 0] == 0)


def propose(
    scores: np.ndarray,
    forbids: np.ndarray,
    histories: Histories,
    facts: ItemFacts,
    n: int,
    exclude_seen: bool,
    available: np.ndarray | None = None,
    within: np.ndarray | None = None,
    given: np.ndarray | None = None,
) -> Pairs:
    """Return each history's candidates: what any model has among its ``n`` best.

    scores: float32 (models, batch, n_within), -inf for never. forbids: bool (models,): whose -inf
    holds for all models. exclude_seen: leave out the items of each history. available: bool
    (items,), None: all. within: int64 (n_within,), the items scored, ascending; None: all. given:
    bool (n_within,): these are the candidates, proposed or not.

    A model's lowest score is its word for nothing to say (as a neighbour model of an item without
    common buyers, or any model of an empty history) and proposes nothing. What was never sold can
    only be found by its text: it gets n / 5 places of its own with each model, or the sold items
    would always fill the list. Features: see ``_describe``.
    """
    n_models, batch, n_within = scores.shape
    n_items = len(facts.unsold)
    within = np.arange(n_items) if within is None else within.astype(np.int64)
    open_ = np.ones(n_items, dtype=bool) if available is None else available
    wanted = np.empty(0, dtype=bool) if given is None else given
    n_unsold = max(1, n // 5)
    most = n_within if given is not None else min(n_within, n_models * (n + n_unsold))
    n_features = 2 * n_models + len(ITEM_STATISTICS) + len(PAIR_FEATURES) + len(HISTORY_FEATURES)
    rows = np.empty(batch * most, dtype=np.int64)
    items = np.empty(batch * most, dtype=np.int32)
    features = np.empty((n_features, batch * most), dtype=np.float32)
    proposed = np.zeros(n_models, dtype=np.int64)
    found = _propose(
        scores,
        forbids,
        *(histories.items, histories.times, histories.offsets, histories.now),
        *(facts.statistics, facts.log_price, facts.category, facts.n_categories, facts.unsold),
        *(n, n_unsold, exclude_seen, open_, within, wanted),
        *(rows, items, features, proposed),
    )
    return Pairs(rows[:found], items[:found], features[:, :found].T, proposed)


@compiled
def _propose(  # type: ignore[no-untyped-def]
    scores,
    forbids,
    history_items,
    history_times,
    offsets,
    now,
    statistics,
    log_price,
    category,
    n_categories,
    unsold,
    n,
    n_unsold,
    exclude_seen,
    available,
    within,
    given,
    rows,
    items,
    features,
    proposed,
):
    """Fill ``rows``, ``items``, ``features`` and ``proposed``; return how many pairs there are."""
    n_models, batch, n_within = scores.shape
    n_items = len(unsold)
    bits = scores.view(np.int32)
    refused = np.empty(n_within, np.bool_)
    candidate = np.empty(n_within, np.bool_)
    best = np.empty((n_models, max(n, 1)), np.int64)
    n_best = np.empty(n_models, np.int64)
    means, spreads = np.empty(n_models), np.empty(n_models)
    unsold_best = np.empty(n_unsold, np.int64)
    number = np.full(n_within, -1, np.int64)  # of a candidate's pair
    places = np.empty(n_within, np.int64)  # of the candidates
    times_seen = np.zeros(n_within, np.int64)
    in_category = np.zeros(n_categories, np.int64)
    everywhere = np.arange(n_within)
    unsold_places = np.flatnonzero(unsold[within])
    found = 0
    for row in range(batch):
        start, stop = offsets[row], offsets[row + 1]
        for place in range(n_within):
            refused[place] = not available[within[place]]
            candidate[place] = False
        for event in range(start, stop):
            place = _place_of(history_items[event], within, n_items)
            if place >= 0:
                times_seen[place] += 1
                if exclude_seen:
                    refused[place] = True
        for model in range(n_models):
            if forbids[model]:
                for place in range(n_within):
                    if scores[model, row, place] == -np.inf:
                        refused[place] = True
        refused_places = np.flatnonzero(refused)
        for model in range(n_models):
            of_model, bits_of_model = scores[model, row], bits[model, row]
            for place in refused_places:
                of_model[place] = -np.inf
            count, total, squares, lowest = _measure(of_model)
            mean = total / max(count, 1)
            spread = np.sqrt(max(squares / max(count, 1) - mean * mean, 0.0))
            means[model], spreads[model] = mean, spread if spread > 1e-9 else 1.0
            n_best[model] = _select(of_model, bits_of_model, everywhere, lowest, n, best[model])
            proposed[model] += n_best[model]
            for at in range(n_best[model]):
                candidate[_place(best[model, at])] = True
            lowest = np.float32(np.inf)
            for place in unsold_places:
                if np.isfinite(of_model[place]):
                    lowest = min(lowest, of_model[place])
            n_found = _select(of_model, bits_of_model, unsold_places, lowest, n_unsold, unsold_best)
            for at in range(n_found):
                candidate[_place(unsold_best[at])] = True
        if len(given):
            candidate[:] = given
        first = found
        for place in range(n_within):
            if candidate[place]:
                places[found - first], number[place] = place, found
                rows[found], items[found] = row, within[place]
                found += 1
        if found > first:
            _describe(
                *(scores[:, row], within, means, spreads, best, n_best),
                *(history_items[start:stop], history_times[start:stop], now[row], times_seen),
                *(statistics, log_price, category, in_category),
                *(places[: found - first], number, first, items[first:found]),
                features[:, first:found],
            )
        for event in range(start, stop):
            place = _place_of(history_items[event], within, n_items)
            if place >= 0:
                times_seen[place] = 0
        for place in places[: found - first]:
            number[place] = -1
    return found


@compiled
def _describe(  # type: ignore[no-untyped-def]
    scores,
    within,
    means,
    spreads,
    best,
    n_best,
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

    Of each model the score, standardised within the history (models score in units of their own;
    within a row only the order and the gaps mean something; NaN: never), and 1 / (1 + rank), 0 for
    what it did not propose. Then ITEM_STATISTICS, PAIR_FEATURES and HISTORY_FEATURES.
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
        keys = np.sort(best[model, : n_best[model]])
        for rank in range(len(keys)):
            at = number[_place(keys[len(keys) - 1 - rank])] - first
            if at >= 0:  # all, unless the items are given
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


@compiled
def _place_of(item, within, n_items):  # type: ignore[no-untyped-def]
    """Return where ``item`` is in ``within``, ascending codes below ``n_items``; -1: nowhere."""
    if len(within) == n_items:
        return np.int64(item)
    place = np.searchsorted(within, item)
    return place if place < len(within) and within[place] == item else -1


@compiled
def _key(bits, place):  # type: ignore[no-untyped-def]
    """Return int64 that orders as (score, -place) does. bits: a float32 score's, as int32."""
    ascending = bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))  # floats: sign and size
    return (np.int64(ascending) << 32) | (np.int64(0xFFFFFFFF) - place)


@compiled
def _place(key):  # type: ignore[no-untyped-def]
    """Return the place of a key."""
    return np.int64(0xFFFFFFFF) - (key & np.int64(0xFFFFFFFF))


@compiled
def _measure(scores):  # type: ignore[no-untyped-def]
    """Return how many scores are finite, their sum, the sum of their squares, and the least."""
    count, total, squares, lowest = 0, 0.0, 0.0, np.float32(np.inf)
    for score in scores:
        if np.isfinite(score):
            count += 1
            total += score
            squares += np.float64(score) * score
            lowest = min(lowest, score)
    return count, total, squares, lowest


@compiled
def _select(scores, bits, places, lowest, most, heap):  # type: ignore[no-untyped-def]
    """Fill ``heap`` with the keys of the at most ``most`` best of ``places`` above ``lowest``.

    Return how many there are. The least is in front of the heap, the rest in its order.
    """
    size, floor = 0, lowest
    for place in places:
        if not scores[place] > floor:
            continue
        key = _key(bits[place], place)
        if size < most:
            at = size
            while at > 0 and heap[(at - 1) // 2] > key:
                heap[at] = heap[(at - 1) // 2]
                at = (at - 1) // 2
            size += 1
        else:
            at = 0
            while 2 * at + 1 < size:
                child = 2 * at + 1
                if child + 1 < size and heap[child + 1] < heap[child]:
                    child += 1
                if heap[child] >= key:
                    break
                heap[at] = heap[child]
                at = child
        heap[at] = key
        if size == most:  # of equal scores the first place stays
            floor = scores[_place(heap[0])]
    return size
