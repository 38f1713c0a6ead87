"""EASE, a linear item-to-item model in closed form (Steck, WWW 2019), with time decay.

Each item is predicted from the others of a history by ridge regression: with X the users × items
matrix and G = XᵀX, column j of the weights is argmin |X_j − X b|² + λ|b|², b_j = 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn
from threadpoolctl import threadpool_limits

from components.arrays import AnyArray, BoolArray, FloatArray, Int32Array, Int64Array, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.progress import Progress, progress
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import (
    csr_arrays,
    csr_of,
    fill_systems,
    merged_rows,
    summed_rows,
    summed_rows_at,
)
from components.recommenders.search_space import DECAY, LOG_FLOAT
from components.settings import EASE as EASESettings

GRAM_NUMBERS = 4_000_000
"""Entries of the Gram matrix that one core holds at once, to choose neighbours."""
BLOCK_NUMBERS = 64_000_000
"""Numbers of the linear systems of a block of items: 256 MB. The Gram matrix's rows are computed
again for each block that needs them, so a larger block takes less time."""
SYSTEM_NUMBERS = 2_000_000
"""Numbers of the systems that one core solves at a time."""


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
    small negative weights.

    The columns are independent of each other, so a block of them is solved at a time, on all cores.
    Memory: ``matrix`` twice, items × neighbours, and one block; the Gram matrix is never held.
    """
    n_items = matrix.shape[1]
    by_item = matrix.T.tocsr()
    diagonal = by_item.multiply(by_item) @ np.ones(matrix.shape[0], dtype=np.float32)
    per_user = np.concatenate([[0], np.cumsum(np.diff(matrix.indptr)[by_item.indices])])
    work = np.diff(per_user[by_item.indptr])  # products that a row of the Gram matrix takes
    best = _best_neighbours(
        matrix, by_item, diagonal + np.float32(regularisation), work, neighbours
    )
    columns = np.repeat(np.arange(n_items), np.diff(best.indptr))
    others = best.indices != columns
    columns, rows = columns[others], best.indices[others]
    sizes = np.bincount(columns, minlength=n_items)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    values = np.zeros(len(rows), dtype=np.float32)
    bar: Progress[int] = progress(total=int(np.count_nonzero(sizes)), desc="EASE", unit="item")
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
        for block in _blocks(sizes):
            place = np.arange(sizes[block[-1]])  # ascending sizes
            mask = place < sizes[block][:, None]  # (b, width): shorter systems are padded
            at = np.where(mask, starts[block][:, None] + place, 0)
            supports = rows[at]
            left, right = _systems(by_item, matrix, block, supports, mask, work, threads)
            left[:, place, place] = np.where(mask, diagonal[supports] + regularisation, 1.0)
            for part, solved in threads.map(lambda one: _solved(*one), _parts(left, right, mask)):
                values[at[part][mask[part]]] = solved
                bar.update(len(mask[part]))
    bar.close()
    return sp.csr_matrix((values, (rows, columns)), shape=(n_items, n_items))


def _best_neighbours(
    matrix: sp.csr_matrix,
    by_item: sp.csr_matrix,
    penalised: FloatArray,
    work: Int64Array,
    neighbours: int,
) -> sp.csr_matrix:
    """Return CSR (items, items): the items i with the largest G_ij² / (G_ii + λ) of each row j,
    j mostly among them, at most ``neighbours`` + 1; as many rows of G at a time as there are cores.

    matrix: CSR (users, items), and by_item its transpose. penalised: float32 (items,), G_ii + λ.
    work: int64 (items,), the products of each row of G.
    """
    cores = os.cpu_count() or 1
    scale = sp.diags(1 / np.sqrt(penalised)).tocsr()
    entries = np.cumsum(np.minimum(work, len(work)))  # at most
    cuts = np.searchsorted(entries, np.arange(GRAM_NUMBERS, entries[-1], GRAM_NUMBERS), "right")
    bounds = np.unique(np.concatenate([[0], cuts, [len(work)]]))

    def gram_rows(n: int) -> sp.csr_matrix:
        found = by_item[bounds[n] : bounds[n + 1]] @ matrix
        found.sort_indices()
        return found

    best = []
    with ThreadPoolExecutor(cores) as threads:
        for start in range(0, len(bounds) - 1, cores):
            group = range(start, min(start + cores, len(bounds) - 1))
            for rows in threads.map(gram_rows, group):
                best.append(sp_matmul_topn(rows, scale, neighbours + 1, n_threads=cores))
    chosen = sp.vstack(best, "csr")
    chosen.sort_indices()
    return chosen


def _blocks(sizes: IntArray) -> Iterator[IntArray]:
    """Yield the columns of ``sizes`` above 0, those of similar sizes together, in blocks of at most
    BLOCK_NUMBERS numbers."""
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    while len(order):
        numbers = np.arange(1, len(order) + 1) * sizes[order].astype(np.int64) ** 2
        n = max(1, int(np.searchsorted(numbers, BLOCK_NUMBERS, "right")))
        yield order[:n]
        order = order[n:]


def _systems(
    by_item: sp.csr_matrix,
    matrix: sp.csr_matrix,
    columns: IntArray,
    supports: IntArray,
    mask: BoolArray,
    work: Int64Array,
    threads: ThreadPoolExecutor,
) -> tuple[FloatArray, FloatArray]:
    """Return float32 (b, n, n), G between the supports of each column, below the diagonal, and
    (b, n), G between them and the column; see ``fill_systems``.

    supports: int (b, n), of which those of ``mask`` count.
    """
    left = np.zeros((*supports.shape, supports.shape[1]), dtype=np.float32)
    right = np.zeros(supports.shape, dtype=np.float32)
    at, place = np.nonzero(mask)
    order = np.argsort(supports[at, place], kind="stable")
    at, place = at[order], place[order]
    items, first = np.unique(supports[at, place], return_index=True)
    bounds = np.append(first, len(at))
    done = np.cumsum(work[items] + supports.shape[1] * np.diff(bounds))
    share = np.linspace(0, done[-1], 8 * (os.cpu_count() or 1) + 1)[1:-1]
    cuts = [0, *np.unique(np.searchsorted(done, share, "right")).tolist(), len(items)]

    def fill(part: int) -> None:
        some = slice(cuts[part], cuts[part + 1])
        wanted = bounds[cuts[part] : cuts[part + 1] + 1], at, place
        fill_systems(by_item, matrix, items[some], wanted, columns, supports, left, right)

    list(threads.map(fill, range(len(cuts) - 1)))
    return left, right


def _parts(
    left: FloatArray, right: FloatArray, mask: BoolArray
) -> Iterator[tuple[slice, FloatArray, FloatArray, BoolArray]]:
    """Yield parts of a block's systems with their place: no wider than the widest of them."""
    sizes = np.count_nonzero(mask, axis=1)
    step = max(1, min(2000, SYSTEM_NUMBERS // mask.shape[1] ** 2))
    for start in range(0, len(mask), step):
        part = slice(start, start + step)
        width = sizes[part][-1]  # ascending
        yield part, left[part, :width, :width], right[part, :width], mask[part, :width]


def _solved(
    part: slice, left: FloatArray, right: FloatArray, mask: BoolArray
) -> tuple[slice, FloatArray]:
    """Return the place of the part, and the solutions of its systems one after the other."""
    import torch

    factor = torch.linalg.cholesky(torch.from_numpy(left))  # reads the lower triangle alone
    solved = torch.cholesky_solve(torch.from_numpy(right)[..., None], factor)[..., 0]
    return part, solved.numpy()[mask]


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
