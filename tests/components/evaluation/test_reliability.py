"""Calibration of probabilities against scikit-learn, and what must hold of any predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from components.evaluation.reliability import Reliability, brier_score


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 15))
def test_scores_and_curve_agree_with_scikit_learn(seed: int, bins: int) -> None:
    random = np.random.default_rng(seed)
    predicted = random.beta(1, 5, 400).round(random.integers(2, 9))  # rounded: with ties
    happened = random.random(400) < predicted**1.3
    assert brier_score(predicted, happened) == pytest.approx(brier_score_loss(happened, predicted))
    share, mean = calibration_curve(happened, predicted, n_bins=bins, strategy="quantile")
    found = Reliability.of(predicted, happened, bins)
    assert found.predicted == pytest.approx(mean)
    assert found.happened == pytest.approx(share)
    assert found.counts.sum() == 400
    assert 0 <= found.error() <= 1
    order = random.permutation(400)
    assert Reliability.of(predicted[order], happened[order], bins).error() == pytest.approx(
        found.error()
    )


def test_true_probabilities_have_a_small_error_and_shifted_ones_the_shift() -> None:
    random = np.random.default_rng(0)
    predicted = random.uniform(0, 0.8, 200_000)
    happened = random.random(200_000) < predicted
    assert Reliability.of(predicted, happened).error() < 0.01
    assert Reliability.of(predicted + 0.2, happened).error() == pytest.approx(0.2, abs=0.01)
    of_base_rate = brier_score(np.full(200_000, happened.mean()), happened)
    assert brier_score(predicted, happened) < 0.8 * of_base_rate
    assert brier_score(1 - predicted, happened) > of_base_rate
