"""Next-basket metrics and baselines against scikit-learn and the papers' formulas, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score, recall_score

from components.data.dataset import DAY, Histories
from components.evaluation.baskets import Baskets, f1_at_size, filled_lists, recall_at_size

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


def test_metrics_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    ids = np.argsort(random.random((40, N_ITEMS)), axis=1)[:, :12]
    wanted = (random.random((40, N_ITEMS)) < 0.2).astype(int)
    wanted[:, 0] = 1
    sizes = random.integers(1, 13, 40)
    targets = sp.csr_matrix(wanted)
    listed = np.zeros_like(wanted)
    for row, size in enumerate(sizes):
        listed[row, ids[row, :size]] = 1
    expected = [
        [metric(a, b, zero_division=0.0) for a, b in zip(wanted, listed, strict=True)]
        for metric in (recall_score, f1_score)
    ]
    assert recall_at_size(ids, targets, sizes) == pytest.approx(expected[0])
    assert f1_at_size(ids, targets, sizes) == pytest.approx(expected[1])
    own = np.minimum(wanted.sum(axis=1), 12)
    fits = np.flatnonzero(wanted.sum(axis=1) <= 12)
    both = [metric(ids[fits], targets[fits], own[fits]) for metric in (recall_at_size, f1_at_size)]
    assert both[0] == pytest.approx(both[1])


@pytest.mark.parametrize("size", [0, 4])
def test_sizes_that_lists_do_not_have_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="lists of 3 items"):
        recall_at_size(np.array([[0, 1, 2]]), sp.csr_matrix([[1, 0, 0]]), np.array([size]))


def test_frequency_counts_baskets_not_events() -> None:
    x, baskets = histories(50, 1)
    found = Baskets.of(x, N_ITEMS, DAY)
    expected = np.zeros((50, N_ITEMS))
    for row, user in enumerate(baskets):
        for basket in user:
            expected[row, list(set(basket))] += 1 / len(user)
    assert found.frequency().toarray() == pytest.approx(expected)
    assert found.counts.tolist() == [len(user) for user in baskets]
    mean = np.mean([len(set(basket)) for user in baskets for basket in user])
    sizes = [np.mean([len(set(basket)) for basket in user]) if user else mean for user in baskets]
    assert found.usual_sizes().tolist() == np.rint(sizes).astype(int).tolist()


def test_recent_frequency_is_the_user_vector_of_tifu_knn() -> None:
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
    found = Baskets.of(x, N_ITEMS, DAY).recent_frequency(7, 0.9, 0.7)
    assert found.toarray() == pytest.approx(expected)


def grouped(n: int, m: int) -> list[list[int]]:
    """Return the baskets 0 to n - 1 in at most m groups."""
    groups: dict[int, list[int]] = {}
    for basket in range(n):
        groups.setdefault(basket * min(m, n) // n, []).append(basket)
    return list(groups.values())


def test_without_decay_groups_of_one_basket_are_the_plain_frequency() -> None:
    found = Baskets.of(histories(20, 3)[0], N_ITEMS, DAY)
    plain, recent = found.frequency(), found.recent_frequency(100, 1.0, 1.0)
    assert recent.toarray() == pytest.approx(plain.toarray())


def test_lists_are_filled_with_popular_items() -> None:
    scores = sp.csr_matrix(np.array([[0, 0.5, 0.5, 0], [0, 0, 0, 0], [1, 2, 3, 4.0]]))
    found = filled_lists(scores, np.array([9, 1, 2, 4]), k=3)
    assert found.tolist() == [[2, 1, 0], [0, 3, 2], [3, 2, 1]]
    assert filled_lists(scores[:1], np.array([9, 1, 2, 4]), k=6).tolist() == [[2, 1, 0, 3, -1, -1]]
