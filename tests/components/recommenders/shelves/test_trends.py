"""The test of rising products: its size without a rise, and its power with some."""

from __future__ import annotations

import numpy as np
import pytest

from components.arrays import ObjectArray
from components.data.dataset import DAY, Interactions
from components.recommenders.shelves.trends import BEFORE_DAYS, RECENT_DAYS, Trends

N_ITEMS = 400


def shop(seed: int, risen: int = 0, factor: float = 1.0) -> tuple[Interactions, ObjectArray]:
    """A shop whose products sell at constant rates, but for ``risen``; countries of customers."""
    random = np.random.default_rng(seed)
    rates = random.gamma(1.0, 0.6, N_ITEMS)
    days = []
    for day in range(RECENT_DAYS + BEFORE_DAYS):
        today = rates.copy()
        if day >= BEFORE_DAYS:
            today[:risen] = 0.6 * factor
        else:
            today[:risen] = 0.6
        items = np.repeat(np.arange(N_ITEMS), random.poisson(today))
        days.append((items, np.full(len(items), day * DAY + 100)))
    items = np.concatenate([one for one, _ in days])
    times = np.concatenate([one for _, one in days])
    users = random.permutation(len(items))
    countries = np.where(users % 4 == 0, "France", "Spain").astype(object)
    countries[np.argsort(users)] = countries  # by user
    return Interactions.from_arrays(users, items, times, n_items=N_ITEMS), countries


EVERY = np.ones(N_ITEMS, dtype=bool)


def test_without_a_rise_nearly_nothing_is_found() -> None:
    shops = [Trends.of(shop(seed)[0]) for seed in range(40)]
    with_a_find = [bool(len(one.rising(EVERY).items)) for one in shops]
    # Where nothing rises each find is false, so that a share of at most 0.1 of shops has one.
    assert np.mean(with_a_find) <= 0.2


def test_rises_are_found_and_few_others() -> None:
    shops = [Trends.of(shop(seed, risen=20, factor=4.0)[0]) for seed in range(20)]
    found = [one.rising(EVERY).items for one in shops]
    assert np.mean([(one < 20).sum() for one in found]) > 15
    false = [(one >= 20).mean() for one in found if len(one)]
    assert np.mean(false) <= 0.15


def test_growth_and_sales_of_what_rises() -> None:
    train, _ = shop(1, risen=20, factor=4.0)
    found = Trends.of(train).rising(EVERY)
    recent = train.times >= BEFORE_DAYS * DAY
    sold = np.bincount(train.items[recent], minlength=N_ITEMS)
    assert found.sold.tolist() == sold[found.items].tolist()
    assert np.median(found.growth[found.items < 20]) == pytest.approx(4, rel=0.4)


def test_by_category_and_country() -> None:
    train, countries = shop(2, risen=20, factor=6.0)
    trends = Trends.of(train, countries)
    assert trends.segments == ["", "France", "Spain"]
    inside = EVERY.copy()
    inside[:10] = False
    assert not (trends.rising(inside).items < 10).any()
    france = trends.rising(EVERY, "FRANCE")
    of_user = np.asarray(countries)[train.users] == "France"
    recent = (train.times >= BEFORE_DAYS * DAY) & of_user
    sold = np.bincount(train.items[recent], minlength=N_ITEMS)
    assert len(france.items)
    assert france.sold.tolist() == sold[france.items].tolist()
    assert trends.rising(EVERY, "Atlantis").items.tolist() == trends.rising(EVERY).items.tolist()


def test_one_large_order_is_no_rise() -> None:
    train, _ = shop(3)
    last = RECENT_DAYS + BEFORE_DAYS - 1
    one = Interactions.from_arrays(
        np.append(train.users, np.full(500, train.n_users)),
        np.append(train.items, np.full(500, 7)),
        np.append(train.times, last * DAY + np.arange(500)),
        n_items=N_ITEMS,
    )
    assert 7 not in Trends.of(one).rising(EVERY).items


def test_products_added_after_the_training() -> None:
    train, _ = shop(4, risen=20, factor=4.0)
    more = np.ones(N_ITEMS + 5, dtype=bool)
    assert (Trends.of(train).rising(more).items < N_ITEMS).all()


def test_a_shop_without_sales() -> None:
    nothing = np.array([], np.int64)
    trends = Trends.of(Interactions.from_arrays(nothing, nothing, nothing, 0, 3))
    assert not len(trends.rising(np.ones(3, bool)).items)
