"""EASE, a linear item-to-item model in closed form (Steck, WWW 2019), with time decay.

Each item is predicted from the others of a history by ridge regression: with X the users × items
matrix and G = XᵀX, column j of the weights is argmin |X_j − X b|² + λ|b|², b_j = 0.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn
from threadpoolctl import threadpool_limits

from components.arrays import AnyArray, FloatArray, Int32Array, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.progress import Progress, progress
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import (
    csr_arrays,
    csr_of,
    merged_rows,
    submatrices,
    summed_rows,
    summed_rows_at,
)
from components.recommenders.search_space import DECAY, LOG_FLOAT
from components.settings import EASE as EASESettings

SYSTEM_NUMBERS = 2_000_000
"""Numbers of the sparse form's linear systems held at once."""


def solve_dense(matrix: sp.csr_matrix, regularisation: float) -> FloatArray:
    """Return float32 (items, items): B = I − P diag(P)⁻¹, P = (G + λI)⁻¹.

    By Cholesky in single precision: λ keeps G well conditioned.
    """
    import torch  # takes a second, and only fitting needs it

    gram = torch.from_numpy((matrix.T @ matrix).toarray())
    gram.diagonal().add_(regularisation)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = -inverse / inverse.diagonal()
    return weights.fill_diagonal_(0.0).numpy()


def solve_sparse(matrix: sp.csr_matrix, regularisation: float, neighbours: int) -> sp.csr_matrix:
    """Return float32 CSR (items, items): each column's ridge over a few items alone.

    Item j is predicted from the ``neighbours`` items that alone would predict it best, which is
    where G_ij² / (G_ii + λ) is largest (Ning and Karypis, ICDM 2011, choose so for SLIM). Given
    them the solution is exact: (G_SS + λI) b = G_Sj. Items that share no user with j would only get
    small negative weights. Memory: the Gram matrix of pairs with a common user, and items ×
    neighbours.
    """
    import torch

    n_items = matrix.shape[1]
    gram = (matrix.T.tocsr() @ matrix).tocsr()
    gram.sort_indices()
    diagonal = gram.diagonal()
    scale = sp.diags(1 / np.sqrt(diagonal + np.float32(regularisation)))
    best = sp_matmul_topn(gram, scale.tocsr(), neighbours + 1, n_threads=os.cpu_count())
    best.sort_indices()
    columns = np.repeat(np.arange(n_items), np.diff(best.indptr))
    others = best.indices != columns
    columns, rows = columns[others], best.indices[others]
    sizes = np.bincount(columns, minlength=n_items)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    values = np.zeros(len(rows), dtype=np.float32)

    def solve(batch: IntArray) -> int:
        """Fill ``values`` of the columns ``batch``, which are of similar sizes."""
        place = np.arange(sizes[batch].max())
        mask = place < sizes[batch][:, None]  # (b, width): shorter systems are padded
        at = np.where(mask, starts[batch][:, None] + place, 0)
        support = rows[at]
        left, right = submatrices(gram, batch, support, sizes[batch])
        left[:, place, place] = np.where(mask, diagonal[support] + regularisation, 1.0)
        factor = torch.linalg.cholesky(torch.from_numpy(left))  # reads the lower triangle alone
        solved = torch.cholesky_solve(torch.from_numpy(right)[..., None], factor)[..., 0]
        values[at[mask]] = solved.numpy()[mask]
        return len(batch)

    bar: Progress[int] = progress(total=int(np.count_nonzero(sizes)), desc="EASE", unit="item")
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
        for done in threads.map(solve, _batches(sizes)):
            bar.update(done)
    bar.close()
    return sp.csr_matrix((values, (rows, columns)), shape=(n_items, n_items))


