"""By text: what reads like the history. Scores items that nobody has bought yet."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.settings import Content as ContentSettings


def whitened(vectors: np.ndarray) -> np.ndarray:
    """Return float32 (n, rank) unit vectors whose coordinates are uncorrelated, of equal variance.

    Vectors of language models crowd in a narrow cone; whitening spreads them (Su et al. 2021).
    """
    centred = vectors - vectors.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    spread = left[:, scale > 1e-6 * max(scale[0], 1e-12)]
    norms = np.linalg.norm(spread, axis=1, keepdims=True)
    return (spread / np.maximum(norms, 1e-12)).astype(np.float32)


class Content(Recommender):
    """Cosine of the whitened text vector and the history's decayed sum of them."""

    name = "content"

    def __init__(self, settings: ContentSettings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        if catalogue.vectors is None:
            raise ValueError("content needs the items' text vectors: run `bowerbird encode` first")
        self.vectors = whitened(catalogue.vectors)
        return self

    def score(self, histories: Histories) -> np.ndarray:
        taste = histories.matrix(len(self.vectors), self.settings.decay) @ self.vectors
        return np.asarray(taste @ self.vectors.T, dtype=np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"vectors": self.vectors}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump()}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(ContentSettings(**config["settings"]))
        model.vectors = arrays["vectors"]
        return model
