"""Calibration of the drift alarm on the ordinary weeks of the training data.

In: the prepared interactions as weekly feature tables. Out: scales by window size, and their
false-alarm rate.

Method (docs/monitoring.md): every week of the data is compared with ``monitor.reference_weeks``
weeks before it, like served traffic. The reference ends at the week or up to
``monitor.reference_age`` weeks earlier, because it becomes that old between two trainings while the
shop's range changes. Each statistic is scaled: 0 is the median of its ordinary weeks, 1 their 90th
percentile. A window's score is its largest scaled statistic, and the threshold is the score that a
share of ``monitor.false_alarm_rate`` of the ordinary weeks exceeds. Because the largest statistic
is calibrated, this is the false-alarm rate of the whole alarm and not of each statistic. Smaller
windows are noisier; they are compared with ordinary weeks subsampled to the same number of visits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.arrays import BoolArray
from components.data.dataset import DAY, Prepared
from components.progress import progress
from components.settings import Monitor
from monitoring.features import (
    Vocabulary,
    by_shop_ids,
    cap_rows,
    clean_window,
    draw_visits,
    feature_table,
)
from monitoring.statistics import STATISTICS, statistics

SIZES = (50, 100, 200)
"""Sizes (visits) of subsampled ordinary weeks. A smaller window than the first has no verdict."""

MIN_WEEKS = 10
"""Least number of ordinary weeks for a calibration."""

EARLIER_SHARE = 0.4
"""Share of the ordinary weeks that only set the threshold; it is tested on the later ones."""


@dataclass(frozen=True)
class Scale:
    """Ordinary values of the statistics at one window size.

    visits: the size. draws: number of ordinary windows. median, spread: by statistic; the spread
    is the 90th percentile minus the median. threshold: of the largest scaled statistic.

    >>> median, spread = {"price": 0.1, "item": 0.2}, {"price": 0.05, "item": 0.1}
    >>> scale = Scale(500, 30, 3.0, median, spread)
    >>> window = {"price": 0.35, "item": 0.25}
    >>> round(scale.score(window), 2), scale.score(window) > scale.threshold
    (5.0, True)
    """

    visits: float
    draws: int
    threshold: float
    median: dict[str, float]
    spread: dict[str, float]

    def scaled(self, values: dict[str, float]) -> dict[str, float]:
        """Return (value - median) / spread of the statistics that both contain."""
        return {
            name: (values[name] - self.median[name]) / self.spread[name]
            for name in self.median
            if math.isfinite(values.get(name, math.nan))
        }

    def score(self, values: dict[str, float]) -> float:
        """Return the largest scaled statistic, NaN if there is none."""
        return max(self.scaled(values).values(), default=math.nan)


def weekly_tables(
    prepared: Prepared, vocabulary: Vocabulary, settings: Monitor
) -> dict[int, pd.DataFrame]:
    """Return the feature table of each complete window, oldest first.

    An item's text counts as new if the item had no event before the window, as in served traffic.
    """
    frame = clean_window(by_shop_ids(prepared))
    seconds = frame["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy()
    week = (seconds - prepared.end) // (settings.window_days * DAY)
    table = feature_table(frame, vocabulary)
    table["week"] = week
    first = table.groupby("item")["week"].transform("min")
    table["new_text"] |= first == table["week"]
    complete = week > week.min()  # the data begins within the oldest window
    return dict(list(table[complete].groupby("week")))


def before(tables: dict[int, pd.DataFrame], week: int, age: int, settings: Monitor) -> pd.DataFrame:
    """Return the feature table of the ``reference_weeks`` windows that end ``age`` windows before
    ``week`` begins."""
    last = week - age
    weeks = range(last - settings.reference_weeks, last)
    return pd.concat([tables[w] for w in weeks if w in tables], ignore_index=True)


def ordinary_weeks(tables: dict[int, pd.DataFrame], settings: Monitor, age: int = 0) -> list[int]:
    """Return the windows with enough visits and a complete reference ``age`` windows earlier.

    Raises:
        ValueError: fewer than MIN_WEEKS.
    """
    first = min(tables) + settings.reference_weeks + age
    weeks = [w for w, t in tables.items() if w >= first and t["visit"].nunique() >= SIZES[0]]
    if len(weeks) < MIN_WEEKS:
        raise ValueError(
            f"data/prepared has {len(weeks)} windows of {settings.window_days} days that have "
            f"{SIZES[0]} visits or more and {settings.reference_weeks} + {age} windows before "
            f"them; the calibration needs {MIN_WEEKS}: lower monitor.window_days, "
            "monitor.reference_weeks or monitor.reference_age"
        )
    return weeks


def measure(
    tables: dict[int, pd.DataFrame], settings: Monitor, seed: int
) -> tuple[pd.DataFrame, dict[int, pd.DataFrame]]:
    """Return the statistics of the ordinary weeks, whole and subsampled (by size).

    One row for each week and each age of the reference from 0 to ``reference_age - 1``, in order
    of time, with the columns week, age, visits and STATISTICS.
    """
    rng = np.random.default_rng(seed)
    ages = range(settings.reference_age)
    pairs = sorted((w, age) for age in ages for w in ordinary_weeks(tables, settings, age))
    whole: list[dict[str, float]] = []
    thinned: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    for week, age in progress(pairs, desc="ordinary weeks", unit="pair"):
        reference = cap_rows(before(tables, week, age, settings), settings.sample_rows, seed)
        current = cap_rows(tables[week], settings.sample_rows, seed)
        visits = current["visit"].nunique()
        about = {"week": week, "age": age, "visits": visits}
        whole.append({**about, **statistics(reference, current, settings.window_days)})
        for size in SIZES:
            if visits >= size:
                drawn = draw_visits(current, size, rng)
                values = statistics(reference, drawn, settings.window_days)
                thinned[size].append({**about, **values})
    return pd.DataFrame(whole), {size: pd.DataFrame(rows) for size, rows in thinned.items()}


def fit_scale(values: pd.DataFrame, visits: float, rate: float) -> Scale:
    """Return the scale of the rows of ``values`` (windows × statistics).

    The threshold is the ⌈(n + 1)(1 - rate)⌉-th smallest of the n scores, the split-conformal
    quantile (Vovk et al. 2005): a further window like these exceeds it with probability at most
    ``rate``, as closely as n allows.
    """
    values = values[[name for name in STATISTICS if values[name].notna().sum() >= MIN_WEEKS]]
    median = values.median()
    # Floors: a nearly constant statistic must not raise an alarm at its first change.
    spread = (values.quantile(0.9) - median).clip(lower=np.maximum(0.1 * median, 0.005))
    scores = np.sort(((values - median) / spread).max(axis=1).dropna().to_numpy())
    rank = min(len(scores), math.ceil((len(scores) + 1) * (1 - rate)))
    return Scale(
        float(visits), len(scores), float(scores[rank - 1]), median.to_dict(), spread.to_dict()
    )


def alarms(values: pd.DataFrame, scale: Scale) -> BoolArray:
    """Return bool (windows,): whether the score exceeds the scale's threshold."""
    return np.array([scale.score(row) > scale.threshold for row in values.to_dict("records")])


