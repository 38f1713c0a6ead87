"""Calibration of the monitoring on the ordinary weeks of the training data.

In: the training data's ``History``. Out: the scales of the drift alarm by size of the window and
age of the reference, the threshold of the attack alarm, the limits of the checks for broken data,
and the false-alarm rates.

Method (docs/monitoring.md): the window that ends on each day of the data is compared with the
reference that ends 0 to ``monitor.reference_age`` windows before it, like served traffic between
two trainings. A shop's range, customers and season change in that time, so the distances grow with
the age of the reference, and each age has its own scale. Each statistic is scaled: 0 is the mean of
the square roots of its ordinary values, 1 their standard deviation; the square root stabilises the
variance of shares and distances. A window's score is its largest scaled statistic, which controls
the rate of the whole alarm and not of each statistic. The score of a week is the largest of its
seven windows, because the monitoring runs daily. The threshold is a quantile of the ordinary weeks'
scores, by a Gumbel distribution fitted to them, the limiting distribution of a maximum. Smaller
windows are noisier; their scales are those of ordinary windows subsampled to the same number of
visits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import gumbel_r

from components.arrays import DoubleArray
from components.progress import progress
from monitoring.attack import SIGNS, signs
from monitoring.broken import Baseline, limits_of, measure_days
from monitoring.counts import Counts
from monitoring.history import History
from monitoring.statistics import INFORMATIVE, STATISTICS, distances

SIZES = (50, 100, 200)
"""Sizes (visits) of subsampled ordinary windows. A smaller window than the first has no verdict."""

MIN_WEEKS = 10
"""Least number of ordinary weeks for a calibration."""

EARLIER_SHARE = 0.4
"""Share of the ordinary weeks that only set the threshold; it is tested on the later ones."""

NOMINAL = 0.04
"""Nominal rate of each alarm (drift, attack) as a share of ``monitor.false_alarm_rate``.

