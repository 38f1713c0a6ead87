"""Vectors of items from what users had near to each other: a start for SASRec's id vectors.

In: the interactions. Out: a unit vector for each item that has a neighbour. Like word vectors from
counts (Levy and Goldberg, NIPS 2014; with smoothed contexts: Levy, Goldberg and Dagan, TACL 2015),
the singular vectors of the positive pointwise mutual information of items near to each other in
histories, of which item2vec (Barkan and Koenigstein, 2016) is the stochastic form. Seconds, where
an epoch of SASRec takes as long or longer.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from components.arrays import FloatArray
from components.data.dataset import Interactions

REACH = 5
"""Events on each side of an event that are near to it; one k places away counts 1 / k."""
SMOOTHING = 0.75
"""Exponent of the counts of contexts, so that rare ones do not have the highest information."""


def cooccurrence_vectors(train: Interactions, width: int, seed: int = 0) -> FloatArray:
    """Return float32 (items, width): unit rows, or 0 for items without a neighbour.

    >>> users, items = np.repeat(np.arange(6), 2), np.array([0, 1, 1, 0, 2, 3, 3, 2, 0, 1, 2, 3])
    >>> train = Interactions.from_arrays(users, items, np.arange(12), 6, 5)
    >>> vectors = cooccurrence_vectors(train, 4)
    >>> abs(vectors @ vectors.T).round(1).diagonal().tolist()  # item 4 has no event
    [1.0, 1.0, 1.0, 1.0, 0.0]
    """
    # In here, because only fitting needs it.
    from sklearn.utils.extmath import randomized_svd

    vectors = np.zeros((train.n_items, width), dtype=np.float32)
    information = _information(_near(train))
    found = np.flatnonzero(np.diff(information.indptr))
    if not len(found):
        return vectors
    rank = min(width, train.n_items)
    left, values, _ = randomized_svd(information, rank, n_iter=3, random_state=seed)
    rows = left[found] * np.sqrt(values)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    vectors[found, :rank] = rows / np.where(norms > 1e-6, norms, np.inf)
    return vectors


def _near(train: Interactions) -> sp.csr_matrix:
    """Return symmetric CSR (items, items): how often two were near, by their distance."""
    n, items, users = train.n_items, train.items, train.users
    near = sp.csr_matrix((n, n), dtype=np.float32)
    for steps in range(1, REACH + 1):
        same = users[steps:] == users[:-steps]
        pairs = items[steps:][same], items[:-steps][same]
        near += sp.csr_matrix((np.full(len(pairs[0]), 1 / steps, np.float32), pairs), (n, n))
    return (near + near.T).tocsr()


def _information(near: sp.csr_matrix) -> sp.csr_matrix:
    """Return CSR (items, items): the positive pointwise mutual information of ``near``."""
    pairs = near.tocoo()
    counts = np.asarray(near.sum(axis=1), dtype=np.float64).ravel()
    contexts = counts**SMOOTHING
    contexts *= counts.sum() / max(contexts.sum(), 1e-12)
    ratio = pairs.data * counts.sum() / (counts[pairs.row] * contexts[pairs.col])
    found = np.maximum(np.log(ratio), 0).astype(np.float32)
    information = sp.csr_matrix((found, (pairs.row, pairs.col)), near.shape)
    information.eliminate_zeros()
    return information
