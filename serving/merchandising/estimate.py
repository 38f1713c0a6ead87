"""What a change of merchandising rules costs in NDCG and brings in margin, before it is in force.

In: a model with its users' histories, the event store, and rulebooks to compare. Out: an
``Estimates``, or in words why the data support none.

The price in NDCG is measured on purchases that the model was not fitted on: of each shopper who
bought after the model's training data, the list at the moment before, with and without the change.
The gain is estimated off-policy from the logged lists and the purchases that followed them
(``components.evaluation.off_policy``), the self-normalised estimator with the doubly robust one to
compare. A list's context is its shopper's history of that moment; filters of the request are not
logged and are taken as none. Both take the rules in force now as *before*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray

from components.arrays import BoolArray, DoubleArray, IntArray
from components.data.impressions import Log
from components.data.schema import BATCH, EVENTS, SESSION, SHOP
from components.evaluation.logged_lists import folds, rates
from components.evaluation.off_policy import (
    Estimate,
    Z,
    doubly_robust_gain,
    snips_gain,
    support,
)
from components.settings import Settings
from serving.events.database import Database
from serving.events.tables import EVENTS as EVENT_ROWS
from serving.events.tables import IMPRESSIONS, SECOND
from serving.filters.conditions import both
from serving.merchandising.rulebook import Rulebook
from serving.profiles.history import NO_CODES, Codes, History
from serving.profiles.profiles import BaseProfiles, Profiles
from serving.recommend.coding import coded
from serving.recommend.exploration import drawn_scores
from serving.recommend.pipeline import Pipeline
from serving.recommend.query import RecommendRequest
from serving.recommend.types import RankedList, Request, Shopper

FEWEST_SHOPPERS = 30
"""Shoppers below whom a mean difference in NDCG has no usable interval."""
MOST_EVENTS = 50_000
"""Purchases that are read."""
ROWS_PER_READ = 500
ON_PAGES = ("similar", "goes_with", "together")
"""Sources whose lists depend on what the page shows, which impressions do not have."""
NOT_RANKED = (BATCH, "rerank", "conversation", "holdout", "none")
"""Sources of impressions that were not ranked on a page for their shopper."""
SEED = 0


@dataclass(frozen=True)
class Change:
    """A mean difference with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain:
    """What the lists earn more than before, for each list. gain: SNIPS. doubly_robust: the same by
    the other estimator. Both None where the log supports no estimate; reason: why, or on how many
    effective lists it rests."""

    gain: Change | None
    doubly_robust: Change | None
    effective: float
    support: float
    reason: str


@dataclass(frozen=True)
class Outcome:
    """One rulebook compared with the first. ndcg: of its lists; None: too few shoppers. price: its
    change in NDCG. shown: mean of the attribute over the products of its lists. value: gain in the
    attribute of the products that were bought; purchases: in products bought."""

    ndcg: float | None
    price: Change | None
    shown: float | None
    value: Gain
    purchases: Gain


@dataclass(frozen=True)
class Estimates:
    """shoppers: whose purchases after the training counted. lists: logged ones that counted.
    reason: why there is no price in NDCG, "" where there is one."""

    shoppers: int
    lists: int
    reason: str
    outcomes: list[Outcome]


@dataclass(frozen=True)
class _Moment:
    """A shopper at a time (seconds). bought: codes of what was bought from then on."""

    user_id: str | None
    profile: str
    at: int
    bought: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Logged:
    """Logged lists of one length k: who was shown what. ids: int (n, k). rewards, bought: float
    (n, k), the attribute of what was bought there, and 1."""

    moments: list[_Moment]
    ids: IntArray
    propensities: DoubleArray
    placed: BoolArray
    bought: DoubleArray


@dataclass(frozen=True)
class _AsOf:
    """Histories as they were at a time. until: of the model's training data."""

    profiles: Profiles
    at: int
    until: int

    def codes(self, item_ids: Sequence[str]) -> Codes:
        return self.profiles.codes(item_ids)

    def history(
        self, user_id: str | None, profile: str | None, recent: Codes = NO_CODES
    ) -> History:
        found = self.profiles.history(user_id, profile)
        past = found.pick(found.times < self.at)
        newest = int(past.times[-1]) if len(past.times) else 0
        return replace(past, now=max(self.until, newest), kinds={})


