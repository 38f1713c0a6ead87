"""The calibration: thresholds that ordinary weeks exceed at the rate that was asked for."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gumbel_r

from monitoring.calibration import (
    MIN_WEEKS,
    AttackScale,
    Scale,
    alarms,
    fit_scale,
    interpolated,
    tail,
)
from monitoring.statistics import INFORMATIVE, STATISTICS
from tests.monitoring.weeks import learned, training


def values(n: int, seed: int) -> pd.DataFrame:
    """Return the statistics of ``n`` weeks with a window each: price, item, quantity; text in
    few."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"price": rng.gamma(2, 0.1, n), "item": rng.gamma(5, 0.1, n)})
    table["quantity"] = rng.random(n)
    table["text"] = [0.5] * (MIN_WEEKS - 1) + [np.nan] * (n - MIN_WEEKS + 1)
    return table.reindex(columns=list(STATISTICS)).assign(week=np.arange(n))


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_new_ordinary_weeks_exceed_the_threshold_at_the_rate(rate: float) -> None:
    found = []
    for seed in range(40):
        scale = fit_scale(values(60, seed), 100, 0, rate)
        found.append(alarms(values(200, 1000 + seed).drop(columns="text"), scale) / 200)
    assert np.mean(found) == pytest.approx(rate, rel=0.5)


def test_the_tail_is_that_of_a_maximum_and_never_below_the_ordinary_weeks() -> None:
    scores = gumbel_r.rvs(2, 0.5, 4000, random_state=0)
    assert tail(scores, 0.002) == pytest.approx(gumbel_r.isf(0.002, 2, 0.5), rel=0.1)
    heavy = np.array([1.0] * 40 + [50.0])
    assert tail(heavy, 0.01) >= 50.0


def test_a_week_counts_once_and_by_its_largest_window() -> None:
    table = values(30, 0)
    scale = fit_scale(table, 100, 0, 0.05)
    assert scale.draws == 30
    days = pd.concat([table.assign(week=table["week"] // 7), table.assign(price=99.0, week=3)])
    assert alarms(days, scale) == 1
    assert fit_scale(table.assign(week=table["week"] // 7), 100, 0, 0.05).draws == 5


def test_scales_are_of_square_roots_and_leave_out_what_cannot_alarm() -> None:
    table = values(50, 0)
    scale = fit_scale(table, 100, 2, 0.05)
    assert (scale.visits, scale.age) == (100, 2)
    assert "text" not in scale.mean  # known in too few windows
    assert scale.mean["price"] == pytest.approx(np.sqrt(table["price"]).mean())
    assert scale.spread["price"] == pytest.approx(np.sqrt(table["price"]).std())
    assert scale.scaled({"price": scale.value("price", 2.5)}) == {"price": pytest.approx(2.5)}
    assert "quantity" in INFORMATIVE
    assert scale.scaled({"quantity": 99.0})["quantity"] > scale.threshold
    assert math.isnan(scale.score({"quantity": 99.0}))
    constant = table.assign(price=0.25)
    assert fit_scale(constant, 100, 0, 0.05).spread["price"] == 0.02


def test_a_scale_lies_between_those_next_to_it_in_size_and_age() -> None:
    scales = [
        Scale(visits, age, 20, threshold, {"price": mean}, {"price": 0.1})
        for visits, age, threshold, mean in (
            *((50, 0, 3.0, 0.4), (200, 0, 3.0, 0.2)),
            *((50, 4, 5.0, 0.8), (200, 4, 5.0, 0.6)),
        )
    ]
    middle = interpolated(scales, 100, 0)  # halfway in the logarithm
    assert middle.mean["price"] == pytest.approx(0.3)
    older = interpolated(scales, 100, 1)
    assert (older.threshold, older.mean["price"]) == (pytest.approx(3.5), pytest.approx(0.4))
    assert interpolated(scales, 1, 99).mean["price"] == pytest.approx(0.8)
    assert interpolated(scales, 10**6, 99).mean["price"] == pytest.approx(0.6)


def test_more_traffic_needs_more_evidence_of_an_attack() -> None:
    scale = AttackScale({"newcomers": 5.0, "burst": 5.0, "repeats": 2.0}, 300)
    assert scale.scaled("newcomers", 10.0, 100) == 2.0
    assert scale.scaled("newcomers", 10.0, 600) == 1.0
    assert scale.scaled("repeats", 4.0, 600) == 2.0


def test_a_range_that_changes_each_week_is_ordinary_at_each_age() -> None:
    frame = training()
    week = (frame["timestamp"] - frame["timestamp"].min()) // pd.Timedelta(weeks=1)
    code = frame["item_id"].str[1:].astype(int) + 4 * week  # four products go, four come
    _, calibration, _ = learned(frame.assign(item_id="P" + code.astype(str)))
    means = calibration.windows.groupby("age")[["unseen_items", "new_texts", "item"]].mean()
    assert (means.diff().iloc[1:] > 0.005).all(axis=None)
    whole = {scale.age: scale for scale in calibration.scales if scale.visits > 200}
    assert sorted(whole) == [0, 1, 2]
    oldest = calibration.windows[calibration.windows["age"] == 2]
    assert alarms(oldest, whole[0]) > 0.5 * oldest["week"].nunique()  # as a young reference
    assert alarms(oldest, whole[2]) == 0
    assert calibration.figures["false_alarm_rate"] <= 0.1
    assert calibration.limits["feed_gap"] == 1


def test_a_short_history_calibrates_the_ages_that_it_has() -> None:
    frame = training()

    def weeks(n: int) -> pd.DataFrame:
        late = frame["timestamp"] >= frame["timestamp"].max().ceil("D") - pd.Timedelta(weeks=n)
        return frame[late].reset_index(drop=True)

    _, calibration, _ = learned(weeks(15))
    assert calibration.figures["oldest_age"] == 0
    with pytest.raises(ValueError, match=r"windows of 7 days.*lower monitor\.window_days"):
        learned(weeks(12))
