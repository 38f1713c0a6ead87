"""Off-policy estimates on a simulator whose truth is known, and on a real shop's two logs."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation.off_policy import (
    doubly_robust,
    ips,
    snips,
    snips_gain,
    support,
    weights,
)

ACTIONS = 5


def simulate(n: int, seed: int) -> dict[str, np.ndarray | float]:
    """Contexts with linear click rates; a uniform-ish policy logs, a greedy-ish one is judged."""
    random = np.random.default_rng(seed)
    context = random.standard_normal((n, 3))
    taste = np.random.default_rng(99).standard_normal((3, ACTIONS))
    rate = 1 / (1 + np.exp(-(context @ taste - 1)))  # (n, actions)

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    logging, judged = softmax(-0.3 * context @ taste), softmax(1.0 * context @ taste)
    taken = (logging.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    rows = np.arange(n)
    return {
        "rewards": (random.random(n) < rate[rows, taken]).astype(float),
        "logged": logging[rows, taken],
        "judged": judged[rows, taken],
        "predicted": rate[rows, taken],
        "expected": (rate * judged).sum(axis=1),
        "truth": float((rate * judged).sum(axis=1).mean()),
    }


def three(world: dict) -> dict:
    common = [world[name] for name in ("rewards", "logged", "judged")]
    return {
        "ips": ips(*common),
        "snips": snips(*common),
        "dr": doubly_robust(*common, world["predicted"], world["expected"]),
    }


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = {name: [] for name in ("ips", "snips", "dr")}
    for seed in range(120):
        world = simulate(1500, seed)
        for name, found in three(world).items():
            held[name].append(found.low <= world["truth"] <= found.high)
    for name, values in held.items():
        assert 0.88 <= np.mean(values) <= 1.0, (name, np.mean(values))


def test_a_reward_model_narrows_the_interval() -> None:
    found = three(simulate(5000, 1))
    assert found["dr"].high - found["dr"].low < 0.9 * (found["ips"].high - found["ips"].low)


def test_it_is_doubly_robust() -> None:
    world = simulate(40_000, 2)
    wrong_model = doubly_robust(
        world["rewards"], world["logged"], world["judged"],
        np.full(40_000, 0.9), np.full(40_000, 0.9),
    )  # fmt: skip
    assert wrong_model.value == pytest.approx(world["truth"], abs=0.02)
    wrong_log = doubly_robust(
        world["rewards"], np.full(40_000, 0.5), world["judged"],
        world["predicted"], world["expected"],
    )  # fmt: skip
    assert wrong_log.value == pytest.approx(world["truth"], abs=0.02)
    wrong_ips = ips(world["rewards"], np.full(40_000, 0.5), world["judged"])
    assert abs(wrong_ips.value - world["truth"]) > 0.05


def test_the_same_policy_is_worth_what_it_earned() -> None:
    world = simulate(2000, 3)
    for estimate in (ips, snips):
        found = estimate(world["rewards"], world["logged"], world["logged"])
        assert found.value == pytest.approx(world["rewards"].mean())
        assert found.effective == pytest.approx(2000)


def test_too_few_effective_samples_are_not_judged() -> None:
    rewards, logged = np.ones(5000), np.full(5000, 0.001)
    judged = np.zeros(5000)
    judged[:20] = 1.0
    found = snips(rewards, logged, judged)
    assert not found.reliable
    assert "20 effective of 5000" in found.reason
    nothing = snips(rewards, logged, np.zeros(5000))
    assert not nothing.reliable
    assert np.isnan(nothing.value)


def test_caps_bound_the_weights() -> None:
    assert weights(np.array([0.1, 0.5]), np.array([1.0, 0.5]), cap=5).tolist() == [5, 1]


@pytest.mark.parametrize("logged", [[0.0, 0.5], [1.5, 0.5], [0.5]])
def test_wrong_propensities_are_refused(logged: list[float]) -> None:
    with pytest.raises(ValueError, match=r"propensit|one probability"):
        weights(np.array(logged), np.array([0.5, 0.5]))


def test_each_position_needs_support() -> None:
    """A policy that moves two of ten products in a fifth of the lists to where they never were."""
    logged = np.full((5_000, 10), 0.5)
    target = logged.copy()
    assert support(logged, target) == (1.0, True)
    target[:1_000, :2] = 0.0
    share, is_supported = support(logged, target)
    assert (share, is_supported) == (pytest.approx(0.8), False)


def test_positions_that_were_decided_bring_no_support_and_no_effective_samples() -> None:
    logged, target = np.ones((10_000, 1)), np.ones((10_000, 1))
    free = np.zeros((10_000, 1), dtype=bool)
    free[:1_000] = True
    logged[:1_000], target[:1_000], target[:10] = 0.01, 0.0, 1.0
    rewards = np.where(free, 1.0, 0.0)
    people = np.arange(10_000)
    assert snips_gain(rewards, logged, logged, target, people).reliable
    found = snips_gain(rewards, logged, logged, target, people, free=free)
    assert (found.reliable, round(found.effective)) == (False, 10)
    assert snips(rewards, logged, target, free=free).effective == found.effective
    assert support(np.ones((9, 2)), np.ones((9, 2)), np.zeros((9, 2), dtype=bool)) == (0.0, False)
