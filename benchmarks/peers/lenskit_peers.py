"""Models of LensKit, which scores one user's query at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from common import Scores, Train
from lenskit.als import ImplicitMFScorer
from lenskit.data import ItemList, RecQuery, from_interactions_df
from lenskit.knn import ItemKNNScorer, UserKNNScorer


class OfLensKit(Scores):
    """A model with LensKit's common interface; its codes are ours."""

    model: Any

    def prepare(self, train: Train) -> None:
        self.train = train
        pairs = train.matrix().tocoo()
        self.data = from_interactions_df(pd.DataFrame({"user_id": pairs.row, "item_id": pairs.col}))
        self.every = ItemList(item_ids=self.data.items.ids())

    def fit(self) -> None:
        self.model.train(self.data)

    def scores(self, users: np.ndarray) -> np.ndarray:
        out = np.full((len(users), self.train.n_items), -np.inf, dtype=np.float32)
        known = self.every.ids()
        for row, user in enumerate(users.tolist()):
            query = RecQuery(user_id=user, user_items=self.data.user_row(user))
            found = self.model(query, self.every).scores("numpy")
            out[row, known] = np.where(np.isnan(found), -np.inf, found)
        return out


class ItemKNN(OfLensKit):
    """Item neighbours by cosine (Deshpande and Karypis 2004)."""

    def __init__(self, neighbours: int, threads: int = 1) -> None:
        del threads  # LK_NUM_THREADS
        self.model = ItemKNNScorer(max_nbrs=neighbours, feedback="implicit")


class UserKNN(OfLensKit):
    """User neighbours by cosine."""

    def __init__(self, neighbours: int, threads: int = 1) -> None:
        del threads
        self.model = UserKNNScorer(max_nbrs=neighbours, feedback="implicit")


class ALS(OfLensKit):
    """Matrix factorisation of implicit feedback (Hu, Koren and Volinsky 2008)."""

    def __init__(
        self,
        dimensions: int,
        epochs: int,
        confidence: float,
        regularisation: float,
        threads: int = 1,
    ) -> None:
        del threads
        self.model = ImplicitMFScorer(
            embedding_size=dimensions,
            epochs=epochs,
            weight=confidence,
            regularization=regularisation,
            user_embeddings="prefer",
        )
