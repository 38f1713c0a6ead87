"""Models judged by the lists that others served, against what they truly would have earned."""

from __future__ import annotations

import numpy as np
import pytest

from components.data.impressions import Log
from components.evaluation.logged_lists import complete, estimates, evaluate_served, under_rules
from components.evaluation.simulator import Shop
from components.recommenders.base import MISSING
from components.recommenders.exploration import EpsilonGreedy
from components.recommenders.models.knn import ItemNeighbours
from components.recommenders.models.popularity import Popularity
from components.settings import Neighbours
from components.settings import Popularity as PopularitySettings

USERS = np.arange(300)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop.make(len(USERS), 25, places=3, seed=8)


@pytest.fixture(scope="module")
def fitted(shop: Shop) -> dict:
    models = {
        "item_neighbours": ItemNeighbours(Neighbours(weighting="cosine")),
        "popularity": Popularity(PopularitySettings(half_life_days=1000)),
    }
    return {name: model.fit(shop.past, shop.catalogue) for name, model in models.items()}


def serve(shop: Shop, fitted: dict, n: int, epsilon: float) -> Log:
    random = np.random.default_rng(1)
    users = random.integers(0, len(USERS), n)
    scores = fitted["popularity"].score(shop.histories(USERS))
    return shop.serve(users, scores[users], EpsilonGreedy(epsilon), random)


def test_each_model_is_judged_as_it_would_have_earned(shop: Shop, fitted: dict) -> None:
    log = serve(shop, fitted, 30_000, 0.5)
    rows = evaluate_served(fitted, log, 25, exclude_seen=False, seed=0)
    assert [row["estimator"] for row in rows] == ["mean"] + ["IPS", "SNIPS", "DR"] * 2
    assert rows[0]["value"] == pytest.approx(log.rewards.sum(axis=1).mean())
    histories = shop.histories(USERS)
    truth = {}
    for name, model in fitted.items():
        ids, _ = model.recommend(histories, 3, exclude_seen=False)
        truth[name] = shop.expected(USERS, ids).sum(axis=1).mean()
    assert truth["item_neighbours"] > 1.1 * truth["popularity"]
    for row in rows[1:]:
        assert row["value"] == pytest.approx(truth[row["model"]], rel=0.08), row
        assert row["low"] - 0.02 < truth[row["model"]] < row["high"] + 0.02
    width = {row["estimator"]: row["high"] - row["low"] for row in rows[1:4]}
    assert width["DR"] < width["IPS"]


def test_a_log_without_exploration_judges_nobody_else(shop: Shop, fitted: dict) -> None:
    rows = evaluate_served(fitted, serve(shop, fitted, 500, 0.0), 25, False, seed=0)
    other = [row for row in rows if row["model"] == "item_neighbours"]
    assert all(row["value"] is None for row in other)
    assert "log with more exploration" in other[0]["reason"]


def test_only_whole_lists_of_known_propensities_count(shop: Shop, fitted: dict) -> None:
    log = serve(shop, fitted, 6, 0.5)
    ids, propensities = log.ids.copy(), log.propensities.copy()
    ids[0, 2] = MISSING
    propensities[1, 1] = np.nan
    found = complete(Log(log.histories, ids, propensities, log.rewards))
    assert found.ids.tolist() == ids[2:].tolist()
    assert evaluate_served(fitted, log.pick(np.arange(0)), 25, False, seed=0) == []


def with_pin(shop: Shop, log: Log, item: int) -> Log:
    """Return the lists as shown with an item pinned to the first place, and what came of them."""
    pinned = np.zeros((len(log), 3), dtype=bool)
    pinned[:, 0] = True
    ids = np.concatenate([np.full((len(log), 1), item), log.ids[:, :2]], axis=1)
    propensities = np.concatenate([np.ones((len(log), 1)), log.propensities[:, :2]], axis=1)
    return Log(log.histories, ids.astype(np.int32), propensities, np.zeros((len(log), 3)), pinned)


def test_places_that_rules_decided_say_nothing_of_a_model(shop: Shop, fitted: dict) -> None:
    random = np.random.default_rng(2)
    users = random.integers(0, len(USERS), 8_000)
    scores = fitted["popularity"].score(shop.histories(USERS))
    model = fitted["item_neighbours"]
    ids, _ = model.recommend(shop.histories(USERS), 4, exclude_seen=False)
    pinned = int(np.bincount(ids[:, 0]).argmax())  # what the model too has first for many
    scores[:, pinned] = -np.inf
    log = with_pin(shop, shop.serve(users, scores[users], EpsilonGreedy(0.5), random), pinned)
    clicked = random.random(log.ids.shape) < shop.expected(users, log.ids)
    rewards = np.where(log.placed, 0.0, clicked)
    log = Log(log.histories, log.ids, log.propensities, rewards, log.placed)
    naive = Log(log.histories, log.ids, log.propensities, clicked.astype(float))

    everyone = Log(
        shop.histories(USERS),
        np.full((len(USERS), 3), pinned, dtype=np.int32),
        np.ones((len(USERS), 3)),
        np.zeros((len(USERS), 3)),
        np.tile([True, False, False], (len(USERS), 1)),
    )
    own = shop.expected(USERS, under_rules(ids, everyone))[:, 1:].sum(axis=1).mean()
    free = shop.expected(USERS, ids[:, :3]).sum(axis=1).mean()
    found = estimates(model, complete(log), 25, False, seed=0)
    for name, one in found.items():
        assert one.reliable, name
        assert one.low - 0.01 < own < one.high + 0.01, name
    # As if the policy had chosen the pins: of the model's other first products nothing is seen, and
    # its own lists do not begin at the second place. No interval holds what the model earns.
    for name, one in estimates(model, complete(naive), 25, False, seed=0).items():
        assert one.reliable, name
        assert not one.low < own < one.high, name
        assert not one.low < free < one.high, name