A few dozen weeks are a small sample, and the next year differs from it. On the embedded shop's
first year, thresholds for 5 % that the weeks before each set are exceeded by 11 % of its later
weeks. This is the largest rate at which that share is significantly below 5 %
(benchmarks/results/drift.md)."""

LEAST_SPREAD = 0.02
"""Least spread: a nearly constant statistic must not raise an alarm at its first change."""


class TooFewWeeks(ValueError):
    """The data has too few ordinary weeks for an alarm."""


@dataclass(frozen=True)
class Scale:
    """Ordinary values of the statistics, for one size of the window and age of the reference.

    visits: the size. age: windows between the reference's end and the window. draws: number of
    ordinary weeks. mean, spread: of the square roots, by statistic; the spread is the standard
    deviation. threshold: of the largest scaled statistic that can alarm.

    >>> scale = Scale(500, 0, 30, 3.0, {"price": 0.3, "item": 0.5}, {"price": 0.1, "item": 0.1})
    >>> window = {"price": 0.49, "item": 0.36}
    >>> round(scale.score(window), 2), scale.score(window) > scale.threshold
    (4.0, True)
    """

    visits: float
    age: int
    draws: int
    threshold: float
    mean: dict[str, float]
    spread: dict[str, float]

    def scaled(self, values: dict[str, float]) -> dict[str, float]:
        """Return the scaled statistics that both contain."""
        return {
            name: (math.sqrt(values[name]) - self.mean[name]) / self.spread[name]
            for name in self.mean
            if math.isfinite(values.get(name, math.nan))
        }

    def score(self, values: dict[str, float]) -> float:
        """Return the largest scaled statistic that can alarm, NaN if there is none."""
        scaled = self.scaled(values)
        return max((v for name, v in scaled.items() if name not in INFORMATIVE), default=math.nan)

    def value(self, name: str, scaled: float) -> float:
        """Return the value of a statistic that is ``scaled`` on this scale."""
        return max(0.0, self.mean[name] + scaled * self.spread[name]) ** 2


def measure(history: History) -> tuple[pd.DataFrame, dict[int, pd.DataFrame]]:
    """Return the statistics of the ordinary windows, whole and subsampled (by size).

    One row for each window and age of the reference from 0 to ``oldest_age``, in order of time,
    with the columns end (day), week, age, visits and STATISTICS. Subsampled: one window a week.

    Raises:
        TooFewWeeks: fewer than MIN_WEEKS weeks.
    """
    days, oldest = history.settings.window_days, oldest_age(history)
    ends = history.ends(0, SIZES[0])
    references: dict[int, Counts] = {}
    whole: list[dict[str, float]] = []
    thinned: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    for end in progress(ends, desc="ordinary windows", unit="window"):
        rows = history.rows(end - days, end)
        visits = history.visits(rows)
        windows = {0: history.coded.count(history.capped(rows))}
        if end % days == 0:
            drawn = {size: history.drawn(rows, size / visits) for size in SIZES if visits >= size}
            windows |= {size: history.coded.count(some) for size, some in drawn.items()}
        for age in range(oldest + 1):
            last = end - days - age * days
            if not history.has_reference(last):
                break
            if last not in references:
                references[last] = history.reference(last)
            new = history.first_of_item >= last
            for size, counts in windows.items():
                about = {"end": end, "week": history.week(end), "age": age}
                about["visits"] = size or visits
                share = float(counts["item"][new | history.without_vector].sum())
                values = distances(
                    references[last],
                    counts,
                    history.coded.values,
                    share / max(float(counts["item"].sum()), 1.0),
                    True,
                )
                (thinned[size] if size else whole).append({**about, **values})
    return pd.DataFrame(whole), {size: pd.DataFrame(rows) for size, rows in thinned.items()}


def oldest_age(history: History) -> int:
    """Return the largest age of the reference up to ``monitor.reference_age`` that the data has
    MIN_WEEKS weeks for.

    Raises:
        TooFewWeeks: it has fewer for a reference that ends where the window begins.
    """
    settings = history.settings
    for age in range(settings.reference_age, -1, -1):
        weeks = len({history.week(end) for end in history.ends(age, SIZES[0])})
        if weeks >= MIN_WEEKS:
            return age
    raise TooFewWeeks(
        f"data/prepared has {weeks} windows of {settings.window_days} days that have "
        f"{SIZES[0]} visits or more and {settings.reference_weeks} windows before them; the "
        f"alarm needs {MIN_WEEKS}: bring older data, lower monitor.window_days or "
        "monitor.reference_weeks, or wait for more traffic"
    )


def fit_scale(values: pd.DataFrame, visits: float, age: int, rate: float) -> Scale:
    """Return the scale of the rows of ``values`` (windows × week and statistics) of one age."""
    names = [n for n in STATISTICS if n in values and values[n].notna().sum() >= MIN_WEEKS]
    roots = np.sqrt(values[names])
    mean, spread = roots.mean(), roots.std().clip(lower=LEAST_SPREAD)
    scaled = ((roots - mean) / spread).drop(columns=list(INFORMATIVE), errors="ignore")
    scores = scaled.max(axis=1).groupby(values["week"]).max().dropna().to_numpy()
    limit = tail(scores, rate)
    return Scale(float(visits), age, len(scores), limit, mean.to_dict(), spread.to_dict())


def tail(scores: DoubleArray, rate: float) -> float:
    """Return the value that a further score exceeds with probability ``rate``.

    scores: of ordinary weeks. The quantile of a Gumbel distribution with their mean and variance,
    or, if it is larger, the split-conformal quantile (Vovk et al. 2005), the ⌈(n + 1)(1 - rate)⌉-th
    smallest: a few dozen weeks alone say nothing about rates of 1 %.
    """
    scale = float(np.std(scores, ddof=1)) * math.sqrt(6) / math.pi
    location = float(np.mean(scores)) - np.euler_gamma * scale
    rank = min(len(scores), math.ceil((len(scores) + 1) * (1 - rate)))
    return max(float(gumbel_r.isf(rate, location, scale)), float(np.sort(scores)[rank - 1]))


def fit_scales(whole: pd.DataFrame, thinned: dict[int, pd.DataFrame], rate: float) -> list[Scale]:
    """Return the scales by age and, within an age, by size. The threshold is that of the whole
    windows: a score is in units of its own size's spread."""
    scales = []
    for age, values in whole.groupby("age"):
        usual = float(values["visits"].median())
        own = fit_scale(values, usual, int(age), rate)
        for size, rows in thinned.items():
            part = rows[rows["age"] == age] if len(rows) else rows
            if size < usual and len(part) >= MIN_WEEKS:
                small = fit_scale(part, size, int(age), rate)
                mean, spread = small.mean, small.spread
                scales.append(Scale(size, int(age), own.draws, own.threshold, mean, spread))
        scales.append(own)
    return scales


