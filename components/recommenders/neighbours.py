"""Collaborative filtering by neighbours: alike items (Sarwar et al., WWW 2001), alike users."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
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


def product(few: sp.csr_matrix, matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Return ``few`` @ ``matrix``, float32 CSR, for a ``few`` of few entries.

    scipy's product takes time and memory for each column of ``matrix``, a million of them for a
    large catalogue: past so many columns only the entries that are met are looked at.
    """
    starts, stops = matrix.indptr[few.indices], matrix.indptr[few.indices + 1]
    lengths = (stops - starts).astype(np.int64)
    ends = np.cumsum(lengths)
    n_met = int(ends[-1]) if len(ends) else 0
    if matrix.shape[1] < 20 * n_met:
        return (few @ matrix).astype(np.float32, copy=False)
    met = np.arange(n_met) + np.repeat(starts - ends + lengths, lengths)
    n_rows, n_columns = few.shape[0], matrix.shape[1]
    rows = np.repeat(np.repeat(np.arange(n_rows), np.diff(few.indptr)), lengths)
    keys, place = np.unique(rows * n_columns + matrix.indices[met], return_inverse=True)
    sums = np.bincount(place, matrix.data[met] * np.repeat(few.data, lengths), len(keys))
    rows, columns = np.divmod(keys, n_columns)
    indptr = np.searchsorted(rows, np.arange(n_rows + 1))
    return sp.csr_matrix((sums.astype(np.float32), columns, indptr), shape=(n_rows, n_columns))


def columns_of(matrix: sp.csr_matrix, columns: np.ndarray) -> np.ndarray:
    """Return float32 (rows, n): some columns of a matrix of few entries."""
    order = np.argsort(columns, kind="stable")
    place = np.searchsorted(columns, matrix.indices, sorter=order)
    there = place < len(columns)
    there[there] = columns[order[place[there]]] == matrix.indices[there]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    found = np.zeros((matrix.shape[0], len(columns)), dtype=np.float32)
    found[rows[there], order[place[there]]] = matrix.data[there]
    return found


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
        return self.near(histories).toarray()

    def near(self, histories: Histories) -> sp.csr_matrix:
        """Return float32 CSR (batch, items): the scores, of the items that are a neighbour."""
        return product(histories.matrix(self.matrix.shape[0], self.settings.decay), self.matrix)

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        return columns_of(self.near(histories), items)


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
