"""Exploration: what is shown, and that its propensities are what really happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, norm

from components.recommenders.base import MISSING, top_k
from components.recommenders.exploration import (
    BetaThompson,
    EpsilonGreedy,
    GaussianThompson,
    Softmax,
    click_counts,
)

SCORES = np.array([0.3, 2.0, -np.inf, 1.0, 0.1, -1.0])
N = 60_000


def frequencies(ids: np.ndarray) -> np.ndarray:
    """Return (items, k): how often each item was at each place."""
    return np.stack(
        [np.bincount(column[column >= 0], minlength=len(SCORES)) / len(ids) for column in ids.T], 1
    )


@pytest.mark.parametrize("epsilon", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_epsilon_greedy_propensities_are_exact(epsilon: float, k: int) -> None:
    scores = np.tile(SCORES, (N, 1))
    ids, propensities = EpsilonGreedy(epsilon).choose(scores, k, np.random.default_rng(k))
    found = frequencies(ids)
    expected = np.zeros_like(found)
    expected[ids, np.arange(k)] = propensities
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / N)
    assert not (ids == 2).any()
    assert all(len(set(row)) == k for row in ids[:100].tolist())


@given(st.integers(1, 40), st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**31))
def test_the_chances_of_a_place_sum_to_one(n: int, k: int, epsilon: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.standard_normal((1, n)).astype(np.float32)
    policy = EpsilonGreedy(epsilon)
    everybody = np.repeat(np.arange(n), k).reshape(n, k).astype(np.int32)
    table = policy.propensities(np.repeat(scores, n, axis=0), everybody)  # (items, places)
    assert np.allclose(policy.chances(scores, k)[0], table)
    assert np.allclose(table.sum(axis=0), np.arange(k) < n)
    assert (table >= 0).all()
    assert (table.sum(axis=1) <= 1 + 1e-9).all()
    ids, propensities = policy.choose(scores, k, random)
    assert ((propensities > 0) == (ids != MISSING)).all()
    assert np.allclose(propensities, policy.propensities(scores, ids))


def test_without_exploration_the_list_is_the_best_one() -> None:
    ids, propensities = EpsilonGreedy(0.0).choose(SCORES[None], 7, np.random.default_rng(0))
    assert ids.tolist() == top_k(SCORES[None], 7)[0].tolist()
    assert propensities.tolist() == [[1.0] * 5 + [0.0] * 2]


def test_gaussian_propensities_agree_with_the_integral() -> None:
    scores, deviation = np.array([[1.0, 0.5, 0.0, -np.inf]]), np.array([0.5, 1.0, 0.3, 1.0])
    policy = GaussianThompson(deviation, draws=40_000)
    ids, _ = policy.choose(scores, 3, np.random.default_rng(1))
    assert set(ids[0].tolist()) == {0, 1, 2}
    chances = policy.chances(scores, 5, np.random.default_rng(4))
    assert chances.sum(axis=1) == pytest.approx(np.array([[1, 1, 1, 0, 0]]))
    assert not chances[0, 3].any()  # its score is -inf
    for item in range(3):
        others = [other for other in range(3) if other != item]
        best = quad(
            lambda z, item=item, others=others: (
                norm.pdf(z, scores[0, item], deviation[item])
                * np.prod([norm.cdf(z, scores[0, one], deviation[one]) for one in others])
            ),
            -6,
            6,
        )[0]
        asked = np.array([[item, *others]], dtype=np.int32)
        found = policy.propensities(scores, asked, np.random.default_rng(2))
        assert found[0, 0] == pytest.approx(best, abs=0.01)
        assert chances[0, item, 0] == pytest.approx(best, abs=0.01)
    assert GaussianThompson(0.0).choose(scores, 2, np.random.default_rng(3))[0].tolist() == [[0, 1]]


def test_beta_draws_follow_the_counts() -> None:
    clicks, skips = np.array([9.0, 4.0]), np.array([1.0, 6.0])
    chance = quad(lambda x: beta.pdf(x, 10, 2) * beta.cdf(x, 5, 7), 0, 1)[0]
    policy = BetaThompson(clicks, skips, draws=20_000)
    found = policy.propensities(np.zeros((1, 2)), np.array([[0, 1]]), np.random.default_rng(0))
    assert found[0] == pytest.approx([chance, chance], abs=0.01)


def test_softmax_fills_the_places_in_turn() -> None:
    chances = np.array([0.5, 0.3, 0.2])
    policy = Softmax(2.0, draws=20_000)
    asked = np.array([[0, 1, 2]], dtype=np.int32)
    found = policy.propensities(2.0 * np.log(chances)[None], asked, np.random.default_rng(0))
    second = sum(chances[one] * 0.3 / (1 - chances[one]) for one in (0, 2))
    assert found[0, :2] == pytest.approx([0.5, second], abs=0.015)


def test_inverse_propensities_of_thompson_are_nearly_unbiased() -> None:
    policy = GaussianThompson(1.0, draws=50)
    scores = np.tile([0.4, 0.0, -0.3], (20_000, 1))
    ids, propensities = policy.choose(scores, 1, np.random.default_rng(5))
    for item in range(3):  # Σ 1[shown] / propensity counts every decision once
        weight = (1 / propensities[ids == item]).sum() / len(ids)
        assert weight == pytest.approx(1.0, abs=0.05)


def test_click_counts() -> None:
    ids = np.array([[0, 2], [2, MISSING]])
    clicks, skips = click_counts(ids, np.array([[True, False], [True, True]]), 4)
    assert clicks.tolist() == [1, 0, 1, 0]
    assert skips.tolist() == [0, 0, 1, 0]
    _, skips = click_counts(ids, np.array([[True, False], [True, True]]), 4, np.array([1.0, 0.5]))
    assert skips.tolist() == [0, 0, 0.5, 0]


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="epsilon"):
        EpsilonGreedy(1.2)
    with pytest.raises(ValueError, match="deviation"):
        GaussianThompson(-1.0)
    with pytest.raises(ValueError, match="temperature"):
        Softmax(0.0)
    with pytest.raises(ValueError, match="clicks"):
        BetaThompson(np.array([-1.0]), np.array([0.0]))
