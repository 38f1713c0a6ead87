"""False profiles are found in the real shop's feedback, and honest ones hardly ever."""

from __future__ import annotations

from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from benchmarks import shilling
from benchmarks.shilling import World
from components.data.false_profiles import (
    NOTHING,
    Events,
    false_profiles,
    find_false_profiles,
    improbability,
)
from components.settings import Settings


@pytest.fixture(scope="module")
def world(small_shop: tuple[Path, Settings]) -> World:
    root, settings = small_shop
    rows = pd.read_parquet(root / "data/valid/interactions.parquet")
    return shilling.world_of(root, settings, rows)


@pytest.fixture(scope="module")
def target(world: World) -> str:
    return str(world.popularity.index[world.popularity == 20][0])


@pytest.mark.slow
def test_an_ordinary_shop_has_no_false_profile(world: World) -> None:
    assert len(world.of_feedback) > 600
    assert shilling.false_rows(world.rows).empty


@pytest.mark.parametrize("kind", ["random", "average", "bandwagon", "segment"])
def test_most_profiles_of_an_attack_are_found_and_few_honest_ones(
    world: World, target: str, kind: str
) -> None:
    attack = shilling.attack(world, kind, 0.05, target, 0, one_client=False)
    rows = pd.concat([world.rows, attack], ignore_index=True)
    reasons = shilling.false_rows(rows)
    taken, false = set(rows.loc[reasons.index, "user_id"]), set(attack["user_id"])
    assert len(taken & false) > 0.8 * len(false)
    assert len(taken - false) <= 0.015 * len(world.of_feedback)
    assert reasons.str.startswith("false profile: one of ").all()
    assert reasons.str.contains(repr(target), regex=False).any()
    # All rows of a profile are taken, or none.
    left = rows.drop(index=reasons.index)
    assert not set(left["user_id"]) & taken


def test_clicks_of_one_client_under_many_names_are_found(world: World, target: str) -> None:
    attack = shilling.attack(world, "flood in a burst", 0.05, target, 0, one_client=True)
    rows = pd.concat([world.rows, attack], ignore_index=True)
    reasons = shilling.false_rows(rows)
    taken = set(rows.loc[reasons.index, "user_id"])
    assert len(taken & set(attack["user_id"])) > 0.9 * attack["user_id"].nunique()


def test_what_the_shop_vouches_for_is_never_taken(world: World, target: str) -> None:
    """A sale that the shop itself reports may be as sudden as an attack."""
    attack = shilling.attack(world, "random", 0.05, target, 0, one_client=False)
    rows = pd.concat([world.rows, attack.assign(authentication="shop")], ignore_index=True)
    assert shilling.false_rows(rows).empty


def test_events_without_key_and_token_do_not_borrow_a_customers_name(
    world: World, target: str
) -> None:
    attack = shilling.attack(world, "random", 0.05, target, 0, one_client=False)
    known = world.rows.loc[world.rows["authentication"].isna(), "user_id"].unique()
    names = dict(zip(attack["user_id"].unique(), known, strict=False))
    borrowed = attack.assign(user_id=attack["user_id"].map(names), authentication="none")
    rows = pd.concat([world.rows, borrowed], ignore_index=True)
    found = shilling.false_rows(rows).index
    own = rows.index >= len(world.rows)
    assert own[found].mean() > 0.8
    assert not rows.loc[found, "authentication"].isna().any()


@pytest.mark.parametrize(("days_before", "found"), [([150], True), ([150, 120, 90], False)])
def test_old_age_alone_makes_no_profile_familiar(
    world: World, target: str, days_before: list[int], found: bool
) -> None:
    """The second half is a known gap: profiles that are prepared with visits for weeks pass."""
    attack = shilling.attack(world, "random", 0.05, target, 0, one_client=False)
    one = attack[attack["item_id"] != target].drop_duplicates("user_id")
    early = [
        one.assign(timestamp=world.end - pd.to_timedelta(days, unit="D")) for days in days_before
    ]
    rows = pd.concat([world.rows, attack, *early], ignore_index=True)
    taken = set(rows.loc[shilling.false_rows(rows).index, "user_id"])
    share = len(taken & set(attack["user_id"])) / attack["user_id"].nunique()
    assert share > 0.8 if found else share < 0.2


def test_without_feedback_nothing_is_judged() -> None:
    n = np.zeros(3, dtype=np.int32)
    alone = Events(n, n, n.astype(np.int64), n == 0, n - 1, 1, 1)
    assert find_false_profiles(alone) is NOTHING
    rows = ibis.memtable(
        {"row": [0], "authentication": [None]}, schema={"row": "int64", "authentication": "string"}
    )
    assert false_profiles(rows).num_rows == 0


def test_products_whose_rates_vary_for_all_are_less_improbable() -> None:
    """Visitors view other products than customers buy: then no single product stands out."""
    known = np.full(200, 50)
    prior, all_known = np.full(200, 1 / 200), np.full(200, known.sum())
    even = np.full(200, 20.0)
    uneven = np.where(np.arange(200) % 4 == 0, 50.0, 10.0)
    even[0] = uneven[0] = 60.0
    alone, among = (
        improbability(x, known, prior, np.full(200, x.sum()), all_known)[1][0]
        for x in (even, uneven)
    )
    assert alone > 6
    assert among < 2
