"""Matrix factorisation by alternating least squares, of implicit feedback and of ratings.

Implicit: iALS, Hu, Koren and Volinsky, ICDM 2008, with the Gram trick and the frequency-scaled
regularisation of Rendle et al. (RecSys 2022); fitting takes a few steps of conjugate gradients
for each row (Takács, Pilászy and Tikk, RecSys 2011), fold-in is exact. Ratings: the regularised
squared loss with biases of Koren, Bell and Volinsky, IEEE Computer 2009.

Our own: implicit has no regularisation by frequency and no ratings; a sweep of ours is faster on
the embedded shop, and level on a million products with better lists
(``python -m benchmarks.own_or_library als``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from components.arrays import FloatArray, IntArray, RealArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.progress import progress
from components.recommenders.base import Recommender, carried_rows
from components.recommenders.kernels.jit import compiled
from components.recommenders.kernels.sparse import inner_products, merged_rows
from components.recommenders.models.mllib_als import LEAST_WEIGHT, factors_of, fit_mllib
from components.recommenders.search_space import DECAY, INTEGER, LOG_FLOAT, LOG_INTEGER
from components.settings import MatrixFactorisation as MatrixFactorisationSettings
from components.settings import RatingFactorisation as RatingFactorisationSettings
from components.spark_session import spark_session

ROWS = 1000
"""Rows that one thread solves at a time."""
STEPS = 3
"""Conjugate gradient steps of a row in each sweep: more change no list for the better."""
SOLVED = np.float32(1e-20)
"""Squared residual from which a row is not improved further."""


@dataclass(frozen=True)
class Observed:
    """The observed entries of each row: ``offsets[row]`` to ``offsets[row + 1]``.

    columns: int (entries,). weights: float32 (entries,), above 0. offsets: int (rows + 1,).
    """

    columns: IntArray
    weights: FloatArray
    offsets: IntArray

    @classmethod
    def of(cls, matrix: sp.csr_matrix) -> Observed:
        """Return the entries of a CSR matrix."""
        return cls(matrix.indices, matrix.data, matrix.indptr)


def solve(
    observed: Observed,
    targets: RealArray,
    factors: FloatArray,
    ridge: RealArray,
    gram: FloatArray | None = None,
) -> FloatArray:
    """Return float32 (rows, d): for each row u the argmin of
    Σ_observed w (t − uᵀv)² + uᵀ(gram)u + ridge·|u|².

    targets: float (entries,), the t. factors: float32 (n, d), the v of each column. ridge: float
    (rows,) > 0. gram: (d, d), or (d,) where it is diagonal, or None for zero. Rows without
    entries are 0.
    """
    if gram is not None and gram.ndim == 2:
        spectrum, axes = axes_of(gram)
        return solve(observed, targets, factors @ axes, ridge, spectrum) @ axes.T
    diagonal = np.zeros(factors.shape[1], dtype=np.float32) if gram is None else gram
    out = np.zeros((len(observed.offsets) - 1, factors.shape[1]), dtype=np.float32)
    _in_parts(_solve, observed, targets, factors, diagonal, ridge, out)
    return out


def _in_parts(
    solver: Callable[..., None],
    observed: Observed,
    targets: RealArray,
    factors: FloatArray,
    diagonal: FloatArray,
    ridge: RealArray,
    out: FloatArray,
) -> None:
    """Fill ``out`` (rows, d) by ``solver``, ROWS rows at a time in each thread."""
    arrays = [
        np.ascontiguousarray(array, dtype=np.float32)
        for array in (observed.weights, targets, factors, diagonal, ridge)
    ]

    def part(start: int) -> None:
        solver(observed.offsets, observed.columns, *arrays, start, out[start : start + ROWS])

    if len(out) <= ROWS:
        part(0)
    else:
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(part, range(0, len(out), ROWS)))


@compiled
def _solve(  # type: ignore[no-untyped-def]
    offsets, columns, weights, targets, factors, gram, ridge, first, out
):
    """Solve the rows from ``first`` on, as many as ``out`` has.

    With V the row's weighted factors and M = gram + ridge·I, which is diagonal, a row of fewer
    than d entries is solved in its own size: (M + VᵀV)⁻¹Vᵀ = M⁻¹Vᵀ(I + VM⁻¹Vᵀ)⁻¹.
    """
    # Products are written to ``out`` directly: an assignment to its row takes longer to compile.
    d = factors.shape[1]
    for row in range(len(out)):
        start, stop = offsets[first + row], offsets[first + row + 1]
        n = stop - start
        if n == 0:
            continue
        v = np.empty((n, d), np.float32)
        t = np.empty(n, np.float32)
        for at in range(n):
            scale = np.sqrt(weights[start + at])
            t[at] = targets[start + at] * scale
            for column in range(d):
                v[at, column] = factors[columns[start + at], column] * scale
        diagonal = gram + ridge[first + row]
        if n < d:
            half = v / diagonal
            small = np.dot(half, v.T)
            for at in range(n):
                small[at, at] += 1
            _solve_positive(small, t)
            np.dot(t, half, out[row])
        else:
            left = np.dot(v.T, v)
            for column in range(d):
                left[column, column] += diagonal[column]
            np.dot(t, v, out[row])
            _solve_positive(left, out[row])


@compiled
def _solve_positive(left, right):  # type: ignore[no-untyped-def]
    """Solve a positive definite system in place, by Cholesky; the solution is in ``right``."""
    n = len(left)
    for i in range(n):
        for j in range(i + 1):
            dot = left[i, j]
            for k in range(j):
                dot -= left[i, k] * left[j, k]
            left[i, j] = np.sqrt(dot) if i == j else dot / left[j, j]
    for i in range(n):
        for k in range(i):
            right[i] -= left[i, k] * right[k]
        right[i] /= left[i, i]
    for i in range(n - 1, -1, -1):
        right[i] /= left[i, i]
        for k in range(i):
            right[k] -= left[i, k] * right[i]


@compiled
def _descend(  # type: ignore[no-untyped-def]
    offsets, columns, weights, targets, factors, gram, ridge, first, out
):
    """Improve the rows from ``first`` on, as many as ``out`` has, by STEPS steps of conjugate
    gradients from what ``out`` holds. The products with VᵀV are never formed."""
    d = factors.shape[1]
    residual, direction = np.empty(d, np.float32), np.empty(d, np.float32)
    image = np.empty(d, np.float32)  # of the direction, under the row's matrix
    for row in range(len(out)):
        start, stop = offsets[first + row], offsets[first + row + 1]
        x = out[row]
        if start == stop:
            x[:] = 0
            continue
        diagonal = gram + ridge[first + row]
        for column in range(d):
            residual[column] = -diagonal[column] * x[column]
        for entry in range(start, stop):
            v = factors[columns[entry]]
            error = targets[entry]
            for column in range(d):
                error -= v[column] * x[column]
            error *= weights[entry]
            for column in range(d):
                residual[column] += error * v[column]
        squares = np.float32(0)
        for column in range(d):
            direction[column] = residual[column]
            squares += residual[column] * residual[column]
        for _ in range(STEPS):
            if squares < SOLVED:
                break
            for column in range(d):
                image[column] = diagonal[column] * direction[column]
            for entry in range(start, stop):
                v = factors[columns[entry]]
                dot = np.float32(0)
                for column in range(d):
                    dot += v[column] * direction[column]
                dot *= weights[entry]
                for column in range(d):
                    image[column] += dot * v[column]
            curvature = np.float32(0)
            for column in range(d):
                curvature += direction[column] * image[column]
            length, before, squares = squares / curvature, squares, np.float32(0)
            for column in range(d):
                x[column] += length * direction[column]
                residual[column] -= length * image[column]
                squares += residual[column] * residual[column]
            for column in range(d):
                direction[column] = residual[column] + squares / before * direction[column]


def axes_of(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return float32 eigenvalues (d,), none below 0, and eigenvectors (d, d) as columns."""
    spectrum, axes = np.linalg.eigh(gram)
    return np.maximum(spectrum, 0), axes


