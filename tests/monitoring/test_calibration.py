"""The calibration: a threshold that ordinary windows exceed at the rate that was asked for."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from components.settings import Monitor
from monitoring.calibration import (
    MIN_WEEKS,
    SIZES,
    Scale,
    alarms,
    before,
    fit_scale,
    ordinary_weeks,
)
from monitoring.statistics import STATISTICS


def values(n: int, seed: int) -> pd.DataFrame:
    """Return the statistics of ``n`` windows: price and item, text in few, the others in none."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"price": rng.gamma(2, 0.1, n), "item": rng.gamma(5, 1.0, n)})
    table["text"] = [0.5] * (MIN_WEEKS - 1) + [np.nan] * (n - MIN_WEEKS + 1)
    return table.reindex(columns=list(STATISTICS))


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_new_ordinary_windows_exceed_the_threshold_at_the_rate(rate: float) -> None:
    found = []
    for seed in range(60):
        scale = fit_scale(values(60, seed), 100, rate)
        found.append(alarms(values(200, 1000 + seed).drop(columns="text"), scale).mean())
    assert np.mean(found) == pytest.approx(rate, abs=0.02)


def test_the_scale_is_zero_at_the_median_and_one_at_the_90th_percentile() -> None:
    table = values(101, 0)
    scale = fit_scale(table, 100, 0.05)
    assert (scale.visits, scale.draws) == (100, 101)
    assert scale.scaled({"price": table["price"].median()}) == {"price": pytest.approx(0)}
    assert scale.scaled({"item": table["item"].quantile(0.9)}) == {"item": pytest.approx(1)}
    assert "text" not in scale.median  # known in too few windows
    scores = sorted(scale.score(row) for row in table.to_dict("records"))
    assert scale.threshold == pytest.approx(scores[math.ceil(102 * 0.95) - 1])


def test_a_statistic_that_never_changed_has_a_least_spread() -> None:
    table = pd.DataFrame({"price": [0.2] * 20}, columns=list(STATISTICS), dtype=float)
    assert fit_scale(table, 100, 0.05).spread["price"] == pytest.approx(0.02)
    assert fit_scale(table * 0, 100, 0.05).spread["price"] == 0.005


def test_the_score_is_the_largest_known_statistic() -> None:
    scale = Scale(100, 20, 1.5, {"price": 0.1, "item": 0.2}, {"price": 0.1, "item": 0.1})
    assert scale.score({"price": 0.2, "item": 0.5}) == pytest.approx(3)
    assert scale.score({"price": 0.2, "item": math.nan}) == pytest.approx(1)
    assert math.isnan(scale.score({}))
    rows = pd.DataFrame({"price": [0.1, 0.3], "item": [0.2, 0.2]})
    assert alarms(rows, scale).tolist() == [False, True]


def weeks(visits: list[int]) -> dict[int, pd.DataFrame]:
    """Return feature tables of weeks with these numbers of visits; the newest has number -1."""
    return {
        n - len(visits): pd.DataFrame({"visit": np.arange(count), "week": n - len(visits)})
        for n, count in enumerate(visits)
    }


def test_ordinary_weeks_have_enough_visits_and_a_complete_reference() -> None:
    monitor = Monitor(reference_weeks=3)
    tables = weeks([100] * 8 + [SIZES[0] - 1] + [SIZES[0]] * 10)
    assert ordinary_weeks(tables, monitor) == [*range(-16, -11), *range(-10, 0)]
    assert ordinary_weeks(tables, monitor, age=2) == [*range(-14, -11), *range(-10, 0)]
    assert set(before(tables, -1, 0, monitor)["week"]) == {-4, -3, -2}
    assert set(before(tables, -1, 2, monitor)["week"]) == {-6, -5, -4}


def test_too_few_weeks_are_refused_with_what_to_lower() -> None:
    with pytest.raises(ValueError, match=r"has 9 windows of 7 days.*lower monitor\.window_days"):
        ordinary_weeks(weeks([100] * 12), Monitor(reference_weeks=3))
