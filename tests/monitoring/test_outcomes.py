"""Click-through and conversion, against scipy's interval and counts made by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from monitoring.outcomes import interval, outcomes


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    successes, trials = counts
    low, high = interval(successes, trials, z=1.959963984540054)
    theirs = binomtest(successes, trials).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_rates_count_impressions_and_not_clicks() -> None:
    window = pd.DataFrame(
        {
            "event": ["click", "click", "purchase", "view", "purchase", "purchase"],
            "impression_id": ["a", "a", "a", "b", None, "elsewhere"],
        }
    )
    served = pd.DataFrame(
        {"impression_id": ["a", "b", "c", "c"], "model_version": ["1", "1", "2", "2"]}
    )
    found = outcomes(window, served)
    assert found["impressions"] == 3
    assert found["click_through_rate"] == pytest.approx(1 / 3)
    assert found["conversion_rate"] == pytest.approx(1 / 3)
    assert found["events_attributed"] == 5
    assert found["purchases_attributed"] == 2
    assert found["by_model_version"]["1"]["click_through_rate"] == 0.5
    assert found["by_model_version"]["2"]["click_through_rate"] == 0


def test_without_impressions_there_are_only_counts() -> None:
    window = pd.DataFrame({"event": ["purchase"], "impression_id": [None]})
    assert "click_through_rate" not in outcomes(window)
    assert outcomes(window)["purchases"] == 1
