"""Metrics against an independent library (trec_eval through ir-measures), and their properties."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG

from components.evaluation import metrics
from components.recommenders.base import MISSING

K = 10
THEIRS = {
    "ndcg": nDCG @ K,
    "recall": R @ K,
    "precision": P @ K,
    "hit_rate": Success @ K,
    "mrr": RR @ K,
}


@st.composite
def lists_and_targets(draw: st.DrawFn) -> tuple[np.ndarray, sp.csr_matrix]:
    """Lists of up to K of 40 items for a few users, some short, and at least one target each."""
    n_users, n_items = draw(st.integers(1, 6)), 40
    ids = np.full((n_users, K), MISSING, dtype=np.int32)
    wanted = np.zeros((n_users, n_items), dtype=np.float32)
    for user in range(n_users):
        listed = draw(st.lists(st.integers(0, n_items - 1), max_size=K, unique=True))
        ids[user, : len(listed)] = listed
        wanted[user, list(draw(st.sets(st.integers(0, n_items - 1), min_size=1)))] = 1
    return ids, sp.csr_matrix(wanted)


def as_trec(ids: np.ndarray, targets: sp.csr_matrix) -> tuple[dict, dict]:
    run = {
        f"u{user}": {f"i{item}": float(K - place) for place, item in enumerate(row) if item >= 0}
        for user, row in enumerate(ids)
    }
    wanted = {
        f"u{user}": {f"i{item}": 1 for item in targets[user].indices} for user in range(len(ids))
    }
    return run, wanted


@pytest.mark.parametrize("name", list(THEIRS))
@given(lists_and_targets())
@settings(max_examples=60)
def test_accuracy_agrees_with_trec_eval(name: str, given: tuple) -> None:
    ids, targets = given
    run, wanted = as_trec(ids, targets)
    found = {m.query_id: m.value for m in ir_measures.iter_calc([THEIRS[name]], wanted, run)}
    theirs = [found.get(f"u{user}", 0.0) for user in range(len(ids))]
    assert metrics.ACCURACY[name](ids, targets) == pytest.approx(theirs, abs=1e-6)


@given(lists_and_targets())
@settings(max_examples=60)
def test_average_precision_agrees_but_for_the_cut(given: tuple) -> None:
    """trec_eval divides by all targets, we by those that fit into the list."""
    ids, targets = given
    run, wanted = as_trec(ids, targets)
    found = {m.query_id: m.value for m in ir_measures.iter_calc([AP @ K], wanted, run)}
    theirs = np.array([found.get(f"u{user}", 0.0) for user in range(len(ids))])
    count = np.diff(targets.indptr)
    ours = metrics.average_precision(ids, targets) * np.minimum(count, K) / count
    assert ours == pytest.approx(theirs, abs=1e-6)


@given(lists_and_targets())
@settings(max_examples=60)
def test_accuracy_stays_within_zero_and_one_and_is_one_for_the_best_list(given: tuple) -> None:
    ids, targets = given
    for metric in metrics.ACCURACY.values():
        values = metric(ids, targets)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    perfect = np.full_like(ids, MISSING)
    for user in range(len(ids)):
        wanted = targets[user].indices[:K]
        perfect[user, : len(wanted)] = wanted
    assert metrics.ndcg(perfect, targets) == pytest.approx(1)
    assert metrics.mrr(perfect, targets) == pytest.approx(1)
    assert metrics.average_precision(perfect, targets) == pytest.approx(1)


def test_beyond_accuracy_on_lists_worked_by_hand() -> None:
    same = np.array([[0, 1], [0, 1]])
    spread = np.array([[0, 1], [2, 3]])
    assert metrics.coverage(same, 4) == 0.5
    assert metrics.coverage(spread, 4) == 1.0
    assert metrics.gini(spread, 4) == pytest.approx(0)
    assert metrics.gini(np.array([[0], [0]]), 4) == pytest.approx(0.75)  # one of four has all
    sold = np.array([7, 3, 1, 1])
    # (n + 1) / Σ: 8/16 and 4/16, that is 1 and 2 bits.
    assert metrics.novelty(same, sold) == pytest.approx(1.5)
    vectors = np.eye(4, dtype=np.float32)
    assert metrics.diversity(spread, vectors) == pytest.approx(1)
    assert metrics.diversity(np.array([[0, 0]]), vectors) == pytest.approx(0)


def test_missing_places_count_as_misses_and_as_nothing_else() -> None:
    ids = np.array([[3, MISSING, MISSING]])
    targets = sp.csr_matrix(np.array([[0, 0, 0, 1.0]]))
    assert metrics.precision(ids, targets)[0] == pytest.approx(1 / 3)
    assert metrics.recall(ids, targets)[0] == 1
    assert metrics.coverage(ids, 4) == 0.25


def test_serendipity_counts_hits_that_popularity_would_not_have_shown() -> None:
    ids = np.array([[0, 1], [2, 3]])
    targets = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 0, 1.0]]))
    obvious = np.array([[0, 2], [0, 2]])
    assert metrics.serendipity(ids, targets, obvious) == pytest.approx(2 / 4)


def test_popularity_lift_is_zero_for_what_the_users_have_and_one_for_twice() -> None:
    sold = np.array([10, 20, 40, 5])
    histories = sp.csr_matrix(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0.0]]))
    same = np.array([[0], [1], [2]])
    twice = np.array([[1], [2], [2]])
    assert metrics.popularity_lift(same, histories, sold) == pytest.approx(0)
    assert metrics.popularity_lift(twice, histories, sold) == pytest.approx(1)


def test_miscalibration_is_the_divergence_scipy_computes() -> None:
    from scipy.stats import entropy

    categories = np.array([0, 0, 1, 1, -1])
    histories = sp.csr_matrix(np.array([[1, 1, 1, 0, 0.0]]))
    ids = np.array([[3, 2, 0, 4]])  # categories 1, 1, 0; the last has none
    p, q = np.array([2 / 3, 1 / 3]), np.array([1 / 3, 2 / 3])
    expected = entropy(p, 0.99 * q + 0.01 * p)
    assert metrics.miscalibration(ids, histories, categories) == pytest.approx(expected)
    similar = np.array([[0, 1, 2, MISSING]])
    assert metrics.miscalibration(similar, histories, categories) == pytest.approx(0, abs=1e-12)
