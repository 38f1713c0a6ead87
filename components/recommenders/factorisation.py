"""Matrix factorisation by alternating least squares, of implicit feedback and of ratings.

Implicit: iALS, Hu, Koren and Volinsky, ICDM 2008, with the Gram trick and the frequency-scaled
regularisation of Rendle et al. (RecSys 2022). Ratings: the regularised squared loss with biases
of Koren, Bell and Volinsky, IEEE Computer 2009.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import torch
from tqdm import trange

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.settings import MatrixFactorisation as MatrixFactorisationSettings
from components.settings import RatingFactorisation as RatingFactorisationSettings

BATCH_NUMBERS = 4_000_000
"""How many numbers of gathered factors are held at once."""


def solve(
    weights: sp.csr_matrix,
    targets: np.ndarray,
    factors: torch.Tensor,
    ridge: np.ndarray,
    gram: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return float32 (rows, d): for each row u the argmin of
    Σ_met w (t − uᵀv)² + uᵀ(gram)u + ridge·|u|².

    weights: CSR (rows, n), the w > 0 of what each row met. targets: float32, the t, in the order
    of ``weights.data``. factors: (n, d), the v. ridge: float (rows,) > 0. gram: (d, d), or (d,)
    where it is diagonal, or None for zero. Rows that met nothing are 0.

    Rows that met about equally many are padded and solved together. In the axes of gram, where
    M = gram + ridge·I is diagonal, and with V the row's weighted factors, a row that met fewer
    than d is solved in its own size by (M + VᵀV)⁻¹Vᵀ = M⁻¹Vᵀ(I + VM⁻¹Vᵀ)⁻¹.
    """
    d = factors.shape[1]
    if gram is not None and gram.ndim == 2:
        spectrum, axes = axes_of(gram)
        return solve(weights, targets, factors @ axes, ridge, spectrum) @ axes.T
    out = torch.zeros(weights.shape[0], d)
    diagonal = torch.from_numpy(ridge.astype(np.float32))[:, None].expand(-1, d)
    if gram is not None:
        diagonal = diagonal + gram  # (rows, d), of M
    lengths = np.diff(weights.indptr)
    root = np.sqrt(weights.data)
    order = np.argsort(lengths, kind="stable")
    sizes = lengths[order]
    start = int(np.searchsorted(sizes, 1))
    padding = 1.1 if len(order) > 256 else 2.0  # of few rows the calls cost more than the padding
    while start < len(order):
        longest = int(sizes[start])
        end = np.searchsorted(sizes, max(longest * padding, 8), side="right")
        if longest < d:
            end = min(end, np.searchsorted(sizes, d))
        stop = min(int(end), start + max(1, BATCH_NUMBERS // (max(longest, d) * d)))
        batch, width = order[start:stop], int(sizes[stop - 1])
        place = np.arange(width)
        mask = place < lengths[batch][:, None]
        at = np.where(mask, weights.indptr[batch][:, None] + place, 0)
        scale = torch.from_numpy(np.where(mask, root[at], 0.0).astype(np.float32))  # (b, width)
        v = factors[torch.from_numpy(weights.indices[at].astype(np.int64))]
        v *= scale[..., None]  # (b, width, d)
        t = (torch.from_numpy(targets[at].astype(np.float32)) * scale)[..., None]
        if width < d:
            half = v / diagonal[batch][:, None]  # (b, width, d)
            small = half @ v.transpose(1, 2) + torch.eye(width)
            dual = torch.cholesky_solve(t, torch.linalg.cholesky(small))
            out[batch] = (half.transpose(1, 2) @ dual)[..., 0]
        else:
            left = v.transpose(1, 2) @ v
            left.diagonal(dim1=1, dim2=2).add_(diagonal[batch])
            right = v.transpose(1, 2) @ t
            out[batch] = torch.cholesky_solve(right, torch.linalg.cholesky(left))[..., 0]
        start = stop
    return out


def axes_of(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the eigenvalues (d,), none below 0, and the eigenvectors (d, d) as columns."""
    spectrum, axes = torch.linalg.eigh(gram)
    return spectrum.clamp(min=0), axes


def solve_implicit(
    met: sp.csr_matrix,
    factors: torch.Tensor,
    confidence: float,
    regularisation: float,
    gram: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return float32 (rows, d): the factors of the rows of ``met``, given those of its columns.

    Minimises, for each row, confidence · Σ_met w (1 − uᵀv)² + Σ_all (uᵀv)² + λ·|u|², with w in
    (0, 1] the entries of ``met`` and λ = regularisation · confidence · number met. A met pair
    counts in both sums, so its least-squares target is (1 + confidence · w) / (confidence · w).
    gram: Σ_all vvᵀ as ``solve`` takes it, for who has it at hand.
    """
    weights = met.copy()
    weights.data = confidence * np.maximum(met.data, 1e-6)  # what faded to 0 was still met
    targets = (1 + weights.data) / weights.data
    ridge = regularisation * confidence * np.diff(met.indptr) + 1e-3
    return solve(weights, targets, factors, ridge, factors.T @ factors if gram is None else gram)


class MatrixFactorisation(Recommender):
    """Implicit-feedback matrix factorisation; a history's vector is solved for when asked.

    Events count less the longer ago they are (``half_life_days``) and the further back in the
    history they lie (``decay``). ``factors``: float32 (items, d).
    """

    name = "matrix_factorisation"

    def __init__(self, settings: MatrixFactorisationSettings, seed: int = 0) -> None:
        self.settings = settings
        self.seed = seed

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        s = self.settings
        matrix = train.matrix(s.half_life_days)
        transposed = matrix.T.tocsr()
        generator = torch.Generator().manual_seed(self.seed)
        items = torch.randn(len(catalogue), s.factors, generator=generator) / s.factors**0.5 * 0.1
        for _ in trange(s.iterations, desc="iALS", unit="sweep"):
            users = solve_implicit(matrix, items, s.confidence, s.regularisation)
            items = solve_implicit(transposed, users, s.confidence, s.regularisation)
        self.factors = items.numpy()
        vars(self).pop("_in_axes", None)
        return self

    def score(self, histories: Histories) -> np.ndarray:
        return self.queries(histories) @ self.factors.T

    def queries(self, histories: Histories) -> np.ndarray:
        """Return float32 (batch, d): whose inner products with ``factors`` are the scores."""
        s = self.settings
        seen = histories.matrix(len(self.factors), s.decay)
        seen.sum_duplicates()
        np.minimum(seen.data, 1.0, out=seen.data)
        axes, factors, spectrum = self._in_axes
        found = solve_implicit(seen, factors, s.confidence, s.regularisation, spectrum)
        return (found @ axes.T).numpy()

    @cached_property
    def _in_axes(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The axes (d, d) of the factors' Gram matrix, the factors (items, d) and the Gram matrix
        (d,) in them: what every request needs, made once."""
        factors = torch.from_numpy(self.factors)
        spectrum, axes = axes_of(factors.T @ factors)
        return axes, factors @ axes, spectrum

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        return self.queries(histories) @ self.factors[items].T

    def arrays(self) -> dict[str, np.ndarray]:
        return {"factors": self.factors}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump(), "seed": self.seed}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(MatrixFactorisationSettings(**config["settings"]), config["seed"])
        model.factors = arrays["factors"]
        return model


class RatingFactorisation(Recommender):
    """Predicts ratings: mean + b_u + b_i + uᵀv; a history's b_u and u are solved for when asked.

    Minimises Σ_rated (r − mean − b_u − b_i − uᵀv)² + λ(|b_u|² + |b_i|² + |u|² + |v|²) by
    alternating least squares; each side's bias is one more coordinate, met by a 1 on the other
    side. Of several ratings of one item the newest counts. A history without ratings is answered
    with each item's mean, and an item without ratings has that of all. Without factors the biases
    are learned alone.

    ``factors``: float32 (items, d + 1), the bias first. ``mean``: float32 (1,).
    """

    name = "rating_factorisation"

    def __init__(self, settings: RatingFactorisationSettings, seed: int = 0) -> None:
        self.settings = settings
        self.seed = seed

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn the factors.

        Raises:
            ValueError: no interaction has a rating.
        """
        s = self.settings
        rated = train.where(~np.isnan(train.ratings))
        if not len(rated):
            raise ValueError(
                "rating_factorisation needs ratings and no interaction has one: map a rating "
                "column in ingest.interactions, or take it out of train.candidates"
            )
        newest = rated.newest_of_pairs()
        pairs = rated.users[newest], rated.items[newest]
        ratings = rated.ratings[newest]
        self.mean = np.array([ratings.mean()], dtype=np.float32)
        matrix = sp.csr_matrix((ratings - self.mean, pairs), (train.n_users, len(catalogue)))
        transposed = matrix.T.tocsr()
        generator = torch.Generator().manual_seed(self.seed)
        items = torch.randn(len(catalogue), s.factors + 1, generator=generator) * 0.1
        items[:, 0] = 0.0
        for _ in trange(s.iterations, desc="ratings", unit="sweep"):
            users = self._side(matrix, items)
            items = self._side(transposed, users)
        self.factors = items.numpy()
        return self

    def _side(self, ratings: sp.csr_matrix, others: torch.Tensor) -> torch.Tensor:
        """Return (rows, d + 1), bias first, of the rows of ``ratings`` (less the mean)."""
        met = ratings.copy()
        met.data = np.ones_like(ratings.data)
        design = others.clone()
        design[:, 0] = 1.0
        targets = ratings.data - others[:, 0].numpy()[ratings.indices]
        ridge = np.full(ratings.shape[0], self.settings.regularisation)
        return solve(met, targets, design, ridge)

    def score(self, histories: Histories) -> np.ndarray:
        """Return float32 (batch, items): predicted ratings, in the units of the ratings."""
        items = torch.from_numpy(self.factors)
        users = torch.zeros(len(histories), items.shape[1])
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
        affine = items.clone()
        affine[:, 0] = 1.0
        return (self.mean[0] + items[:, 0] + users @ affine.T).numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        return {"factors": self.factors, "mean": self.mean}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump(), "seed": self.seed}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(RatingFactorisationSettings(**config["settings"]), config["seed"])
        model.factors, model.mean = arrays["factors"], arrays["mean"]
        return model
