"""Products bought together: how many baskets have both, and how much more often than by chance.

In: purchases. Out: for each product the products that are most often in the same basket, with
support and lift. A basket is what a customer bought on one day (UTC).

    pairs = BasketPairs.of(train)
    found = pairs.of_item(code)         # partners, best first
    pairs.completing(np.array([3, 8]))  # what completes a basket of two products
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn

from components.arrays import AnyArray, FloatArray, Int32Array, Int64Array, IntArray
from components.data.dataset import DAY, Interactions
from components.data.schema import EVENTS

PARTNERS = 100
"""Products that are kept for each product."""
LARGEST_BASKET = 500
"""Different products of a basket; larger ones, such as a reseller's, say little of any pair, and
the work grows with the square."""
LEAST_SUPPORT = 2
"""Baskets below which no pair is kept, whatever a shelf asks for."""


@dataclass(frozen=True)
class Partners:
    """What is bought with one product, best first.

    items: int32 (n,). support: int32 (n,), baskets with both. lift: float32 (n,), that support
    through the one of two products that are bought independently; 1 = by chance. cosine: float32
    (n,), support / sqrt(baskets of one × baskets of the other).
    """

    items: Int32Array
    support: Int32Array
    lift: FloatArray
    cosine: FloatArray


@dataclass(frozen=True)
class Completing:
    """What completes a basket, best first: items int32 (n,); scores float32 (n,), the sums of the
    cosines with the basket's products; support and lift with the one it is bought with most."""

    items: Int32Array
    scores: FloatArray
    support: Int32Array
    lift: FloatArray


@dataclass(frozen=True)
class BasketPairs:
    """Pairs of products in the same baskets, as CSR over products.

    offsets: int64 (items + 1,). partners, support: int32 (pairs,), of each product the ``PARTNERS``
    with the highest cosine, best first. baskets: int32 (items,), baskets with the product.
    n_baskets: all baskets.

    The order is by cosine: by lift alone products that were bought twice come first, by support
    alone those that are in every basket.

    >>> users, items = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 2])
    >>> pairs = BasketPairs.of(Interactions.from_arrays(users, items, np.zeros(5, np.int64)))
    >>> found = pairs.of_item(0)
    >>> found.items.tolist(), found.support.tolist(), found.lift.tolist()
    ([1], [2], [1.5])
    """

    offsets: Int64Array
    partners: Int32Array
    support: Int32Array
    baskets: Int32Array
    n_baskets: int

    @classmethod
    def of(cls, train: Interactions) -> Self:
        """Return the pairs of all purchases that are authenticated (see ``data.schema``): a visitor
        who buys two products again and again makes no pair of them."""
        bought = train.events == EVENTS.index("purchase")
        if train.authenticated is not None:
            bought &= train.authenticated
        bought = train.where(bought).counted()
        matrix, _ = baskets_of(bought)
        counts = np.asarray(matrix.sum(axis=0)).ravel()
        with np.errstate(divide="ignore"):
            scale = np.where(counts > 0, 1 / np.sqrt(counts), 0)
        scaled = matrix @ sp.diags(scale)
        # One more: each product is its own best partner.
        cosine = sp_matmul_topn(scaled.T.tocsr(), scaled.tocsr(), PARTNERS + 1, sort=True).tocoo()
        support = np.rint(cosine.data / (scale[cosine.row] * scale[cosine.col])).astype(np.int32)
        keep = (cosine.row != cosine.col) & (support >= LEAST_SUPPORT)
        rows = cosine.row[keep]
        lengths = np.bincount(rows, minlength=train.n_items)
        return cls(
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            cosine.col[keep].astype(np.int32),
            support[keep],
            counts.astype(np.int32),
            matrix.shape[0],
        )

    def of_item(self, item: int, min_support: int = LEAST_SUPPORT, min_lift: float = 0) -> Partners:
        """Return what is bought with a product; nothing with one that came after the training."""
        known = item < len(self.baskets)
        part = slice(self.offsets[item], self.offsets[item + 1]) if known else slice(0, 0)
        items, support = self.partners[part], self.support[part]
        own = int(self.baskets[item]) if known else 0
        expected = own / max(self.n_baskets, 1) * self.baskets[items]
        lift = (support / expected).astype(np.float32)
        cosine = (support / np.sqrt(own * self.baskets[items].astype(float))).astype(np.float32)
        keep = (support >= min_support) & (lift >= min_lift)
        return Partners(items[keep], support[keep], lift[keep], cosine[keep])

    def completing(
        self, basket: IntArray, min_support: int = LEAST_SUPPORT, min_lift: float = 0
    ) -> Completing:
        """Return what completes a basket. basket: int (m,) codes."""
        found = [self.of_item(int(item), min_support, min_lift) for item in basket]
        items, support, lift, cosine = (
            np.concatenate([np.asarray(getattr(one, name)) for one in found] or [np.empty(0)])
            for name in ("items", "support", "lift", "cosine")
        )
        distinct, place = np.unique(items.astype(np.int32), return_inverse=True)
        scores = np.bincount(place, cosine, len(distinct)).astype(np.float32)
        # Of each product the pair with the highest cosine.
        by_pair = np.lexsort((-cosine, place))
        best = by_pair[np.unique(place[by_pair], return_index=True)[1]]
        order = np.lexsort((distinct, -scores))
        order = order[~np.isin(distinct[order], basket)]
        return Completing(
            distinct[order],
            scores[order],
            support[best][order].astype(np.int32),
            lift[best][order].astype(np.float32),
        )

    def arrays(self) -> dict[str, AnyArray]:
        """Return the arrays by name, for ``from_arrays``."""
        return {
            "pair_offsets": self.offsets,
            "pair_partners": self.partners,
            "pair_support": self.support,
            "pair_baskets": self.baskets,
            "pair_n_baskets": np.array([self.n_baskets]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, AnyArray]) -> Self:
        """Return the pairs that ``arrays`` gave."""
        return cls(
            arrays["pair_offsets"],
            arrays["pair_partners"],
            arrays["pair_support"],
            arrays["pair_baskets"],
            int(arrays["pair_n_baskets"][0]),
        )


def baskets_of(bought: Interactions) -> tuple[sp.csr_matrix, Int64Array]:
    """Return float32 CSR (baskets, items) with a 1 at each product of a basket, and int64
    (baskets,), the place of each one's first event. Without those above ``LARGEST_BASKET``."""
    days = bought.times // DAY
    first = np.ones(len(bought), dtype=bool)
    first[1:] = (bought.users[1:] != bought.users[:-1]) | (days[1:] != days[:-1])
    rows = np.cumsum(first) - 1
    n_baskets = int(rows[-1]) + 1 if len(rows) else 0
    ones = np.ones(len(rows), dtype=np.float32)
    shape = (n_baskets, bought.n_items)
    matrix = sp.csr_matrix((ones, (rows, bought.items)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    kept = np.diff(matrix.indptr) <= LARGEST_BASKET
    return matrix[kept], np.flatnonzero(first)[kept]
