"""Drift statistics: distances between two feature tables.

The distances are Evidently's drift methods ``wasserstein`` and ``jensenshannon``, by the SciPy
functions that Evidently calls: its report over the same feature tables shows the same figures, and
its private package ``legacy`` is not imported. They are distances and not p-values, which on
thousands of rows call every difference significant.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from monitoring.features import components_of

NUMERIC = ("price", "quantity", "basket")
CATEGORICAL = ("hour", "weekday", "country", "category", "item")
SHARES = ("unseen_items", "new_texts", "new_users")
STATISTICS = (*NUMERIC, *CATEGORICAL, "text", *SHARES)

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
    """Return each of STATISTICS for two feature tables, NaN if there are too few values.

    NUMERIC: Wasserstein distance in standard deviations of the reference. CATEGORICAL:
    Jensen-Shannon distance (natural logarithm, 0 to 0.83). text: mean of the components'
    Wasserstein distances. SHARES: 0 to 1. The weekday is used only if the window spans at least
    ``window_days - 1`` days, because a part of a week always has other weekdays.
    """
    values = {name: wasserstein(reference[name], current[name]) for name in NUMERIC}
    for name in CATEGORICAL:
        values[name] = _jensenshannon(reference[name], current[name])
    days = (current["day"].max() - current["day"].min()).days + 1 if len(current) else 0
    if days < window_days - 1:
        values["weekday"] = np.nan
    parts = [wasserstein(reference[name], current[name]) for name in components_of(reference)]
    values["text"] = float(np.mean(parts)) if parts else np.nan
    values["unseen_items"] = _share(~current["item"].isin(reference["item"].unique()))
    values["new_texts"] = _share(current["new_text"])
    values["new_users"] = _share(~current["user_id"].isin(reference["user_id"].unique()))
    return values


def wasserstein(reference: pd.Series, current: pd.Series) -> float:
    """Return the Wasserstein distance in standard deviations of the reference; NaN: see MIN_VALUES.

    The standard deviation is taken as at least LEAST_DEVIATION.
    """
    reference, current = reference.dropna(), current.dropna()
    if min(len(reference), len(current)) < MIN_VALUES:
        return np.nan
    deviation = max(float(np.std(reference)), LEAST_DEVIATION)
    return float(wasserstein_distance(reference, current)) / deviation


def _jensenshannon(reference: pd.Series, current: pd.Series) -> float:
    """Return the Jensen-Shannon distance of the shares of each value; NaN: see MIN_VALUES."""
    reference, current = reference.dropna(), current.dropna()
    if min(len(reference), len(current)) < MIN_VALUES:
        return np.nan
    counts = [reference.value_counts(), current.value_counts()]
    shares = pd.concat(counts, axis=1).fillna(0).to_numpy()  # normalised by SciPy
    return float(jensenshannon(shares[:, 0], shares[:, 1]))


def _share(mask: pd.Series) -> float:
    return float(mask.mean()) if len(mask) >= MIN_VALUES else np.nan
