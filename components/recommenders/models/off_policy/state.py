"""State of the policy: the mean text vector of a history."""

from __future__ import annotations

import numpy as np

from components.arrays import FloatArray
from components.data.dataset import Histories
from components.recommenders.kernels.sparse import summed_rows


def mean_of_past(histories: Histories, text: FloatArray, decay: float) -> FloatArray:
    """Return float32 (batch, width): the mean text vector of each history, weighted by ``decay``.

    text: float32 (items, width). Of an empty history it is 0.
    """
    histories = histories.liked
    weights = histories.weights(decay)
    total = np.bincount(histories.rows(), weights=weights, minlength=len(histories))
    shares = (weights / total[histories.rows()]).astype(np.float32)
    return summed_rows(histories.items, shares, histories.offsets, text)
