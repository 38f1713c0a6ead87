"""Z-scores within each history."""

from __future__ import annotations

import numpy as np

from components.recommenders.kernels.standardise import standardised


def test_excluded_items_are_left_out_and_equal_scores_become_zero() -> None:
    z = standardised(np.array([[1, 3, -np.inf], [5, 5, 5]], dtype=np.float32))
    assert z.tolist() == [[-1, 1, -np.inf], [0, 0, 0]]


def test_each_row_has_mean_0_and_deviation_1() -> None:
    scores = np.random.default_rng(0).normal(7, 3, (4, 500)).astype(np.float32)
    z = standardised(scores)
    np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=1), 1, rtol=1e-5)
    assert z.dtype == np.float32
