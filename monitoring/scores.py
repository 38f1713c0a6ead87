"""The model's recommendations before a window, compared with the interactions of the window.

In: a model folder with its profiles, and a window of interactions. Out: one row for each user with
the mean score of the best k items and whether one of them was then bought.

The reference is the test window, because the hit rate is too high on weeks that the model was
fitted on. These are too few weeks to calibrate an alarm, so the report shows the scores, but the
verdict does not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.data.dataset import Histories
from components.data.profiles import profiles_file
from components.data.schema import EVENTS
from components.recommenders.base import Recommender
from components.recommenders.two_stage.hybrid import Hybrid
from monitoring.outcomes import interval
from monitoring.statistics import MIN_VALUES, wasserstein

K = 20
MAX_USERS = 300
"""Users drawn from one window: enough for a hit rate to ±0.05."""


def load_model(folder: Path) -> tuple[Hybrid, pd.Index, pd.DataFrame]:
    """Return the model of ``folder``, its item ids (position = code) and its users' histories."""
    model = Hybrid.load(folder)
    past = pd.read_parquet(profiles_file(folder.parents[1], folder))
    past["timestamp"] = pd.to_datetime(past["timestamp"], utc=True)
    return model, pd.Index(model.catalogue.ids), past


def score_users(
    model: Recommender,
    items: pd.Index,
    past: pd.DataFrame,
    window: pd.DataFrame,
    seed: int,
    targets: Sequence[str] = EVENTS,
) -> pd.DataFrame:
    """Return user_id, hit (bool) and score (float) of the window's users with a history.

    items: item ids, position = the model's code. past: user_id, item_id, timestamp and, where not
    all events are purchases, strength and excluding (see ``Histories``); only events before the
    window's first count. window: the same three columns and event. targets: kinds of events that
    are successes. hit: the user has a success in the window with at least one of the K best items
    that are new to the user. At most MAX_USERS users, drawn at random; users without a new item in
    the window are left out.
    """
    start = window["timestamp"].min()
    window = window[window["event"].isin(targets)]
    past = past[past["timestamp"] < start].assign(code=lambda f: items.get_indexer(f["item_id"]))
    past = past[past["code"] >= 0]
    now = window.assign(code=items.get_indexer(window["item_id"]))
    pairs = now[["user_id", "code"]].drop_duplicates()
    excluding = past["excluding"].ne(False) if "excluding" in past else slice(None)
    had = past.loc[excluding, ["user_id", "code"]].drop_duplicates().assign(had=True)
    pairs = pairs.merge(had, how="left", on=["user_id", "code"])
    pairs = pairs[pairs["had"].isna() & pairs["user_id"].isin(past["user_id"])]
    users = np.sort(pairs["user_id"].unique())
    if len(users) > MAX_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, MAX_USERS, replace=False))
    if not len(users):
        return pd.DataFrame({"user_id": [], "hit": [], "score": []})
    row = pd.Index(users)
    past = past.assign(row=row.get_indexer(past["user_id"]))
    past = past[past["row"] >= 0].sort_values(["row", "timestamp", "code"])
    seconds = past["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy()
    counts = np.bincount(past["row"], minlength=len(users))
    histories = Histories(
        past["code"].to_numpy(dtype=np.int32),
        seconds,
        np.concatenate([[0], np.cumsum(counts)]),
        np.full(len(users), int(start.timestamp()), dtype=np.int64),
        strengths=_column(past, "strength", 1.0, np.float32),
        excluding=_column(past, "excluding", True, bool),
    )
    ids, scores = model.recommend(histories, K)  # (users, K) each
    bought = pairs.assign(row=row.get_indexer(pairs["user_id"]))
    bought = bought[bought["row"] >= 0]
    width = len(items) + 1  # code -1 (unknown) becomes the last column and is never a hit
    wanted = np.zeros((len(users), width), dtype=bool)
    wanted[bought["row"], bought["code"]] = True
    wanted[:, -1] = False
    hit = np.take_along_axis(wanted, ids.astype(np.int64), axis=1).any(axis=1)
    finite = np.where(np.isfinite(scores), scores, np.nan)
    some = np.isfinite(finite).any(axis=1)
    score = np.full(len(users), np.nan)
    score[some] = np.nanmean(finite[some], axis=1)
    return pd.DataFrame({"user_id": users, "hit": hit, "score": score})


def _column(past: pd.DataFrame, name: str, usual: object, dtype: type) -> np.ndarray | None:
    """Return a column of the histories, None where they lack it."""
    return past[name].fillna(usual).to_numpy(dtype=dtype) if name in past else None


def compare_scores(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, Any]:
    """Return hit rates with 95 % intervals, the distance of the scores, and whether they are worse.

    worse: the upper bound of the window is below the lower bound of the reference. The distance is
    Wasserstein's in standard deviations of the reference. Fewer than MIN_VALUES users: only their
    number.
    """
    result: dict[str, Any] = {"users": len(current), "reference_users": len(reference)}
    if min(len(current), len(reference)) < MIN_VALUES:
        return result
    for prefix, table in (("", current), ("reference_", reference)):
        hits = int(table["hit"].sum())
        low, high = interval(hits, len(table))
        result |= {
            f"{prefix}hit_rate@{K}": hits / len(table),
            f"{prefix}hit_rate@{K}_low": low,
            f"{prefix}hit_rate@{K}_high": high,
        }
    result["score_distance"] = wasserstein(reference["score"], current["score"])
    result["worse"] = result[f"hit_rate@{K}_high"] < result[f"reference_hit_rate@{K}_low"]
    return result
