"""Similarity of a query to the products by meaning, before the fine-tuned head.

In: an encoder and the products' vectors, which are after its head. Out: cosines. The head is fitted
to the products' texts: it spreads them, and takes most of what texts of different languages have in
common. No second vector of each product is stored: a head that is nearly a whitening can be
inverted.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from components.arrays import FloatArray, IntArray

LEAST_SCALE = 1e-6
"""Singular value of a head, relative to the largest, below which a direction is not part of it."""
TOLERANCE = 0.02
"""Of the number c of a text, relative, up to which a head is taken as inverted."""
_BLOCK = 8192  # products that are inverted at once


class Meaning:
    """Cosines of a query and the products.

    encoder: has ``encode(texts, with_head=, kind=) -> (texts, width)`` and ``head``, a linear layer
    or None. vectors: float32 (products, width) of length 1, after the head. texts: of a few
    products.

    A vector u of length 1 becomes v = (W u + b) / c. With the pseudo-inverse W⁺, u is
    c W⁺v - W⁺b + n. n is the part in directions that W leaves out because the products do not
    differ in them, so that the texts of a few say its length. c follows from the length of u: one
    number for each product is kept, and the cosines with a query q are, up to the constant n · q,
    c (v · W⁺ᵀq) - W⁺b · q. Where this does not give the c of the few texts, as for a head that is
    far from a whitening, the vectors are compared after the head.
    """

    def __init__(self, encoder: Any, vectors: FloatArray, texts: list[str]) -> None:
        self._encoder, self._vectors = encoder, vectors
        self._invertible = False
        if encoder.head is not None:
            state = encoder.head.state_dict()
            weight, bias = (state[name].double().cpu().numpy() for name in ("weight", "bias"))
            self._inverse = np.linalg.pinv(weight, rcond=LEAST_SCALE)  # (width, width)
            self._shift = self._inverse @ bias  # (width,)
            some = encoder.encode(texts, with_head=False)
            left_out = some - some @ (self._inverse @ weight).T
            self._square = 1 - (left_out**2).sum(axis=1).mean()  # of the length without n
            after = some @ weight.T + bias
            lengths = np.linalg.norm(after, axis=1)
            found = self._scales_of(after / lengths[:, None])
            self._invertible = bool(np.allclose(found, lengths, rtol=TOLERANCE))
        if self._invertible:
            self._fitted = self._scales = self._scales_of(vectors)  # float32 (products,)

    def extended(self, codes: IntArray, vectors: FloatArray) -> Self:
        """Return the same with the vectors of more products; ``codes`` were added or changed."""
        meaning = copy.copy(self)
        meaning._vectors = vectors
        if self._invertible:
            meaning._scales = np.zeros(len(vectors), dtype=np.float32)
            meaning._scales[: len(self._fitted)] = self._fitted
            meaning._scales[codes] = self._scales_of(vectors[codes])
        return meaning

    def cosines(self, query: str) -> FloatArray:
        """Return float (products,): the cosine of each product and a query, up to a constant."""
        if not self._invertible:
            after: FloatArray = self._vectors @ self._encoder.encode([query], kind="query")[0]
            return after
        asked = self._encoder.encode([query], with_head=False, kind="query")[0]
        mapped = (asked @ self._inverse).astype(np.float32)
        found: FloatArray = self._scales * (self._vectors @ mapped)
        return found - np.float32(self._shift @ asked)

    def _scales_of(self, vectors: FloatArray) -> FloatArray:
        """Return c of each vector: the positive root of |c W⁺v - W⁺b|² = 1 - |n|²; 0 of a vector of
        zeros."""
        found = np.zeros(len(vectors), dtype=np.float32)
        rest = self._square - self._shift @ self._shift
        for start in range(0, len(vectors), _BLOCK):
            rows = vectors[start : start + _BLOCK] @ self._inverse.T
            square, inner = (rows**2).sum(axis=1), rows @ self._shift
            root = inner + np.sqrt(np.maximum(inner**2 + square * rest, 0))
            found[start : start + _BLOCK] = root / np.where(square > 0, square, np.inf)
        return found
