"""Scores of different models made comparable: z-scores within each history."""

from __future__ import annotations

import numpy as np

from components.arrays import FloatArray


def standardised(scores: FloatArray) -> FloatArray:
    """Return float32 (batch, items): each row's z-scores over its finite scores; -inf stays -inf.

    Each model scores in its own units; within a row only the order and the gaps carry information.
    A row of equal scores becomes 0.
    """
    finite = np.isfinite(scores)
    filled = np.where(finite, scores, 0.0)
    count = np.maximum(finite.sum(axis=1, keepdims=True), 1)
    mean = filled.sum(axis=1, keepdims=True) / count
    centred = np.where(finite, filled - mean, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    flat = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-6)
    z = centred / np.where(flat, np.inf, spread)
    return np.where(finite, z, -np.inf).astype(np.float32)
