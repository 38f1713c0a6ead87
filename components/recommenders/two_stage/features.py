"""What the hybrid's ranker looks at: which items the models propose, and what is known of each.

In: the models' scores of a batch of histories. Out: (history, item) pairs with features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.recommenders.kernels.jit import compiled

RECENT_DAYS = (7, 28)
ITEM_STATISTICS = ("log_count", *(f"log_count_{days}d" for days in RECENT_DAYS), "age", "last_sale")
PAIR_FEATURES = ("log_price", "price_ratio", "category_affinity", "times_seen")
HISTORY_FEATURES = ("history_events", "history_items", "days_since_last", "days_known")

NOTHING = np.iinfo(np.int64).min
PROPOSED = NOTHING + 2**32
"""Keys from here on are of scores. What is not proposed has NOTHING + its place: a partition takes
three times as long where many keys are equal."""

KEYS = 400_000
"""How many keys are held at once: they should lie in the processor's cache."""


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
    unsold_places = np.flatnonzero(facts.unsold[within])
    n_unsold = max(1, n // 5)
    most = n_within if given is not None else min(n_within, n_models * (n + n_unsold))
    n_features = 2 * n_models + len(ITEM_STATISTICS) + len(PAIR_FEATURES) + len(HISTORY_FEATURES)
    rows = np.empty(batch * most, dtype=np.int64)
    items = np.empty(batch * most, dtype=np.int32)
    features = np.empty((n_features, batch * most), dtype=np.float32)
    proposed = np.zeros(n_models, dtype=np.int64)
    means, spreads = np.empty((2, n_models, batch))
    of_histories = (histories.items, histories.times, histories.offsets, histories.now)
    found, step = 0, max(1, min(batch, KEYS // (n_models * n_within + 1)))
    all_keys = np.empty((step, n_models, n_within), dtype=np.int64)
    all_unsold_keys = np.empty((step, n_models, len(unsold_places)), dtype=np.int64)
    for start in range(0, batch, step):
        keys, unsold_keys = all_keys[: batch - start], all_unsold_keys[: batch - start]
        _prepare(
            *(scores, forbids, histories.items, histories.offsets, exclude_seen, open_, within),
            *(n_items, unsold_places, start, keys, unsold_keys, means, spreads),
        )
        found = _join(
            *(scores, means, spreads, _largest(keys, n), _largest(unsold_keys, n_unsold)),
            *(*of_histories, facts.statistics, facts.log_price, facts.category),
            *(facts.n_categories, n_items, within, wanted, start, found),
            *(rows, items, features, proposed),
        )
    return Pairs(rows[:found], items[:found], features[:, :found].T, proposed)


def _largest(keys: np.ndarray, n: int) -> np.ndarray:
    """Return the (at most) n largest of the last axis, ascending; ``keys`` are shuffled."""
    if keys.shape[-1] > n:
        keys.partition(keys.shape[-1] - n, axis=-1)
    return np.sort(keys[..., max(0, keys.shape[-1] - n) :], axis=-1)


@compiled
def _prepare(  # type: ignore[no-untyped-def]
    scores,
    forbids,
    history_items,
    offsets,
    exclude_seen,
    available,
    within,
    n_items,
    unsold_places,
    start,
    keys,
    unsold_keys,
    means,
    spreads,
):
    """Set to -inf the scores of what is refused to the histories from ``start`` on, and fill the
    keys by which the models' best are found, the means and the spreads of their scores."""
    batch, n_models, n_within = keys.shape
    bits = scores.view(np.int32)
    refused = np.empty(n_within, np.bool_)
    lowest_of = np.empty(1, np.float32)
    bits_of_lowest = lowest_of.view(np.int32)
    for at in range(batch):
        row = start + at
        for place in range(n_within):
            refused[place] = not available[within[place]]
        if exclude_seen:
            for event in range(offsets[row], offsets[row + 1]):
                place = _place_of(history_items[event], within, n_items)
                if place >= 0:
                    refused[place] = True
        for model in range(n_models):
            if forbids[model]:
                for place in range(n_within):
                    refused[place] |= scores[model, row, place] == -np.inf
        refused_places = np.flatnonzero(refused)
        for model in range(n_models):
            of_model, bits_of_model = scores[model, row], bits[model, row]
            for place in refused_places:
                of_model[place] = -np.inf
            count, total, squares, least = _measure(of_model, bits_of_model)
            mean = total / max(count, 1)
            spread = np.sqrt(max(squares / max(count, 1) - mean * mean, 0.0))
            means[model, row], spreads[model, row] = mean, spread if spread > 1e-9 else 1.0
            own = keys[at, model]
            bits_of_lowest[0] = _ascending(least)
            lowest = lowest_of[0]
            for place in range(n_within):
                key = _key(bits_of_model[place], place)
                own[place] = key if of_model[place] > lowest else NOTHING + place
            of_unsold, comparable = np.float32(np.inf), 0
            for place in unsold_places:
                if np.isfinite(of_model[place]):
                    of_unsold = min(of_unsold, of_model[place])
                    comparable += 1
            if comparable > 1:  # one alone is compared with all
                lowest = of_unsold
            for number, place in enumerate(unsold_places):
                key = _key(bits_of_model[place], place)
                unsold_keys[at, model, number] = (
                    key if of_model[place] > lowest else NOTHING + place
                )


@compiled
def _join(  # type: ignore[no-untyped-def]
    scores,
    means,
    spreads,
    best,
    unsold_best,
    history_items,
    history_times,
    offsets,
    now,
    statistics,
    log_price,
    category,
    n_categories,
    n_items,
    within,
    given,
    start_row,
    found,
    rows,
    items,
    features,
    proposed,
):
    """Fill ``rows``, ``items``, ``features`` from pair ``found`` on, and ``proposed``; return how
    many pairs there are now. best, unsold_best: ascending keys (histories, models, n)."""
    batch, n_models, _ = best.shape
    n_within = len(within)
    candidate = np.zeros(n_within, np.bool_)
    number = np.full(n_within, -1, np.int64)  # of a candidate's pair
    places = np.empty(n_within, np.int64)  # of the candidates
    times_seen = np.zeros(n_within, np.int64)
    in_category = np.zeros(n_categories, np.int64)
    for at in range(batch):
        row = start_row + at
        start, stop = offsets[row], offsets[row + 1]
        for event in range(start, stop):
            place = _place_of(history_items[event], within, n_items)
            if place >= 0:
                times_seen[place] += 1
        for model in range(n_models):
            for key in best[at, model]:
                if key >= PROPOSED:
                    candidate[_place(key)] = True
                    proposed[model] += 1
            for key in unsold_best[at, model]:
                if key >= PROPOSED:
                    candidate[_place(key)] = True
        if len(given):
            candidate[:] = given
        first = found
        for place in range(n_within):
            if candidate[place]:
                places[found - first], number[place] = place, found
                rows[found], items[found] = row, within[place]
                candidate[place] = False
                found += 1
        if found > first:
            _describe(
                *(scores[:, row], means[:, row], spreads[:, row], best[at]),
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
        for rank in range(best.shape[1]):
            key = best[model, best.shape[1] - 1 - rank]
            if key < PROPOSED:
                break
            at = number[_place(key)] - first
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
def _ascending(bits):  # type: ignore[no-untyped-def]
    """Return int32 that orders as float32 do, of their bits (int32), and bits of such numbers."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))  # sign and size


@compiled
def _key(bits, place):  # type: ignore[no-untyped-def]
    """Return int64 that orders as (score, -place) does. bits: a float32 score's, as int32."""
    return (np.int64(_ascending(bits)) << 32) | (np.int64(0xFFFFFFFF) - place)


@compiled
def _place(key):  # type: ignore[no-untyped-def]
    """Return the place of a key."""
    return np.int64(0xFFFFFFFF) - (key & np.int64(0xFFFFFFFF))


@compiled
def _measure(scores, bits):  # type: ignore[no-untyped-def]
    """Return how many scores are finite, their sum, the sum of their squares, and the least of
    them, as ``_ascending``. Without a branch and the least as a whole number, or the compiler would
    take one at a time."""
    exponent, most = np.int32(0x7F800000), np.int32(0x7FFFFFFF)
    count, total, squares, lowest = 0, 0.0, 0.0, most
    for place in range(len(scores)):
        finite = (bits[place] & exponent) != exponent
        value = np.float64(scores[place]) if finite else 0.0
        count += finite
        total += value
        squares += value * value
        lowest = min(lowest, _ascending(bits[place]) if finite else most)
    return count, total, squares, lowest