class RuleEstimator:
    """Compares rulebooks over one model.

    most: shoppers, drawn at random, and newest logged lists that count at most.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        profiles: Profiles,
        database: Database,
        settings: Settings,
        most: int,
    ) -> None:
        self._pipeline = pipeline
        self._profiles = profiles
        self._database = database
        self._settings = settings
        self._most = most
        self._random = np.random.default_rng(SEED)

    def compare(
        self,
        books: Sequence[Rulebook],
        attribute: str,
        surface: str,
        k: int,
        now: datetime | None = None,
    ) -> Estimates:
        """Return one outcome a rulebook, each compared with the first.

        attribute: of products, as in a condition. surface: of ``serve.surfaces``, or a page.

        Raises:
            ValueError: lists of the surface depend on what the page shows.
            StoreError: the database failed.
        """
        self.check(surface)
        now = now or datetime.now(UTC)
        values = self._pipeline.engine.masks.numbers(attribute)
        shoppers = self._shoppers()
        orders = self._orders(shoppers, books, surface, k, now)
        scores = np.array(
            [
                [ndcg_of(order.items[:k], moment.bought, k) for order in of_moment]
                for moment, of_moment in zip(shoppers, orders, strict=True)
            ]
        ).reshape(len(shoppers), len(books))
        logged = self._logged(surface)
        length = logged.ids.shape[1]
        replayed = self._orders(logged.moments, books, surface, length, now) if length else []
        enough = len(shoppers) >= FEWEST_SHOPPERS
        gains = self._gains(logged, replayed, values, len(books))
        shown = _shown(orders or replayed, values, k, len(books))
        reason = ""
        if not enough:
            reason = (
                f"only {len(shoppers)} shoppers bought something since the model's training data, "
                f"at least {FEWEST_SHOPPERS} are needed: try again later, or run bowerbird "
                "objective where the model was trained"
            )
        outcomes = [
            Outcome(
                float(scores[:, at].mean()) if enough else None,
                _change(scores[:, at] - scores[:, 0]) if enough and at else None,
                shown[at],
                *gains[at],
            )
            for at in range(len(books))
        ]
        return Estimates(len(shoppers), len(logged.moments), reason, outcomes)

    def check(self, surface: str) -> None:
        """Raise ValueError if there is no such surface, or its lists depend on what the page
        shows."""
        surfaces = self._settings.serve.surfaces
        known = surfaces.get(surface)
        if known is None:
            raise ValueError(
                f"{surface} is no surface with lists for a shopper: there are {', '.join(surfaces)}"
            )
        if surface in ("product", "basket") or known.source in ON_PAGES:
            raise ValueError(
                f"lists of the surface {surface} depend on what its page shows, which impressions "
                "do not have: estimate on home or email"
            )

    def _orders(
        self,
        moments: Sequence[_Moment],
        books: Sequence[Rulebook],
        surface: str,
        k: int,
        now: datetime,
    ) -> list[list[RankedList]]:
        """Return, of each moment, the order under each rulebook."""
        until = self._pipeline.engine.model.trained_until or 0
        found = self._settings.serve.surfaces[surface]
        requests: list[list[Request]] = []
        for moment in moments:
            self._profiles.live.hold(moment.profile)  # this thread may wait for the store
            then = _AsOf(self._profiles, moment.at, until)
            values = self._profiles.attribute_values(moment.user_id, moment.profile)
            session = None if moment.user_id else moment.profile
            shopper = Shopper(moment.user_id, session, moment.profile, "")
            body = RecommendRequest(k=k, surface=surface)
            made = coded(body, shopper, then, self._settings.train.exclude_seen, found)
            variants = []
            for book in books:
                steps = book.steps(surface, partial(dict, values), now)
                where = both(made.filters.where, steps.excluded)
                filters = replace(made.filters, where=where)
                variants.append(replace(made, filters=filters, steps=steps))
            requests.append(variants)
        return self._pipeline.orders(requests)

    def _shoppers(self) -> list[_Moment]:
        """Return shoppers who bought after the model's training data, at their first purchase."""
        until = self._pipeline.engine.model.trained_until or 0
        first: dict[str, int] = {}
        bought: dict[str, set[int]] = {}
        users: dict[str, str | None] = {}
        base = self._profiles.base
        found: list[tuple[str | None, str, str | int, int]] = [*self._purchases(until)]
        if isinstance(base, BaseProfiles):
            found += _later_purchases(base, until)
        for user_id, profile, item, at in found:
            code = item if isinstance(item, int) else self._profiles.code(item)
            if code < 0:
                continue
            users[profile] = user_id
            first[profile] = min(first.get(profile, at), at)
            bought.setdefault(profile, set()).add(code)
        names = sorted(first)
        if len(names) > self._most:
            chosen = self._random.choice(len(names), self._most, replace=False)
            names = [names[at] for at in sorted(chosen.tolist())]
        return [_Moment(users[one], one, first[one], frozenset(bought[one])) for one in names]

    def _purchases(self, until: int) -> Iterable[tuple[str | None, str, str, int]]:
        table = EVENT_ROWS.c
        wanted = (
            sa.select(table.user_id, table.profile, table.item_id, table.timestamp)
            .where(table.event == "purchase", table.timestamp > until * SECOND, _trusted())
            .order_by(table.row_id.desc())
            .limit(MOST_EVENTS)
        )
        with self._database.connected() as connection:
            for user_id, profile, item, moment in connection.execute(wanted):
                yield user_id, profile, item, moment // SECOND

    def _logged(self, surface: str) -> _Logged:
        """Return the newest lists of a surface, of the most frequent length."""
        table = IMPRESSIONS.c
        wanted = (
            sa.select(IMPRESSIONS)
            .where(table.surface == surface, table.source.not_in(NOT_RANKED))
            .where(table.profile.is_not(None))
            .order_by(table.row_id.desc())
            .limit(self._most)
        )
        with self._database.connected() as connection:
            rows = [dict(row) for row in connection.execute(wanted).mappings()]
        items = [orjson.loads(row["item_ids"]) for row in rows]
        lengths = np.array([len(one) for one in items], dtype=np.int64)
        k = int(np.bincount(lengths).argmax()) if len(lengths) else 0
        kept = [at for at in range(len(rows)) if lengths[at] == k]
        ids = np.array([self._profiles.codes(items[at]) for at in kept], dtype=np.int64)
        ids = ids.reshape(len(kept), k)
        propensities = np.array(
            [orjson.loads(rows[at]["propensities"]) for at in kept], dtype=np.float64
        ).reshape(len(kept), k)
        placed = np.zeros(ids.shape, dtype=bool)
        for row, at in enumerate(kept):
            if rows[at]["rules"] is not None:
                places = orjson.loads(rows[at]["rules"])["placed"]
                placed[row, np.array(places, dtype=np.int64) - 1] = True
        known = ((ids >= 0) & (propensities > 0)).all(axis=1)
        whole = np.flatnonzero(known).tolist()
        kept = [kept[row] for row in whole]
        bought = self._bought([rows[at]["impression_id"] for at in kept])
        return _Logged(
            [
                _Moment(rows[at]["user_id"], rows[at]["profile"], rows[at]["timestamp"] // SECOND)
                for at in kept
            ],
            ids[whole],
            propensities[whole],
            placed[whole],
            np.array(
                [
                    [item in bought.get(rows[at]["impression_id"], ()) for item in items[at]]
                    for at in kept
                ],
                dtype=np.float64,
            ).reshape(len(kept), k),
        )

    def _bought(self, impressions: Sequence[str]) -> Mapping[str, set[str]]:
        """Return the item ids that were bought from each list."""
        table, found = EVENT_ROWS.c, dict[str, set[str]]()
        with self._database.connected() as connection:
            for start in range(0, len(impressions), ROWS_PER_READ):
                some = impressions[start : start + ROWS_PER_READ]
                wanted = sa.select(table.impression_id, table.item_id).where(
                    table.impression_id.in_(some), table.event == "purchase", _trusted()
                )
                for impression, item in connection.execute(wanted):
                    found.setdefault(impression, set()).add(item)
        return found

    def _gains(
        self,
        logged: _Logged,
        orders: Sequence[Sequence[RankedList]],
        values: NDArray[Any],
        n_books: int,
    ) -> list[tuple[Gain, Gain]]:
        """Return the gain in value and in purchases of each rulebook."""
        if not len(logged.ids):
            none = Gain(None, None, 0.0, 0.0, "no lists of this surface were logged for shoppers")
            return [(none, none)] * n_books
        arm = self._pipeline.arm(None)
        drawn = arm.n_explored(logged.ids.shape[1])
        targets = [
            _Target.of([one[at] for one in orders], logged.ids, drawn, arm.explorer, self._random)
            for at in range(n_books)
        ]
        _, people = np.unique([one.profile for one in logged.moments], return_inverse=True)
        worth = np.nan_to_num(values[logged.ids]) * logged.bought
        return [
            (
                _gain(logged, worth, targets[0], target, people),
                _gain(logged, logged.bought, targets[0], target, people),
            )
            for target in targets
        ]


@dataclass(frozen=True)
class _Target:
    """A policy at the logged lists. chances: float (n, k), of the logged item at its place. items,
    weights: int and float (n, k, c), what it shows at each place, and with which probability."""

    chances: DoubleArray
    items: IntArray
    weights: DoubleArray

    @classmethod
    def of(
        cls,
        orders: Sequence[RankedList],
        ids: IntArray,
        drawn: int,
        explorer: Any,
        random: np.random.Generator,
    ) -> _Target:
        n, k = ids.shape
        fixed = k - drawn
        most = max((len(one.items) - fixed for one in orders), default=0) if drawn else 1
        items = np.full((n, k, max(most, 1)), -1, dtype=np.int64)
        weights = np.zeros(items.shape)
        for row, order in enumerate(orders):
            first = order.items[:fixed]
            items[row, : len(first), 0] = first
            weights[row, : len(first), 0] = 1.0
            candidates = order.items[fixed:]
            if drawn and candidates:
                size, scores = len(candidates), drawn_scores(order.scores[fixed:])
                items[row, fixed:, :size] = candidates
                weights[row, fixed:, :size] = explorer.chances(scores[None], drawn, random)[0].T
        chances = np.where(items == ids[:, :, None], weights, 0.0).sum(axis=2)
        return cls(np.minimum(chances, 1.0), items, weights)


@dataclass
class _Rates:
    """Cross-fitted rates of reward of the items of a log and of its targets."""

    codes: IntArray
    table: DoubleArray = field(default_factory=lambda: np.empty(0))

    def of(self, items: IntArray, fold: IntArray) -> DoubleArray:
        """Return float (n, k, c): the predicted reward of items at each place."""
        at = np.minimum(np.searchsorted(self.codes, items), len(self.codes) - 1)
        place = np.arange(items.shape[1])[None, :, None]
        found = self.table[fold[:, None, None], at, place]
        return np.where(items < 0, 0.0, found)


def _gain(
    logged: _Logged, rewards: DoubleArray, before: _Target, after: _Target, people: IntArray
) -> Gain:
    """Return what ``after`` earns more; places that rules had decided are left out."""
    old, new = (np.where(logged.placed, 1.0, one.chances) for one in (before, after))
    propensities = np.where(logged.placed, 1.0, logged.propensities)
    rewards, free = np.where(logged.placed, 0.0, rewards), ~logged.placed
    shares = [support(propensities, one, free) for one in (old, new)]
    mean = min(share for share, _ in shares)
    simple = snips_gain(rewards, propensities, old, new, people, free=free)
    if not all(is_supported for _, is_supported in shares):
        return Gain(
            None,
            None,
            simple.effective,
            mean,
            f"at one place the log shows {mean:.0%} of what these lists would show, the rest it "
            "cannot judge: "
            "serve lists with exploration (serve.exploration) at all places that change, or make "
            "an A/B test",
        )
    if not simple.reliable:
        return Gain(None, None, simple.effective, mean, simple.reason)
    every = (logged.ids, before.items, after.items)
    codes = np.unique(np.concatenate([one.ravel() for one in every]))
    codes = codes[codes >= 0]
    compact = np.searchsorted(codes, logged.ids)
    log = Log(None, compact, propensities, rewards, logged.placed)  # type: ignore[arg-type]
    fold = folds(len(log), SEED)
    model = _Rates(codes, rates(log, len(codes), SEED))
    predicted = model.of(logged.ids[:, :, None], fold)[:, :, 0] * free
    expected = [
        (model.of(one.items, fold) * one.weights).sum(axis=2) * free for one in (before, after)
    ]
    robust = doubly_robust_gain(
        rewards, propensities, old, new, predicted, (expected[0], expected[1]), people, free=free
    )
    return Gain(_of(simple), _of(robust), simple.effective, mean, simple.reason)


def _of(estimate: Estimate) -> Change:
    return Change(estimate.value, estimate.low, estimate.high)


def _change(differences: DoubleArray) -> Change:
    mean = float(differences.mean())
    half = Z * float(differences.std(ddof=1)) / float(np.sqrt(len(differences)))
    return Change(mean, mean - half, mean + half)


def ndcg_of(items: Sequence[int], bought: frozenset[int], k: int) -> float:
    """Return the NDCG of a list of codes, cut at k."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    hits = np.array([one in bought for one in items], dtype=np.float64)
    return float(hits @ discount[: len(hits)] / discount[: min(len(bought), k)].sum())


def _shown(
    orders: Sequence[Sequence[RankedList]], values: NDArray[Any], k: int, n_books: int
) -> list[float | None]:
    """Return the mean of an attribute over the products of each rulebook's lists."""
    found: list[float | None] = []
    for at in range(n_books):
        codes = np.array([code for one in orders for code in one[at].items[:k]], dtype=np.int64)
        known = values[codes][np.isfinite(values[codes])]
        found.append(float(known.mean()) if len(known) else None)
    return found


def _later_purchases(base: BaseProfiles, until: int) -> Iterable[tuple[str | None, str, int, int]]:
    """Yield the purchases of the users' histories after a time: who, which item's code, when."""
    events = base.events
    purchases = events.whole("events") == EVENTS.index("purchase")
    rows = np.flatnonzero((events.times > until) & purchases)
    users = np.searchsorted(base.offsets, rows, side="right") - 1
    for row, user in zip(rows.tolist(), users.tolist(), strict=True):
        name = str(base.users[user])
        if name:
            yield name, f"user:{name}", int(events.items[row]), int(events.times[row])


def _trusted() -> sa.ColumnElement[bool]:
    """Return the condition on events that count: with the shop's key, or of a signed session."""
    sender = EVENT_ROWS.c.authentication
    return sa.or_(sender.is_(None), sender.in_((SHOP, SESSION)))
