"""Two feature tables → the statistics that say how far one is from the other.

The distances are Evidently's own drift methods, called directly: a report of Evidently over the
same feature tables shows the same figures. They are distances and not p-values, which on thousands
of rows call every difference significant.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import jensenshannon_stat_test, wasserstein_stat_test
from evidently.legacy.core import ColumnType

from monitoring.features import components_of

NUMERIC = ("price", "quantity", "basket")
CATEGORICAL = ("hour", "weekday", "country", "category", "item")
SHARES = ("unseen_items", "new_texts", "new_users")
STATISTICS = (*NUMERIC, *CATEGORICAL, "text", *SHARES)

LABELS = {
    "price": "unit price",
    "quantity": "quantity of a line",
    "basket": "lines of a visit",
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
"""A statistic is NaN if a column has fewer known values than this on either side."""


def statistics(
    reference: pd.DataFrame, current: pd.DataFrame, window_days: int
) -> dict[str, float]:
    """Return each of STATISTICS for two feature tables, NaN where there is too little to judge.

    NUMERIC: Wasserstein distance in standard deviations of the reference. CATEGORICAL:
    Jensen-Shannon distance (natural logarithm, 0 to 0.83). text: mean of the components'
    Wasserstein distances. SHARES: 0 to 1. The weekday is judged only where the window spans at
    least ``window_days - 1`` days: part of a week has other weekdays by nature.
    """
    values = {name: _wasserstein(reference[name], current[name]) for name in NUMERIC}
    for name in CATEGORICAL:
        values[name] = _jensenshannon(reference[name], current[name])
    days = (current["day"].max() - current["day"].min()).days + 1 if len(current) else 0
    if days < window_days - 1:
        values["weekday"] = np.nan
    parts = [_wasserstein(reference[name], current[name]) for name in components_of(reference)]
    values["text"] = float(np.mean(parts)) if parts else np.nan
    values["unseen_items"] = _share(~current["item"].isin(reference["item"].unique()))
    values["new_texts"] = _share(current["new_text"])
    values["new_users"] = _share(~current["user_id"].isin(reference["user_id"].unique()))
    return values


def _wasserstein(reference: pd.Series, current: pd.Series) -> float:
    return _distance(wasserstein_stat_test, ColumnType.Numerical, reference, current)


def _jensenshannon(reference: pd.Series, current: pd.Series) -> float:
    return _distance(jensenshannon_stat_test, ColumnType.Categorical, reference, current)


def _distance(test, kind: ColumnType, reference: pd.Series, current: pd.Series) -> float:
    reference, current = reference.dropna(), current.dropna()
    if min(len(reference), len(current)) < MIN_VALUES:
        return np.nan
    return float(test(reference, current, kind, None).drift_score)


def _share(mask: pd.Series) -> float:
    return float(mask.mean()) if len(mask) >= MIN_VALUES else np.nan
