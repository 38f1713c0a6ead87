"""Vectors of the products that ``PUT /items`` added after the model was trained.

In: the products' table. Out: a vector of each text, in the space of the model's vectors, for
``catalogue.overlaid``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from components.data.dataset import item_text
from serving.search import Search

NEIGHBOURS = 5
"""Products with similar words whose mean vector a new one gets where there is no encoder."""


class NewProductVectors:
    """Vectors of new products: by the model folder's encoder, else by products with similar words.

    Encoded texts are cached, so each change of the catalogue encodes only the new texts.
    """

    def __init__(self, search: Search, vectors: np.ndarray, encoder: Any | None) -> None:
        self._search = search
        self._vectors = vectors
        self._encoder = encoder
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, table: pd.DataFrame) -> np.ndarray:
        """Return float32 (products, width), rows of length 1 (0 where no product is similar)."""
        texts = item_text(table)
        missing = list(dict.fromkeys(text for text in texts if text not in self._known))
        if missing and self._encoder is not None:
            self._known |= dict(zip(missing, self._encoder.encode(missing), strict=True))
        elif missing:
            self._known |= {text: self._by_words(text) for text in missing}
        return np.array([self._known[text] for text in texts], dtype=np.float32)

    def _by_words(self, text: str) -> np.ndarray:
        near, scores = self._search.find(text, np.ones(len(self._vectors), dtype=bool))
        near, scores = near[:NEIGHBOURS], scores[:NEIGHBOURS]
        total = (
            scores @ np.asarray(self._vectors[near])
            if len(near)
            else np.zeros(self._vectors.shape[1])
        )
        return (total / max(float(np.linalg.norm(total)), 1e-9)).astype(np.float32)
