"""Demographic recommender: what users with the same attributes buy, for users without a history.

The popularity of each item, times how much more often users with the shopper's values have it
(Pazzani, Artificial Intelligence Review 1999, for the idea; the ratios are those of
``kernels.lift``, and are multiplied as in naive Bayes).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from components.arrays import BoolArray, FloatArray, IntArray
from components.data.attribute_codes import Vocabulary
from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.recommenders.kernels.lift import item_groups, log_lift, normalised
from components.recommenders.models.popularity import Popularity
from components.recommenders.search_space import FLOAT, LOG_FLOAT
from components.settings import Demographic as DemographicSettings
from components.settings import Popularity as PopularitySettings


class Demographic(Recommender):
    """Popularity given the attributes of the user; without attributes it is popularity.

    ``popularity``: float32 (items,). ``lift``: float32 (values, items), logarithms. A history does
    not change the scores.

    >>> import pandas as pd
    >>> from components.data.attribute_codes import UserAttributes
    >>> from dataclasses import replace
    >>> users = pd.DataFrame({"category:age": ["old", "young"] * 20})
    >>> who = np.arange(40)
    >>> train = Interactions.from_arrays(who, who % 2, times=who)
    >>> train = replace(train, attributes=UserAttributes.of(users))
    >>> catalogue = Catalogue(pd.DataFrame({"item_id": ["armchair", "skates"]}))
    >>> model = Demographic(DemographicSettings()).fit(train, catalogue)
    >>> model.recommend(train.histories(np.array([0, 1]), now=0), k=1)[0].tolist()
    [[0], [1]]
    """

    name = "demographic"
    section = DemographicSettings
    search_space: ClassVar[dict[str, Any]] = {
        "half_life_days": (LOG_FLOAT, 1, 180),
        "strength": (LOG_FLOAT, 1, 200),
        "weight": (FLOAT, 0, 1),
    }
    learned = ("popularity", "lift")

    vocabulary: Vocabulary

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        popularity = PopularitySettings(half_life_days=self.settings.half_life_days)
        self.popularity = Popularity(popularity).fit(train, catalogue).popularity
        self.vocabulary = Vocabulary({})
        self.lift = np.empty((0, len(catalogue)), dtype=np.float32)
        if train.attributes is not None:
            self.vocabulary = train.attributes.vocabulary
            self.lift = log_lift(
                train.matrix(),
                train.attributes.codes,
                self.vocabulary,
                item_groups(catalogue),
                self.settings.strength,
            )
        return self

    def score(self, histories: Histories) -> FloatArray:
        return self._scores(histories, self.popularity, self.lift)

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        return self._scores(histories, self.popularity[items], self.lift[:, items])

    def knows(self, histories: Histories) -> BoolArray:
        """Return bool (batch,): which users have an attribute's value that the model has."""
        if histories.attributes is None:
            return np.zeros(len(histories), dtype=bool)
        return np.diff(histories.attributes.codes_in(self.vocabulary).indptr) > 0

    def _scores(self, histories: Histories, popularity: FloatArray, lift: FloatArray) -> FloatArray:
        scores = np.tile(popularity, (len(histories), 1))
        if histories.attributes is None:
            return scores
        codes = histories.attributes.codes_in(self.vocabulary)
        for part in self.vocabulary.parts.values():  # the mean over the values of a set
            logs = normalised(codes[:, part]) @ lift[part]
            scores *= np.exp(self.settings.weight * logs)
        return scores

    def config(self) -> dict[str, Any]:
        return {**super().config(), "vocabulary": self.vocabulary.config()}

    def restore(self, config: dict[str, Any], arrays: dict[str, Any]) -> None:
        super().restore(config, arrays)
        self.vocabulary = Vocabulary.from_config(config["vocabulary"])
