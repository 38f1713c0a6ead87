"""Arms, and a verdict that stays valid however often one looks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from components.settings import Experiment
from serving.arms import CONTROL, TREATMENT, arm_of
from serving.events.event_erasure import erase
from serving.events.exposures import record_exposures
from serving.events.store import EventStore
from serving.experiments import MIN_CONVERSIONS, compare, results

LOOKS = np.arange(100, 4001, 100)
"""Shoppers in each arm at which a peeking operator looks."""


def shoppers(rate: float, runs: int, seed: int) -> np.ndarray:
    """Return int (runs, looks): who converted so far."""
    random = np.random.default_rng(seed)
    return random.binomial(100, rate, (runs, len(LOOKS))).cumsum(axis=1)


def ever_called(control: np.ndarray, treatment: np.ndarray, alpha: float) -> float:
    """Return the share of runs in which any look calls a difference."""
    called = [
        any(
            compare((int(c), int(t)), (int(n), int(n)), alpha).called
            for c, t, n in zip(run_c, run_t, LOOKS, strict=True)
        )
        for run_c, run_t in zip(control, treatment, strict=True)
    ]
    return float(np.mean(called))


def test_peeking_does_not_raise_the_false_calls() -> None:
    alpha, runs = 0.05, 1000
    control, treatment = shoppers(0.1, runs, 1), shoppers(0.1, runs, 2)
    assert ever_called(control, treatment, alpha) <= alpha
    # The usual test of a fixed number of shoppers, looked at as often, is wrong far more often.
    share = (control + treatment) / (2 * LOOKS)
    z = (treatment - control) / LOOKS / np.sqrt(2 * share * (1 - share) / LOOKS)
    naive = (np.abs(z) > norm.ppf(1 - alpha / 2)).any(axis=1).mean()
    assert naive > 3 * alpha


def test_few_conversions_are_not_called_and_more_are() -> None:
    """Equal arms of 5 and 95 % of the shoppers, 2 % of whom convert: what the rule is for."""
    random, runs, looks = np.random.default_rng(5), 1000, np.arange(1, 101)
    few = random.binomial(10, 0.02, (runs, len(looks))).cumsum(axis=1)
    many = random.binomial(190, 0.02, (runs, len(looks))).cumsum(axis=1)
    called = {
        least: np.mean(
            [
                any(
                    compare((int(m), int(f)), (190 * n, 10 * n), 0.05, min_converted=least).called
                    for m, f, n in zip(run_many, run_few, looks.tolist(), strict=True)
                )
                for run_many, run_few in zip(many, few, strict=True)
            ]
        )
        for least in (0.0, MIN_CONVERSIONS)
    }
    assert called[MIN_CONVERSIONS] <= 0.05 < called[0.0]
    worse = compare((1900, 50), (19_000, 1000), 0.05, min_converted=MIN_CONVERSIONS)
    assert worse.called


def test_a_real_difference_is_called_and_the_interval_holds_it() -> None:
    control, treatment = shoppers(0.10, 200, 3), shoppers(0.15, 200, 4)
    assert ever_called(control, treatment, 0.05) > 0.95
    inside = [
        all(
            found.low <= 0.05 <= found.high
            for found in (
                compare((int(c), int(t)), (int(n), int(n)), 0.05)
                for c, t, n in zip(run_c, run_t, LOOKS, strict=True)
            )
        )
        for run_c, run_t in zip(control, treatment, strict=True)
    ]
    assert np.mean(inside) >= 0.95


def test_interval_and_p_value_agree() -> None:
    for hits in ((100, 130), (100, 165), (100, 180), (165, 100)):
        found = compare(hits, (1000, 1000), 0.05)
        assert found.called == (found.p_value < 0.05) == (not found.low <= 0 <= found.high)


def test_few_shoppers_decide_nothing() -> None:
    assert not compare((0, 40), (40, 40), 0.05).called
    assert not compare((0, 0), (0, 10), 0.05).called


def test_arms_are_stable_and_of_the_set_size() -> None:
    spring = Experiment(name="spring", share=0.3)
    arms = [arm_of(spring, f"user:{n}") for n in range(10_000)]
    assert arms == [arm_of(spring, f"user:{n}") for n in range(10_000)]
    assert arms.count(TREATMENT) / len(arms) == pytest.approx(0.3, abs=0.02)
    # Another experiment draws its own arms: who was treated before is not treated again.
    again = [arm_of(Experiment(name="summer", share=0.3), f"user:{n}") for n in range(10_000)]
    both = sum(a == b == TREATMENT for a, b in zip(arms, again, strict=True))
    assert both / 10_000 == pytest.approx(0.09, abs=0.02)


def test_outcomes_count_each_shopper_once_and_only_within_the_window(tmp_path: Path) -> None:
    store = EventStore("sqlite:///events.db", tmp_path)
    now = time.time_ns() // 1000
    hour = 3600 * 1_000_000

    def exposed(user: str, arm: str) -> dict:
        return {
            "experiment": "spring",
            "profile": f"user:{user}",
            "arm": arm,
            "model_version": "1" if arm == CONTROL else "2",
            "timestamp": now,
        }

    def event(name: str, user: str, kind: str, after: int) -> dict:
        row = {"event_id": name, "user_id": user, "item_id": "x", "event": kind}
        return {**row, "timestamp": now + after}

    record_exposures(store.database, [exposed(f"c{n}", CONTROL) for n in range(4)])
    record_exposures(store.database, [exposed(f"t{n}", TREATMENT) for n in range(4)])
    second = {**exposed("c0", TREATMENT), "timestamp": now - hour}  # only the first one counts
    record_exposures(store.database, [second])
    store.submit(
        [
            event("1", "c0", "click", hour),
            event("2", "c0", "click", 2 * hour),  # the same shopper
            event("3", "c1", "click", -hour),  # before
            event("4", "c2", "click", 25 * hour),  # too late
            event("5", "t0", "purchase", 1),
            event("6", "t1", "view", 1),  # no outcome
            event("7", "t2", "click", 23 * hour),
            event("8", "nobody", "click", 1),
        ]
    ).result(10)
    (found,) = results(store.database, Experiment(name="spring"))
    control, treatment = found["arms"]
    assert (control["users"], control["converted"], control["model_versions"]) == (4, 1, ["1"])
    assert (treatment["users"], treatment["converted"]) == (4, 2)
    assert control["low"] < 0.25 < control["high"]
    assert found["running"]
    assert "not decided" in found["verdict"]
    erase(store, "user:c0")
    (found,) = results(store.database, Experiment())
    assert (found["arms"][0]["users"], found["running"]) == (3, False)
    store.close()
