"""Revenue of lists: against a plain sum, and what must hold of any lists."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.dataset import Interactions
from components.evaluation.revenue import revenue, spending
from components.recommenders.base import MISSING


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_revenue_is_the_sum_of_what_was_spent_on_the_list(seed: int) -> None:
    random = np.random.default_rng(seed)
    spent = np.where(random.random((6, 12)) < 0.4, random.random((6, 12)) * 100, 0)
    ids = np.argsort(random.random((6, 12)), axis=1)
    ids[random.random(ids.shape) < 0.1] = MISSING
    matrix = sp.csr_matrix(spent)
    for k in (1, 5, 12):
        expected = [sum(spent[row, item] for item in ids[row, :k] if item >= 0) for row in range(6)]
        assert np.allclose(revenue(ids[:, :k], matrix), expected)
    total = np.asarray(matrix.sum(axis=1)).ravel()
    longer = np.array([revenue(ids[:, :k], matrix) for k in range(1, 13)])
    assert (np.diff(longer, axis=0) >= -1e-9).all()  # a longer list earns no less
    assert (longer <= total + 1e-9).all()
    best = np.argsort(-spent, axis=1)[:, :3]
    assert (revenue(best, matrix) >= longer[2] - 1e-9).all()
    assert np.allclose(revenue(ids, 2 * matrix), 2 * longer[-1])


def test_spending_takes_the_price_of_the_line_then_of_the_catalogue() -> None:
    x = Interactions.from_arrays(np.array([0, 0, 1, 1]), np.array([2, 2, 2, 0]), np.arange(4))
    x.prices[:] = [3.0, np.nan, np.nan, np.nan]
    x.quantities[:] = [2.0, 1.0, np.nan, 4.0]
    prices = np.array([np.nan, 1.0, 5.0], dtype=np.float32)
    assert spending(x, prices).toarray().tolist() == [[0, 0, 2 * 3 + 5], [0, 0, 5]]
