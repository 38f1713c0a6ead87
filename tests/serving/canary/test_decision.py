"""A canary goes on, takes over or is rolled back, with a reason that can be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.settings import Canary
from serving.canary.decision import (
    GO_ON,
    ROLL_BACK,
    SECONDS,
    TAKE_OVER,
    Decision,
    Evidence,
    Group,
    Lists,
    decide,
)

SETTINGS = Canary(min_hours=6, min_shoppers=500, max_days=2)


def timed(seconds: np.ndarray, failed: int = 0) -> Lists:
    """Return the lists that took so long."""
    edges = np.concatenate([[0.0], SECONDS, [np.inf]])
    return Lists(len(seconds), failed, tuple(np.histogram(seconds, edges)[0].tolist()))


def usual(n: int, seed: int, scale: float = 1.0) -> np.ndarray:
    """Return the seconds of ``n`` lists with a heavy tail, 5 ms in the middle."""
    return scale * 0.005 * np.random.default_rng(seed).lognormal(sigma=0.8, size=n)


def decided(control: Group, canary: Group, hours: float, loaded: bool = True) -> Decision:
    return decide(Evidence(hours, control, canary, loaded), SETTINGS)


GOOD = Group(9000, 900), Group(1000, 100)


def test_a_good_version_takes_over_after_the_hours_and_shoppers() -> None:
    assert decided(*GOOD, hours=5).action == GO_ON
    found = decided(*GOOD, hours=6)
    assert found.action == TAKE_OVER
    assert "100 of 1,000 shoppers converted (10.00%)" in found.reason
    assert decided(Group(9000, 900), Group(400, 40), hours=6).action == GO_ON
    assert decided(*GOOD, hours=6, loaded=False).action == GO_ON


def test_with_little_traffic_it_takes_over_in_the_end_and_says_so() -> None:
    few = Group(900, 90), Group(100, 9)
    assert decided(*few, hours=47).action == GO_ON
    found = decided(*few, hours=48)
    assert found.action == TAKE_OVER
    assert "with fewer shoppers" in found.reason
    nobody = decided(Group(), Group(), hours=48)
    assert (nobody.action, "0 shoppers are too few" in nobody.reason) == (TAKE_OVER, True)
    assert decided(*few, hours=480, loaded=False).action == GO_ON


def test_fewer_conversions_are_harm_at_any_time_and_more_are_not() -> None:
    found = decided(Group(9000, 900), Group(1000, 40), hours=0.1)
    assert found.action == ROLL_BACK
    assert "convert less: 40 of 1,000" in found.reason
    assert decided(Group(9000, 900), Group(1000, 300), hours=0.1).action == GO_ON
    # Too few to tell: shoppers, or the conversions that they would have had.
    assert decided(Group(9000, 900), Group(40, 0), hours=0.1).action == GO_ON
    assert decided(Group(90_000, 900), Group(900, 0), hours=0.1).action == GO_ON
    assert decided(Group(90_000, 900), Group(2_000, 0), hours=0.1).action == ROLL_BACK


def test_lists_that_fail_are_harm() -> None:
    control = replace(GOOD[0], lists=Lists(9000, 9))
    broken = decided(control, replace(GOOD[1], lists=Lists(1000, 200)), hours=0.1)
    assert (broken.action, "fails to make lists" in broken.reason) == (ROLL_BACK, True)
    equal = replace(GOOD[1], lists=Lists(1000, 2))
    assert decided(control, equal, hours=0.1).action == GO_ON
    outage = replace(GOOD[0], lists=Lists(9000, 1800))  # of both
    assert decided(outage, replace(GOOD[1], lists=Lists(1000, 200)), hours=0.1).action == GO_ON


@pytest.mark.parametrize(("scale", "action"), [(1.0, GO_ON), (1.5, GO_ON), (5.0, ROLL_BACK)])
def test_a_version_that_is_several_times_as_slow_is_harm(scale: float, action: str) -> None:
    control = replace(GOOD[0], lists=timed(usual(9000, 1)))
    canary = replace(GOOD[1], lists=timed(usual(1000, 2, scale)))
    found = decided(control, canary, hours=0.1)
    assert found.action == action
    if action == ROLL_BACK:
        assert "it is slow" in found.reason


def test_slower_by_less_than_five_milliseconds_is_no_harm() -> None:
    control = replace(GOOD[0], lists=timed(usual(9000, 1, 0.05)))
    canary = replace(GOOD[1], lists=timed(usual(1000, 2, 0.2)))
    assert decided(control, canary, hours=0.1).action == GO_ON


def test_the_facts_of_the_page_are_those_that_were_judged() -> None:
    lists = timed(np.full(100, 0.003))
    facts = Evidence(1.0, Group(10, 1, lists), Group(), True).facts(SETTINGS)
    assert facts["control"]["rate"] == 0.1
    assert facts["control"]["p95_seconds"] == pytest.approx(0.003, rel=0.25)
    assert facts["canary"]["rate"] is None
    assert facts["canary"]["p95_seconds"] is None
    assert not facts["outcome"]["called"]
