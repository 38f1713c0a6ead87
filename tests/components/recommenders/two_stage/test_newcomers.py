"""Users without a history: the ranker orders their products only if it is better at later ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from components.data.dataset import load_prepared
from components.data.holdout import later_targets, window_task
from components.recommenders.two_stage.features import Pairs
from components.recommenders.two_stage.newcomers import MIN_USERS, choose, ndcg_of_pairs
from components.recommenders.two_stage.ranker import Newcomers, Ranker, fit_ranker
from components.settings import Rank, Settings

USERS, ITEMS = 200, 30
POPULAR, OF_THE_EARLIER_HALF = 3, 17
SETTINGS = Rank(trees=10, min_leaf=5)
EARLIER = np.arange(USERS) % 2 == 0


def shop() -> tuple[Pairs, np.ndarray]:
    """Every item is a candidate of every user; its features are its popularity and its code."""
    items = np.tile(np.arange(ITEMS, dtype=np.int32), USERS)
    popularity = -np.abs(items - POPULAR).astype(np.float32)
    rows = np.repeat(np.arange(USERS), ITEMS)
    return Pairs(rows, items, np.column_stack([popularity, items]).astype(np.float32)), popularity


def bought(items: np.ndarray, rows: np.ndarray | None = None) -> sp.csr_matrix:
    """Return CSR (users, items) of one item of each user, of ``rows`` alone."""
    found = sp.csr_matrix((np.ones(USERS), (np.arange(USERS), items)), (USERS, ITEMS))
    return found if rows is None else sp.diags(rows.astype(float)).dot(found).tocsr()


def chosen(items: np.ndarray, new: np.ndarray | None = None) -> Newcomers:
    """Return the choice where users buy ``items``, those of EARLIER in the earlier half."""
    pairs, popularity = shop()
    targets, later = bought(items), bought(items, ~EARLIER)
    unsold = np.zeros(ITEMS, dtype=bool)

    def learn(wanted: sp.csr_matrix) -> Ranker:
        assert not wanted[~EARLIER].nnz  # nothing of the later half is learned
        return fit_ranker(pairs, wanted, unsold, ["popularity", "item"], SETTINGS, 1, trees=10)

    new = np.ones(USERS, dtype=bool) if new is None else new
    return choose(pairs, targets, later, new, "popularity", popularity, learn)


def test_a_ranker_that_knows_its_own_weeks_alone_does_not_serve_newcomers() -> None:
    found = chosen(np.where(EARLIER, OF_THE_EARLIER_HALF, POPULAR))
    assert found.model == "popularity"
    assert found.users == np.count_nonzero(~EARLIER)
    assert found.model_ndcg == pytest.approx(1)
    assert found.ranker_ndcg < 1
    assert found.bound < 0
    assert "order of popularity" in str(found)


def test_a_ranker_that_is_better_later_serves_them() -> None:
    found = chosen(np.full(USERS, OF_THE_EARLIER_HALF))
    assert found.model is None
    assert found.ranker_ndcg == pytest.approx(1)
    assert found.bound > 0
    assert "order of the ranker" in str(found)


def test_users_with_a_history_do_not_decide() -> None:
    better_for_the_others = np.full(USERS, OF_THE_EARLIER_HALF)
    new = np.arange(USERS) < USERS // 2
    better_for_the_others[new & ~EARLIER] = POPULAR
    found = chosen(better_for_the_others, new)
    assert (found.model, found.users) == ("popularity", USERS // 4)


def test_few_newcomers_or_no_purchases_decide_for_the_candidate() -> None:
    items = np.full(USERS, OF_THE_EARLIER_HALF)
    few = np.arange(USERS) < 2 * (MIN_USERS - 1)
    assert chosen(items, few) == Newcomers("popularity")
    pairs, popularity = shop()
    everything = bought(items)

    def nothing(wanted: sp.csr_matrix) -> Ranker:
        raise ValueError

    new = np.ones(USERS, dtype=bool)
    found = choose(pairs, everything, everything, new, "popularity", popularity, nothing)
    assert found == Newcomers("popularity")
    assert "too few" in str(found)


def test_excluded_pairs_come_last() -> None:
    pairs = Pairs(np.zeros(2, np.int64), np.array([0, 1], np.int32), np.empty((2, 0)))
    scores = np.array([np.nan, -5], np.float32)
    found = ndcg_of_pairs(pairs, scores, sp.csr_matrix([[0, 1]]))
    assert found.tolist() == [1]


def test_later_targets_are_those_of_the_later_half(trained: tuple[Path, Settings]) -> None:
    prepared = load_prepared(trained[0] / "data/prepared", trained[0] / "models/vectors")
    task = window_task(prepared, "validation", exclude_seen=True)
    later = later_targets(prepared, task)
    x = prepared.interactions
    middle = (prepared.validation_start + prepared.test_start) // 2
    inside = (x.times >= prepared.validation_start) & (x.times < middle)
    before = x.where(inside).successes().matrix()[task.users]
    assert 0 < later.nnz < task.targets.nnz
    assert not later.multiply(before).nnz
    assert (task.targets - later).multiply(before.sign()).nnz == task.targets.nnz - later.nnz
