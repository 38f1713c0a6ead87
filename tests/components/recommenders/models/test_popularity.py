"""Popularity: recent sales count more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.recommenders.models.popularity import Popularity
from components.settings import Popularity as Settings


def test_a_sale_of_one_half_life_ago_counts_half() -> None:
    times = 10**9 + np.array([0, 10, 20]) * DAY
    train = Interactions.from_arrays(np.zeros(3, int), np.array([0, 1, 2]), times, 1, 4)
    catalogue = Catalogue(pd.DataFrame({"item_id": list("abcd")}))
    model = Popularity(Settings(half_life_days=10)).fit(train, catalogue)
    assert model.item_popularity() == pytest.approx([0.25, 0.5, 1, 0])
    weighted = replace(train, weights=np.array([1, 0.5, 0], dtype=np.float32))
    half = Popularity(Settings(half_life_days=10)).fit(weighted, catalogue)
    assert half.item_popularity() == pytest.approx([0.25, 0.25, 0, 0])
    scores = model.score(Histories.from_lists([[0], []]))
    assert (scores == model.item_popularity()).all()
    some = np.array([2, 0])
    assert (model.score_at(Histories.from_lists([[1]]), some) == scores[0, some]).all()
