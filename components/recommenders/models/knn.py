"""Collaborative filtering by nearest neighbours: items (Sarwar et al., WWW 2001) and users."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn

from components.arrays import AnyArray, FloatArray, Int64Array, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import (
    best_of_summed_rows,
    csr_arrays,
    csr_of,
    merged_rows,
    summed_rows,
    summed_rows_at,
)
from components.recommenders.search_space import DECAY, LOG_INTEGER
from components.settings import Neighbours


def weighted(matrix: sp.csr_matrix, weighting: str) -> sp.csr_matrix:
    """Return float32 CSR: ``matrix`` (users × items) with weighted users.

    cosine: 1. tfidf: log(items / items of the user), less for users with many items.
    bm25: the same with the item's popularity saturated (Robertson and Zaragoza 2009, k1 = 1.2,
    b = 0.75, an item being the document and its users the words).
    """
    matrix = matrix.astype(np.float32, copy=True).tocsr()
    if weighting == "cosine":
        return matrix
    _users, items = matrix.shape
    per_user = np.diff(matrix.indptr)
    idf = np.log(items / np.maximum(per_user, 1))
    if weighting == "bm25":
        popularity = np.bincount(matrix.indices, minlength=items)
        length = 1 - 0.75 + 0.75 * popularity / max(popularity.mean(), 1e-9)
        matrix.data *= (2.2 / (1 + 1.2 * length))[matrix.indices].astype(np.float32)
    matrix.data *= np.repeat(idf, per_user).astype(np.float32)
    return matrix


def row_normalised(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Return ``matrix`` with rows of length 1; empty rows stay empty."""
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return (sp.diags(scale.astype(np.float32)) @ matrix).tocsr()


class _Neighbours(Recommender):
    """What both kinds share: settings, and one sparse matrix that is all they learn."""

    section = Neighbours
    search_space: ClassVar[dict[str, Any]] = {
        "neighbours": (LOG_INTEGER, 20, 1000),
        "weighting": ["cosine", "tfidf", "bm25"],
        "decay": DECAY,
    }

    def arrays(self) -> dict[str, AnyArray]:
        return csr_arrays(self.matrix)

    def restore(self, config: dict[str, Any], arrays: dict[str, AnyArray]) -> None:
        self.matrix = csr_of(arrays)


class ItemNeighbours(_Neighbours):
    """Scores an item by its similarity to the items of the history, decayed by their age.

    Similarities are learned from each user's ``max_history`` newest events; only the
    ``neighbours`` largest of an item are kept. ``matrix``: CSR (items, items), row i the items
    most similar to i, itself left out.

    >>> import pandas as pd
    >>> users, items = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 2])
    >>> train = Interactions.from_arrays(users, items, times=np.arange(5))
    >>> catalogue = Catalogue(pd.DataFrame({"item_id": ["cup", "saucer", "lamp"]}))
    >>> model = ItemNeighbours(Neighbours()).fit(train, catalogue)
    >>> ids, scores = model.recommend(Histories.from_lists([[0]]), k=1)
    >>> catalogue.ids[ids[0, 0]]
    'saucer'
    """

    name = "item_neighbours"

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        pairs = train.newest(self.settings.max_history).matrix(self.settings.half_life_days)
        items = row_normalised(weighted(pairs, self.settings.weighting).T.tocsr())
        similar = sp_matmul_topn(items, items.T.tocsr(), self.settings.neighbours + 1)
        rows = np.repeat(np.arange(items.shape[0]), np.diff(similar.indptr))
        others = similar.indices != rows
        self.matrix = sp.csr_matrix(
            (similar.data[others], (rows[others], similar.indices[others])), shape=similar.shape
        )
        return self

    # Not below 0, which says that nothing is known: what is only near to disliked items is not
    # proposed either.
    def score(self, histories: Histories) -> FloatArray:
        return _not_negative(summed_rows(*self._past(histories), self.matrix), histories)

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        found = summed_rows_at(*self._past(histories), self.matrix, items)
        return _not_negative(found, histories)

    score_similar = score_at  # the history holds the given items
    score_companions = score_at

    def nearest_items(self, history: Histories, n: int) -> Int64Array:
        index, weights, _ = self._past(history.liked)
        return best_of_summed_rows(index, weights, self.matrix, n)

    def _past(self, histories: Histories) -> tuple[IntArray, FloatArray, IntArray]:
        weights = histories.weights(self.settings.decay)
        return merged_rows(histories.items, weights, histories.offsets)


def _not_negative(scores: FloatArray, histories: Histories) -> FloatArray:
    return scores if histories.strengths is None else np.maximum(scores, 0, out=scores)


class UserNeighbours(_Neighbours):
    """Scores an item by how many of the users most similar to the history have it.

    ``matrix``: CSR (users, items), what each training user has, weighted.
    """

    name = "user_neighbours"

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        pairs = train.matrix(self.settings.half_life_days)
        self.matrix = row_normalised(weighted(pairs, self.settings.weighting))
        vars(self).pop("_by_item", None)
        return self

    @cached_property
    def _by_item(self) -> sp.csr_matrix:
        """CSR (items, users)."""
        return self.matrix.T.tocsr()

    def score(self, histories: Histories) -> FloatArray:
        past = row_normalised(histories.liked.matrix(self.matrix.shape[1], self.settings.decay))
        similar = sp_matmul_topn(past, self._by_item, self.settings.neighbours)
        return np.asarray((similar @ self.matrix).todense(), dtype=np.float32)
