"""A generated shop: ordinary weeks of purchases, as the contract's interactions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.settings import Monitor
from monitoring.calibration import Calibration, calibrate
from monitoring.features import Vocabulary, clean_window, feature_table
from monitoring.history import History
from monitoring.reference import Reference

END = pd.Timestamp("2026-03-02", tz="UTC")
MONITOR = Monitor(reference_weeks=4, reference_age=2)
ITEMS, USERS, VISITS, WEEKS = 150, 600, 40, 24
DAY = pd.Timedelta(days=1)


def purchases(first: pd.Timestamp, days: int, seed: int) -> pd.DataFrame:
    """Return ``days`` ordinary days: VISITS visits of 4 products each from 8 to 18 o'clock, one in
    ten by a new customer."""
    rng = np.random.default_rng(seed)
    n = VISITS * days
    popular = 1 / np.arange(5, ITEMS + 5)
    day = np.repeat(np.arange(days), VISITS)
    known = rng.integers(0, USERS, n).astype(str)
    user = np.where(rng.random(n) < 0.1, [f"{first.dayofyear}0{k}" for k in range(n)], known)
    second = rng.integers(8 * 3600, 18 * 3600, n)
    item = rng.choice(ITEMS, (n, 4), p=popular / popular.sum())
    frame = pd.DataFrame(
        {
            "user_id": np.repeat([f"1{one}" for one in user], 4),
            "item_id": [f"P{code}" for code in item.ravel()],
            "event": "purchase",
            "timestamp": first + pd.to_timedelta(np.repeat(day * 86400 + second, 4), unit="s"),
            "price": 2.0 + (item.ravel() % 7),
            "quantity": 1.0 + rng.poisson(1, 4 * n),
        }
    )
    return frame.sort_values("timestamp", kind="stable", ignore_index=True)


def training() -> pd.DataFrame:
    """Return WEEKS weeks that end at END."""
    return purchases(END - 7 * WEEKS * DAY, 7 * WEEKS, 0)


def learned(frame: pd.DataFrame) -> tuple[History, Calibration, Vocabulary]:
    """Return the history of the training data, its calibration and vocabulary."""
    items = pd.Index(sorted(frame["item_id"].unique()))
    categories = np.array([f"C{hash_of(one) % 5}" for one in items], dtype=object)
    users = pd.Series(None, index=frame["user_id"].unique(), dtype=object)
    vocabulary = Vocabulary(items, categories, None, users)
    clean = clean_window(frame)
    history = History.of(clean, vocabulary, int(END.timestamp()), MONITOR, 0)
    return history, calibrate(history, clean), vocabulary


def hash_of(item: str) -> int:
    return int(item[1:]) if item[1:].isdigit() else len(item)


def reference_of(frame: pd.DataFrame) -> Reference:
    """Return the reference that the stage ``reference`` would write for the training data."""
    history, calibration, vocabulary = learned(frame)
    start = END - MONITOR.reference_weeks * 7 * DAY
    newest = clean_window(frame[frame["timestamp"] >= start])
    return Reference(
        feature_table(newest, vocabulary),
        newest,
        vocabulary,
        tuple(calibration.scales),
        calibration.attack,
        calibration.limits,
        history.visits_by_day(),
        [],
        start.isoformat(),
        END.isoformat(),
        ("purchase",),
        MONITOR.window_days,
        MONITOR.sample_rows,
        MONITOR.false_alarm_rate,
    )
