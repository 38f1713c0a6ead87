"""Broken data: checks of each day of a window against the reference.

In: the window's rows as they arrived, and the ``Baseline`` of the reference. Out: ``Finding``s,
one for each check and day.

A check has a limit far outside ordinary days: at least the floor below, and beyond the most extreme
ordinary day of the training data (``limits_of``), judged with a reference as old as it gets
between two trainings. So a day that fails is not an unusual day, but one whose data cannot be
right; it is held back and not learned from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon

from components.arrays import DoubleArray
from components.clock import CLOCK_SKEW
from components.data.schema import SHOP
from components.file_erasure import SESSION

MIN_VISITS = 20
"""Least visits (or rows) of a day for the checks of shares, and least expected visits of an open
day."""

FLOORS = {
    "missing_user": 0.2,
    "missing_item": 0.2,
    "missing_price": 0.2,
    "missing_quantity": 0.2,
    "price_scale": float(np.log(1.1)),
    "unknown_items": 0.5,
    "strange_items": 0.2,
    "unknown_users": 0.8,
    "strange_users": 0.2,
    "one_instant": 0.3,
    "clock_shift": 0.15,
    "wrong_clock": 0.2,
    "feed_low": float(np.log(2)),
    "feed_gap": 1.0,
}
"""Least limit of each check; see ``measure_days`` for what they measure."""

LABELS = {
    "missing_user": "{:.0%} of the rows have no customer",
    "missing_item": "{:.0%} of the rows have no product",
    "missing_price": "{:.0%} of the rows have no price",
    "missing_quantity": "{:.0%} of the rows have no quantity",
    "price_scale": "the prices of all products changed at once, by the factor {:.3g}",
    "unknown_items": "{:.0%} of the rows are on products that were unknown",
    "strange_items": "{:.0%} of the rows have product ids of an unknown form",
    "unknown_users": "{:.0%} of the customers were unknown",
    "strange_users": "{:.0%} of the customers have ids of an unknown form",
    "one_instant": "{:.0%} of the visits are at the same second",
    "clock_shift": "the hours of the visits are shifted",
    "wrong_clock": "{:.0%} of the rows received are dated days before or after",
    "feed_low": "{:.0%} of the usual visits arrived",
    "feed_gap": "no event in {:.0f} open days",
}
"""What a finding says, with the value in words."""

OF_VISITS = ("unknown_users", "strange_users", "one_instant", "clock_shift")
OF_ROWS = (
    *("missing_user", "missing_item", "missing_price", "missing_quantity"),
    *("price_scale", "unknown_items", "strange_items"),
)
OF_WHOLE_DAYS = ("clock_shift", "feed_low")
LATE = pd.Timedelta(days=2)
"""An event may be received so much later than its day."""
SEASON = pd.Timedelta(days=364)
"""A year ago, on the same day of the week."""


@dataclass(frozen=True)
class Finding:
    """One check that failed on one day. day: ISO 8601. limit: of the value."""

    check: str
    day: str
    value: float
    limit: float
    sentence: str


@dataclass(frozen=True)
class Baseline:
    """What a day is compared with.

    prices: median log price by item id. items, users: ids that are known. hours: visits in each
    hour of the day (24,). visits: median visits by weekday (7,), 0 = Monday. history: visits of
    each day of the training data, by UTC midnight, for last year's closed days.
    """

    prices: pd.Series
    items: pd.Index
    users: pd.Index
    hours: DoubleArray
    visits: DoubleArray
    history: pd.Series

    @classmethod
    def of(
        cls, reference: pd.DataFrame, items: pd.Index, users: pd.Index, history: pd.Series
    ) -> Baseline:
        """Return the baseline of a reference's clean rows (see ``features.clean_window``)."""
        first = _visits(reference)
        days = first.groupby(first["day"]).size()
        whole = pd.date_range(days.index.min(), days.index.max(), freq="D")
        days = days.reindex(whole, fill_value=0)
        return cls(
            _log(reference["price"]).groupby(reference["item_id"]).median().dropna(),
            items,
            users,
            np.bincount(first["timestamp"].dt.hour, minlength=24).astype(float),
            days.groupby(days.index.weekday).median().reindex(range(7), fill_value=0).to_numpy(),
            history,
        )

    def expected(self, days: pd.DatetimeIndex) -> DoubleArray:
        """Return the visits expected on each day, 0 on a weekday on which the shop is closed.

        The median of the weekday; at most the least that came on an open day within three days of
        the same day a year before: a season that returns is no fault.
        """
        usual: DoubleArray = self.visits[days.weekday]
        found = usual.copy()
        for shift in range(-3, 4):
            then = days - SEASON + pd.Timedelta(days=shift)
            before = self.history.reindex(then).to_numpy(dtype=float)
            found = np.where((before > 0) & (before < found), before, found)
        return np.where(usual >= MIN_VISITS, found, 0.0)

    def closed_before(self, day: pd.Timestamp) -> int:
        """Return the longest run of open days without an event within a week of ``day``, a year
        before it: holidays that return."""
        week = pd.Timedelta(days=7)
        days = pd.date_range(day - SEASON - week, day - SEASON + week, freq="D")
        feed = self.history.reindex(days).dropna()
        usual = pd.Series(self.visits[feed.index.weekday], index=feed.index)
        runs = _runs(feed, usual)
        return int(runs.max()) if len(runs) else 0


