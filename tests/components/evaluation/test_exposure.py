"""A product that new profiles lift onto first pages is found, one that customers buy is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.arrays import DoubleArray
from components.data.dataset import DAY, Interactions, Prepared, load_prepared
from components.evaluation.exposure import gains, profiles_of, unexplained, unexplained_gains
from components.recommenders.models.popularity import Popularity
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Guardrails, Settings


@pytest.fixture(scope="module")
def prepared(trained: tuple[Path, Settings]) -> Prepared:
    root = trained[0]
    return load_prepared(root / "data/prepared", root / "models/vectors")


def with_new_profiles(prepared: Prepared, item: int, n: int, verified: bool) -> Prepared:
    """Return the data with n users of the last days who each buy the item and three others."""
    x = prepared.interactions
    rng = np.random.default_rng(0)
    others = rng.choice(x.items, (n, 3))
    users = np.repeat(np.arange(x.n_users, x.n_users + n), 4)
    items = np.column_stack([np.full(n, item), others]).ravel()
    times = prepared.end - rng.integers(1, 20 * DAY, n).repeat(4)
    more = Interactions.from_arrays(users, items, times, x.n_users + n, x.n_items)
    names = ("users", "items", "times", "events", "quantities", "prices", "ratings", "splits")
    joined = {name: np.concatenate([getattr(x, name), getattr(more, name)]) for name in names}
    interactions = replace(x, **joined, n_users=x.n_users + n, authenticated=None, weights=None)
    new = pd.DataFrame({"user_id": [f"new {k}" for k in range(n)], "verified": verified})
    users_table = pd.concat([prepared.users, new], ignore_index=True)
    return replace(prepared, interactions=interactions, users=users_table)


def shares(prepared: Prepared, item: int) -> list[DoubleArray]:
    before, after = (np.zeros(len(prepared.catalogue)) for _ in range(2))
    after[item] = 0.2
    return [before, after]


def test_gains_are_those_beyond_both_limits() -> None:
    before, after = np.array([0.0, 0.1, 0.1, 0.0]), np.array([0.005, 0.15, 0.25, 0.02])
    assert gains(before, after, Guardrails()).tolist() == [2, 3]


@pytest.mark.parametrize("verified", [False, True])
def test_a_gain_is_unexplained_if_new_profiles_alone_have_the_product(
    prepared: Prepared, verified: bool
) -> None:
    sold = np.bincount(prepared.interactions.items, minlength=len(prepared.catalogue))
    item = int(np.flatnonzero(sold == 5)[0])
    attacked = with_new_profiles(prepared, item, 25, verified)
    found = unexplained(np.array([item]), shares(attacked, item), attacked)
    if verified:  # new customers, but the shop itself knows of their purchases
        assert found == []
        return
    (one,) = found
    assert one.item_id == prepared.catalogue.ids[item]
    assert len(one.profiles) == 25
    assert one.usual < 4
    assert one.as_dict()["profiles"] == 25
    assert "rise from 0.0% to 20.0%" in str(one)
    assert profiles_of(found)["user_id"].tolist() == list(one.profiles)


def test_a_few_more_buyers_are_explained(prepared: Prepared) -> None:
    sold = np.bincount(prepared.interactions.items, minlength=len(prepared.catalogue))
    item = int(np.argmax(sold))
    found = with_new_profiles(prepared, item, 4, verified=False)
    assert unexplained(np.array([item]), shares(found, item), found) == []


def test_first_pages_of_two_served_models_are_compared(
    trained: tuple[Path, Settings], prepared: Prepared, tmp_path: Path
) -> None:
    settings = trained[1]
    sold = np.bincount(prepared.interactions.items, minlength=len(prepared.catalogue))
    item = int(np.flatnonzero(sold == 5)[0])
    attacked = with_new_profiles(prepared, item, 300, verified=False)
    shelf = {"popularity": Popularity(settings.train.popularity)}
    rank = settings.rank.model_copy(update={"form": "popularity"})
    for name, data in (("before", prepared), ("after", attacked)):
        models = {key: one.fit(data.interactions, data.catalogue) for key, one in shelf.items()}
        Hybrid(rank, models).fit(data.interactions, data.catalogue).save(tmp_path / name)
    before, after = tmp_path / "before", tmp_path / "after"
    (found,) = unexplained_gains(before, after, attacked, settings)
    assert found.item_id == prepared.catalogue.ids[item]
    assert found.before < 0.1
    assert found.after > 0.9
    assert unexplained_gains(before, before, attacked, settings) == []
    # Nobody but the shop's own customers: no attack.
    assert unexplained_gains(before, after, prepared, settings) == []
