"""Observed against expected clicks: the first sign that the lists no longer fit, before purchases.

In: the lists that were shown in the window and in the weeks before it, and the events that name
them. Out: the ratio of the window's clicks to those that were expected, and its lowest ordinary
value.

The expected clicks come from a calibrated click model: a logistic regression of whether an item
was followed, on its place (the examination hypothesis: Craswell, Zoeter, Taylor and Ramsey, WSDM
2008), on what made the list, and on the quantile of its score among the scores of its version. So
longer lists, or more shoppers without a history, are no fall. The model is fitted on the weeks
before the window, and so are the ordinary values: the prediction interval of a new week's
logarithmic ratio by Student's t distribution, whose width includes how much weeks differ.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

from components.arrays import DoubleArray
from components.data.feedback import day_of, read_columns
from components.data.impressions import read_exported
from components.data.schema import BATCH, SHOP
from components.data.schema import SESSION as SIGNED_SESSION
from components.file_erasure import SESSION
from monitoring.outcomes import FOLLOWED

WEEKS = 8
"""Windows before the newest one that the expectation is learned from."""
MIN_WEEKS = 4
MIN_CLICKS = 30
"""Expected clicks that a window needs to be judged, or to be learned from."""
LISTS_A_DAY = 2000
"""Lists of a day that are used at most: all of a shopper, always of the same shoppers."""
LISTS_A_SHOPPER = 20
"""Lists of a shopper in a window that are used at most, so that nobody decides the ratio."""
SETTLING = pd.Timedelta(hours=1)
"""Lists shown so shortly before the last event are left out: their clicks are yet to come."""

NEW = pd.Timedelta(days=1)
SHARE = 0.2
"""Of ``monitor.false_alarm_rate``, for clicks. Drift of the statistics and attacks are given less
than a tenth of it (``calibration.NOMINAL``), because the next year differs from the one before."""

LISTS = ("impression_id", "user_id", "item_ids", "scores", "model_version", "source", "timestamp")


@dataclass(frozen=True)
class ClickRate:
    """Clicks on the shown items of a window.

    lists: judged. observed: items followed by a click, cart or purchase. expected: by the model of
    the weeks before. ratio: of the two. lowest: the lowest ordinary ratio. weeks: the ratios that
    it was learned from, the oldest first.
    """

    lists: int
    observed: int
    expected: float
    ratio: float
    lowest: float
    weeks: list[float]

    @property
    def fell(self) -> bool:
        """Whether shoppers follow fewer items than in any ordinary week."""
        return self.ratio < self.lowest

    @property
    def sentence(self) -> str:
        """The ratio in words."""
        return (
            f"clicks on shown items: {self.observed:,}, {self.ratio:.2f} times the "
            f"{self.expected:,.0f} that were expected, alarming below {self.lowest:.2f}"
        )


def click_rate(
    lists: pd.DataFrame, followed: pd.DataFrame, window_days: int, false_alarm_rate: float
) -> ClickRate | None:
    """Return the clicks of the newest window, None where there is too little to judge.

    lists: one row a list, the columns LISTS; windows are counted back from the newest one.
    followed: impression_id and item_id of the events FOLLOWED, in any order. false_alarm_rate:
    share of ordinary weeks with an alarm of any kind on any of their days, at most about; this one
    has SHARE of it.

    >>> import datetime
    >>> day = pd.date_range("2026-01-05", periods=63, freq="D", tz="UTC").repeat(80)
    >>> n = np.arange(len(day))
    >>> lists = pd.DataFrame({
    ...     "impression_id": n.astype(str), "user_id": (n % 700).astype(str), "timestamp": day,
    ...     "item_ids": [["a", "b"]] * len(n), "scores": [[2.0, 1.0]] * len(n),
    ...     "model_version": "1", "source": "model"})
    >>> clicked = lists[(n % 5 == 0) & ((n < 4480) | (n % 10 == 0))].assign(item_id="a")
    >>> found = click_rate(lists, clicked, 7, 0.05)
    >>> round(found.ratio, 2), found.fell
    (0.5, True)
    """
    if lists.empty:
        return None
    times = pd.to_datetime(lists["timestamp"], utc=True)
    age = (times.max() - times) // pd.Timedelta(days=window_days)
    lists = lists.assign(age=age)[(age <= WEEKS) & _of_customers(lists)]
    shown = _capped(lists).reset_index(drop=True)
    if shown.empty:
        return None
    places = _places(shown, followed)
    earlier = places["age"] > 0
    if places.loc[earlier, "followed"].nunique() < 2:
        return None
    places["expected"] = _expected(places, earlier.to_numpy())
    sums = places.groupby("age")[["followed", "expected"]].sum()
    learned = sums[(sums.index > 0) & (sums["expected"] >= MIN_CLICKS)].sort_index(ascending=False)
    if 0 not in sums.index or sums.loc[0, "expected"] < MIN_CLICKS or len(learned) < MIN_WEEKS:
        return None
    ratios = np.log((learned["followed"] + 0.5) / (learned["expected"] + 0.5)).to_numpy()
    observed, expected = int(sums.loc[0, "followed"]), float(sums.loc[0, "expected"])
    # Weeks may agree by chance: their spread is at least that of independent clicks.
    spread = max(float(ratios.std(ddof=1)), expected**-0.5)
    # A week has window_days daily looks.
    quantile = student.ppf(1 - SHARE * false_alarm_rate / window_days, len(ratios) - 1)
    lowest = ratios.mean() - quantile * spread * np.sqrt(1 + 1 / len(ratios))
    return ClickRate(
        int((shown["age"] == 0).sum()),
        observed,
        expected,
        (observed + 0.5) / (expected + 0.5),
        float(np.exp(lowest)),
        np.exp(ratios).tolist(),
    )


def _of_customers(lists: pd.DataFrame) -> pd.Series:
    """Return which lists were shown to customers of the shop. Anybody can make sessions that click
    nothing, or everything."""
    users = lists["user_id"].astype("string")
    return users.notna() & ~users.str.startswith(SESSION, na=False)


def _capped(lists: pd.DataFrame) -> pd.DataFrame:
    """Return at most LISTS_A_SHOPPER lists a shopper and window, the first ones."""
    lists = lists.sort_values(["timestamp", "impression_id"], kind="stable")
    return lists[lists.groupby(["age", "user_id"]).cumcount() < LISTS_A_SHOPPER]


def _places(lists: pd.DataFrame, followed: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each shown item: age, place from 0, source, quantile of score, followed."""
    lengths = lists["item_ids"].map(len).to_numpy(dtype=np.int64)
    row = np.repeat(np.arange(len(lists)), lengths)
    starts = np.cumsum(lengths) - lengths
    items = np.concatenate([[], *lists["item_ids"]]).astype(object)
    places = pd.DataFrame(
        {
            "age": lists["age"].to_numpy()[row],
            "place": np.arange(len(row)) - starts[row],
            "version": lists["model_version"].astype(str).to_numpy()[row],
            "source": lists["source"].astype(str).to_numpy()[row],
            "score": np.concatenate([[], *lists["scores"]]).astype(np.float64),
        }
    )
    by_version = places.groupby(["version", "source"])["score"]
    places["quantile"] = by_version.rank(pct=True).fillna(0.5)
    pairs = pd.MultiIndex.from_arrays([lists["impression_id"].to_numpy()[row], items])
    clicked = pd.MultiIndex.from_frame(followed[["impression_id", "item_id"]].astype(object))
    places["followed"] = pairs.isin(clicked)
    return places


