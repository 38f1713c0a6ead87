"""Each surface judged by its own outcome, against the list that the shop would show without it.

In: the prepared tables, statistics and a model of the data before the test window. Out: one row for
each way to fill a surface. Nothing of a window is known to what is judged on it.

- ``basket``: one product of a basket of the test window is held out; is it among the ten that
  complete the rest? All customers' baskets, at most ``MOST`` drawn at random.
- ``buy_again``: customers who buy a product again in the test window; which of the products they
  had before are those? Of ten, in a list of their own products only.
- ``trending``: the ten products shown on each of ``CUTS`` days, a week apart, by statistics of
  before; how many customers buy each in the seven days after, and how many times those that would
  at its pace of the four weeks before?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from components.arrays import DoubleArray, Int64Array, IntArray
from components.data.dataset import DAY, Histories, Interactions, Prepared
from components.data.schema import EVENTS
from components.evaluation.protocol import interval, paired_p_value
from components.recommenders.base import Recommender
from components.recommenders.kernels.repeats import repeats
from components.recommenders.shelves.pairs import baskets_of
from components.recommenders.shelves.statistics import ShelfStatistics
from components.recommenders.shelves.trends import BEFORE_DAYS, RECENT_DAYS, Trends

K = 10
MOST = 500
"""Baskets, and customers, that are judged; the model ranks for each of them alone."""
BEFORE_BASKET = 10
"""Events of the customer before the basket that the model sees, as on a basket page."""
CUTS = 20


@dataclass(frozen=True)
class Outcome:
    """How one way to fill a surface did.

    surface, way: their names. measure: what ``mean`` is of, with its interval of 95 %. cases: how
    many baskets, customers or days. p_value: of the difference to the first way of the surface, by
    Fisher's randomisation test; None of that one.
    """

    surface: str
    way: str
    measure: str
    cases: int
    mean: float
    low: float
    high: float
    p_value: float | None


def evaluate_surfaces(
    prepared: Prepared,
    statistics: ShelfStatistics,
    plain: Recommender,
    samples: int,
    seed: int,
    buy_again: Mapping[str, Recommender] = MappingProxyType({}),
) -> list[Outcome]:
    """Return the outcomes; the first way of each surface is the one without it.

    statistics, plain, buy_again: of the data before the test window. samples: of the bootstrap.
    buy_again: by name, further models that order the products of ``buy_again``.
    """
    random = np.random.default_rng(seed)
    found: list[Outcome] = []
    sold, growth = _trends(prepared)
    for surface, measure, each in (
        ("basket", f"recall@{K}", _baskets(prepared, statistics, plain, random)),
        ("buy_again", f"recall@{K}", _repeats(prepared, statistics, plain, random, buy_again)),
        ("trending", "buyers of a product in 7 days", sold),
        ("trending", "buyers, times those at the pace before", growth),
    ):
        first = next(iter(each.values()))
        for way, values in each.items():
            if not len(values):
                continue
            low, high = interval(values, samples, seed)
            p_value = None if values is first else paired_p_value(values, first)
            mean = float(values.mean())
            found.append(Outcome(surface, way, measure, len(values), mean, low, high, p_value))
    return found


def _baskets(
    prepared: Prepared,
    statistics: ShelfStatistics,
    plain: Recommender,
    random: np.random.Generator,
) -> dict[str, DoubleArray]:
    """Return whether each held-out product was found, by way."""
    x, n_items = prepared.interactions, prepared.interactions.n_items
    inside = x.where((x.times >= prepared.test_start) & (x.events == EVENTS.index("purchase")))
    known = statistics.pairs.baskets > 0
    bought = inside.where(known[inside.items]).counted()
    matrix, starts = baskets_of(bought)
    rows = random.permutation(np.flatnonzero(np.diff(matrix.indptr) > 1))[:MOST]
    by_sales = np.argsort(-np.diff(x.where(x.times < prepared.test_start).matrix().tocsc().indptr))
    hits: dict[str, list[float]] = {name: [] for name in ("ranked list", "popular", "together")}
    for row in rows.tolist():
        basket = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
        held = int(random.choice(basket))
        rest = basket[basket != held].astype(np.int32)
        user, moment = int(bought.users[starts[row]]), int(bought.times[starts[row]])
        available = np.ones(n_items, dtype=bool)
        available[rest] = False
        seen = x.histories(np.array([user]), moment // DAY * DAY).last(BEFORE_BASKET)
        history = _followed_by(seen, rest, moment)
        lists: dict[str, IntArray] = {
            "ranked list": plain.recommend(history, K, False, available)[0][0],
            "popular": by_sales[available[by_sales]][:K],
            "together": statistics.pairs.completing(rest).items[:K],
        }
        for way, items in lists.items():
            hits[way].append(float(held in items))
    return {way: np.array(values) for way, values in hits.items()}


def _followed_by(history: Histories, items: IntArray, now: int) -> Histories:
    """Return one history, then the items of a basket."""
    both = np.concatenate([history.items, items]).astype(np.int32)
    times = np.concatenate([history.times, np.full(len(items), now)])
    return Histories(both, times, np.array([0, len(both)]), np.array([now], dtype=np.int64))


def _repeats(
    prepared: Prepared,
    statistics: ShelfStatistics,
    plain: Recommender,
    random: np.random.Generator,
    models: Mapping[str, Recommender],
) -> dict[str, DoubleArray]:
    """Return the share of the products bought again that each customer's list has, by way."""
    x, start = prepared.interactions, prepared.test_start
    later = x.where(x.times >= start).successes()
    users = np.unique(later.users)
    earlier = x.histories(users, start)
    had, wanted = earlier.seen(x.n_items), later.matrix()[users].sign()
    again = had.multiply(wanted).tocsr()
    # With ten products or fewer each order finds all.
    rows = np.flatnonzero((np.diff(again.indptr) > 0) & (np.diff(had.indptr) > K))
    rows = random.permutation(rows)[:MOST]
    ways: dict[str, list[float]] = {
        name: [] for name in ("ranked list", "bought most often", "bought last", "due", *models)
    }
    for row in rows.tolist():
        history = earlier.pick(np.array([row]))
        found = repeats(history)
        own = np.zeros(x.n_items, dtype=bool)
        own[found.items] = True
        due = statistics.intervals.due(history)
        lists: dict[str, IntArray] = {
            "ranked list": plain.recommend(history, K, False, own)[0][0],
            "bought most often": found.items[np.lexsort((found.last, -found.counts))][:K],
            "bought last": found.items[np.argsort(found.last, kind="stable")][:K],
            "due": due.items[np.argsort(-due.score, kind="stable")][:K],
            **{name: one.recommend(history, K, False, own)[0][0] for name, one in models.items()},
        }
        targets = again.indices[again.indptr[row] : again.indptr[row + 1]]
        for way, items in lists.items():
            share = np.isin(targets, items).sum() / min(K, len(targets))
            ways[way].append(float(share))
    return {way: np.array(values) for way, values in ways.items()}


