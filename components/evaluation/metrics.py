"""Metrics of ranked lists, vectorised over users.

Everywhere: ``ids`` int (users, k), best first, ``MISSING`` (-1) where a list is short; ``targets``
CSR (users, items), nonzero where relevant. Accuracy metrics return float64 (users,), each within
0 and 1, and need at least one target for each user.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from components.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from components.recommenders.base import MISSING


def hits(ids: IntArray, targets: sp.csr_matrix) -> BoolArray:
    """Return bool (users, k): whether the position of the list has a target."""
    rows = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)
    found = np.asarray(targets[rows, np.maximum(ids, 0)].todense()) > 0
    return found & (ids != MISSING)


def _count(targets: sp.csr_matrix) -> IntArray:
    return np.diff(targets.indptr)


def recall(ids: IntArray, targets: sp.csr_matrix) -> DoubleArray:
    """Return the share of a user's targets that are in the list.

    >>> recall(np.array([[1, 0, 2]]), sp.csr_matrix([[0, 1, 0, 1]])).tolist()
    [0.5]
    """
    return hits(ids, targets).sum(axis=1) / _count(targets)


def precision(ids: IntArray, targets: sp.csr_matrix) -> DoubleArray:
    """Return the share of the list's k positions that have a target.

    >>> precision(np.array([[1, 0]]), sp.csr_matrix([[0, 1, 0, 1]])).tolist()
    [0.5]
    """
    return hits(ids, targets).mean(axis=1)


def hit_rate(ids: IntArray, targets: sp.csr_matrix) -> DoubleArray:
    """Return 1 if the list has a target, else 0."""
    return np.any(hits(ids, targets), axis=1).astype(np.float64)


def ndcg(ids: IntArray, targets: sp.csr_matrix) -> DoubleArray:
    """Return the discounted gain divided by that of an ideal list (Järvelin and Kekäläinen
    2002).

    >>> ndcg(np.array([[1, 0, 3]]), sp.csr_matrix([[0, 1, 0, 1]])).round(3).tolist()
    [0.92]
    """
    discount = 1 / np.log2(np.arange(2, ids.shape[1] + 2))
    best = np.cumsum(discount)[np.minimum(_count(targets), ids.shape[1]) - 1]
    return hits(ids, targets) @ discount / best


def mrr(ids: IntArray, targets: sp.csr_matrix) -> DoubleArray:
    """Return 1 / position of the first target, 0 without one.

    >>> mrr(np.array([[0, 1, 3], [2, 3, 0]]), sp.csr_matrix([[0, 1, 0, 1], [0, 1, 0, 0]])).tolist()
    [0.5, 0.0]
    """
    found = hits(ids, targets)
    return np.where(found.any(axis=1), 1 / (found.argmax(axis=1) + 1), 0.0)


def average_precision(ids: IntArray, targets: sp.csr_matrix) -> DoubleArray:
    """Return the mean, over a user's targets (at most k), of the precision at their positions."""
    found = hits(ids, targets)
    at = np.cumsum(found, axis=1) / np.arange(1, ids.shape[1] + 1)
    return (at * found).sum(axis=1) / np.minimum(_count(targets), ids.shape[1])


ACCURACY = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "hit_rate": hit_rate,
    "mrr": mrr,
    "map": average_precision,
}


def coverage(ids: IntArray, n_items: int) -> float:
    """Return the share of the catalogue that is in at least one list.

    >>> coverage(np.array([[0, 1], [1, MISSING]]), n_items=4)
    0.5
    """
    return len(np.unique(ids[ids != MISSING])) / n_items


def gini(ids: IntArray, n_items: int) -> float:
    """Return the Gini index of the items' exposure: 0 all equal, near 1 a few items have all.

    >>> gini(np.array([[0, 1], [2, 3]]), n_items=4), gini(np.array([[0], [0]]), n_items=4)
    (0.0, 0.75)
    """
    counts = np.sort(np.bincount(ids[ids != MISSING], minlength=n_items)).astype(np.float64)
    if not counts.sum():
        return 0.0
    ranks = np.arange(1, n_items + 1)
    return float(((2 * ranks - n_items - 1) * counts).sum() / (n_items * counts.sum()))


