"""Content-based recommendation by the items' text embeddings; recommends unsold items too."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import (
    inner_products,
    summed_rows,
)
from components.settings import Content as ContentSettings


def whitening(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (width,) and projection (width, rank), float32, to uncorrelated coordinates.

    Vectors of language models crowd in a narrow cone; whitening spreads them (Su et al. 2021).
    """
    mean = vectors.mean(axis=0)
    centred = (vectors - mean).astype(np.float64)
    _, scale, right = np.linalg.svd(centred, full_matrices=False)
    kept = scale > 1e-6 * max(scale[0], 1e-12)
    projection = right[kept].T / scale[kept] * np.sqrt(len(vectors))
    return mean.astype(np.float32), projection.astype(np.float32)


def whitened(vectors: np.ndarray, mean: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Return float32 (n, rank): unit vectors of equal variance in every coordinate."""
    spread = (vectors - mean) @ projection
    norms = np.linalg.norm(spread, axis=1, keepdims=True)
    return (spread / np.maximum(norms, 1e-12)).astype(np.float32)


class Content(Recommender):
    """Cosine of the whitened text vector and the history's decayed sum of them.

    ``content.whiten: false`` leaves the vectors as they are. Whitening undoes every linear map
    before it but for a rotation: what the fine-tuned head has learned would be lost.
    """

    name = "content"

    def __init__(self, settings: ContentSettings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        if catalogue.vectors is None:
            raise ValueError("content needs the items' text vectors: run `bowerbird encode` first")
        width = catalogue.vectors.shape[1]
        self.mean, self.projection = (
            whitening(catalogue.vectors)
            if self.settings.whiten
            else (np.zeros(width, dtype=np.float32), np.eye(width, dtype=np.float32))
        )
        self.vectors = whitened(catalogue.vectors, self.mean, self.projection)
        return self

    def extended(self, catalogue: Catalogue) -> Content:
        """Return the model with the catalogue's further items, placed by their text."""
        if catalogue.vectors is None:
            raise ValueError("content needs the new items' text vectors")
        model = copy.copy(self)
        new = whitened(catalogue.vectors[len(self.vectors) :], self.mean, self.projection)
        model.vectors = np.vstack([self.vectors, new])
        return model

    def score(self, histories: Histories) -> np.ndarray:
        return inner_products(self.queries(histories), self.vectors)

    def queries(self, histories: Histories) -> np.ndarray:
        """Return float32 (batch, rank): whose inner products with ``vectors`` are the scores."""
        weights = histories.weights(self.settings.decay)
        return summed_rows(histories.items, weights, histories.offsets, self.vectors)

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        return inner_products(self.queries(histories), self.vectors[items])

    def arrays(self) -> dict[str, np.ndarray]:
        return {"vectors": self.vectors, "mean": self.mean, "projection": self.projection}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump()}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(ContentSettings(**config["settings"]))
        model.vectors, model.mean, model.projection = (
            arrays[name] for name in ("vectors", "mean", "projection")
        )
        return model