def alarms(values: pd.DataFrame, scale: Scale) -> int:
    """Return in how many weeks of ``values`` a window exceeds the scale's threshold."""
    above = [scale.score(row) > scale.threshold for row in values.to_dict("records")]
    return int(pd.Series(above, index=values.index).groupby(values["week"]).any().sum())


def false_alarms(whole: pd.DataFrame, rate: float) -> tuple[DoubleArray, DoubleArray]:
    """Return the share of the ordinary weeks that alarm by age, (ages,) each.

    The first is leave-one-week-out (the threshold for each week is set by the others). The second
    is of the later weeks, with thresholds set only by the weeks before each, as in production.
    """
    left_out: list[float] = []
    held_out: list[float] = []
    for age, values in whole.groupby("age"):
        weeks = values["week"].unique()
        later = weeks[max(MIN_WEEKS, round(len(weeks) * EARLIER_SHARE)) :]
        others = {week: values[values["week"] != week] for week in weeks}
        before = {week: values[values["week"] < week] for week in later}
        for rates, given in ((left_out, others), (held_out, before)):
            found = [
                alarms(values[values["week"] == week], fit_scale(some, 0.0, int(age), rate))
                for week, some in given.items()
            ]
            rates.append(float(np.mean(found)) if found else 0.0)
    return np.array(left_out), np.array(held_out)


@dataclass(frozen=True)
class AttackScale:
    """Threshold of each sign of an attack (``attack.SIGNS``), and the usual visits of a window.

    The signs are improbabilities of −log10 p, which grow with the traffic at the same behaviour: a
    window with more visits than usual is compared in proportion.
    """

    thresholds: dict[str, float]
    visits: float

    def scaled(self, sign: str, value: DoubleArray | float, visits: int) -> DoubleArray:
        """Return a sign's value in units of its threshold."""
        growth = max(1.0, visits / self.visits) if sign != "repeats" else 1.0
        return np.asarray(value) / (self.thresholds[sign] * growth)


def calibrate_attack(history: History, rate: float) -> tuple[AttackScale, pd.DataFrame]:
    """Return the scale of the signs of an attack, and their values in the ordinary windows."""
    rows = []
    days = history.settings.window_days
    n_items = len(history.coded.values["item"])
    users, items = history.coded.codes["user_id"], history.coded.codes["item"]
    for end in history.ends(0, SIZES[0]):
        window = history.rows(end - days, end)
        new = history.first_of_user >= end - days
        found = signs(users[window], items[window], history.hours[window], new, n_items)
        about = {"end": end, "week": history.week(end), "visits": history.visits(window)}
        rows.append({**about, **found.largest()})
    table = pd.DataFrame(rows)
    weekly = table.groupby("week")[list(SIGNS)].max()
    thresholds = {name: tail(weekly[name].to_numpy(), rate / len(SIGNS)) for name in SIGNS}
    return AttackScale(thresholds, float(table["visits"].median())), table


def calibrate_broken(history: History, frame: pd.DataFrame) -> dict[str, float]:
    """Return the limits of the checks for broken data (``broken.limits_of``).

    frame: the ``clean_window`` of the history. Each day is judged as part of a window whose
    reference ended ``oldest_age`` windows before.
    """
    settings = history.settings
    days, oldest = settings.window_days, oldest_age(history)
    items, users = (history.coded.values[name] for name in ("item", "user_id"))
    parts, feeds, expected = [], [], []
    for end in history.ends(oldest, 0)[::-days]:
        start, last = end - days, end - days - oldest * days
        reference = frame.iloc[history.rows(last - days * settings.reference_weeks, last)]
        if reference.empty:
            continue
        baseline = Baseline.of(
            reference,
            pd.Index(items[history.first_of_item < last]),
            pd.Index(users[history.first_of_user < start]),
            history.visits_by_day().iloc[:0],  # the first year has no year before it
        )
        window = frame.iloc[history.rows(start, end)]
        dates = pd.DatetimeIndex(history.dates(start, end))
        if len(window):
            parts.append(measure_days(window, baseline))
        feeds.append(history.visits_by_day().reindex(dates, fill_value=0))
        expected.append(pd.Series(baseline.expected(dates), index=dates))
    return limits_of(
        pd.concat(parts).sort_index(),
        pd.concat(feeds).sort_index(),
        pd.concat(expected).sort_index(),
    )


