"""Drift statistics: distances between the counts of a reference and of a window.

The distances are those of Evidently's drift methods ``wasserstein`` and ``jensenshannon``: its
report over the same feature tables shows the same figures. They are distances and not p-values,
which on thousands of rows call every difference significant.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from components.arrays import DoubleArray
from monitoring.counts import CATEGORICAL, NUMERIC, CodedTable, Counts
from monitoring.features import ITEM, USER, attributes_of

SHARES = ("unseen_items", "new_texts", "new_users")
ATTRIBUTES = {"item_attributes": ITEM, "user_attributes": USER}
"""Statistics that only shops with attributes have, with the prefix of the columns."""
STATISTICS = (*NUMERIC, *CATEGORICAL, "text", *ATTRIBUTES, *SHARES)
INFORMATIVE = ("quantity", "basket", "hour", "weekday")
"""Statistics that the report shows and that raise no alarm: no model learns from them, so a
retraining changes nothing about them, and holidays move them."""

LABELS = {
    "price": "unit price",
    "quantity": "quantity per row",
    "basket": "rows per visit",
    "hour": "hour of the day",
    "weekday": "day of the week",
    "country": "country",
    "category": "mix of categories",
    "item": "mix of items",
    "text": "meaning of the items' texts",
    "item_attributes": "attributes of the items",
    "user_attributes": "attributes of the users",
    "unseen_items": "share of events on items the reference weeks did not have",
    "new_texts": "share of events on items the language model has not encoded",
    "new_users": "share of events by users the reference weeks did not have",
}

MIN_VALUES = 30
"""Least number of known values on either side; with fewer, a statistic is NaN."""

LEAST_DEVIATION = 0.001
"""Evidently's bound: a constant column has a distance too."""


def statistics(
    reference: pd.DataFrame, current: pd.DataFrame, window_days: int
) -> dict[str, float]:
    """Return STATISTICS for two feature tables, NaN if there are too few values.

    The weekday is used only if the window spans at least ``window_days - 1`` days, because a part
    of a week always has other weekdays.
    """
    coded = CodedTable.of(pd.concat([reference, current], ignore_index=True))
    n = len(reference)
    days = (current["day"].max() - current["day"].min()).days + 1 if len(current) else 0
    return distances(
        coded.count(slice(n)),
        coded.count(slice(n, None)),
        coded.values,
        current["new_text"].mean() if len(current) else np.nan,
        days >= window_days - 1,
    )


def distances(
    reference: Counts,
    current: Counts,
    values: dict[str, np.ndarray],
    new_texts: float,
    whole_week: bool,
) -> dict[str, float]:
    """Return STATISTICS for the counts of two sets of rows, NaN: too few values.

    NUMERIC: Wasserstein distance in standard deviations of the reference. CATEGORICAL:
    Jensen-Shannon distance (natural logarithm, 0 to 0.83). text: mean of the components'
    Wasserstein distances. ATTRIBUTES: mean of the columns' Jensen-Shannon distances; absent without
    columns. SHARES: 0 to 1. values: of the columns. new_texts: share of the
    window's events on items without a vector. whole_week: use the weekday.
    """
    found = {name: _wasserstein(values[name], reference[name], current[name]) for name in NUMERIC}
    for name in CATEGORICAL:
        found[name] = _jensenshannon(reference[name], current[name])
    if not whole_week:
        found["weekday"] = np.nan
    parts = [
        _wasserstein(values[name], reference[name], current[name])
        for name in values
        if name.startswith("text_")
    ]
    found["text"] = float(np.mean(parts)) if parts else np.nan
    for name, prefix in ATTRIBUTES.items():
        if columns := attributes_of(values, prefix):
            parts = [_jensenshannon(reference[one], current[one]) for one in columns]
            known = [part for part in parts if np.isfinite(part)]
            found[name] = float(np.mean(known)) if known else np.nan
    enough = current["item"].sum() >= MIN_VALUES
    found["unseen_items"] = _unseen(reference["item"], current["item"]) if enough else np.nan
    found["new_texts"] = float(new_texts) if enough else np.nan
    found["new_users"] = _unseen(reference["user_id"], current["user_id"]) if enough else np.nan
    return found


def wasserstein(reference: pd.Series, current: pd.Series) -> float:
    """Return the Wasserstein distance in standard deviations of the reference; NaN: see MIN_VALUES.

    The standard deviation is taken as at least LEAST_DEVIATION.
    """
    reference, current = reference.dropna(), current.dropna()
    if min(len(reference), len(current)) < MIN_VALUES:
        return np.nan
    deviation = max(float(np.std(reference)), LEAST_DEVIATION)
    return float(wasserstein_distance(reference, current)) / deviation


def _wasserstein(values: np.ndarray, reference: DoubleArray, current: DoubleArray) -> float:
    """As ``wasserstein``, of the counts of sorted distinct values."""
    n, m = reference.sum(), current.sum()
    if min(n, m) < MIN_VALUES:
        return np.nan
    gap = np.cumsum(reference / n - current / m)[:-1]
    distance = float(np.abs(gap) @ np.diff(values))
    mean = reference @ values / n
    deviation = np.sqrt(reference @ (values - mean) ** 2 / n)
    return distance / max(float(deviation), LEAST_DEVIATION)


def _jensenshannon(reference: DoubleArray, current: DoubleArray) -> float:
    """Return the Jensen-Shannon distance of the shares of each value; NaN: see MIN_VALUES."""
    if min(reference.sum(), current.sum()) < MIN_VALUES:
        return np.nan
    some = (reference > 0) | (current > 0)
    return float(jensenshannon(reference[some], current[some]))


def _unseen(reference: DoubleArray, current: DoubleArray) -> float:
    """Return the share of the window's rows with values that the reference does not have."""
    return float(current[reference == 0].sum() / current.sum())
