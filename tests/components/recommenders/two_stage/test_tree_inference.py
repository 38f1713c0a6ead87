"""The fast reading of the ranker against LightGBM itself."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.recommenders.two_stage.tree_inference import Forest

QUIET = {"verbosity": -1, "num_threads": 1, "deterministic": True}


def learned(seed: int, leaves: int, missing: float, **more: object) -> tuple[lgb.Booster, ...]:
    """Return a model of 20 trees and features like those it learned from."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((500, 6)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1])  # many equal values, 0 among them
    x[random.random(x.shape) < missing] = np.nan
    x[:, 2] = np.nan_to_num(x[:, 2])  # a feature that never misses in training
    y = np.nan_to_num(x[:, 0]) * x[:, 2] + np.isnan(x[:, 3]) + random.random(500)
    data = lgb.Dataset(x, y)
    settings = {**QUIET, "num_leaves": leaves, "min_data_in_leaf": 3, **more}
    return lgb.train(settings, data, num_boost_round=20), x


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    leaves=st.integers(2, 64),
    missing=st.sampled_from([0.0, 0.3]),
    rows=st.sampled_from([1, 63, 64, 65, 300]),
)
def test_it_sums_as_lightgbm_does_to_the_last_bit(seed, leaves, missing, rows) -> None:
    booster, x = learned(seed, leaves, missing)
    asked = np.vstack([x, -x])[np.random.default_rng(seed).integers(0, 1000, rows)]
    asked[::7] = np.nan
    asked[1::7] = 0.0
    forest = Forest.of(booster)
    assert forest is not None
    for order in ("C", "F"):
        found = forest.predict(np.array(asked, order=order))
        assert np.array_equal(found, booster.predict(asked, num_threads=1))


@pytest.mark.parametrize(
    "more",
    [
        {"leaves": 100},
        {"zero_as_missing": True},
        {"linear_tree": True},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    ],
)
def test_what_it_cannot_read_it_leaves_to_lightgbm(more: dict) -> None:
    booster, _ = learned(0, more.pop("leaves", 20), 0.1, **more)
    assert Forest.of(booster) is None


def test_categorical_splits_are_left_to_lightgbm() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 5, (500, 1)).astype(np.float32)
    data = lgb.Dataset(x, np.isin(x[:, 0], [0, 3]).astype(float), categorical_feature=[0])
    assert Forest.of(lgb.train({**QUIET, "min_data_per_group": 5}, data, 3)) is None
