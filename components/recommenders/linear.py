"""A linear item-to-item model in closed form: EASE (Steck, WWW 2019), with recency."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.settings import Linear as LinearSettings


class Linear(Recommender):
    """Predicts each item from the others of a history by ridge regression with a zero diagonal.

    With Gram matrix G = XᵀX the weights are B = I − P diag(P)⁻¹, P = (G + λI)⁻¹. Events count
    less the longer ago they are (``half_life_days``), so that last Christmas fades. Only the
    ``max_items`` most popular items take part: time and memory are bounded by max_items³ and ².

    ``weights``: float32 (kept, kept), ``kept``: int32 item codes.
    """

    name = "linear"

    def __init__(self, settings: LinearSettings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        self.n_items = len(catalogue)
        counts = np.bincount(train.items, minlength=self.n_items)
        popular = np.argsort(-counts, kind="stable")[: self.settings.max_items]
        self.kept = np.sort(popular[counts[popular] > 0]).astype(np.int32)
        days = (train.times.max(initial=0) - train.times) / DAY
        # Square roots, because G squares them; a pair's newest meeting decides, not their number.
        weights = np.exp2(-days / self.settings.half_life_days / 2).astype(np.float32)
        order = np.lexsort((train.times, train.items, train.users))
        pairs = train.users[order].astype(np.int64) * self.n_items + train.items[order]
        newest = order[np.append(pairs[1:] != pairs[:-1], True)] if len(order) else order
        matrix = sp.csr_matrix(
            (weights[newest], (train.users[newest], train.items[newest])),
            shape=(train.n_users, self.n_items),
        )
        chosen = matrix[:, self.kept]
        gram = np.asarray((chosen.T @ chosen).todense(), dtype=np.float64)
        gram[np.diag_indices_from(gram)] += self.settings.regularisation
        inverse = np.linalg.inv(gram)
        solved = -inverse / np.diag(inverse)[None, :]
        np.fill_diagonal(solved, 0.0)
        self.weights = solved.astype(np.float32)
        return self

    def score(self, histories: Histories) -> np.ndarray:
        past = histories.matrix(self.n_items, self.settings.decay)[:, self.kept]
        scores = np.zeros((len(histories), self.n_items), dtype=np.float32)
        scores[:, self.kept] = past @ self.weights
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "kept": self.kept}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump(), "n_items": self.n_items}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(LinearSettings(**config["settings"]))
        model.n_items, model.weights, model.kept = (
            config["n_items"],
            arrays["weights"],
            arrays["kept"],
        )
        return model