def _trends(prepared: Prepared) -> tuple[dict[str, DoubleArray], dict[str, DoubleArray]]:
    """Return the mean buyers of a listed product in the week after each cut, and the buyers of all
    listed ones through those at their pace before, by way.

    Cuts without a rising product are left out; the other ways show as many products.
    """
    x = prepared.interactions
    end = int(x.times.max(initial=0)) + 1
    names = ("popular", "popular of all time", "rising")
    sold: dict[str, list[float]] = {name: [] for name in names}
    growth: dict[str, list[float]] = {name: [] for name in names}
    for cut in (end - back * 7 * DAY for back in range(CUTS, 0, -1)):
        past = x.where(x.times < cut)
        if not len(past) or cut - int(x.times.min()) < (RECENT_DAYS + BEFORE_DAYS) * DAY:
            continue
        rising = Trends.of(past).rising(np.ones(x.n_items, dtype=bool)).items[:K]
        if not len(rising):
            continue
        week = cut - RECENT_DAYS * DAY
        after = _buyers(x.where((x.times >= cut) & (x.times < cut + 7 * DAY)))
        recent = _buyers(past.where(past.times >= week))
        earlier = past.where((past.times < week) & (past.times >= week - BEFORE_DAYS * DAY))
        pace = _buyers(earlier) * (7 / BEFORE_DAYS)
        lists: dict[str, IntArray] = {
            "popular": np.argsort(-recent, kind="stable")[: len(rising)],
            "popular of all time": np.argsort(-_buyers(past), kind="stable")[: len(rising)],
            "rising": rising,
        }
        for way, items in lists.items():
            sold[way].append(float(after[items].mean()))
            growth[way].append(float(after[items].sum() / max(pace[items].sum(), 0.25)))
    return (
        {way: np.array(values) for way, values in sold.items()},
        {way: np.array(values) for way, values in growth.items()},
    )


def _buyers(events: Interactions) -> Int64Array:
    """Return int64 (items,): customers with a success on each product."""
    pairs = events.counted().successes().matrix().sign()
    found: Int64Array = np.asarray(pairs.sum(axis=0)).ravel().astype(np.int64)
    return found
