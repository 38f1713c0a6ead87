"""Personal frequency: baskets against the formulas of the papers, and the order of lists."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.personal_frequency import RECENCIES, Baskets, PersonalFrequency, Recency
from components.data.dataset import DAY, Catalogue, Histories, Interactions

N_ITEMS = 30


def histories(n_users: int, seed: int) -> tuple[Histories, list[list[list[int]]]]:
    """Return histories of up to 20 baskets, one a day, and the baskets of each user."""
    random = np.random.default_rng(seed)
    baskets = [
        [
            random.integers(0, N_ITEMS, random.integers(1, 6)).tolist()  # with repeated items
            for _ in range(random.integers(0, 20))
        ]
        for _ in range(n_users)
    ]
    items = [[item for basket in user for item in basket] for user in baskets]
    times = [
        day * DAY + place
        for user in baskets
        for day, basket in enumerate(user)
        for place in range(len(basket))
    ]
    made = Histories.from_lists(items)
    now = np.full(n_users, 30 * DAY)
    return Histories(made.items, np.array(times, dtype=np.int64), made.offsets, now), baskets


def test_frequency_counts_baskets_not_events() -> None:
    x, baskets = histories(50, 1)
    found = Baskets.of(x, N_ITEMS)
    expected = np.zeros((50, N_ITEMS))
    for row, user in enumerate(baskets):
        for basket in user:
            expected[row, list(set(basket))] += 1 / len(user)
    assert found.frequency().toarray() == pytest.approx(expected)
    assert found.counts.tolist() == [len(user) for user in baskets]
    mean = np.mean([len(set(basket)) for user in baskets for basket in user])
    sizes = [np.mean([len(set(basket)) for basket in user]) if user else mean for user in baskets]
    assert found.usual_sizes().tolist() == np.rint(sizes).astype(int).tolist()


def test_grouped_frequency_is_the_user_vector_of_tifu_knn() -> None:
    x, baskets = histories(50, 2)
    expected = np.zeros((50, N_ITEMS))
    for row, user in enumerate(baskets):
        vectors = [np.isin(np.arange(N_ITEMS), basket).astype(float) for basket in user]
        parts = np.array_split(np.arange(len(user)), min(7, len(user))) if user else []
        # array_split puts the longer parts first; ours are as even, in another order.
        sizes = sorted(len(part) for part in parts)
        groups = grouped(len(user), 7)
        assert sorted(len(group) for group in groups) == sizes
        m = len(groups)
        for i, group in enumerate(groups, start=1):
            k = len(group)
            of_group = sum(0.9 ** (k - j) * vectors[b] for j, b in enumerate(group, start=1)) / k
            expected[row] += 0.7 ** (m - i) * of_group / m
    found = Baskets.of(x, N_ITEMS).grouped_frequency(7, 0.9, 0.7)
    assert found.toarray() == pytest.approx(expected)


def grouped(n: int, m: int) -> list[list[int]]:
    """Return the baskets 0 to n - 1 in at most m groups."""
    groups: dict[int, list[int]] = {}
    for basket in range(n):
        groups.setdefault(basket * min(m, n) // n, []).append(basket)
    return list(groups.values())


def test_without_decay_groups_of_one_basket_are_the_plain_frequency() -> None:
    found = Baskets.of(histories(20, 3)[0], N_ITEMS)
    plain, recent = found.frequency(), found.grouped_frequency(100, 1.0, 1.0)
    assert recent.toarray() == pytest.approx(plain.toarray())


def test_a_basket_counts_half_after_a_half_life() -> None:
    x, baskets = histories(30, 4)
    expected = np.zeros((30, N_ITEMS))
    for row, user in enumerate(baskets):
        for day, basket in enumerate(user):
            expected[row, list(set(basket))] += 0.5 ** ((30 - day) / 10) / len(user)
    found = Baskets.of(x, N_ITEMS).frequency(half_life_days=10)
    assert found.toarray() == pytest.approx(expected, rel=1e-4)  # events are seconds after midnight


@pytest.mark.parametrize("recency", [Recency(), *RECENCIES])
def test_own_items_come_by_frequency_then_the_others_by_popularity(recency: Recency) -> None:
    x, _ = histories(40, 5)
    random = np.random.default_rng(6)
    bought = random.integers(0, N_ITEMS, 300)
    train = Interactions.from_arrays(random.integers(0, 40, 300), bought, np.arange(300))
    catalogue = Catalogue(pd.DataFrame({"item_id": np.arange(N_ITEMS).astype(str)}))
    model = PersonalFrequency(recency).fit(train, catalogue)
    own = model.frequencies(x).toarray()
    sold = np.bincount(bought, minlength=N_ITEMS)
    ids, _ = model.recommend(x, N_ITEMS, exclude_seen=False)
    for row in range(len(x)):
        expected = np.lexsort((np.arange(N_ITEMS), -sold, -own[row].round(12)))
        places = {item: place for place, item in enumerate(ids[row].tolist())}
        keys = [(own[row, item].round(12), sold[item]) for item in expected]
        found = [(own[row, item].round(12), sold[item]) for item in ids[row]]
        assert found == keys
        assert len(places) == N_ITEMS
    seen_left_out, _ = model.recommend(x, 5)
    for row in range(len(x)):
        assert not np.isin(seen_left_out[row], np.flatnonzero(own[row])).any()
