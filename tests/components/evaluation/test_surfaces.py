"""Surfaces judged by their own outcomes, on a real shop and on one where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.data.dataset import DAY, Interactions, Prepared, load_prepared
from components.evaluation.surfaces import K, evaluate_surfaces
from components.recommenders.models.popularity import Popularity
from components.recommenders.models.repeat import RepeatPurchases
from components.recommenders.shelves.statistics import ShelfStatistics
from components.settings import Popularity as PopularitySettings
from components.settings import Repeat


@pytest.fixture(scope="module")
def prepared(prepared_folder: Path) -> Prepared:
    return load_prepared(prepared_folder)


def outcomes(prepared: Prepared) -> dict[tuple[str, str, str], float]:
    x = prepared.interactions
    train = x.where(x.times < prepared.test_start)
    plain = Popularity(PopularitySettings()).fit(train, prepared.catalogue)
    statistics = ShelfStatistics.of_prepared(prepared, prepared.test_start)
    learned = RepeatPurchases(Repeat()).fit(train, prepared.catalogue)
    found = evaluate_surfaces(prepared, statistics, plain, 200, 1, {"learned": learned})
    for one in found:
        assert one.low <= one.mean <= one.high
        assert one.cases > 0
    firsts = [one for one in found if one.p_value is None]
    assert len(firsts) == len({(one.surface, one.measure) for one in found})
    return {(one.surface, one.way, one.measure): one.mean for one in found}


def test_on_a_real_shop_pairs_complete_baskets_better_than_popularity(prepared: Prepared) -> None:
    found = outcomes(prepared)
    measure = f"recall@{K}"
    assert found["basket", "together", measure] > 1.5 * found["basket", "ranked list", measure]
    assert found["basket", "together", measure] > found["basket", "popular", measure]
    assert found["buy_again", "due", measure] > found["buy_again", "bought last", measure]
    assert found["buy_again", "learned", measure] > found["buy_again", "bought last", measure]


def test_a_shop_whose_baskets_are_always_the_same_pairs(prepared: Prepared) -> None:
    """Products 2n and 2n + 1 are always bought together, so that each held-out one is found."""
    users = np.repeat(np.arange(200), 4)
    pair = np.repeat(np.arange(200) % 50, 4)
    items = 2 * pair + np.tile([0, 1, 0, 1], 200)
    days = np.tile([1, 1, 100, 100], 200)
    x = Interactions.from_arrays(users, items, days * DAY, 200, prepared.interactions.n_items)
    shop = replace(
        prepared,
        interactions=x,
        users=prepared.users.head(200),
        validation_start=60 * DAY,
        test_start=90 * DAY,
        end=101 * DAY,
    )
    found = outcomes(shop)
    assert found["basket", "together", f"recall@{K}"] == 1
    assert found["basket", "ranked list", f"recall@{K}"] < 0.5
