"""Outcomes of the served recommendations: click-through and conversion rates with intervals.

In: interactions whose ``impression_id`` refers to the recommendation that led to them, and the
served impressions. Out: rates with 95 % intervals, overall and for each model version.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

FOLLOWED = ("click", "cart", "purchase")


def interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval for a share (Wilson, JASA 1927); (0, 1) without trials.

    >>> tuple(round(bound, 3) for bound in interval(5, 10))
    (0.237, 0.763)
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def outcomes(window: pd.DataFrame, impressions: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return the rates of the impressions, and counts of the window's events.

    window: the contract's interactions. impressions: one row each, impression_id and, if known,
    model_version; without them there is no denominator and only counts are returned.

    An impression counts as followed if at least one click, cart or purchase refers to it, and as
    converted if a purchase does. Events with an impression that is not in ``impressions`` (served
    before the window) count in ``events_attributed`` but not in the rates.
    """
    named = window["impression_id"].notna() if "impression_id" in window else False
    attributed = window[named] if named is not False else window.iloc[:0]
    result: dict[str, Any] = {
        "events": len(window),
        "events_attributed": len(attributed),
        "purchases": int((window["event"] == "purchase").sum()),
        "purchases_attributed": int((attributed["event"] == "purchase").sum()),
    }
    if impressions is None or impressions.empty:
        return result
    if "impression_id" not in impressions:
        raise ValueError("the impressions have no column impression_id")
    served = impressions.drop_duplicates("impression_id")
    events = attributed["event"]
    followed = attributed.loc[events.isin(FOLLOWED), "impression_id"]
    bought = attributed.loc[events == "purchase", "impression_id"]
    served = served.assign(
        followed=served["impression_id"].isin(followed),
        converted=served["impression_id"].isin(bought),
    )
    result |= _rates(served)
    if "model_version" in served:
        result["by_model_version"] = {
            str(version): _rates(part) for version, part in served.groupby("model_version")
        }
    return result


def _rates(served: pd.DataFrame) -> dict[str, Any]:
    rates: dict[str, Any] = {"impressions": len(served)}
    for column, name in (("followed", "click_through_rate"), ("converted", "conversion_rate")):
        hits = int(served[column].sum())
        low, high = interval(hits, len(served))
        rates |= {name: hits / len(served), f"{name}_low": low, f"{name}_high": high}
    return rates
