"""Content-based recommendation by TF-IDF vectors of the items' texts, unsold items included."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from components.data.dataset import Catalogue, Histories, Interactions, item_text
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import sparse_inner_products, summed_rows
from components.recommenders.models.knn import csr_arrays, csr_of
from components.settings import Words as WordsSettings


def word_vectors(texts: list[str]) -> sp.csr_matrix:
    """Return float32 CSR (texts, words): TF-IDF, rows of length 1 (Salton and Buckley 1988).

    Raises:
        ValueError: no text has a word.
    """
    vectoriser = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    try:
        return vectoriser.fit_transform(texts).astype(np.float32)
    except ValueError as error:  # scikit-learn's word for no word at all
        raise ValueError("products need titles to be known by their words: none has") from error


class Words(Recommender):
    """Cosine of TF-IDF vectors of the products' texts and the history's decayed sum of them.

    Beside the language model it knows the shop's own words: names of series, brands and
    attributes. ``matrix``: CSR (items, words), rows of length 1.
    """

    name = "words"

    def __init__(self, settings: WordsSettings) -> None:
        self.settings = settings

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn the words of the catalogue; ``train`` is not used."""
        return self.learn(catalogue)

    def learn(self, catalogue: Catalogue) -> Self:
        self.matrix = word_vectors(item_text(catalogue.table))
        return self

    def extended(self, catalogue: Catalogue) -> Words:
        """Return the model of the texts of all items."""
        return Words(self.settings).learn(catalogue)

    def score(self, histories: Histories) -> np.ndarray:
        return sparse_inner_products(self._past(histories), self.matrix)

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        return sparse_inner_products(self._past(histories), self.matrix, items)

    def _past(self, histories: Histories) -> np.ndarray:
        """Return float32 (batch, words), rows of length 1: the histories' decayed sums."""
        weights = histories.weights(self.settings.decay)
        past = summed_rows(histories.items, weights, histories.offsets, self.matrix)
        return past / np.maximum(np.sqrt(np.vecdot(past, past)), 1e-12)[:, None]

    def arrays(self) -> dict[str, np.ndarray]:
        return csr_arrays(self.matrix)

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump()}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(WordsSettings(**config["settings"]))
        model.matrix = csr_of(arrays)
        return model
