"""Repeat purchases: what is due comes first, learned from who bought what again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import DAY, Catalogue, Histories, Interactions, load_prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists
from components.recommenders.factory import load_model
from components.recommenders.models.popularity import Popularity
from components.recommenders.models.repeat import RepeatPurchases
from components.settings import Popularity as PopularitySettings
from components.settings import Repeat

START, DAYS, N_USERS = 1_577_836_800, 350, 300
WEEKLY, MONTHLY, ONCE, NEW = 0, 1, 2, 3


@pytest.fixture(scope="module")
def regular() -> tuple[Interactions, Catalogue]:
    """Each customer buys tea every week, soap every four weeks, each on days of their own, and once
    a lamp."""
    random = np.random.default_rng(0)
    users, items, days = [], [], []
    for user in range(N_USERS):
        for item, interval in ((WEEKLY, 7), (MONTHLY, 28)):
            bought = np.arange(random.integers(0, interval), DAYS, interval)
            users += [user] * len(bought)
            items += [item] * len(bought)
            days += bought.tolist()
        users.append(user)
        items.append(ONCE)
        days.append(int(random.integers(0, DAYS)))
    times = START + np.array(days) * DAY
    train = Interactions.from_arrays(np.array(users), np.array(items), times, N_USERS, 4)
    table = pd.DataFrame({"item_id": ["tea", "soap", "lamp", "cup"]})
    return train, Catalogue(table)


@pytest.fixture(scope="module")
def fitted(regular) -> RepeatPurchases:
    return RepeatPurchases(Repeat(horizon_days=7)).fit(*regular)


def bought(*choices: tuple[int, int]) -> Histories:
    """One history of (item, days ago)."""
    now = START + DAYS * DAY
    choices = tuple(sorted(choices, key=lambda choice: -choice[1]))
    items = np.array([item for item, _ in choices], dtype=np.int32)
    times = now - np.array([days for _, days in choices]) * DAY
    return Histories(items, times, np.array([0, len(items)]), np.array([now]))


def test_what_is_usual_of_an_item_is_learned(fitted: RepeatPurchases) -> None:
    assert fitted.usual_days[[WEEKLY, MONTHLY]] == pytest.approx([7, 28], rel=0.05)
    assert fitted.repeat_rate[WEEKLY] > 0.95
    assert fitted.repeat_rate[ONCE] < 0.05
    assert fitted.usual_days[NEW] == fitted.overall[0]


def test_an_item_is_more_probable_when_it_is_due(fitted: RepeatPurchases) -> None:
    soap = [(MONTHLY, days) for days in (110, 82, 54)]
    just = fitted.score(bought(*soap, (MONTHLY, 2)))[0, MONTHLY]
    due = fitted.score(bought((MONTHLY, 136), *soap, (MONTHLY, 26)))[0, MONTHLY]
    assert due > 2 * just


def test_a_lamp_is_not_bought_again(fitted: RepeatPurchases) -> None:
    ids, scores = fitted.recommend(bought((ONCE, 9), (WEEKLY, 9)), 4, exclude_seen=False)
    assert ids[0, 0] == WEEKLY
    place = ids[0].tolist().index(ONCE)
    assert scores[0, place] < scores[0, 0] / 3


def test_without_a_history_popular_items_come_first(fitted: RepeatPurchases) -> None:
    ids, scores = fitted.recommend(Histories.from_lists([[]]), 3, exclude_seen=False)
    assert ids[0].tolist() == [WEEKLY, MONTHLY, ONCE]
    assert 0 < scores.max() < fitted.score(bought((ONCE, 300)))[0, ONCE]


@pytest.mark.parametrize("n_events", [0, 1, 5])
def test_a_shop_without_repeats_orders_by_what_was_bought_most(n_events: int) -> None:
    users = np.arange(n_events)
    train = Interactions.from_arrays(users, users % 3, START + users * DAY, 5, 3)
    catalogue = Catalogue(pd.DataFrame({"item_id": ["a", "b", "c"]}))
    model = RepeatPurchases(Repeat()).fit(train, catalogue)
    ids, _ = model.recommend(bought((1, 9), (1, 3), (2, 3)), 2, exclude_seen=False)
    assert ids[0].tolist() == [1, 2]


def test_new_items_have_the_shops_interval(fitted: RepeatPurchases) -> None:
    model = fitted.extended(Catalogue(pd.DataFrame({"item_id": list("abcdef")})))
    histories = bought((5, 40), (5, 20), (WEEKLY, 8))
    scores = model.score(histories)
    assert scores.shape == (1, 6)
    assert scores[0, 5] > scores[0, 4] == 0
    assert scores[0, :4] == pytest.approx(fitted.score(bought((WEEKLY, 8)))[0])
    assert fitted.usual_days.shape == (4,)


def test_is_the_same_after_saving(fitted: RepeatPurchases, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, RepeatPurchases)
    assert loaded.only_purchases
    histories = bought((WEEKLY, 8), (MONTHLY, 3))
    np.testing.assert_array_equal(loaded.score(histories), fitted.score(histories))


def test_on_the_real_shop_it_beats_popularity_and_counts(prepared_folder: Path) -> None:
    prepared = load_prepared(prepared_folder)
    x = prepared.interactions
    before = x.where(x.times < prepared.test_start)
    task = window_task(prepared, "test", exclude_seen=False)
    model = RepeatPurchases(Repeat()).fit(before, prepared.catalogue)
    counts = RepeatPurchases(Repeat(horizon_days=10_000)).fit(before, prepared.catalogue)
    popular = Popularity(PopularitySettings()).fit(before, prepared.catalogue)
    learned, frequent, usual = (
        ndcg(lists(one, task, 10, False), task.targets).mean() for one in (model, counts, popular)
    )
    assert learned > 1.05 * frequent > 1.05 * 1.2 * usual