def solve_implicit(
    observed: Observed,
    factors: FloatArray,
    confidence: float,
    regularisation: float,
    gram: FloatArray | None = None,
) -> FloatArray:
    """Return float32 (rows, d): the factors of the rows, given those of their observed columns.

    Minimises, for each row, confidence · Σ_observed w (1 − uᵀv)² + Σ_all (uᵀv)² + λ·|u|², with w in
    (0, 1] the weights of the observed entries and λ = regularisation · confidence · number of
    entries. An observed pair counts in both sums, so its least-squares target is
    (1 + confidence · w) / (confidence · w). gram: Σ_all vvᵀ as ``solve`` takes it; None: computed.
    """
    weighted, targets, ridge = _implicit(observed, confidence, regularisation)
    gram = factors.T @ factors if gram is None else gram
    return solve(weighted, targets, factors, ridge, gram)


def improve_implicit(
    observed: Observed,
    factors: FloatArray,
    confidence: float,
    regularisation: float,
    start: FloatArray,
) -> FloatArray:
    """Return float32 (rows, d): ``start`` (rows, d), STEPS conjugate gradient steps nearer to
    what ``solve_implicit`` returns for the same arguments."""
    weighted, targets, ridge = _implicit(observed, confidence, regularisation)
    spectrum, axes = axes_of(factors.T @ factors)
    out: FloatArray = start @ axes
    _in_parts(_descend, weighted, targets, factors @ axes, spectrum, ridge, out)
    improved: FloatArray = out @ axes.T
    return improved


