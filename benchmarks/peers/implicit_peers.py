"""Models of implicit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import MISSING, Peer, Train
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender


class OfImplicit(Peer):
    """A model with implicit's common interface."""

    model: Any
    counts = False

    def prepare(self, train: Train) -> None:
        self.matrix = train.counts() if self.counts else train.matrix()

    def fit(self) -> None:
        self.model.fit(self.matrix, show_progress=False)

    def lists(self, users: np.ndarray, k: int, exclude_seen: bool) -> np.ndarray:
        ids, scores = self.model.recommend(
            users, self.matrix[users], N=k, filter_already_liked_items=exclude_seen
        )
        return np.where(self.listed(scores), ids, MISSING)

    def listed(self, scores: np.ndarray) -> np.ndarray:
        """Return bool (users, k): false at what implicit fills short lists with."""
        return scores > -1e30

    def save(self, folder: Path) -> None:
        self.model.save(str(folder / "model"))


class ALS(OfImplicit):
    """Matrix factorisation of implicit feedback (Hu, Koren and Volinsky 2008)."""

    def __init__(
        self,
        dimensions: int,
        epochs: int,
        confidence: float,
        regularisation: float,
        threads: int = 1,
    ) -> None:
        self.model = AlternatingLeastSquares(
            factors=dimensions,
            iterations=epochs,
            alpha=confidence,
            regularization=regularisation,
            num_threads=threads,
            random_state=0,
        )


class BM25(OfImplicit):
    """Item neighbours by BM25 weights of the counts."""

    counts = True

    def listed(self, scores: np.ndarray) -> np.ndarray:
        # Items without a neighbour in the history are filled in with the score 0: the user's own,
        # too, whatever the filter says.
        return scores > 0

    def __init__(self, neighbours: int, k1: float, b: float, threads: int = 1) -> None:
        self.model = BM25Recommender(K=neighbours, K1=k1, B=b, num_threads=threads)
