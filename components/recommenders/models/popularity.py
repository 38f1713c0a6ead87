"""Most popular items with time decay: the baseline, and the last fallback when serving."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from components.arrays import FloatArray, IntArray
from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.recommenders.search_space import LOG_FLOAT
from components.settings import Popularity as PopularitySettings


class Popularity(Recommender):
    """Counts of events, each halved with every half-life of its age; the same for all users.

    ``popularity``: float32 (items,).

    >>> import pandas as pd
    >>> users, items = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1])
    >>> train = Interactions.from_arrays(users, items, times=np.arange(5))
    >>> catalogue = Catalogue(pd.DataFrame({"item_id": ["cup", "saucer", "lamp"]}))
    >>> model = Popularity(PopularitySettings()).fit(train, catalogue)
    >>> model.recommend(Histories.from_lists([[]]), k=2)[0].tolist()
    [[1, 0]]
    """

    name = "popularity"
    section = PopularitySettings
    search_space: ClassVar[dict[str, Any]] = {"half_life_days": (LOG_FLOAT, 1, 180)}
    learned = ("popularity",)

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        days = (train.times.max(initial=0) - train.times) / DAY
        weights = np.exp2(-days / self.settings.half_life_days)
        if train.evidence is not None:
            weights *= train.evidence
        counts = np.bincount(train.items, weights=weights, minlength=len(catalogue))
        self.popularity = counts.astype(np.float32)
        return self

    def score(self, histories: Histories) -> FloatArray:
        return np.tile(self.popularity, (len(histories), 1))

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        return np.tile(self.popularity[items], (len(histories), 1))

    def item_popularity(self) -> FloatArray:
        return self.popularity