def _implicit(
    observed: Observed, confidence: float, regularisation: float
) -> tuple[Observed, RealArray, RealArray]:
    """Return the weighted entries, targets and ridge of ``solve_implicit``'s loss."""
    weights = np.float32(confidence) * np.maximum(observed.weights, LEAST_WEIGHT)
    ridge = regularisation * confidence * np.diff(observed.offsets) + 1e-3
    weighted = Observed(observed.columns, weights, observed.offsets)
    return weighted, (1 + weights) / weights, ridge


class MatrixFactorisation(Recommender):
    """Implicit-feedback matrix factorisation; the user factors of a history are solved for when
    it is scored (fold-in).

    Events are weighted by their age (``half_life_days``) and by their position in the history
    (``decay``). ``factors``: float32 (items, d).
    """

    name = "matrix_factorisation"
    section = MatrixFactorisationSettings
    search_space: ClassVar[dict[str, Any]] = {
        "factors": (LOG_INTEGER, 16, 256),
        "iterations": (INTEGER, 4, 20),
        "regularisation": (LOG_FLOAT, 1e-3, 1.0),
        "confidence": (LOG_FLOAT, 1.0, 100.0),
        "decay": DECAY,
    }
    learned = ("factors",)

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn the factors, here or by Spark's MLlib.

        Raises:
            ValueError: the engine is spark, and no session can be opened.
        """
        s = self.settings
        matrix = train.matrix(s.half_life_days)
        if s.engine == "spark":
            session = spark_session("train.matrix_factorisation.engine", "local")
            fitted = fit_mllib(session, matrix, s, self.seed)
            self.factors = factors_of(fitted.itemFactors, len(catalogue), s.factors)
            vars(self).pop("_in_axes", None)
            return self
        of_users, of_items = Observed.of(matrix), Observed.of(matrix.T.tocsr())
        random = np.random.default_rng(self.seed)
        items = random.standard_normal((len(catalogue), s.factors), dtype=np.float32)
        items *= np.float32(0.1 / s.factors**0.5)
        users = np.zeros((train.n_users, s.factors), dtype=np.float32)
        for _ in progress(range(s.iterations), desc="iALS", unit="sweep"):
            users = improve_implicit(of_users, items, s.confidence, s.regularisation, users)
            items = improve_implicit(of_items, users, s.confidence, s.regularisation, items)
        self.factors = items
        vars(self).pop("_in_axes", None)
        return self

    def refreshed(
        self, train: Interactions, catalogue: Catalogue, known: IntArray
    ) -> MatrixFactorisation:
        """Return the model after one exact sweep from its factors: the users' of all data given the
        items', then the items' given the users'. So new items are folded in, and old ones follow.
        """
        s = self.settings
        matrix = train.matrix(s.half_life_days)
        of_users, of_items = Observed.of(matrix), Observed.of(matrix.T.tocsr())
        items = carried_rows(self.factors, known)
        users = solve_implicit(of_users, items, s.confidence, s.regularisation)
        model = MatrixFactorisation(s, self.seed)
        model.factors = solve_implicit(of_items, users, s.confidence, s.regularisation)
        return model

    def score(self, histories: Histories) -> FloatArray:
        return inner_products(self.queries(histories), self.factors)

    def item_vectors(self) -> FloatArray:
        return self.factors

    def queries(self, histories: Histories) -> FloatArray:
        s = self.settings
        liked = histories.liked
        index, weights, offsets = merged_rows(liked.items, liked.weights(s.decay), liked.offsets)
        observed = Observed(index, np.minimum(weights, np.float32(1)), offsets)
        axes, factors, spectrum = self._in_axes
        return solve_implicit(observed, factors, s.confidence, s.regularisation, spectrum) @ axes.T

    @cached_property
    def _in_axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The axes (d, d) of the factors' Gram matrix, the factors (items, d) and the Gram matrix
        (d,) in them, computed once for all requests."""
        spectrum, axes = axes_of(self.factors.T @ self.factors)
        return axes, self.factors @ axes, spectrum

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        return inner_products(self.queries(histories), self.factors[items])


