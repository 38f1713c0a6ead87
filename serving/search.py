"""Text search over the catalogue: words, near-words, and meaning where there is an encoder.

In: the catalogue's texts, the item vectors and the model folder's optional ``encoder``. Out: the
matching items, best first. Exact: one sparse product over the catalogue.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

NEAR = 0.35
"""Cosine of letter trigrams from which on a misspelt query matches a title."""

MEANING = 50
"""Items that the encoder may add to those that share a word with the query."""


class Search:
    """Search over the items of a catalogue table; positions are the model's item codes."""

    def __init__(
        self, table: pd.DataFrame, vectors: np.ndarray | None = None, encoder: Any | None = None
    ) -> None:
        """``encoder``: has ``encode(list of texts) -> (texts, width)`` in the vectors' space."""
        titles = table["title"].fillna("").astype(str)
        rest = [
            table[name].fillna("").astype(str) for name in ("brand", "description") if name in table
        ]
        categories = table["categories"].map(
            lambda names: " ".join(names) if names is not None else ""
        )
        texts = titles.str.cat([*rest, categories], sep=" ")
        self._words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        self._letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3))
        self._by_word = _fit(self._words, texts)
        self._by_letters = _fit(self._letters, titles)
        self._vectors = vectors
        self.encoder = encoder

    @classmethod
    def load(cls, folder: str | Path, table: pd.DataFrame, vectors: np.ndarray | None) -> Search:
        """Return the search of a model folder, by meaning too where it has an encoder."""
        encoder = None
        if vectors is not None and (Path(folder) / "encoder").is_dir():
            from components.language.encoder import TextEncoder

            encoder = TextEncoder(Path(folder) / "encoder")
        return cls(table, vectors, encoder)

    def find(self, query: str, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and scores of the items of ``mask`` (bool (items,)) that match, best first.

        Matching: at least one word in common; without any, similar spelling. The encoder adds
        what means the same in other words, after what shares words.
        """
        empty = np.empty(0, dtype=np.int64), np.empty(0)
        if self._by_word is None or self._by_letters is None:
            return empty
        words = self._by_word.dot(self._words.transform([query]).T).toarray().ravel()
        letters = self._by_letters.dot(self._letters.transform([query]).T).toarray().ravel()
        matches = words > 0
        if not (matches & mask).any():
            matches = letters >= NEAR
        scores = words + 0.5 * letters
        if self.encoder is not None and self._vectors is not None:
            meaning = np.asarray(self._vectors) @ np.asarray(self.encoder.encode([query]))[0]
            near = np.argsort(np.where(mask, -meaning, np.inf), kind="stable")[:MEANING]
            scores = scores + 0.3 * meaning
            matches[near] = True
        found = np.flatnonzero(matches & mask)
        order = np.argsort(-scores[found], kind="stable")
        return found[order], scores[found][order]


def _fit(vectorizer: TfidfVectorizer, texts: pd.Series) -> Any | None:
    """Return the texts' matrix, None where there is no text at all."""
    if not texts.str.contains(r"\w").any():
        return None
    return vectorizer.fit_transform(texts)
