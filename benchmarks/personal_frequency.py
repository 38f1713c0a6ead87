"""Baselines of repeat purchases and next baskets: personal frequency, plain and with recency.

In: histories, whose baskets are the events of one day. Out: a recommender that orders the items of
a customer's own baskets by how many of them have the item, then the others by popularity
(GP-TopFreq of Li et al., A Next Basket Recommendation Reality Check, TOIS 2023, which beats most
published models).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp

from components.arrays import DoubleArray, FloatArray, Int64Array
from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.recommenders.base import Recommender


@dataclass(frozen=True)
class Baskets:
    """Distinct items of each basket of a batch of histories, and what is needed of the baskets.

    rows, items: int64 (entries,), the history and the item. places: int64 (entries,), 0 for the
    history's oldest basket. ages: float64 (entries,), days from the basket's first event to the
    time of the prediction. counts: int64 (batch,), baskets of each history. n_items: of the
    catalogue.
    """

    rows: Int64Array
    items: Int64Array
    places: Int64Array
    ages: DoubleArray
    counts: Int64Array
    n_items: int

    @classmethod
    def of(cls, histories: Histories, n_items: int) -> Self:
        """Return the baskets: the events of one day (UTC) are one basket."""
        rows, days = histories.rows(), histories.times // DAY
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (rows[1:] != rows[:-1]) | (days[1:] != days[:-1])
        number = np.cumsum(new) - 1
        counts = np.bincount(rows[new], minlength=len(histories))
        firsts = np.cumsum(counts) - counts
        pairs = np.unique(number * n_items + histories.items)
        baskets, items = np.divmod(pairs, n_items)
        owners = rows[new][baskets]
        ages = (histories.now[owners] - histories.times[new][baskets]) / DAY
        return cls(owners, items, baskets - firsts[owners], ages, counts, n_items)

    def usual_sizes(self) -> Int64Array:
        """Return int64 (batch,): the mean number of distinct items in a basket, rounded, at least
        1; without a basket the mean of all."""
        of_all = len(self.rows) / max(self.counts.sum(), 1)
        entries = np.bincount(self.rows, minlength=len(self.counts))
        means = np.where(self.counts > 0, entries / np.maximum(self.counts, 1), of_all)
        return np.maximum(np.rint(means), 1).astype(np.int64)

    def frequency(self, half_life_days: float | None = None) -> sp.csr_matrix:
        """Return float64 CSR (batch, items): the share of a user's baskets that have the item
        (P-TopFreq), each basket halved with every half-life of its age."""
        weights = 1 / self.counts[self.rows]
        if half_life_days is not None:
            weights = weights * np.exp2(-self.ages / half_life_days)
        return self._summed(weights)

    def grouped_frequency(self, groups: int, within: float, between: float) -> sp.csr_matrix:
        """Return float64 CSR (batch, items): the frequencies with a decay of old baskets, the user
        vector of TIFU-KNN (Hu et al., SIGIR 2020).

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


@dataclass(frozen=True)
class Recency:
    """How old baskets count less: by a half-life in days, or by TIFU-KNN's groups (number, decay
    within and between them). Neither: all count the same."""

    half_life_days: float | None = None
    groups: tuple[int, float, float] | None = None

    def __str__(self) -> str:
        if self.groups is not None:
            return "{} groups, decay {} within and {} between them".format(*self.groups)
        return "none" if self.half_life_days is None else f"half-life {self.half_life_days:g} days"


RECENCIES = (
    *(Recency(half_life_days=days) for days in (30.0, 90.0, 180.0)),
    *(Recency(groups=(groups, 0.9, between)) for groups in (7, 20) for between in (0.7, 0.8, 0.9)),
)
"""Forms of recency to choose from on validation."""


class PersonalFrequency(Recommender):
    """Items of the history by personal frequency, then the others by the number of their events;
    equal ones in order of popularity. settings: the recency."""

    name = "personal_frequency"
    settings: Recency

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        sold = np.bincount(train.counted().items, minlength=len(catalogue))
        self.popularity: FloatArray = (sold / (sold.max(initial=0) + 1)).astype(np.float32)
        return self

    def frequencies(self, histories: Histories) -> sp.csr_matrix:
        """Return float64 CSR (batch, items): the frequencies with recency."""
        baskets = Baskets.of(histories.liked, len(self.popularity))
        if self.settings.groups is not None:
            return baskets.grouped_frequency(*self.settings.groups)
        return baskets.frequency(self.settings.half_life_days)

    def score(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, items): above 1 for items of the history by their place among
        them, below 1 for the others by popularity."""
        own = self.frequencies(histories)
        lengths = np.diff(own.indptr)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        rounded = own.data.round(12)  # equal sums differ by rounding
        order = np.lexsort((-self.popularity[own.indices], -rounded, rows))
        place = np.arange(len(rows)) - own.indptr[rows]  # of the entries in that order
        scores = np.tile(self.popularity, (len(histories), 1))
        scores[rows, own.indices[order]] = 2 - place / lengths[rows]
        return scores
