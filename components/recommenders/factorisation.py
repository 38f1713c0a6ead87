"""Matrix factorisation of implicit feedback by alternating least squares.

iALS: Hu, Koren and Volinsky, ICDM 2008, with the Gram trick and the frequency-scaled
regularisation of Rendle et al. (RecSys 2022).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import torch
from tqdm import trange

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.settings import MatrixFactorisation as MatrixFactorisationSettings


def solve(
    matrix: sp.csr_matrix, factors: torch.Tensor, confidence: float, regularisation: float
) -> torch.Tensor:
    """Return float32 (rows, d): the least-squares factors of the rows of ``matrix``.

    Minimises, for each row, confidence · Σ_met (1 − uᵀv)² + Σ_all (uᵀv)² + λ·|u|², λ being
    regularisation · confidence · met. Rows are solved in batches of
    equal padding; a new history is folded in by the same closed form.
    """
    rows, d = matrix.shape[0], factors.shape[1]
    gram = factors.T @ factors  # (d, d)
    lengths = np.diff(matrix.indptr)
    out = torch.zeros(rows, d)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    eye = torch.eye(d)
    while start < len(order):
        # About two million numbers at once, whatever the rows' lengths.
        longest = lengths[order[min(start + 256, len(order)) - 1]]
        size = max(1, min(256, int(2e6 // (longest * d)) or 1))
        batch = order[start : start + size]
        width = int(lengths[batch].max())
        place = np.arange(width)[None, :]
        mask = place < lengths[batch][:, None]
        at = np.where(mask, matrix.indptr[batch][:, None] + place, 0)
        v = factors[torch.from_numpy(matrix.indices[at].astype(np.int64))]  # (b, width, d)
        v = v * torch.from_numpy(mask.astype(np.float32))[..., None]
        weight = regularisation * (confidence * torch.from_numpy(lengths[batch].astype("float32")))
        left = gram + confidence * v.transpose(1, 2) @ v + (weight + 1e-3)[:, None, None] * eye
        right = (1 + confidence) * v.sum(dim=1)  # (b, d)
        out[torch.from_numpy(batch)] = torch.linalg.solve(left, right[..., None])[..., 0]
        start += size
    return out


class MatrixFactorisation(Recommender):
    """Implicit-feedback matrix factorisation; a history's vector is solved for when asked.

    ``factors``: float32 (items, d).
    """

    name = "matrix_factorisation"

    def __init__(self, settings: MatrixFactorisationSettings, seed: int = 0) -> None:
        self.settings = settings
        self.seed = seed

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        s = self.settings
        matrix = train.matrix()
        transposed = matrix.T.tocsr()
        generator = torch.Generator().manual_seed(self.seed)
        items = torch.randn(len(catalogue), s.factors, generator=generator) / s.factors**0.5 * 0.1
        for _ in trange(s.iterations, desc="iALS", unit="sweep"):
            users = solve(matrix, items, s.confidence, s.regularisation)
            items = solve(transposed, users, s.confidence, s.regularisation)
        self.factors = items.numpy()
        return self

    def score(self, histories: Histories) -> np.ndarray:
        seen = histories.seen(len(self.factors))
        items = torch.from_numpy(self.factors)
        users = solve(seen, items, self.settings.confidence, self.settings.regularisation)
        return (users @ items.T).numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        return {"factors": self.factors}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump(), "seed": self.seed}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(MatrixFactorisationSettings(**config["settings"]), config["seed"])
        model.factors = arrays["factors"]
        return model
