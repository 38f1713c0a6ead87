"""Simulated shop with known preferences, click probabilities and value of every policy.

Out: histories to fit recommenders on, and logs of any ``exploration.Explorer`` with its
propensities, so that estimates, policies and bandits can be compared with the true value. Clicks
follow the position-based model (Richardson, Dominowska and Ragno, WWW 2007): a click needs an
examined position, with a probability that decreases with the position, and an attractive item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from components.arrays import DoubleArray, FloatArray, IntArray
from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.data.impressions import Log
from components.evaluation.metrics import coverage, gini
from components.recommenders.base import MISSING, Recommender
from components.recommenders.exploration import Explorer

NOW = 1_700_000_000
"""End of the histories and time of the lists, seconds since 1970."""


@dataclass(frozen=True)
class Shop:
    """rates: float64 (users, items), the click probability of an examined item.

    past: the users' purchases before the log. catalogue: the items, whose text vectors describe
    them roughly. looks: float64 (k,), the probability that each position is examined.
    """

    rates: DoubleArray
    past: Interactions
    catalogue: Catalogue
    looks: DoubleArray

    @classmethod
    def make(
        cls,
        n_users: int = 400,
        n_items: int = 60,
        dimensions: int = 4,
        purchases: int = 8,
        places: int = 5,
        base_rate: float = 0.1,
        mismatch: float = 1.0,
        seed: int = 0,
    ) -> Shop:
        """Return a shop with ``purchases`` past events of each user.

        mismatch: standard deviation (in logits) of the click probabilities around those that the
        purchases imply. Only the log contains this difference.
        """
        random = np.random.default_rng(seed)
        tastes = random.standard_normal((n_users, dimensions))
        items = random.standard_normal((n_items, dimensions)) / np.sqrt(dimensions)
        liking = 2.0 * tastes @ items.T  # (users, items)
        surprise = mismatch * random.standard_normal(n_items)
        rates = expit(liking + surprise + np.log(base_rate / (1 - base_rate)))
        drawn = liking + random.gumbel(size=liking.shape)
        bought = np.argsort(-drawn, axis=1)[:, :purchases]
        times = NOW - DAY * random.integers(1, 200, bought.size)
        past = Interactions.from_arrays(
            np.repeat(np.arange(n_users), purchases), bought.ravel(), times, n_users, n_items
        )
        text = items + 0.1 * random.standard_normal(items.shape)
        text /= np.linalg.norm(text, axis=1, keepdims=True)
        table = pd.DataFrame({"item_id": [f"item {code}" for code in range(n_items)]})
        catalogue = Catalogue(table, text.astype(np.float32))
        return cls(rates, past, catalogue, 1 / np.arange(1, places + 1))

    def histories(self, users: IntArray) -> Histories:
        """Return the purchases of ``users``."""
        return self.past.histories(users, NOW)

    def expected(self, users: IntArray, ids: IntArray) -> DoubleArray:
        """Return float64 (n, k): the true click probability of each position."""
        rates = self.rates[users[:, None], np.maximum(ids, 0)]
        return np.where(ids == MISSING, 0.0, rates * self.looks[: ids.shape[1]])

    def serve(
        self, users: IntArray, scores: FloatArray, explorer: Explorer, random: np.random.Generator
    ) -> Log:
        """Return the log of one list for each of ``users``; scores: (n, items)."""
        ids, propensities = explorer.choose(scores, len(self.looks), random)
        clicked = random.random(ids.shape) < self.expected(users, ids)
        return Log(self.histories(users), ids, propensities, clicked.astype(np.float64))

    def value(
        self,
        users: IntArray,
        scores: FloatArray,
        explorer: Explorer,
        random: np.random.Generator,
        repeats: int = 1,
    ) -> float:
        """Return the true clicks per list, averaged over the policy's draws."""
        k = len(self.looks)
        drawn = (explorer.choose(scores, k, random)[0] for _ in range(repeats))
        return float(np.mean([self.expected(users, ids).sum(axis=1).mean() for ids in drawn]))

    def best(self, users: IntArray) -> float:
        """Return the true clicks per list of the optimal policy."""
        k = len(self.looks)
        return float((-np.sort(-self.rates[users], axis=1)[:, :k] @ self.looks).mean())


@dataclass(frozen=True)
class Round:
    """One round of ``echo``.

    coverage: share of the items in any list. gini: of how often items are in lists, 0: all equally
    often. clicks: true expected clicks per list.
    """

    coverage: float
    gini: float
    clicks: float


def echo(
    shop: Shop, make: Callable[[], Recommender], rounds: int, weight: float, seed: int = 0
) -> list[Round]:
    """Return what becomes of the lists of a model that learns from its own lists, round by round.

    In a round the model is fitted on all events so far, every user is shown one list and clicks as
    the shop's probabilities say, and finds one more item without the lists, by their own
    preference. make: returns the unfitted model. weight: of the clicks on lists in what the model
    learns; events without a list have 1. (A feedback loop: Chaney, Stewart and Engelhardt, RecSys
    2018.)
    """
    random = np.random.default_rng(seed)
    users = np.arange(len(shop.rates))
    n_users, n_items = shop.rates.shape
    wanted = logit(shop.rates)
    events = pd.DataFrame(
        {"user": shop.past.users, "item": shop.past.items, "time": shop.past.times, "weight": 1.0}
    )
    found = []
    for number in range(rounds):
        now = NOW + number * DAY
        train = Interactions.from_arrays(
            events["user"].to_numpy(),
            events["item"].to_numpy(),
            events["time"].to_numpy(),
            n_users,
            n_items,
            events["weight"].to_numpy(dtype=np.float32),
        )
        histories = train.histories(users, now)
        ids, _ = make().fit(train, shop.catalogue).recommend(histories, len(shop.looks))
        chance = shop.expected(users, ids)
        clicks = float(chance.sum(axis=1).mean())
        found.append(Round(coverage(ids, n_items), gini(ids, n_items), clicks))
        rows, places = np.nonzero(random.random(ids.shape) < chance)
        led = pd.DataFrame({"user": rows, "item": ids[rows, places], "time": now, "weight": weight})
        unseen = np.where(histories.seen(n_items).toarray() > 0, -np.inf, wanted)
        chosen = (unseen + random.gumbel(size=unseen.shape)).argmax(axis=1)
        organic = pd.DataFrame({"user": users, "item": chosen, "time": now, "weight": 1.0})
        events = pd.concat([events, led, organic], ignore_index=True)
    return found
