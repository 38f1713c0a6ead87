"""Text search over the catalogue: words, similar spelling, and meaning where there is an encoder.

In: the catalogue's texts, the item vectors and the model folder's optional ``encoder``. Out: the
matching items, best first. Exact: one sparse product with the query's words. A text's words are
those of its language, a query's those of every language of the catalogue.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from components.data.attributes import kind_of
from components.data.dataset import item_text
from components.data.item_table import each_text, joined_texts
from components.language.meaning import Meaning
from components.words.analyser import Words
from components.words.segmentation import letters

NEAR = 0.35
"""Cosine of letter trigrams from which on a misspelt query matches a title."""

MEANING = 50
"""Items that the encoder may add to those that share a word with the query."""

READ = 8
"""Products whose texts are encoded to compare meanings before the encoder's head."""


class Search:
    """Search over the items of a catalogue table; positions are the model's item codes."""

    def __init__(
        self,
        table: pd.DataFrame,
        vectors: np.ndarray | None = None,
        encoder: Any | None = None,
        shown: Sequence[str] = (),
    ) -> None:
        """encoder: that of the vectors, see ``Meaning``. shown: columns of the attributes whose
        texts are searched; other columns are ignored."""
        self._attributes = [column for column in shown if kind_of(column) == "text"]
        texts, titles = _texts(table, self._attributes)
        self._analyser = Words.of(texts)
        self._words = _Index.of(
            TfidfVectorizer(sublinear_tf=True, analyzer=list, dtype=np.float32), self._terms(texts)
        )
        self._letters = _Index.of(
            TfidfVectorizer(analyzer=letters, dtype=np.float32), each_text(titles)
        )
        self.encoder = encoder
        self._meaning: Meaning | None = None
        if encoder is not None and vectors is not None:
            self._meaning = Meaning(encoder, np.asarray(vectors), item_text(table.head(READ)))

    @classmethod
    def load(cls, folder: str | Path, table: pd.DataFrame, vectors: np.ndarray | None) -> Search:
        """Return the search of a model folder, by meaning too where it has an encoder."""
        return cls(table, vectors, None if vectors is None else open_encoder(folder))

    def extended(
        self, table: pd.DataFrame, codes: np.ndarray, vectors: np.ndarray | None
    ) -> Search:
        """Return the search of a catalogue in which the products ``codes`` were added or changed.

        Only their texts are read; inverse document frequencies stay, a new word has the highest.
        """
        if self._words is None or self._letters is None:
            return Search(table, vectors, self.encoder, self._attributes)
        search = copy.copy(self)
        texts, titles = _texts(table.iloc[codes], self._attributes)
        search._words = self._words.extended(len(table), codes, [*self._terms(texts)])
        search._letters = self._letters.extended(len(table), codes, [*each_text(titles)])
        if self._meaning is not None and vectors is not None:
            search._meaning = self._meaning.extended(codes, np.asarray(vectors))
        return search

    def _terms(self, texts: pd.Series) -> Iterable[list[str]]:
        return self._analyser.of_texts(each_text(texts), for_search=True)

    def find(
        self,
        query: str,
        mask: np.ndarray,
        translated: Callable[[str], str] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and scores of the items of ``mask`` (bool (items,)) that match, best first.

        Matching: at least one word in common that is no stop word and no number alone; without any,
        one of the query ``translated`` into the catalogue's words; without any, similar spelling.
        The encoder adds items of similar meaning, ranked after those with words
        in common.
        """
        empty = np.empty(0, dtype=np.int64), np.empty(0)
        if self._words is None or self._letters is None:
            return empty
        said = self._analyser.of_query(query)
        words, spelling = self._words.cosines(said.terms), self._letters.cosines(said.text)
        same = said.content == said.terms  # the usual query has no stop word and no number
        matches = (words if same else self._words.cosines(said.content)) > 0
        if not (matches & mask).any() and translated and (other := translated(query)):
            known = self._analyser.of_query(other)
            in_words = self._words.cosines(known.content) > 0
            if (in_words & mask).any():
                words, spelling = (
                    self._words.cosines(known.terms),
                    self._letters.cosines(known.text),
                )
                matches = in_words
        if not (matches & mask).any():
            words[:] = 0.0
            matches = spelling >= NEAR
        # Of items that match by neither, the spelling is chance, more so of another language's.
        scores = np.where(matches, words + 0.5 * spelling, 0.0)
        if self._meaning is not None:
            meaning = self._meaning.cosines(query)
            near = np.argsort(np.where(mask, -meaning, np.inf), kind="stable")[:MEANING]
            scores = scores + 0.3 * meaning
            matches[near] = True
        found = np.flatnonzero(matches & mask)
        order = np.argsort(-scores[found], kind="stable")
        return found[order], scores[found][order]


def open_encoder(folder: str | Path) -> Any | None:
    """Return the text encoder of a model folder, None where it has none."""
    if not (Path(folder) / "encoder").is_dir():
        return None
    from components.language.encoder import TextEncoder

    # On the CPU: a query takes it milliseconds, and on a GPU each process would hold a context.
    return TextEncoder(Path(folder) / "encoder", device="cpu")


class _Index:
    """The texts of the catalogue by their terms, and those that were added or changed later.

    by_term: float32 CSR (terms, items), of the fitted vectorizer. late: float32 CSR (late, terms
    and new terms), the texts of ``codes``, which replace the texts in by_term.
    """

    def __init__(self, fitted: TfidfVectorizer, by_term: sp.csr_matrix) -> None:
        self._fitted = self._vectorizer = fitted
        self._by_term = by_term
        self._n_items = by_term.shape[1]
        self._codes = np.empty(0, dtype=np.int64)
        self._late = sp.csr_matrix((0, by_term.shape[0]), dtype=np.float32)

    @classmethod
    def of(cls, vectorizer: TfidfVectorizer, texts: Iterable[Any]) -> _Index | None:
        """Return the index of the texts, None where there is no term at all.

        texts: what the vectorizer's analyser takes.
        """
        try:
            matrix = vectorizer.fit_transform(texts)
        except ValueError:  # scikit-learn's error for an empty vocabulary
            return None
        return cls(vectorizer, matrix.T.tocsr())

    def extended(self, n_items: int, codes: np.ndarray, texts: Iterable[Any]) -> _Index:
        """Return the index with other texts at ``codes``, as far as it was fitted the same."""
        index = copy.copy(self)
        known, analyse = self._fitted.vocabulary_, self._fitted.build_analyzer()
        new = dict.fromkeys(term for text in texts for term in analyse(text) if term not in known)
        if new:
            vocabulary = {**known, **{term: len(known) + at for at, term in enumerate(new)}}
            rarest = np.full(len(new), self._fitted.idf_.max())
            parameters = {**self._fitted.get_params(), "vocabulary": vocabulary}
            index._vectorizer = TfidfVectorizer(**parameters)
            index._vectorizer.idf_ = np.concatenate([self._fitted.idf_, rarest])
        else:
            index._vectorizer = self._fitted
        index._n_items, index._codes = n_items, codes
        index._late = index._vectorizer.transform(texts)
        return index

    def cosines(self, query: Any) -> np.ndarray:
        """Return float64 (items,): the cosine of each text and the query, which is as they are."""
        asked = self._vectorizer.transform([query]).tocsr()
        cosines = np.zeros(self._n_items)
        known = asked.indices < self._by_term.shape[0]
        terms, weights = asked.indices[known], asked.data[known]
        of_known = sp.csr_matrix(
            (weights, terms, [0, len(terms)]), shape=(1, self._by_term.shape[0])
        )
        found = (of_known @ self._by_term).tocsr()
        cosines[found.indices] = found.data
        cosines[self._codes] = (self._late @ asked.T).toarray().ravel()
        return cosines


def _texts(table: pd.DataFrame, attributes: Sequence[str]) -> tuple[pd.Series, pd.Series]:
    """Return the searched text of each product, and its title alone."""
    columns = [name for name in ("brand", "description", *attributes) if name in table]
    searched = joined_texts([table[name] for name in ("title", *columns, "categories")])
    return searched, table["title"]
