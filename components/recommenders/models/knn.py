"""Collaborative filtering by neighbours: alike items (Sarwar et al., WWW 2001), alike users."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import (
    best_of_summed_rows,
    merged_rows,
    summed_rows,
    summed_rows_at,
)
from components.settings import Neighbours


def weighted(matrix: sp.csr_matrix, weighting: str) -> sp.csr_matrix:
    """Return float32 CSR: ``matrix`` (users × items), users weighted by how telling they are.

    cosine: 1. tfidf: log(items / items of the user), so that who buys everything tells little.
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


def csr_arrays(matrix: sp.csr_matrix) -> dict[str, np.ndarray]:
    """Return the arrays that ``csr_of`` makes a sparse matrix of again."""
    return {
        "data": matrix.data.astype(np.float32),
        "indices": matrix.indices.astype(np.int32),
        "indptr": matrix.indptr.astype(np.int64),
        "shape": np.array(matrix.shape, dtype=np.int64),
    }


def csr_of(arrays: dict[str, np.ndarray]) -> sp.csr_matrix:
    """Return the matrix that ``csr_arrays`` took apart."""
    return sp.csr_matrix(
        (arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(arrays["shape"])
    )


class _Neighbours(Recommender):
    """What both kinds share: settings, and one sparse matrix that is all they learn."""

    def __init__(self, settings: Neighbours) -> None:
        self.settings = settings

    def arrays(self) -> dict[str, np.ndarray]:
        return csr_arrays(self.matrix)

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump()}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(Neighbours(**config["settings"]))
        model.matrix = csr_of(arrays)
        return model


class ItemNeighbours(_Neighbours):
    """Scores an item by its similarity to the items of the history, the older the less.

    Similarities are of each user's ``max_history`` newest events; only each item's strongest are
    ever held. ``matrix``: CSR (items, items), row i the items most alike to i, itself left out.
    """

    name = "item_neighbours"

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        met = train.newest(self.settings.max_history).matrix(self.settings.half_life_days)
        items = row_normalised(weighted(met, self.settings.weighting).T.tocsr())
        alike = sp_matmul_topn(items, items.T.tocsr(), self.settings.neighbours + 1)
        rows = np.repeat(np.arange(items.shape[0]), np.diff(alike.indptr))
        others = alike.indices != rows
        self.matrix = sp.csr_matrix(
            (alike.data[others], (rows[others], alike.indices[others])), shape=alike.shape
        )
        return self

    def score(self, histories: Histories) -> np.ndarray:
        return summed_rows(*self._past(histories), self.matrix)

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        return summed_rows_at(*self._past(histories), self.matrix, items)

    def near(self, history: Histories, n: int) -> np.ndarray:
        """Return int64 (≤ n,): the items most alike to one history, in no order."""
        index, weights, _ = self._past(history)
        return best_of_summed_rows(index, weights, self.matrix, n)

    def _past(self, histories: Histories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weights = histories.weights(self.settings.decay)
        return merged_rows(histories.items, weights, histories.offsets)


class UserNeighbours(_Neighbours):
    """Scores an item by how many of the users most alike to the history have it.

    ``matrix``: CSR (users, items), what each training user has, weighted.
    """

    name = "user_neighbours"

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        met = train.matrix(self.settings.half_life_days)
        self.matrix = row_normalised(weighted(met, self.settings.weighting))
        vars(self).pop("_by_item", None)
        return self

    @cached_property
    def _by_item(self) -> sp.csr_matrix:
        """CSR (items, users)."""
        return self.matrix.T.tocsr()

    def score(self, histories: Histories) -> np.ndarray:
        past = row_normalised(histories.matrix(self.matrix.shape[1], self.settings.decay))
        alike = sp_matmul_topn(past, self._by_item, self.settings.neighbours)
        return np.asarray((alike @ self.matrix).todense(), dtype=np.float32)
