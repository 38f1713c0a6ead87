"""The promotion rule: its errors on equal, worse and better models, and what its reasons name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.promotion import SAMPLES, chain, pairs, promoted
from components.arrays import BoolArray, DoubleArray
from components.evaluation.decision import Against, Gain, measure_gain, should_promote
from components.evaluation.guardrails import Guardrail
from components.settings import Register

DRAWS = 1000
MOST = 0.05 + 3 * np.sqrt(0.05 * 0.95 / DRAWS)
"""Highest rate of errors that a rule at 95 % confidence has by chance."""
Rule = Callable[[DoubleArray, DoubleArray], BoolArray]


def gain(bound: float, required: float = 0.01, other: float = 0.2) -> Gain:
    return Gain(other, bound + 0.01, bound - 0.01, bound + 0.02, bound, required)


@pytest.mark.parametrize(
    ("users", "low", "better", "words"),
    [
        (100, 0.011, True, "promoted: the interval"),
        (100, 0.01, False, "register.min_gain, +0.0100"),
        (100, -0.001, False, "begins at -0.0010"),
        (99, 0.5, False, "99 users can be evaluated, register.min_users requires 100"),
        (100, float("nan"), False, "not promoted"),
    ],
)
def test_a_gain_counts_beyond_chance_and_on_enough_users(
    users: int, low: float, better: bool, words: str
) -> None:
    need = Register(rule="superior", min_gain=0.01, min_users=100)
    found, reason = should_promote(users, Against(gain(low), ()), None, need)
    assert found is better
    assert words in reason


@pytest.mark.parametrize(
    ("bound", "better", "words"),
    [
        (-0.009, True, "begins at -0.0090, above -0.0100: register.margin allows a loss of 5.0%"),
        (-0.01, False, "begins at -0.0100, not above -0.0100: register.margin"),
        (float("nan"), False, "not promoted"),
    ],
)
def test_a_loss_within_the_margin_is_accepted(bound: float, better: bool, words: str) -> None:
    found, reason = should_promote(100, Against(gain(bound, -0.01), ()), None, Register())
    assert found is better
    assert words in reason


def test_each_refusal_is_named() -> None:
    good = Against(gain(0.0, -0.01), ())
    rail = Guardrail("coverage", 0.4, 0.1, 0.3, False, "coverage_fall")
    bad = Against(gain(-0.02, -0.01), (rail,))
    found, reason = should_promote(100, bad, None, Register())
    assert not found
    assert "begins at -0.0200" in reason
    assert (
        "coverage 0.100 against the champion's 0.400, register.guardrails.coverage_fall "
        "requires at least 0.300"
    ) in reason
    found, reason = should_promote(100, good, bad, Register())
    assert not found
    assert "the gain over the baseline begins at -0.0200" in reason
    assert "against the baseline's 0.400" in reason
    assert should_promote(100, good, good, Register())[0]


@pytest.fixture(scope="module")
def values() -> DoubleArray:
    """NDCG@10 (users, 3) of correlated models with a target each, as real ones mostly zero."""
    random = np.random.default_rng(0)
    shared = random.exponential(12, 2000)
    ranks = shared[:, None] + random.exponential(3, (2000, 3))
    return np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0)


def rule(old: DoubleArray, new: DoubleArray) -> BoolArray:
    return promoted(old, new, Register())


def by_the_mean_alone(old: DoubleArray, new: DoubleArray) -> BoolArray:
    """A wrong rule: no allowance for chance."""
    return (new.mean(axis=0) > 0.95 * old.mean(axis=0)).astype(bool)


def by_an_absolute_margin(old: DoubleArray, new: DoubleArray) -> BoolArray:
    """A wrong rule: the margin is 0.05 of NDCG and not of the champion's."""
    error = (new - old).std(axis=0) / np.sqrt(len(old))
    return ((new - old).mean(axis=0) - 1.645 * error > -0.05).astype(bool)


def worse_models_promoted(decide: Rule, values: DoubleArray, users: int) -> float:
    """Return how often a rule promotes a model that is worse by exactly the margin."""
    old, new = pairs(values, -0.05, users, DRAWS, np.random.default_rng(users))
    return float(decide(old, new).mean())


def test_the_simulation_has_the_differences_that_it_names(values: DoubleArray) -> None:
    assert (values == 0).mean() > 0.5
    assert 0.4 < np.corrcoef(values.T)[0, 1] < 0.9
    for difference in (-0.2, -0.05, 0.0, 0.1):
        old, new = pairs(values, difference, 2000, 200, np.random.default_rng(1))
        assert new.mean() / old.mean() - 1 == pytest.approx(difference, abs=0.005)


@pytest.mark.parametrize("users", [100, 1000])
def test_a_model_worse_by_the_margin_is_promoted_in_one_of_twenty_comparisons(
    values: DoubleArray, users: int
) -> None:
    found = worse_models_promoted(rule, values, users)
    assert 0.02 < found <= MOST


@pytest.mark.parametrize("wrong", [by_the_mean_alone, by_an_absolute_margin])
def test_wrong_rules_promote_more_of_them(values: DoubleArray, wrong: Rule) -> None:
    assert worse_models_promoted(wrong, values, 1000) > 2 * MOST


def test_equal_models_are_seldom_superior_and_mostly_not_inferior(values: DoubleArray) -> None:
    old, new = pairs(values, 0.0, 3000, DRAWS, np.random.default_rng(2))
    assert 0.02 < promoted(old, new, Register(rule="superior")).mean() <= MOST
    assert promoted(old, new, Register(margin=0.1)).mean() > 0.9


@pytest.mark.slow
def test_a_chain_of_worse_models_stops_at_the_baseline(values: DoubleArray) -> None:
    steps = np.full((20, 50), -0.02)
    alone, alone_left = chain(values, steps, 1000, Register(margin=0.1), with_baseline=False)
    guarded, left = chain(values, steps, 1000, Register(margin=0.1), with_baseline=True)
    assert alone.mean() > 15
    assert alone_left.mean() < 0.75
    assert guarded.mean() < 6
    assert np.quantile(left, 0.05) > 0.88


@pytest.mark.parametrize("need", [Register(), Register(rule="superior", min_gain=0.002)])
def test_one_comparison_is_decided_as_many(values: DoubleArray, need: Register) -> None:
    random = np.random.default_rng(3)
    for difference in (-0.1, 0.0, 0.1):
        old, new = pairs(values, difference, 500, 5, random)
        many = promoted(old, new, need)
        for draw in range(5):
            one = measure_gain(old[:, draw], new[:, draw], need, SAMPLES, seed=0)
            assert one.enough == many[draw]
            assert one.difference == pytest.approx((new - old)[:, draw].mean())
            assert one.low <= one.difference <= one.high


def test_models_that_hit_nothing_are_not_promoted() -> None:
    nothing = np.zeros(200)
    for need in (Register(), Register(rule="superior")):
        assert not measure_gain(nothing, nothing, need, 100, seed=0).enough
        assert measure_gain(nothing, nothing + 0.1, need, 100, seed=0).enough