def _log(column: pd.Series) -> pd.Series:
    """Return the natural logarithm, NaN where the value is missing or not positive."""
    values = column.astype(float)
    return np.log(values.where(values > 0))


def _visits(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first row of each user and day, with the column day; rows: in order of time."""
    rows = rows.assign(day=rows["timestamp"].dt.floor("D"))
    return rows.drop_duplicates(["user_id", "day"])


def form(ids: pd.Series) -> pd.Series:
    """Return the form of each id: a run of digits is 9, a run of letters A.

    >>> form(pd.Series(["85048", "79323P", "SKU-85048"])).tolist()
    ['9', '9A', 'A-9']
    """
    short = ids.astype(str).str.replace(r"\d+", "9", regex=True)
    return short.str.replace(r"[^\W\d_]+", "A", regex=True)


def measure_days(rows: pd.DataFrame, baseline: Baseline) -> pd.DataFrame:
    """Return OF_ROWS, OF_VISITS, rows and visits of each day with events; index: UTC midnight.

    rows: interactions with times, also without user or item. missing_*: share of rows; a price
    counts only where the sender may set one. price_scale: log ratio of the price to the reference's
    of the same item that three quarters of the rows exceed, up or down; factor: their median ratio.
    unknown_*: share of ids that the baseline does not know. strange_*: the same, of a form
    (``form``) that no known id has. one_instant: largest share of the visits at one second.
    clock_shift: by how much the hours fit better (Jensen-Shannon distance) when they are shifted
    by two hours or more: a change to summer time is no fault.
    """
    rows = rows.assign(day=rows["timestamp"].dt.floor("D")).sort_values("timestamp", kind="stable")
    by_day = rows["day"]
    priced = rows
    if "authentication" in rows:
        sender = rows["authentication"]
        priced = rows[sender.isna() | (sender == SHOP)]
    known = rows.dropna(subset=["user_id", "item_id"])
    ratio = _log(known["price"]) - known["item_id"].map(baseline.prices)
    scale = _common(ratio.dropna(), known["day"])
    first = _visits(known)
    first = first[~first["user_id"].astype(str).str.startswith(SESSION)]
    every = _visits(known)
    instant = every.groupby(["day", every["timestamp"].dt.floor("s")]).size()
    found = pd.DataFrame(
        {
            "missing_user": rows["user_id"].isna().groupby(by_day).mean(),
            "missing_item": rows["item_id"].isna().groupby(by_day).mean(),
            "missing_price": _log(priced["price"]).isna().groupby(priced["day"]).mean(),
            "missing_quantity": _log(rows["quantity"]).isna().groupby(by_day).mean(),
            "price_scale": scale,
            "factor": np.exp(ratio.groupby(known["day"]).median()),
            **_unknown(known["item_id"], baseline.items, known["day"], "items"),
            **_unknown(first["user_id"], baseline.users, first["day"], "users"),
            "one_instant": instant.groupby("day").max() / every.groupby("day").size(),
            "clock_shift": _clock_shift(every, baseline.hours),
            "visits": every.groupby("day").size(),
            "rows": by_day.groupby(by_day).size(),
        }
    )
    return found.assign(visits=found["visits"].fillna(0))


def _common(ratio: pd.Series, day: pd.Series) -> pd.Series:
    """Return the log ratio that three quarters of the rows of a day exceed in one direction."""
    by_day = ratio.groupby(day.reindex(ratio.index))
    up, down = by_day.quantile(0.25), -by_day.quantile(0.75)
    common = np.maximum(np.maximum(up, down), 0.0)
    return common.where(by_day.size() >= MIN_VISITS)


def _unknown(ids: pd.Series, known: pd.Index, day: pd.Series, name: str) -> dict[str, pd.Series]:
    """Return the shares of unknown ids, and of those of an unknown form, by day."""
    unknown = ~ids.isin(known)
    forms = set(form(pd.Series(known, dtype=object)).unique())
    strange = unknown & ~form(ids).isin(forms)
    return {
        f"unknown_{name}": unknown.groupby(day).mean(),
        f"strange_{name}": strange.groupby(day).mean(),
    }


def _clock_shift(visits: pd.DataFrame, hours: DoubleArray) -> pd.Series:
    """Return for each day by how much a shift of its hours brings them closer to ``hours``."""

    def gain(times: pd.Series) -> float:
        counts = np.bincount(times.dt.hour, minlength=24)
        distance = [jensenshannon(np.roll(counts, shift), hours) for shift in range(24)]
        return float(max(0.0, distance[0] - min(distance[2:-1])))

    return visits.groupby("day")["timestamp"].apply(gain)


def wrong_clocks(received: pd.DataFrame) -> pd.Series:
    """Return the share of the rows received on a day that are dated more than LATE before it or
    more than CLOCK_SKEW after it, by day; only days after one on which the clocks were right.

    received: timestamp, and received, the UTC midnight of the day of receipt. So an import of old
    events, on the first day of a feed, is no wrong clock.
    """
    day = received["received"]
    lag = received["timestamp"] - day
    wrong = (lag < -LATE) | (lag > pd.Timedelta(days=1) + CLOCK_SKEW)
    shares = wrong.groupby(day).mean()
    enough = wrong.groupby(day).size() >= MIN_VISITS
    right = shares.index[enough & (shares < FLOORS["wrong_clock"])]
    after = shares.index > right.min() if len(right) else np.zeros(len(shares), dtype=bool)
    return shares[enough & after]


def limits_of(days: pd.DataFrame, feed: pd.Series, baseline_visits: pd.Series) -> dict[str, float]:
    """Return the limit of each check from the ordinary days of the training data.

    days: ``measure_days`` of each, against a reference as old as it gets. feed, baseline_visits:
    visits and expected visits of each day, 0 included.

    A limit is twice the largest ordinary value, the floor at least. That of unknown ids is halfway
    from that value to 1, and that of missing values is at most halfway. feed_low: half of the
    lowest ordinary share of the expected visits. feed_gap: the longest ordinary run of open days
    without an event.
    """
    limits = dict(FLOORS)
    for name in (*OF_ROWS, *OF_VISITS):
        most = _judged(days, name)[name].max()
        if np.isfinite(most):
            halfway, beyond = (1 + most) / 2, 2 * most
            if name.startswith("unknown"):
                beyond = halfway
            elif name.startswith("missing"):
                beyond = min(beyond, halfway)
            limits[name] = max(limits[name], float(beyond))
    open_days = baseline_visits >= MIN_VISITS
    some = feed[open_days & (feed > 0)] / baseline_visits[open_days & (feed > 0)]
    if len(some):
        limits["feed_low"] = max(limits["feed_low"], float(np.log(2) - np.log(some.min())))
    runs = _runs(feed, baseline_visits)
    limits["feed_gap"] = max(limits["feed_gap"], float(runs.max()) if len(runs) else 0.0)
    return limits


def _judged(days: pd.DataFrame, check: str) -> pd.DataFrame:
    """Return the days with enough rows or visits for a check."""
    return days[days["rows" if check in OF_ROWS else "visits"] >= MIN_VISITS]


def _runs(feed: pd.Series, expected: pd.Series) -> pd.Series:
    """Return for each open day the number of open days without an event that end there."""
    open_days = (expected >= MIN_VISITS) | (feed > 0)
    silent = (feed == 0)[open_days]
    return silent.groupby((~silent).cumsum()).cumsum()


def find_broken(
    rows: pd.DataFrame,
    baseline: Baseline,
    limits: dict[str, float],
    days: pd.DatetimeIndex,
    received: pd.DataFrame | None = None,
    skip: Iterable[pd.Timestamp] = (),
    partial: Iterable[pd.Timestamp] = (),
) -> list[Finding]:
    """Return the findings of ``days``, oldest first.

    rows: see ``measure_days``; of these days. received: see ``wrong_clocks``. skip: days that are
    not checked, because they are held already or an operator released them. partial: days of which
    ``rows`` has a part only; what depends on the number or the hours of their visits is not
    checked.
    """
    found: list[tuple[pd.Timestamp, str, float, float]] = []
    measured = measure_days(rows, baseline) if len(rows) else pd.DataFrame(columns=["visits"])
    for name in (*OF_ROWS, *OF_VISITS) if len(measured) else ():
        judged = _judged(measured, name)
        failed = judged[judged[name] > limits[name]]
        shown = failed["factor"] if name == "price_scale" else failed[name]
        found += [(day, name, value, limits[name]) for day, value in shown.items()]
    if len(measured):
        found += _missing_on_small_days(measured, limits)
    found += _feed(measured["visits"], baseline, limits, days)
    parts = set(partial)
    found = [one for one in found if one[1] not in OF_WHOLE_DAYS or one[0] not in parts]
    if received is not None and len(received):
        clocks = wrong_clocks(received)
        clocks = clocks[clocks > limits["wrong_clock"]]
        found += [
            (day, "wrong_clock", value, limits["wrong_clock"]) for day, value in clocks.items()
        ]
    skipped = set(skip)
    return [
        Finding(
            name,
            str(day.date()),
            float(value),
            float(limit),
            f"{day.date()}: {LABELS[name].format(value)}",
        )
        for day, name, value, limit in sorted(found, key=lambda one: one[:2])
        if day not in skipped
    ]


def _missing_on_small_days(
    measured: pd.DataFrame, limits: dict[str, float]
) -> Sequence[tuple[pd.Timestamp, str, float, float]]:
    """Return the days with too few rows to be judged alone that miss a value, judged together."""
    small = measured[measured["rows"] < MIN_VISITS]
    found = []
    for name in OF_ROWS:
        if name.startswith("missing") and small["rows"].sum() >= MIN_VISITS:
            known = small[name].dropna()
            if len(known) and np.average(known, weights=small["rows"][known.index]) > limits[name]:
                failed = known[known > limits[name]]
                found += [(day, name, value, limits[name]) for day, value in failed.items()]
    return found


def _feed(
    visits: pd.Series, baseline: Baseline, limits: dict[str, float], days: pd.DatetimeIndex
) -> Sequence[tuple[pd.Timestamp, str, float, float]]:
    """Return the days on which too few or, for too long, no events arrived."""
    if not len(days):
        return []
    feed = visits.astype(float).reindex(days, fill_value=0.0)
    expected = pd.Series(baseline.expected(days), index=days)
    share = (feed / expected)[(expected >= MIN_VISITS) & (feed > 0)]
    least = float(np.exp(-limits["feed_low"]))
    low = [(day, "feed_low", value, least) for day, value in share[share < least].items()]
    usual = pd.Series(baseline.visits[days.weekday], index=days)
    runs = _runs(feed, usual)
    gaps = []
    for day, value in runs[runs > limits["feed_gap"]].items():
        # A holiday that returns may be some days longer this year.
        limit = max(limits["feed_gap"], 1.5 * baseline.closed_before(day))
        if value > limit:
            gaps.append((day, "feed_gap", value, limit))
    return low + gaps
