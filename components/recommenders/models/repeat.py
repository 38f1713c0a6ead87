"""Repeat purchases: the items of a history, ordered by how probable it is that they are due.

The baseline is personal top frequency, the items that a user bought most often, then the most
popular ones: it beats most published models of the next basket (Li et al., "A Next Basket
Recommendation Reality Check", TOIS 2023). Counts fade with time (Hu et al., "Modeling Personalized
Item Frequency Information for Next-basket Recommendation", TIFU-KNN, SIGIR 2020), and intervals
tell when an item is due (Ariannezhad et al., "ReCANet", SIGIR 2022). Here a logistic regression
weighs them, learned from who bought what again within the newest days of the training data.

TIFU-KNN's neighbours are left out: added to these features they gain little or nothing
(``python -m benchmarks.repeat_purchases``), and the model would hold other people's histories.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from components.arrays import AnyArray, DoubleArray, FloatArray, IntArray
from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.data.schema import EVENTS
from components.recommenders.base import Recommender
from components.recommenders.kernels.repeats import Repeats, repeats
from components.recommenders.search_space import FLOAT, INTEGER
from components.settings import Repeat as RepeatSettings

HALF_LIVES = (30.0, 90.0, 180.0)
"""Days, of a history's own choices."""
SALES_HALF_LIVES = (7.0, 28.0)
"""Days, of the sales of an item."""
PRIOR = 5.0
"""Buyers, and intervals, of the whole shop that count in what is usual for an item."""
MAX_ENTRIES = 1_000_000
"""Items of histories that the weights are learned from; more are sampled by user."""
FEATURES = (
    "log_count",
    *(f"log_count_{days:.0f}d" for days in HALF_LIVES),
    "log_last",
    "log_interval",
    "log_due",
    "log_due_squared",
    "repeat_rate",
    *(f"log_sales_{days:.0f}d" for days in SALES_HALF_LIVES),
)
"""Of an item of a history. ``due`` is the time since its last purchase through its interval."""
UNSEEN = 1e-6
"""Highest score of an item that the history does not have; others score more."""


