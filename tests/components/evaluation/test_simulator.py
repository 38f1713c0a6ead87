"""Estimates, and what bandits earn, in a shop whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.off_policy import Estimate, doubly_robust, ips, snips
from components.evaluation.simulator import Round, Shop, echo
from components.recommenders.exploration import BetaThompson, EpsilonGreedy, click_counts
from components.recommenders.models.knn import ItemNeighbours
from components.settings import Neighbours

USERS, ITEMS, PLACES = 300, 30, 3


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop.make(USERS, ITEMS, places=PLACES, seed=1)


@pytest.fixture(scope="module")
def scores(shop: Shop) -> tuple[np.ndarray, np.ndarray]:
    """What the logging and the judged policy rank by: the second knows the shop better."""
    noise = np.random.default_rng(2).standard_normal((2, USERS, ITEMS))
    logit = np.log(shop.rates)
    return logit + 2.0 * noise[0], logit + 0.5 * noise[1]


LOGGING, JUDGED = EpsilonGreedy(0.5), EpsilonGreedy(0.05)


def of_all_items(scores: np.ndarray) -> np.ndarray:
    """Return (users, items, places): the judged policy's chances."""
    lists = (np.full((USERS, PLACES), item, dtype=np.int32) for item in range(ITEMS))
    return np.stack([JUDGED.propensities(scores, ids) for ids in lists], axis=1)


def estimate(
    shop: Shop, scores: tuple[np.ndarray, np.ndarray], n: int, seed: int
) -> dict[str, Estimate]:
    random = np.random.default_rng(seed)
    users = random.integers(0, USERS, n)
    log = shop.serve(users, scores[0][users], LOGGING, random)
    common = log.rewards, log.propensities, JUDGED.propensities(scores[1][users], log.ids)
    # A reward model that is wrong by a third, and knows nothing of this log.
    model = 0.67 * shop.rates[:, :, None] * shop.looks
    predicted = model[users[:, None], log.ids, np.arange(PLACES)]
    expected = (model * of_all_items(scores[1])).sum(axis=1)[users]
    return {
        "ips": ips(*common),
        "snips": snips(*common),
        "dr": doubly_robust(*common, predicted, expected),
    }


def test_estimates_of_lists_converge_to_the_truth(shop: Shop, scores) -> None:
    everybody = np.arange(USERS)
    truth = shop.value(everybody, scores[1], JUDGED, np.random.default_rng(0), repeats=100)
    logging = shop.value(everybody, scores[0], LOGGING, np.random.default_rng(0), repeats=100)
    assert truth > 1.3 * logging
    few = [estimate(shop, scores, 500, seed) for seed in range(20)]
    many = [estimate(shop, scores, 20_000, seed) for seed in range(20, 30)]
    for name in ("ips", "snips", "dr"):
        errors = [
            np.sqrt(np.mean([(found[name].value - truth) ** 2 for found in runs]))
            for runs in (few, many)
        ]
        assert errors[1] < 0.04 * truth, (name, errors, truth)
        assert errors[1] < errors[0] / 3, (name, errors)
        held = [one[name].low <= truth <= one[name].high for one in few + many]
        assert np.mean(held) >= 0.85, name
    widths = [np.mean([one[name].high - one[name].low for one in many]) for name in ("ips", "dr")]
    assert widths[1] < widths[0]
    assert many[0]["ips"].reliable
    assert not estimate(shop, scores, 40, 99)["ips"].reliable


def test_expected_clicks_are_the_clicks(shop: Shop, scores) -> None:
    random = np.random.default_rng(3)
    users = random.integers(0, USERS, 50_000)
    log = shop.serve(users, scores[1][users], JUDGED, random)
    expected = shop.expected(users, log.ids)
    assert log.rewards.mean(axis=0) == pytest.approx(expected.mean(axis=0), abs=0.01)
    assert (np.diff(expected.mean(axis=0)) < 0).all()  # places further down are looked at less
    best = shop.best(np.arange(USERS))
    assert expected.sum(axis=1).mean() < best


@pytest.mark.parametrize("kind", ["thompson", "epsilon"])
def test_the_regret_of_bandits_falls(shop: Shop, kind: str) -> None:
    """They do not know the users: the best is the one list that is best for all."""
    popular = shop.rates.mean(axis=0)
    best = np.sort(popular)[::-1][:PLACES] @ shop.looks
    random = np.random.default_rng(4)
    clicks, skips = np.zeros(ITEMS), np.zeros(ITEMS)
    regret = []
    for _ in range(150):  # rounds of 50 users, learned from at once
        if kind == "thompson":
            explorer, known = BetaThompson(clicks, skips, draws=1), np.zeros((50, ITEMS))
        else:
            explorer = EpsilonGreedy(0.1)
            known = np.tile((clicks + 1) / (clicks + skips + 2), (50, 1))
        log = shop.serve(random.integers(0, USERS, 50), known, explorer, random)
        regret.append(best - (popular[log.ids] * shop.looks).sum(axis=1).mean())
        new = click_counts(log.ids, log.rewards > 0, ITEMS, shop.looks)
        clicks, skips = clicks + new[0], skips + new[1]
    first, last = np.mean(regret[:10]), np.mean(regret[-30:])
    assert last < 0.4 * first, (first, last)
    nothing = best - popular.mean() * shop.looks.sum()
    assert last < 0.35 * nothing


def test_a_model_that_learns_from_its_own_lists_shows_ever_fewer_items() -> None:
    shop = Shop.make(n_users=150, n_items=250, seed=1)

    def rounds(weight: float) -> list[Round]:
        return echo(shop, lambda: ItemNeighbours(Neighbours(weighting="cosine")), 12, weight)

    itself, organic = rounds(1.0), rounds(0.0)
    assert itself[0] == organic[0]  # before the first list was shown
    assert itself[-1].coverage < 0.6 * itself[0].coverage
    assert organic[-1].coverage > 1.3 * itself[-1].coverage
    assert organic[-1].gini < itself[-1].gini
    assert organic[-1].clicks > 1.2 * itself[-1].clicks
    assert rounds(1.0) == itself
