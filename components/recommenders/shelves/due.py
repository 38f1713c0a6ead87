"""When a customer's products are due again: the customer's own interval, else the product's.

In: histories. Out: each history's products with the days since the last purchase, the interval and
a score. The interval is the median of the days between this customer's purchases of the product;
of one that was bought once, the median of all customers' intervals of it; of one that nobody bought
again, the shop's median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from components.arrays import AnyArray, DoubleArray, FloatArray, Int32Array, Int64Array
from components.data.dataset import Histories, Interactions
from components.recommenders.kernels.repeats import medians, repeats

LEAST_INTERVALS = 5
"""Customers' intervals of a product from which on it has an interval of its own."""
PRIOR = 5.0
"""Buyers of the whole shop that count in a product's repeat rate."""
HALF_LIFE = 90.0
"""Days, of a customer's own purchases."""
SPREAD = 1.0
"""Of the score's bell over log(days since the last purchase / interval)."""


@dataclass(frozen=True)
class Due:
    """Products of histories: entry e is ``items[e]`` of history ``rows[e]``.

    rows: int64 (entries,), ascending. items: int32 (entries,). counts: int64 (entries,), days with
    a purchase. last: float64 (entries,), days since the last. interval: float64 (entries,), days.
    score: float64 (entries,), higher is more probably wanted now.
    """

    rows: Int64Array
    items: Int32Array
    counts: Int64Array
    last: DoubleArray
    interval: DoubleArray
    score: DoubleArray


@dataclass(frozen=True)
class Intervals:
    """What is usual for each product.

    usual: float32 (items,), days between two purchases of a customer. repeat_rate: float32
    (items,), share of the buyers who bought it on several days. overall: float32 (2,), both of the
    shop, for products added after the training.

    >>> users, items = np.zeros(4, int), np.array([2, 2, 2, 1])
    >>> train = Interactions.from_arrays(users, items, np.array([0, 7, 16, 2]) * 86_400)
    >>> intervals = Intervals.of(train, 3)
    >>> due = intervals.due(train.histories([0], 20 * 86_400))
    >>> due.items.tolist(), due.interval.tolist(), due.last.tolist()
    ([1, 2], [8.0, 8.0], [18.0, 4.0])
    """

    usual: FloatArray
    repeat_rate: FloatArray
    overall: FloatArray

    @classmethod
    def of(cls, train: Interactions, n_items: int) -> Self:
        """Return what the successes of ``train`` (see ``preprocess.targets``) show."""
        bought = train.counted().successes()
        end = int(bought.times.max(initial=0)) + 1
        found = repeats(bought.histories(np.arange(bought.n_users), end))
        again = ~np.isnan(found.median)
        of_items = medians(found.items[again], found.median[again], n_items)
        intervals = np.bincount(found.items[again], minlength=n_items)
        shop = float(np.median(found.median[again])) if again.any() else 365.0
        buyers = np.bincount(found.items, minlength=n_items)
        rate = (again.sum() + 1) / (len(again) + 2)
        own = np.bincount(found.items, again, n_items)
        return cls(
            np.where(intervals >= LEAST_INTERVALS, of_items, shop).astype(np.float32),
            ((own + PRIOR * rate) / (buyers + PRIOR)).astype(np.float32),
            np.array([shop, rate], dtype=np.float32),
        )

    def due(self, histories: Histories) -> Due:
        """Return the products of each history, with their intervals and scores.

        Score: the faded count of the customer's purchases plus the product's repeat rate, times a
        bell over log(days since the last purchase / interval), which is flat until the product is
        due.
        """
        found = repeats(histories.liked, (HALF_LIFE,))
        known = found.items < len(self.usual)
        places = np.where(known, found.items, 0)
        usual = np.where(known, self.usual[places], self.overall[0])
        rate = np.where(known, self.repeat_rate[places], self.overall[1])
        interval = np.where(np.isnan(found.median), usual, found.median)
        interval = np.maximum(interval.astype(np.float64), 1.0)
        late = np.log((found.last + 0.5) / (interval + 0.5))
        timing = np.exp(-0.5 * (late / SPREAD) ** 2)
        weight = found.faded[:, 0] * (1 - 1 / (found.counts + 1)) + rate
        return Due(found.rows, found.items, found.counts, found.last, interval, weight * timing)

    def arrays(self) -> dict[str, AnyArray]:
        """Return the arrays by name, for ``from_arrays``."""
        names = ("usual", "repeat_rate", "overall")
        return {f"interval_{name}": getattr(self, name) for name in names}

    @classmethod
    def from_arrays(cls, arrays: dict[str, AnyArray]) -> Self:
        """Return what ``arrays`` gave."""
        return cls(*(arrays[f"interval_{name}"] for name in ("usual", "repeat_rate", "overall")))