def _expected(places: pd.DataFrame, earlier: np.ndarray) -> DoubleArray:
    """Return the probabilities that the items are followed, learned from the ``earlier`` rows."""
    from sklearn.linear_model import LogisticRegression  # a second to import

    features = pd.DataFrame(
        {"place": np.log2(1.0 + places["place"]), "quantile": places["quantile"]}
    )
    sources = pd.get_dummies(places["source"], dtype=float)
    features = pd.concat([features, sources], axis=1).to_numpy()
    model = LogisticRegression(C=100.0, max_iter=200)
    model.fit(features[earlier], places.loc[earlier, "followed"])
    probability: DoubleArray = model.predict_proba(features)[:, 1]
    return probability


def read_click_rate(
    impressions: Path,
    feedback: Path,
    window_days: int,
    false_alarm_rate: float,
    now: pd.Timestamp,
    trained_until: pd.Timestamp,
    held: Collection[date] = (),
) -> ClickRate | None:
    """Return the clicks of the newest window of exported lists and feedback; see ``click_rate``.

    impressions, feedback: folders that ``bowerbird export-feedback`` writes; they are read day by
    day. held: days whose lists are left out. None also where the newest list is older than a day,
    and where a training has learned from a part of the window (``trained_until``): one fall calls
    for one training.

    Raises:
        ValueError: a file that is needed cannot be read.
    """
    days = {file: day for file in sorted(impressions.glob("*.parquet")) if (day := day_of(file))}
    if not days:
        return None
    first = max(days.values()) - pd.Timedelta(days=(WEEKS + 1) * window_days)
    parts = [
        _sampled(read_exported([file], LISTS))
        for file, day in days.items()
        if day >= first and day.date() not in held
    ]
    if not parts:
        return None
    lists = pd.concat(parts, ignore_index=True)
    lists["timestamp"] = pd.to_datetime(lists["timestamp"], utc=True)
    until = lists["timestamp"].max()
    if lists.empty or now - until > NEW or trained_until > until - pd.Timedelta(days=window_days):
        return None
    followed, newest = [], lists["timestamp"].min()
    for file in sorted(feedback.rglob("*.parquet")):
        day = day_of(file)
        if day is None or day < first:
            continue
        columns = ["impression_id", "item_id", "event", "timestamp", "authentication"]
        events = read_columns(file).reindex(columns=columns)  # old files lack some
        events = events[events["authentication"].isin((SHOP, SIGNED_SESSION))]
        newest = max(newest, pd.to_datetime(events["timestamp"], utc=True).max())
        named = events["impression_id"].isin(lists["impression_id"])
        followed.append(events[named & events["event"].isin(FOLLOWED)])
    if not followed:
        return None
    lists = lists[lists["timestamp"] <= newest - SETTLING]
    return click_rate(lists, pd.concat(followed), window_days, false_alarm_rate)


def _sampled(lists: pd.DataFrame) -> pd.DataFrame:
    """Return LISTS_A_DAY lists of a day at most: all that count of a shopper, or none."""
    # Whether a list of `bowerbird recommend-all` was seen is not known.
    lists = lists[_of_customers(lists) & (lists["source"] != BATCH)].assign(age=0)
    lists = _capped(lists).drop(columns="age")
    order = pd.util.hash_array(lists["user_id"].astype(object).to_numpy())
    return lists.iloc[np.argsort(order, kind="stable")[:LISTS_A_DAY]]