def _batches(sizes: IntArray) -> list[IntArray]:
    """Return the columns of ``sizes`` above 0 in batches of similar sizes, at most SYSTEM_NUMBERS
    numbers each."""
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    batches: list[IntArray] = []
    done = 0
    while done < len(order):
        step = max(1, SYSTEM_NUMBERS // int(sizes[order[min(done + 2000, len(order)) - 1]]) ** 2)
        batches.append(order[done : done + min(step, 2000)])
        done += len(batches[-1])
    return batches


class EASE(Recommender):
    """EASE over the items that were sold, dense on small catalogues, sparse on large ones.

    Events are weighted by their age (``half_life_days``) and by their position in the history
    (``decay``). The dense form takes max_items² of memory and max_items³ of time; the sparse one
    grows with the pairs of items that one user has, of each user's ``max_history`` newest events.

    ``weights``: float32 (kept, kept), an array or CSR. ``kept``: int32 item codes.
    """

    name = "ease"
    section = EASESettings
    search_space: ClassVar[dict[str, Any]] = {
        "regularisation": (LOG_FLOAT, 1.0, 5000.0),
        "half_life_days": (LOG_FLOAT, 30, 3650),
        "decay": DECAY,
    }

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn the weights.

        Raises:
            ValueError: the form is dense and more than ``max_items`` items were sold.
        """
        s = self.settings
        self.n_items = len(catalogue)
        self.kept = np.unique(train.counted().items).astype(np.int32)
        vars(self).pop("_place", None)
        fits = len(self.kept) <= s.max_items
        if s.form == "dense" and not fits:
            raise ValueError(
                f"train.{self.name}.form is dense, but {len(self.kept):,} items were sold and "
                f"train.{self.name}.max_items is {s.max_items:,}: set form to auto or sparse"
            )
        # Twice the half-life is the square root of the weights, which G squares; a pair's newest
        # event decides, not their number.
        matrix = train.newest(s.max_history).matrix(2 * s.half_life_days)[:, self.kept]
        self._solve(matrix, s.form == "dense" or (s.form == "auto" and fits))
        return self

    def _solve(self, matrix: sp.csr_matrix, dense: bool) -> None:
        s = self.settings
        self.weights = (
            solve_dense(matrix, s.regularisation)
            if dense
            else solve_sparse(matrix, s.regularisation, s.neighbours)
        )

    def score(self, histories: Histories) -> FloatArray:
        found = summed_rows(*self._past(histories), self.weights)
        if len(self.kept) == self.n_items:
            return found
        scores = np.zeros((len(histories), self.n_items), dtype=np.float32)
        scores[:, self.kept] = found
        return scores

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        scores = np.zeros((len(histories), len(items)), dtype=np.float32)
        places = self._place[items]
        there = places >= 0
        scores[:, there] = summed_rows_at(*self._past(histories), self.weights, places[there])
        return scores

    score_similar = score_at  # the history holds the given items
    score_companions = score_at

    def _past(self, histories: Histories) -> tuple[IntArray, FloatArray, IntArray]:
        """Return places in ``kept``, weights and offsets; unsold items have weight 0."""
        places = self._place[histories.items]
        weights = np.where(places >= 0, histories.weights(self.settings.decay), np.float32(0))
        return merged_rows(np.maximum(places, 0), weights, histories.offsets)

    @cached_property
    def _place(self) -> Int32Array:
        """int32 (items,): where in ``kept`` an item is, -1 where it is not."""
        places = np.full(self.n_items, -1, dtype=np.int32)
        places[self.kept] = np.arange(len(self.kept), dtype=np.int32)
        return places

    def arrays(self) -> dict[str, AnyArray]:
        weights = csr_arrays(self.weights) if sp.issparse(self.weights) else {"dense": self.weights}
        return {"kept": self.kept, **weights}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "n_items": self.n_items}

    def restore(self, config: dict[str, Any], arrays: dict[str, AnyArray]) -> None:
        self.n_items, self.kept = config["n_items"], arrays["kept"]
        self.weights = arrays["dense"] if "dense" in arrays else csr_of(arrays)
