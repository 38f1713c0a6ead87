"""The choice of the model that orders products for users without a history.

In: the pairs and targets that the ranker learned from. Out: ``Newcomers``.

For a user without a history all features of a candidate are those of the item. They identify it, so
a ranker learns which items sold well in its window: in that window its lists for newcomers are
better than popularity's, in the next one worse (``benchmarks.rolling_origin``). Other users of the
same window, as in cross-validation, do not show that; only later purchases do. So a ranker that
learned from the earlier half of the window is compared with the candidate on those who were still
new in the later half. Newcomers get the candidate's order unless the ranker's is better there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from components.arrays import BoolArray, DoubleArray, FloatArray
from components.recommenders.kernels.sort_keys import ranking
from components.recommenders.two_stage.features import Pairs
from components.recommenders.two_stage.ranker import Newcomers, Ranker, entries

K = 10
MIN_USERS = 20
"""Newcomers without whom nothing is compared."""
ONE_SIDED = 1.645
"""Standard errors below the mean gain at which its lower bound (95 %) lies."""


def choose(
    pairs: Pairs,
    targets: sp.csr_matrix,
    later: sp.csr_matrix,
    new: BoolArray,
    model: str,
    model_scores: FloatArray,
    learn: Callable[[sp.csr_matrix], Ranker],
) -> Newcomers:
    """Return whether ``model`` or the ranker orders the products of newcomers.

    targets: CSR (users, items), of the whole window. later: CSR (users, items), those of its later
    half. new: bool (users,), who has no history. model_scores: float32 (pairs,), of the candidate.
    learn: returns a ranker fitted on these pairs and on other targets.
    """
    later = targets.multiply(later.sign()).tocsr()
    early = (targets - later).tocsr()
    for half in (later, early):
        half.eliminate_zeros()
    n_early, n_later = (np.diff(half.indptr) for half in (early, later))
    judged = new & (n_early == 0) & (n_later > 0)
    if np.count_nonzero(judged) < MIN_USERS:
        return Newcomers(model)
    try:
        ranker = learn(early)
    except ValueError:  # hardly a purchase in the earlier half
        return Newcomers(model)
    of = judged[pairs.rows]
    some = Pairs(pairs.rows[of], pairs.items[of], pairs.features[of])
    by_model, by_ranker = (
        ndcg_of_pairs(some, scores, later)[judged]
        for scores in (model_scores[of], ranker.predict(some.features))
    )
    gain = by_ranker - by_model
    bound = gain.mean() - ONE_SIDED * gain.std(ddof=1) / np.sqrt(len(gain))
    return Newcomers(
        model if bound <= 0 else None,
        len(gain),
        float(by_model.mean()),
        float(by_ranker.mean()),
        float(bound),
    )


def ndcg_of_pairs(pairs: Pairs, scores: FloatArray, targets: sp.csr_matrix) -> DoubleArray:
    """Return float64 (users,): NDCG@10 of the pairs in the order of ``scores``, 0 without targets.

    scores: float32 (pairs,), NaN: last. targets: CSR (users, items).

    >>> pairs = Pairs(np.array([0, 0, 2]), np.array([1, 2, 0], np.int32), np.empty((3, 0)))
    >>> targets = sp.csr_matrix([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    >>> ndcg_of_pairs(pairs, np.array([0.5, 0.1, 0.3], np.float32), targets).round(3).tolist()
    [0.631, 0.0, 1.0]
    """
    n_users, n_items = targets.shape
    order = ranking(pairs.rows, np.nan_to_num(scores, nan=-np.inf), pairs.items, n_items)
    rows = pairs.rows[order]
    position = np.arange(len(rows)) - np.searchsorted(rows, rows)
    discount = 1 / np.log2(np.arange(2, K + 2))
    first = position < K
    hit = entries(targets, rows[first], pairs.items[order][first]) > 0
    found = np.bincount(rows[first], hit * discount[position[first]], n_users)
    best = np.concatenate([[1.0], np.cumsum(discount)])  # 1: nothing is divided by 0
    result: DoubleArray = found / best[np.minimum(np.diff(targets.indptr), K)]
    return result
