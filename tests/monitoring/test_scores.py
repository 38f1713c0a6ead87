"""The model's recommendations before a window, compared with the interactions of the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings
from monitoring.scores import MAX_USERS, K, compare_scores, load_model, score_users
from monitoring.statistics import MIN_VALUES

Loaded = tuple[Hybrid, pd.Index, pd.DataFrame]


@pytest.fixture(scope="module")
def loaded(trained: tuple[Path, Settings]) -> Loaded:
    return load_model(trained[0] / "models/hybrid")


def after(past: pd.DataFrame, user: str, items: list[str]) -> pd.DataFrame:
    """Return interactions of ``user`` with ``items`` a day after the last one of ``past``."""
    later = past["timestamp"].max() + pd.Timedelta(days=1)
    return pd.DataFrame(
        {"user_id": user, "item_id": items, "event": "purchase", "timestamp": later}
    )


def test_a_hit_is_an_item_of_the_list_that_the_user_had_not_had(loaded: Loaded) -> None:
    model, items, past = loaded
    user = past["user_id"].value_counts().index[0]
    had = set(past.loc[past["user_id"] == user, "item_id"])
    nothing = after(past, user, ["no such item"])
    assert not score_users(model, items, past, nothing, 0)["hit"].any()
    fresh = [item for item in items if item not in had]
    everything = score_users(model, items, past, after(past, user, fresh), 0)
    assert everything["user_id"].tolist() == [user]
    assert everything["hit"].all()
    assert np.isfinite(everything["score"]).all()
    again = score_users(model, items, past, after(past, user, sorted(had)), 0)
    assert len(again) == 0  # came back only for what they already had


def test_views_and_dislikes_are_no_hits_and_viewed_items_are_new(loaded: Loaded) -> None:
    model, items, past = loaded
    user = past["user_id"].value_counts().index[0]
    had = past.loc[past["user_id"] == user, "item_id"].unique()
    targets = ("purchase", "rating")
    fresh = after(past, user, [item for item in items if item not in set(had)])
    for event in ("view", "dislike"):
        seen = fresh.assign(event=event)
        assert len(score_users(model, items, past, seen, 0, targets)) == 0
    bought_again = after(past, user, had[:5].tolist())
    assert len(score_users(model, items, past, bought_again, 0, targets)) == 0
    viewed = past.assign(strength=np.float32(0.3), excluding=False)
    assert len(score_users(model, items, viewed, bought_again, 0, targets)) == 1


def test_users_without_a_past_are_left_out_and_many_are_drawn(loaded: Loaded) -> None:
    model, items, past = loaded
    stranger = after(past, "stranger", [items[0]])
    assert len(score_users(model, items, past, stranger, 0)) == 0
    many = pd.concat([past.assign(user_id=past["user_id"] + f"/{n}") for n in range(3)])
    users = many["user_id"].unique()
    assert len(users) > MAX_USERS
    window = pd.concat([after(past, user, ["no such item"]) for user in users])
    first = score_users(model, items, many, window, seed=1)
    assert len(first) == MAX_USERS
    same = score_users(model, items, many, window, seed=1)
    pd.testing.assert_frame_equal(first, same)


def users(n: int, hits: int, score: float) -> pd.DataFrame:
    """Return ``score_users`` of n users with these hits and scores about ``score``."""
    scores = np.linspace(score - 1, score + 1, n)
    return pd.DataFrame({"user_id": range(n), "hit": np.arange(n) < hits, "score": scores})


def test_worse_is_an_interval_below_the_references() -> None:
    found = compare_scores(users(200, 100, 0.0), users(200, 40, 0.0))
    assert found[f"hit_rate@{K}"] == 0.2
    assert found[f"reference_hit_rate@{K}"] == 0.5
    assert found["worse"]
    assert found["score_distance"] == pytest.approx(0, abs=1e-9)
    similar = compare_scores(users(200, 100, 0.0), users(200, 95, 1.0))
    assert not similar["worse"]
    assert similar["score_distance"] > 1
    few = compare_scores(users(200, 100, 0.0), users(MIN_VALUES - 1, 0, 0.0))
    assert few == {"users": MIN_VALUES - 1, "reference_users": 200}