def novelty(ids: IntArray, popularity: IntArray) -> float:
    """Return the mean surprise of the listed items in bits (Vargas and Castells, RecSys 2011).

    popularity: (items,) training events; an item's probability is (n + 1) / Σ(n + 1).
    """
    probability = (popularity + 1) / (popularity + 1).sum()
    return float(-np.log2(probability[ids[ids != MISSING]]).mean())


def diversity(ids: IntArray, vectors: FloatArray) -> float:
    """Return 1 − the mean cosine between two items of a list (Ziegler et al., WWW 2005).

    vectors: (items, d) unit vectors.
    """
    kept = (ids != MISSING)[..., None]
    total = (vectors[np.maximum(ids, 0)] * kept).sum(axis=1)  # (users, d)
    n = kept.sum(axis=(1, 2))
    pairs = n * (n - 1)
    similarity = (total**2).sum(axis=1) - n
    return float(1 - (similarity[pairs > 0] / pairs[pairs > 0]).mean())


def serendipity(ids: IntArray, targets: sp.csr_matrix, obvious: IntArray) -> float:
    """Return the mean share of positions with a target that is not in the obvious list.

    Ge, Delgado-Battenfeld and Jannach, RecSys 2010. obvious: int (users, m), lists of a primitive
    recommender (popularity).
    """
    expected = np.zeros(ids.shape, dtype=bool)
    for column in obvious.T:  # m steps over all users
        expected |= ids == column[:, None]
    return float((hits(ids, targets) & ~expected).mean())


def popularity_lift(ids: IntArray, histories: sp.csr_matrix, popularity: IntArray) -> float:
    """Return the relative difference in popularity between lists and histories.

    (lists − histories) / histories, each the mean over users of their items' mean popularity
    (Abdollahpouri et al., RecSys 2020); 0 is as popular, 1 twice. Users without history are
    excluded. histories: CSR (users, items). popularity: (items,) training events.
    """
    lengths = np.diff(histories.indptr)
    known = lengths > 0
    liked = (histories @ popularity)[known] / lengths[known]
    mask = ids[known] != MISSING
    listed = popularity[np.maximum(ids[known], 0)] * mask
    shown = listed.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    return float(shown.mean() / liked.mean() - 1) if known.any() else float("nan")


def miscalibration(
    ids: IntArray, histories: sp.csr_matrix, categories: IntArray, alpha: float = 0.01
) -> float:
    """Return the mean Kullback-Leibler divergence (nats) of a list's categories from the
    history's: 0 if a user who buys 70 % mugs gets 70 % mugs (Steck, RecSys 2018).

    histories: CSR (users, items) of ones. categories: int (items,), -1 unknown. alpha: share of
    the history's distribution mixed into the list's, so that the divergence is finite.
    """
    n = int(categories.max(initial=-1)) + 1
    kept = categories >= 0
    if not n:
        return float("nan")
    one_hot = sp.csr_matrix(
        (np.ones(kept.sum()), (np.flatnonzero(kept), categories[kept])), shape=(len(categories), n)
    )
    past = np.asarray((histories @ one_hot).todense())
    users = len(ids)
    place = np.repeat(np.arange(users), ids.shape[1])[ids.ravel() != MISSING]
    flat = ids.ravel()[ids.ravel() != MISSING]
    shown = np.zeros((users, n))
    inside = kept[flat]
    np.add.at(shown, (place[inside], categories[flat][inside]), 1)
    both = (past.sum(axis=1) > 0) & (shown.sum(axis=1) > 0)
    if not both.any():
        return float("nan")
    p = past[both] / past[both].sum(axis=1, keepdims=True)
    q = shown[both] / shown[both].sum(axis=1, keepdims=True)
    mixed = (1 - alpha) * q + alpha * p
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(p > 0, p * np.log(p / mixed), 0.0)
    return float(parts.sum(axis=1).mean())
