"""Content-based recommendation by text embeddings of the items, unsold items included."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

import numpy as np

from components.arrays import FloatArray, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import inner_products, summed_rows
from components.recommenders.search_space import DECAY
from components.settings import Content as ContentSettings


def whitening(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean (width,) and projection (width, rank), float32, to uncorrelated coordinates.

    Embeddings of language models lie in a narrow cone; whitening spreads them (Su et al. 2021).
    """
    mean = vectors.mean(axis=0)
    centred = (vectors - mean).astype(np.float64)
    # R of QR has the singular values and right vectors of the whole; the left ones are not needed.
    _, scale, right = np.linalg.svd(np.linalg.qr(centred, mode="r"), full_matrices=False)
    kept = scale > 1e-6 * max(scale[0], 1e-12)
    projection = right[kept].T / scale[kept] * np.sqrt(len(vectors))
    return mean.astype(np.float32), projection.astype(np.float32)


def whitened(vectors: FloatArray, mean: FloatArray, projection: FloatArray) -> FloatArray:
    """Return float32 (n, rank): unit vectors of equal variance in every coordinate."""
    spread = (vectors - mean) @ projection
    norms = np.linalg.norm(spread, axis=1, keepdims=True)
    return (spread / np.maximum(norms, 1e-12)).astype(np.float32)


class Content(Recommender):
    """Cosine of the whitened text vector and the history's decayed sum of them.

    ``content.whiten: false`` leaves the vectors as they are: whitening undoes every linear map
    before it except for a rotation, so what a fine-tuned linear head has learned would be lost.

    ``vectors``: float32 (items, rank). ``mean``, ``projection``: see ``whitening``.
    """

    name = "content"
    section = ContentSettings
    search_space: ClassVar[dict[str, Any]] = {"decay": DECAY}
    learned = ("vectors", "mean", "projection")

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        if catalogue.vectors is None:
            raise ValueError("content needs the items' text vectors: run `bowerbird encode` first")
        if self.settings.whiten:
            self.mean, self.projection = whitening(catalogue.vectors)
        else:
            width = catalogue.vectors.shape[1]
            self.mean = np.zeros(width, dtype=np.float32)
            self.projection = np.eye(width, dtype=np.float32)
        self.vectors = whitened(catalogue.vectors, self.mean, self.projection)
        return self

    def extended(self, catalogue: Catalogue) -> Content:
        """Return the model with the new items of ``catalogue``, embedded by their text."""
        if catalogue.vectors is None:
            raise ValueError("content needs the new items' text vectors")
        model = copy.copy(self)
        new = self.embed_text(catalogue.vectors[len(self.vectors) :])
        model.vectors = np.vstack([self.vectors, new])
        return model

    def score(self, histories: Histories) -> FloatArray:
        return inner_products(self.queries(histories), self.vectors)

    def item_vectors(self) -> FloatArray:
        return self.vectors

    def embed_text(self, vectors: FloatArray) -> FloatArray:
        return whitened(vectors, self.mean, self.projection)

    def queries(self, histories: Histories) -> FloatArray:
        weights = histories.weights(self.settings.decay)
        return summed_rows(histories.items, weights, histories.offsets, self.vectors)

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        return inner_products(self.queries(histories), self.vectors[items])

    score_similar = score_at  # the history holds the given items
