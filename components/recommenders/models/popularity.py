"""What sells lately: the baseline that a split by time makes hard, and the last fallback."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.settings import Popularity as PopularitySettings


class Popularity(Recommender):
    """Counts of events, each halved with every half-life it lies back. The same for everybody."""

    name = "popularity"

    def __init__(self, settings: PopularitySettings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        days = (train.times.max(initial=0) - train.times) / DAY
        weights = np.exp2(-days / self.settings.half_life_days)
        counts = np.bincount(train.items, weights=weights, minlength=len(catalogue))
        self.popularity = counts.astype(np.float32)
        return self

    def score(self, histories: Histories) -> np.ndarray:
        return np.tile(self.popularity, (len(histories), 1))

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        return np.tile(self.popularity[items], (len(histories), 1))

    def arrays(self) -> dict[str, np.ndarray]:
        return {"popularity": self.popularity}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump()}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(PopularitySettings(**config["settings"]))
        model.popularity = arrays["popularity"]
        return model
