"""Pairs of real baskets, compared with counts made one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.data.dataset import DAY, Interactions, load_prepared
from components.recommenders.shelves import pairs as module
from components.recommenders.shelves.pairs import BasketPairs


@pytest.fixture(scope="module")
def train(prepared_folder: Path) -> Interactions:
    return load_prepared(prepared_folder).interactions


@pytest.fixture(scope="module")
def pairs(train: Interactions) -> BasketPairs:
    return BasketPairs.of(train)


@pytest.fixture(scope="module")
def baskets(train: Interactions) -> list[frozenset[int]]:
    """The baskets, made one by one."""
    found: dict[tuple[int, int], set[int]] = {}
    for user, item, moment in zip(train.users, train.items, train.times, strict=True):
        found.setdefault((int(user), int(moment // DAY)), set()).add(int(item))
    return [frozenset(one) for one in found.values() if len(one) <= module.LARGEST_BASKET]


def test_support_and_lift_of_a_product(pairs: BasketPairs, baskets: list[frozenset[int]]) -> None:
    item = int(np.argmax(pairs.baskets))
    found = pairs.of_item(item)
    assert len(found.items) == module.PARTNERS
    own = sum(item in basket for basket in baskets)
    assert own == pairs.baskets[item]
    for other, support, lift in zip(found.items, found.support, found.lift, strict=True):
        assert support == sum({item, other} <= basket for basket in baskets)
        expected = own * sum(other in basket for basket in baskets) / len(baskets)
        assert lift == pytest.approx(support / expected, rel=1e-5)
    assert (np.diff(found.cosine) <= 1e-6).all()
    assert item not in found.items


def test_limits_of_support_and_lift(pairs: BasketPairs) -> None:
    item = int(np.argmax(pairs.baskets))
    found = pairs.of_item(item, min_support=20, min_lift=2.5)
    assert len(found.items)
    assert found.support.min() >= 20
    assert found.lift.min() >= 2.5


def test_a_basket_is_completed_by_what_is_bought_with_its_products(pairs: BasketPairs) -> None:
    basket = np.argsort(-pairs.baskets)[:3].astype(np.int32)
    found = pairs.completing(basket)
    assert not np.isin(found.items, basket).any()
    assert len(found.items) == len(set(found.items.tolist()))
    for item, score in list(zip(found.items, found.scores, strict=True))[:10]:
        of_each = [pairs.of_item(int(one)) for one in basket]
        cosines = [float(one.cosine[one.items == item].sum()) for one in of_each]
        assert score == pytest.approx(sum(cosines), rel=1e-5)
    assert not len(pairs.completing(np.array([], np.int32)).items)
    assert not len(pairs.of_item(10**6).items)  # added after the training


def test_huge_baskets_and_unauthenticated_purchases_make_no_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = np.repeat(np.arange(6), 2)
    items = np.array([0, 1] * 6)
    bought = Interactions.from_arrays(users, items, np.zeros(12, np.int64))
    assert BasketPairs.of(bought).of_item(0).support.tolist() == [6]
    only_two = np.repeat(np.arange(6) < 2, 2)
    trusted = bought.where(np.ones(12, bool))
    object.__setattr__(trusted, "authenticated", only_two)
    assert BasketPairs.of(trusted).of_item(0).support.tolist() == [2]
    monkeypatch.setattr(module, "LARGEST_BASKET", 1)
    assert not len(BasketPairs.of(bought).of_item(0).items)


def test_a_shop_without_purchases_has_no_pairs() -> None:
    nothing = np.array([], np.int64)
    pairs = BasketPairs.of(Interactions.from_arrays(nothing, nothing, nothing, 0, 3))
    assert not len(pairs.of_item(0).items)
