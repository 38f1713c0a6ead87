"""Metrics of the next basket against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score, recall_score

from components.evaluation.baskets import f1_at_size, recall_at_size

N_ITEMS = 30


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
