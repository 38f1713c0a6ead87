"""The ranker over features that are computed once: without groups of them, with other seeds.

In: a hybrid without a ranker, and histories. Out: ``Pairs``, rankers over some of their columns,
and lists, the same as ``Hybrid`` makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from components.arrays import BoolArray, Int32Array, IntArray
from components.data.dataset import Histories
from components.recommenders.base import MISSING
from components.recommenders.kernels.sort_keys import ranking
from components.recommenders.two_stage.features import (
    HISTORY_FEATURES,
    ITEM_STATISTICS,
    PAIR_FEATURES,
    Pairs,
    feature_names,
    joined,
)
from components.recommenders.two_stage.hybrid import BATCH, Hybrid
from components.recommenders.two_stage.ranker import Ranker, fit_ranker
from components.settings import Rank

TIME = ("log_count_7d", "log_count_28d", "age", "last_sale")
"""What tells time in leave-one-out: all users' sequences end together there, so these features say
how near to the ends of other users' sequences an item was bought."""
COUNTS = tuple(name for name in ITEM_STATISTICS if name.startswith("log_count"))
"""In a k-core every item has k events. One with fewer in the training data is a target of somebody,
and its count says so."""


GROUPS: dict[str, tuple[str, ...]] = {
    "what tells time": TIME,
    "counts": COUNTS,
    "all statistics of the item": ITEM_STATISTICS,
    "everything but the models' scores and ranks": (
        *ITEM_STATISTICS,
        *PAIR_FEATURES,
        *HISTORY_FEATURES,
    ),
}


@dataclass(frozen=True)
class Table:
    """Features of the candidates of a batch of users.

    pairs: see ``Pairs``. names: of the columns. unsold: bool (items,).
    """

    pairs: Pairs
    names: list[str]
    unsold: BoolArray

    @classmethod
    def of(cls, hybrid: Hybrid, histories: Histories) -> Table:
        """Return the candidates of the histories, items of the history left out."""
        parts = []
        for start in range(0, len(histories), BATCH):
            batch = histories.take(slice(start, start + BATCH))
            pieces = hybrid.generator.generate(batch, True)
            parts.append(hybrid.features.pairs((start + offset, one) for offset, one in pieces))
        names = feature_names(hybrid.candidates, hybrid.features.more_names)
        return cls(joined(parts), names, hybrid.item_statistics[:, 0] == 0)

    def without(self, names: Sequence[str]) -> Table:
        """Return the table without the named columns."""
        kept = [at for at, name in enumerate(self.names) if name not in names]
        features = np.ascontiguousarray(self.pairs.features.T[kept]).T
        pairs = replace(self.pairs, features=features)
        return replace(self, pairs=pairs, names=[self.names[at] for at in kept])

    def of_users(self, rows: IntArray) -> Table:
        """Return the table of some users, numbered in the order of ``rows``, ascending."""
        place = np.full(int(max(self.pairs.rows.max(initial=-1), rows.max(initial=-1))) + 1, -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.pairs.rows] >= 0
        pairs = Pairs(
            place[self.pairs.rows[kept]], self.pairs.items[kept], self.pairs.features[kept]
        )
        return replace(self, pairs=pairs)

    def fit(
        self, targets: sp.csr_matrix, settings: Rank, seed: int, like: Ranker | None = None
    ) -> Ranker:
        """Return the ranker that ``Hybrid.fit_ranker`` would fit on these columns and all users.

        like: has as many trees as the ranker shall have, which saves the cross-validation, four
        fifths of the time; None: their number is chosen.
        """
        trees = None if like is None else like.booster.num_trees()
        return fit_ranker(self.pairs, targets, self.unsold, self.names, settings, seed, trees)

    def lists(self, ranker: Ranker, n_users: int, k: int = 10) -> Int32Array:
        """Return int32 (n_users, k): the best candidates of each user."""
        pairs, ids = self.pairs, np.full((n_users, k), MISSING, dtype=np.int32)
        order = ranking(pairs.rows, ranker.predict(pairs.features), pairs.items, len(self.unsold))
        rows = pairs.rows[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        best = place < k
        ids[rows[best], place[best]] = pairs.items[order[best]]
        return ids
