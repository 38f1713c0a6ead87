"""LightFM, of the fork that RecTools maintains."""

from __future__ import annotations

import numpy as np
from common import Scores, Train
from lightfm import LightFM


class WARP(Scores):
    """Factorisation with the loss WARP (Weston, Bengio and Usunier 2011), ids alone."""

    def __init__(
        self,
        dimensions: int,
        epochs: int,
        learning_rate: float,
        regularisation: float,
        threads: int = 1,
    ) -> None:
        self.epochs, self.threads = epochs, threads
        self.model = LightFM(
            no_components=dimensions,
            loss="warp",
            learning_rate=learning_rate,
            item_alpha=regularisation,
            user_alpha=regularisation,
            random_state=0,
        )

    def prepare(self, train: Train) -> None:
        self.train, self.matrix = train, train.matrix().tocoo()

    def fit(self) -> None:
        self.model.fit(self.matrix, epochs=self.epochs, num_threads=self.threads)

    def scores(self, users: np.ndarray) -> np.ndarray:
        # The scores of LightFM.predict, as a product of matrices.
        of_items, items = self.model.get_item_representations()
        _, vectors = self.model.get_user_representations()
        return vectors[users] @ items.T + of_items