def interpolated(scales: Sequence[Scale], visits: float, age: float) -> Scale:
    """Return the scale for a window of ``visits`` and a reference of ``age`` windows.

    Linear in log(size) and in the age; beyond the largest size or age, that of the largest.
    """
    ages = sorted({one.age for one in scales})
    age = min(max(age, ages[0]), ages[-1])
    low = max(one for one in ages if one <= age)
    high = min(one for one in ages if one >= age)
    a, b = (_of_size([s for s in scales if s.age == one], visits) for one in (low, high))
    share = 0.0 if high == low else (age - low) / (high - low)

    def mix(x: float, y: float) -> float:
        return x + share * (y - x)

    names = [name for name in a.mean if name in b.mean]
    return Scale(
        visits,
        round(age),
        min(a.draws, b.draws),
        mix(a.threshold, b.threshold),
        {name: mix(a.mean[name], b.mean[name]) for name in names},
        {name: mix(a.spread[name], b.spread[name]) for name in names},
    )


def _of_size(scales: Sequence[Scale], visits: float) -> Scale:
    sizes = [scale.visits for scale in scales]
    at, logs = np.log(np.clip(visits, sizes[0], sizes[-1])), np.log(sizes)
    common = set.intersection(*(set(scale.mean) for scale in scales))
    names = [name for name in STATISTICS if name in common]

    def between(values: list[float]) -> float:
        return float(np.interp(at, logs, values))

    return Scale(
        visits,
        scales[0].age,
        scales[0].draws,
        between([scale.threshold for scale in scales]),
        {name: between([scale.mean[name] for scale in scales]) for name in names},
        {name: between([scale.spread[name] for scale in scales]) for name in names},
    )


@dataclass(frozen=True)
class Calibration:
    """All that is learned from ordinary weeks, and flat figures about it."""

    scales: list[Scale]
    attack: AttackScale
    limits: dict[str, float]
    windows: pd.DataFrame
    figures: dict[str, float]

    @classmethod
    def none(cls) -> Calibration:
        """Return the calibration of data with too few weeks: nothing is judged."""
        return cls([], AttackScale({}, 0.0), {}, pd.DataFrame({"age": [], "end": []}), {})


def calibrate(history: History, frame: pd.DataFrame) -> Calibration:
    """Return the calibration; frame: the ``clean_window`` of the history.

    windows: the whole windows' statistics, with the score at their own age. figures:
    ``false_alarm_rate`` and ``held_out_false_alarm_rate`` are the means over all ages, see
    ``false_alarms``, and ``…_worst`` the largest of an age.

    Raises:
        TooFewWeeks: see ``oldest_age``.
    """
    rate = NOMINAL * history.settings.false_alarm_rate
    whole, thinned = measure(history)
    scales = fit_scales(whole, thinned, rate)
    left_out, held_out = false_alarms(whole, rate)
    own = {scale.age: scale for scale in scales}  # the last of an age is that of whole windows
    whole["score"] = [own[int(row["age"])].score(row) for row in whole.to_dict("records")]
    attack, _ = calibrate_attack(history, rate)
    figures = {
        "threshold": own[0].threshold,
        "oldest_age": max(own),
        "false_alarm_rate": float(left_out.mean()),
        "false_alarm_rate_worst": float(left_out.max()),
        "held_out_false_alarm_rate": float(held_out.mean()),
        "held_out_false_alarm_rate_worst": float(held_out.max()),
        "weeks": int(whole["week"].nunique()),
        "visits_per_week": own[0].visits,
    }
    return Calibration(scales, attack, calibrate_broken(history, frame), whole, figures)