class RatingFactorisation(Recommender):
    """Predicts ratings: mean + b_u + b_i + uᵀv; b_u and u of a history are solved for when it is
    scored.

    Minimises Σ_rated (r − mean − b_u − b_i − uᵀv)² + λ(|b_u|² + |b_i|² + |u|² + |v|²) by
    alternating least squares; each side's bias is one more coordinate, multiplied by a 1 on the
    other side. Of several ratings of one item the newest counts. A history without ratings gets
    each item's mean, and an item without ratings has the mean of all. With ``factors`` 0 the
    biases alone are learned.

    ``factors``: float32 (items, d + 1), the bias first. ``mean``: float32 (1,).
    """

    name = "rating_factorisation"
    section = RatingFactorisationSettings
    search_space: ClassVar[dict[str, Any]] = {
        "factors": (INTEGER, 0, 64),
        "iterations": (INTEGER, 5, 30),
        "regularisation": (LOG_FLOAT, 0.3, 50.0),
    }
    learned = ("factors", "mean")

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn the factors.

        Raises:
            ValueError: no interaction has a rating.
        """
        s = self.settings
        random = np.random.default_rng(self.seed)
        items = random.standard_normal((len(catalogue), s.factors + 1), dtype=np.float32)
        items *= np.float32(0.1)
        items[:, 0] = 0.0
        self._learn(train, items, s.iterations)
        return self

    def refreshed(
        self, train: Interactions, catalogue: Catalogue, known: IntArray
    ) -> RatingFactorisation:
        """Return the model after one sweep over all data from its factors, which folds new items
        in."""
        model = RatingFactorisation(self.settings, self.seed)
        model._learn(train, carried_rows(self.factors, known), 1)
        return model

    def _learn(self, train: Interactions, items: FloatArray, sweeps: int) -> None:
        """Set mean and factors from ``items`` (items, d + 1), to begin with.

        Raises:
            ValueError: no interaction has a rating.
        """
        # Low ratings are learned from too.
        rated = replace(train, strengths=None).counted()
        rated = rated.where(~np.isnan(rated.ratings))
        if not len(rated):
            raise ValueError(
                "rating_factorisation needs ratings and no interaction has one: map a rating "
                "column in ingest.interactions, or take it out of train.candidates"
            )
        newest = rated.newest_of_pairs()
        pairs = rated.users[newest], rated.items[newest]
        ratings = rated.ratings[newest]
        self.mean = np.array([ratings.mean()], dtype=np.float32)
        matrix = sp.csr_matrix((ratings - self.mean, pairs), (train.n_users, len(items)))
        transposed = matrix.T.tocsr()
        for _ in progress(range(sweeps), desc="ratings", unit="sweep"):
            users = self._side(matrix, items)
            items = self._side(transposed, users)
        self.factors = items

    def _side(self, ratings: sp.csr_matrix, others: FloatArray) -> FloatArray:
        """Return (rows, d + 1), bias first, of the rows of ``ratings`` (less the mean)."""
        observed = Observed(ratings.indices, np.ones_like(ratings.data), ratings.indptr)
        design = others.copy()
        design[:, 0] = 1.0
        targets = ratings.data - others[ratings.indices, 0]
        ridge = np.full(ratings.shape[0], self.settings.regularisation)
        return solve(observed, targets, design, ridge)

    def score(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, items): predicted ratings, in the units of the ratings."""
        items = self.factors
        users = np.zeros((len(histories), items.shape[1]), dtype=np.float32)
        if histories.ratings is not None:
            rated = ~np.isnan(histories.ratings)
            # A row's events lie in time's order: the newest rating of an item is its last.
            pairs = histories.rows()[rated] * len(items) + histories.items[rated]
            pairs, back = np.unique(pairs[::-1], return_index=True)
            values = histories.ratings[rated][::-1][back] - self.mean
            matrix = sp.csr_matrix(
                (values, np.divmod(pairs, len(items))), (len(histories), len(items))
            )
            users = self._side(matrix, items)
        affine = items.copy()
        affine[:, 0] = 1.0
        return self.mean[0] + items[:, 0] + users @ affine.T
