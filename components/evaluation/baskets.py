"""Metrics of the next basket: recall and F1 of lists that are cut at the size of a basket.

Li et al., A Next Basket Recommendation Reality Check (TOIS 2023).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from components.arrays import DoubleArray, Int32Array, IntArray
from components.evaluation.metrics import hits, recall
from components.recommenders.base import MISSING


def cut(ids: IntArray, sizes: IntArray) -> Int32Array:
    """Return int32 (users, k): lists (users, k), of each user only the first ``sizes`` (users,).

    >>> cut(np.array([[4, 2, 7], [5, 1, 3]]), np.array([1, 3])).tolist()
    [[4, -1, -1], [5, 1, 3]]
    """
    return np.where(np.arange(ids.shape[1]) < sizes[:, None], ids, MISSING).astype(np.int32)


def recall_at_size(ids: IntArray, targets: sp.csr_matrix, sizes: IntArray) -> DoubleArray:
    """Return float64 (users,): the share of the basket that is among the first ``sizes`` items.

    ids: (users, k), k not below the largest size. targets: CSR (users, items), the baskets. sizes:
    int (users,), at least 1. With the baskets' own sizes, recall, precision and F1 are equal.

    >>> bought = sp.csr_matrix([[0, 1, 0, 1]])
    >>> recall_at_size(np.array([[1, 0, 3]]), bought, np.array([2])).tolist()
    [0.5]
    """
    _check(ids, sizes)
    return recall(cut(ids, sizes), targets)


def f1_at_size(ids: IntArray, targets: sp.csr_matrix, sizes: IntArray) -> DoubleArray:
    """Return float64 (users,): the harmonic mean of recall and precision of the first ``sizes``
    items, 2 · hits / (size of the list + size of the basket). Arguments: see ``recall_at_size``.

    >>> bought = sp.csr_matrix([[0, 1, 0, 1]])
    >>> f1_at_size(np.array([[1, 0, 2, 3]]), bought, np.array([3])).tolist()
    [0.4]
    """
    _check(ids, sizes)
    found = hits(cut(ids, sizes), targets).sum(axis=1)
    result: DoubleArray = 2 * found / (sizes + np.diff(targets.indptr))
    return result


def _check(ids: IntArray, sizes: IntArray) -> None:
    if len(sizes) and not 1 <= sizes.min() <= sizes.max() <= ids.shape[1]:
        raise ValueError(
            f"sizes of baskets from {sizes.min()} to {sizes.max()} do not fit lists of "
            f"{ids.shape[1]} items: they must be at least 1, and lists as long as the largest"
        )