def calibrate(
    tables: dict[int, pd.DataFrame], settings: Monitor, seed: int
) -> tuple[list[Scale], pd.DataFrame, dict[str, float]]:
    """Return the scales by size, the whole weeks' statistics and score, and flat figures.

    Figures: ``false_alarm_rate`` is leave-one-week-out (the threshold for each week is set by the
    others); ``held_out_false_alarm_rate`` is that of the later weeks, with thresholds set only by
    the weeks before each, as in production. Both are over all ages of the reference.
    """
    rate = settings.false_alarm_rate
    whole, thinned = measure(tables, settings, seed)
    usual = float(whole["visits"].median())
    scales = [
        fit_scale(values, size, rate)
        for size, values in thinned.items()
        if size < usual and values["week"].nunique() >= MIN_WEEKS
    ]
    scales.append(fit_scale(whole, usual, rate))
    whole["score"] = [scales[-1].score(row) for row in whole.to_dict("records")]

    weeks = whole["week"].unique()
    later = weeks[max(MIN_WEEKS, round(len(weeks) * EARLIER_SHARE)) :]
    left_out, held_out = [], []
    for week in weeks:
        judged = whole[whole["week"] == week]
        others = whole[whole["week"] != week]
        left_out.append(alarms(judged, fit_scale(others, usual, rate)))
        if week in later:
            past = whole[whole["week"] < week]
            held_out.append(alarms(judged, fit_scale(past, usual, rate)))
    figures = {
        "threshold": scales[-1].threshold,
        "false_alarm_rate": float(np.concatenate(left_out).mean()),
        "held_out_false_alarm_rate": float(np.concatenate(held_out).mean()) if held_out else 0.0,
        "weeks": len(weeks),
        "held_out_weeks": len(later),
        "visits_per_week": usual,
    }
    return scales, whole, figures
