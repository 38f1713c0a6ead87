"""Content-based recommendation by TF-IDF vectors of the items' texts, unsold items included."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from components.arrays import AnyArray, FloatArray, IntArray
from components.data.dataset import Catalogue, Histories, Interactions, item_text
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import (
    csr_arrays,
    csr_of,
    sparse_inner_products,
    summed_rows,
)
from components.recommenders.search_space import DECAY
from components.settings import TFIDF as TFIDFSettings
from components.words.analyser import Words


def word_vectors(texts: list[str], words: Words | None = None) -> sp.csr_matrix:
    """Return float32 CSR (texts, words): TF-IDF, rows of length 1 (Salton and Buckley 1988).

    words: the analyser of the texts; None: that of their own languages.

    Raises:
        ValueError: no text has a word.
    """
    # In here: the import takes a second, and few processes need it.
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = Words.of(texts) if words is None else words
    vectoriser = TfidfVectorizer(sublinear_tf=True, analyzer=list)
    try:
        return vectoriser.fit_transform(words.of_texts(texts)).astype(np.float32)
    except ValueError as error:  # scikit-learn's error for an empty vocabulary
        raise ValueError("products need titles for TF-IDF vectors, and none has one") from error


class TFIDF(Recommender):
    """Cosine of TF-IDF vectors of the products' texts and the history's decayed sum of them.

    It knows the shop's own words, which the language model may not: names of series, brands and
    attributes. ``matrix``: CSR (items, words), rows of length 1. ``words``: the analyser of the
    catalogue's texts.
    """

    name = "tfidf"
    section = TFIDFSettings
    search_space: ClassVar[dict[str, Any]] = {"decay": DECAY}

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Compute the vectors of the catalogue; ``train`` is not used."""
        texts = item_text(catalogue.table)
        self.words = Words.of(texts)
        self.matrix = word_vectors(texts, self.words)
        return self

    def extended(self, catalogue: Catalogue) -> TFIDF:
        """Return the model of the texts of all items of ``catalogue``."""
        model = TFIDF(self.settings)
        model.words = self.words
        model.matrix = word_vectors(item_text(catalogue.table), self.words)
        return model

    def score(self, histories: Histories) -> FloatArray:
        return sparse_inner_products(self._past(histories), self.matrix)

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        return sparse_inner_products(self._past(histories), self.matrix, items)

    def _past(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, words), rows of length 1: the histories' decayed sums."""
        weights = histories.weights(self.settings.decay)
        past = summed_rows(histories.items, weights, histories.offsets, self.matrix)
        return past / np.maximum(np.sqrt(np.vecdot(past, past)), 1e-12)[:, None]

    def arrays(self) -> dict[str, AnyArray]:
        return csr_arrays(self.matrix)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "words": self.words.config()}

    def restore(self, config: dict[str, Any], arrays: dict[str, AnyArray]) -> None:
        self.words = Words(**config.get("words", {"languages": {}}))  # absent in older models
        self.matrix = csr_of(arrays)