class RepeatPurchases(Recommender):
    """Scores an item of the history by the probability of its purchase within ``horizon_days``.

    Items that the history does not have come after them, by their sales in the last days. So the
    model is for shops that recommend what a customer had before (``train.exclude_seen: false``).

    ``usual_days``, ``repeat_rate``: float32 (items,), the days between two purchases of an item by
    the same user, and the share of its buyers who bought it on several days. ``sales``: float32
    (items, 2), faded counts of events. ``overall``: float32 (2,), interval and repeat rate of the
    shop. ``weights``: float64 (1 + FEATURES,), the intercept first. ``only_purchases``: whether all
    events of the training data are purchases.

    >>> import pandas as pd
    >>> users, items = np.zeros(4, int), np.array([2, 2, 1, 0])
    >>> train = Interactions.from_arrays(users, items, np.array([0, 7, 7, 14]) * DAY)
    >>> catalogue = Catalogue(pd.DataFrame({"item_id": ["tea", "cup", "milk"]}))
    >>> model = RepeatPurchases(RepeatSettings()).fit(train, catalogue)
    >>> model.recommend(train.histories([0], 15 * DAY), k=1, exclude_seen=False)[0].tolist()
    [[2]]
    """

    name = "repeat"
    section = RepeatSettings
    settings: RepeatSettings
    search_space: ClassVar[dict[str, Any]] = {
        "horizon_days": (INTEGER, 7, 56),
        "interval_prior": (FLOAT, 0.1, 10.0),
    }
    learned = ("usual_days", "repeat_rate", "sales", "overall", "weights")

    @property
    def ranker_features(self) -> bool:
        return self.settings.ranker_features

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn what is usual for each item, and the weights of the features.

        Where nobody had the time to buy an item again, items are ordered by their faded counts.
        """
        train = train.counted()
        self.only_purchases = bool((train.events == EVENTS.index("purchase")).all())
        end = int(train.times.max(initial=0)) + 1
        start = end - self.settings.horizon_days * DAY
        self.weights = self._learned_weights(train, start, len(catalogue))
        self._describe_items(train, end, len(catalogue))
        return self

    def _learned_weights(self, train: Interactions, start: int, n_items: int) -> DoubleArray:
        """Return the weights by which the events from ``start`` on are predicted from those before.

        Of users with events before and after. Leaves the item statistics of before.
        """
        earlier, later = (
            train.where(train.times < start),
            train.where(train.times >= start).successes(),
        )
        self._describe_items(earlier, start, n_items)
        users = np.intersect1d(earlier.users, later.users)
        np.random.default_rng(self.seed).shuffle(users)
        within = np.cumsum(np.diff(earlier.offsets)[users]) <= MAX_ENTRIES
        users = np.sort(users[within])
        found = self.repeats(earlier.histories(users, start))
        bought = np.isin(
            users[found.rows] * np.int64(n_items) + found.items,
            later.users * np.int64(n_items) + later.items,
        )
        if not bought.any() or bought.all():
            weights = np.zeros(1 + len(FEATURES))
            weights[1 + FEATURES.index("log_count_90d")] = 1.0
            return weights
        # In here: the import takes a second, and few processes need it.
        from sklearn.linear_model import LogisticRegression

        features = self._features(found)
        mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
        fitted = LogisticRegression(max_iter=500).fit((features - mean) / spread, bought)
        weights = fitted.coef_[0] / spread
        return np.concatenate([fitted.intercept_ - weights @ mean, weights])

    def _describe_items(self, train: Interactions, now: int, n_items: int) -> None:
        """Set what is usual for each item, by the events of ``train``, which lie before ``now``."""
        found = repeats(train.histories(np.arange(train.n_users), now).liked)
        days = np.bincount(found.items, found.first - found.last, n_items)
        intervals = np.bincount(found.items, found.counts - 1, n_items)
        buyers = np.bincount(found.items, minlength=n_items)
        again = np.bincount(found.items, found.counts > 1, n_items)
        # A shop without a repeated purchase: as long as the data.
        span = (now - train.times.min(initial=now)) / DAY
        usual = days.sum() / intervals.sum() if intervals.sum() else max(span, 1.0)
        rate = (again.sum() + 1) / (buyers.sum() + 2)
        self.overall = np.array([usual, rate], dtype=np.float32)
        self.usual_days = ((days + PRIOR * usual) / (intervals + PRIOR)).astype(np.float32)
        self.repeat_rate = ((again + PRIOR * rate) / (buyers + PRIOR)).astype(np.float32)
        ages = (now - train.times) / DAY
        faded = [
            np.bincount(train.items, np.exp2(-ages / half_life), n_items)
            for half_life in SALES_HALF_LIVES
        ]
        self.sales = np.column_stack(faded).astype(np.float32)

    def repeats(self, histories: Histories) -> Repeats:
        """Return how often and when the items of each history were chosen."""
        return repeats(histories.liked, HALF_LIVES)

    def intervals(self, found: Repeats) -> DoubleArray:
        """Return float64 (entries,): the days between two purchases of an item of a history."""
        return found.intervals(self.usual_days, self.settings.interval_prior)

    def _features(self, found: Repeats) -> DoubleArray:
        """Return float64 (entries, FEATURES)."""
        interval = self.intervals(found)
        due = np.log((found.last + 0.5) / (interval + 0.5))
        rate = self.repeat_rate[found.items].astype(np.float64)
        return np.column_stack(
            [
                np.log(found.counts),
                np.log(found.faded + 1e-3),
                np.log1p(found.last),
                np.log(interval + 0.5),
                due,
                due**2,
                np.log(rate / (1 - rate)),
                np.log1p(self.sales[found.items]),
            ]
        )

    def score(self, histories: Histories) -> FloatArray:
        return self.score_at(histories, np.arange(len(self.sales)))

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        recent = self.sales[:, 0]
        unseen = recent[items] * np.float32(0.5 * UNSEEN / max(float(recent.max(initial=0)), 1e-9))
        scores = np.tile(unseen, (len(histories), 1))
        found = self.repeats(histories)
        logits = self.weights[0] + self._features(found) @ self.weights[1:]
        probabilities = 1 / (1 + np.exp(-logits))
        place = np.full(len(self.sales), -1)
        place[items] = np.arange(len(items))
        at = place[found.items]
        there = at >= 0
        scores[found.rows[there], at[there]] = np.maximum(probabilities[there], UNSEEN)
        return scores

    def extended(self, catalogue: Catalogue) -> RepeatPurchases:
        """Return the model for ``catalogue``: new items have the shop's interval and no sales."""
        model = RepeatPurchases(self.settings, self.seed)
        model.restore(self.config(), self.arrays())
        n_new = len(catalogue) - len(self.sales)
        usual, rate = self.overall
        model.usual_days = np.append(self.usual_days, np.full(n_new, usual, np.float32))
        model.repeat_rate = np.append(self.repeat_rate, np.full(n_new, rate, np.float32))
        model.sales = np.vstack([self.sales, np.zeros((n_new, len(SALES_HALF_LIVES)), np.float32)])
        return model

    def config(self) -> dict[str, Any]:
        return {**super().config(), "only_purchases": self.only_purchases}

    def restore(self, config: dict[str, Any], arrays: dict[str, AnyArray]) -> None:
        super().restore(config, arrays)
        self.only_purchases = config["only_purchases"]
