"""Batches as a function of seed and step, so that a resumed training sees the same batches."""

from __future__ import annotations

import numpy as np

from components.arrays import IntArray


def whole_passes(values: IntArray, size: int, seed: int, step: int) -> IntArray:
    """Return batch number ``step`` of ``size`` values; no value repeats within an epoch."""
    passes, at = np.divmod(np.arange(step * size, (step + 1) * size), len(values))
    drawn = [
        np.random.default_rng([seed, one]).permutation(values)[at[passes == one]]
        for one in np.unique(passes)
    ]
    return np.concatenate(drawn)
