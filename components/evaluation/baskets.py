"""Next-basket metrics, and the baselines that most published models must beat.

In: lists, and histories whose baskets are the events of one moment, or of one day. Out: recall and
F1 of lists cut at the size of a basket, and scores by personal frequency, plain and with recency.

Li et al., A Next Basket Recommendation Reality Check (TOIS 2023), show that the top personal
frequency beats most published models. Its recency form is the personal part of TIFU-KNN (Hu et al.,
SIGIR 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp

from components.arrays import DoubleArray, Int32Array, Int64Array, IntArray
from components.data.dataset import Histories
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


@dataclass(frozen=True)
class Baskets:
    """Distinct items of each basket of a batch of histories, and what is needed of the baskets.

    rows, items: int64 (entries,), the history and the item. places: int64 (entries,), 0 for the
    history's oldest basket. counts: int64 (batch,), baskets of each history. n_items: of the
    catalogue.
    """

    rows: Int64Array
    items: Int64Array
    places: Int64Array
    counts: Int64Array
    n_items: int

    @classmethod
    def of(cls, histories: Histories, n_items: int, seconds: int = 1) -> Self:
        """Return the baskets: events in the same span of ``seconds`` since 1970 are one basket; of
        86,400 seconds: those of one day (UTC)."""
        rows, spans = histories.rows(), histories.times // seconds
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (rows[1:] != rows[:-1]) | (spans[1:] != spans[:-1])
        number = np.cumsum(new) - 1
        counts = np.bincount(rows[new], minlength=len(histories))
        firsts = np.cumsum(counts) - counts
        pairs = np.unique(number * n_items + histories.items)
        baskets, items = np.divmod(pairs, n_items)
        owners = rows[new][baskets]
        return cls(owners, items, baskets - firsts[owners], counts, n_items)

    def usual_sizes(self) -> Int64Array:
        """Return int64 (batch,): the mean number of distinct items in a basket, rounded, at least
        1; without a basket the mean of all."""
        of_all = len(self.rows) / max(self.counts.sum(), 1)
        entries = np.bincount(self.rows, minlength=len(self.counts))
        means = np.where(self.counts > 0, entries / np.maximum(self.counts, 1), of_all)
        return np.maximum(np.rint(means), 1).astype(np.int64)

    def frequency(self) -> sp.csr_matrix:
        """Return float64 CSR (batch, items): the share of a user's baskets that have the item
        (P-TopFreq)."""
        return self._summed(1 / self.counts[self.rows])

    def recent_frequency(
        self, groups: int = 7, within: float = 0.9, between: float = 0.7
    ) -> sp.csr_matrix:
        """Return float64 CSR (batch, items): the frequencies with a decay of old baskets, the user
        vector of TIFU-KNN.

        A user's baskets are cut into at most ``groups`` groups of equal size, to one basket. A
        group's vector is the mean of its baskets, each multiplied by ``within`` for each basket
        after it; the user's is the mean of the groups', each multiplied by ``between`` for each
        group after it.
        """
        counts = self.counts[self.rows]
        n_groups = np.minimum(groups, counts)
        group = self.places * n_groups // counts
        # Group g holds the places from ⌈g · n / m⌉ to ⌈(g + 1) · n / m⌉ - 1.
        first = -(-group * counts // n_groups)
        size = -(-(group + 1) * counts // n_groups) - first
        in_group = within ** (size - 1 - (self.places - first)) / size
        return self._summed(in_group * between ** (n_groups - 1 - group) / n_groups)

    def _summed(self, weights: DoubleArray) -> sp.csr_matrix:
        shape = (len(self.counts), self.n_items)
        return sp.csr_matrix((weights, (self.rows, self.items)), shape=shape)


def filled_lists(scores: sp.csr_matrix, popularity: IntArray | DoubleArray, k: int) -> Int32Array:
    """Return int32 (users, k): the items of each user by score, then the others by popularity
    (GP-TopFreq); equal ones in order of popularity, then of their codes.

    scores: CSR (users, items), above 0. popularity: (items,).

    >>> filled_lists(sp.csr_matrix([[0, 0.5, 0, 1.0]]), np.array([3, 1, 5, 2]), k=3).tolist()
    [[3, 1, 2]]
    """
    by_popularity = np.argsort(-np.asarray(popularity), kind="stable")
    place = np.argsort(by_popularity)
    lengths = np.diff(scores.indptr)
    ids = np.full((scores.shape[0], k), MISSING, dtype=np.int32)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((place[scores.indices], -scores.data, rows))
    at = np.arange(len(rows)) - scores.indptr[rows]
    ids[rows[at < k], at[at < k]] = scores.indices[order[at < k]]
    rest = by_popularity[: k + int(lengths.max(initial=0))]
    other = scores[:, rest].toarray() == 0
    at = lengths[:, None] + np.cumsum(other, axis=1) - 1
    users, places = np.nonzero(other & (at < k))
    ids[users, at[users, places]] = rest[places]
    return ids
